"""One search for neighbors at the paper's scale, to plan on a slice.

    python -m rewardjax.compile --mode=retrieval --topology=v5e:4x4 \\
        --config=configs/curation/retrieval.py [--config.queries=500000]

`mesh` spreads the base over all devices, whatever its axes.
"""

from ml_collections import ConfigDict

from rewardjax.config import Config


def get_config(arg: str | None = None) -> Config:
    del arg
    sizes = dict(
        queries=100_000, base=1_000_000, width=256, k=8
    )  # gold pairs, unverified pairs, of a vector, neighbors
    return ConfigDict(sizes | {"mesh": dict(data=-1, fsdp=1, tensor=1)})
