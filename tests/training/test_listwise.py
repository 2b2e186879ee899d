"""Training from ranked groups by config: `loss.name = "plackett_luce"`, through the loop."""

import json
import pathlib

import jax
import numpy as np
import pytest
from tiny import logged, tiny_config

from rewardjax.models.checkpoints import checkpoints
from rewardjax.training import loop

GROUPS_OF_FOUR = {
    "loss.name": "plackett_luce",
    "data.source": "world:train?num=48&responses=4",
    "batch.responses": 4,
    "batch.pairs": 8,
}


def fingerprints(workdir):
    """Of the newest checkpoint: equal if and only if every bit is."""
    with checkpoints.reading(pathlib.Path(workdir) / "checkpoints") as saved:
        return saved.newest_meta()["fingerprints"]


def losses(workdir):
    return list(logged(workdir, "loss").values())


@pytest.fixture(scope="module")
def listwise_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("listwise")
    loop.run(tiny_config(folder / "cache", **GROUPS_OF_FOUR), folder / "run")
    return folder / "run", folder / "cache"


def test_a_listwise_run_trains_and_is_measured_on_held_out_pairs(listwise_run):
    workdir, _ = listwise_run
    assert list(logged(workdir, "loss")) == [1, 2, 3, 4, 5, 6]
    assert losses(workdir)[0] > np.log(2)  # more than one comparison per group
    assert all(0 <= value <= 1 for value in logged(workdir, "accuracy").values())
    assert list(logged(workdir, "heldout/accuracy")) == [0, 2, 4, 6]
    assert json.loads((workdir / "summary.json").read_text())["steps"] == 6


def test_stopped_and_resumed_continues_bitwise(listwise_run, tmp_path, monkeypatch):
    workdir, cache = listwise_run
    with monkeypatch.context() as patch:
        real = loop.pipeline.train_steps

        def stops(*args, **kwargs):
            iterator = real(*args, **kwargs)
            yield from (next(iterator) for _ in range(3))
            raise KeyboardInterrupt

        patch.setattr(loop.pipeline, "train_steps", stops)
        with pytest.raises(KeyboardInterrupt):
            loop.run(tiny_config(cache, **GROUPS_OF_FOUR), tmp_path)
    loop.run(tiny_config(cache, **GROUPS_OF_FOUR), tmp_path)
    assert losses(tmp_path) == losses(workdir)
    assert fingerprints(tmp_path) == fingerprints(workdir)


def test_one_device_trains_as_eight(listwise_run, tmp_path, monkeypatch):
    workdir, cache = listwise_run
    monkeypatch.setattr(loop, "make_mesh", lambda **axes: _mesh_of_one())
    loop.run(tiny_config(cache, **GROUPS_OF_FOUR), tmp_path)
    np.testing.assert_allclose(losses(tmp_path), losses(workdir), rtol=1e-4)


def _mesh_of_one():
    return loop_mesh(data=1, fsdp=1, tensor=1, devices=jax.devices()[:1])


loop_mesh = loop.make_mesh


def test_on_pairs_it_is_the_bradley_terry_run(tiny_run, tmp_path):
    """A record with one pair is a ranked group of two, and step k holds the same ones."""
    workdir, _, cache = tiny_run
    loop.run(tiny_config(cache, **{"loss.name": "plackett_luce"}), tmp_path)
    np.testing.assert_allclose(losses(tmp_path), losses(workdir), rtol=1e-4)
    for name in ("accuracy", "margin", "reward", "grad_norm"):
        listwise = list(logged(tmp_path, name).values())
        pairwise = list(logged(workdir, name).values())
        np.testing.assert_allclose(listwise, pairwise, rtol=1e-3, atol=1e-6, err_msg=name)


def test_more_responses_than_the_config_has_room_for_are_refused(listwise_run, tmp_path):
    _, cache = listwise_run
    with pytest.raises(ValueError, match="ranks 4 responses, batch.responses = 2: set batch"):
        loop.run(tiny_config(cache, **GROUPS_OF_FOUR | {"batch.responses": 2}), tmp_path)
