"""The stages on a real Ray and a real Slurm of two nodes on this machine; tasks are killed."""

import pytest
from cleaning_texts import small_store
from clusters import ray, slurm

from rewardjax.curation.cleaning.clean import clean

pytestmark = pytest.mark.slow


@pytest.fixture(params=[ray, slurm], ids=["ray", "slurm"], scope="module")
def engine(request):
    with request.param() as cluster:
        yield cluster


def test_cleaning_finds_the_same(tmp_path, engine):
    stores = [small_store(tmp_path / name) for name in "xy"]
    counts = clean(stores[0], near=0.8)
    assert clean(stores[1], near=0.8, engine=engine) == counts
    assert stores[0].manifests() == stores[1].manifests()
