"""The workdir of a training run where a model's folder may stand: a checkpoint is the weights.

A run has its own copy of the tokenizer, and its config names the decoder.
"""

import contextlib
import pathlib
from collections.abc import Iterator
from typing import Any

from flax import nnx

from rewardjax import assets
from rewardjax.io import storage
from rewardjax.models import reward
from rewardjax.models.checkpoints import checkpoints
from rewardjax.models.config import Compute, DecoderConfig
from rewardjax.models.finite import refuse_not_finite
from rewardjax.parallel.mesh import Layout

CHECKPOINTS, TOKENIZER = "checkpoints", "tokenizer"


def resolve(folder: str | pathlib.Path, weights: bool = True) -> pathlib.Path:
    """The folder of a model on this machine, or the address of a run; else as `assets.resolve`."""
    if storage.is_address(folder):
        workdir = storage.path_of(folder)
        # Not copied as a model is: its checkpoints hold more than the weights, and several of them.
        with storage.asked(folder):
            if storage.names_in(workdir / CHECKPOINTS) != []:
                return workdir
    return assets.resolve(str(folder), weights=weights)


def is_run(path: pathlib.Path) -> bool:
    """Whether a folder that `resolve` gave is the workdir of a run, and not a model's folder."""
    return (path / CHECKPOINTS).is_dir()


@contextlib.contextmanager
def tokenizer_of(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """The folder on this machine where the tokenizer of the run or the model in `path` lies."""
    if not is_run(path):
        yield path
        return
    # The run's own copy: the folder that its config names may have moved or changed since.
    with storage.copied(path / TOKENIZER) as folder:
        yield folder


def refuse_unfinished(path: pathlib.Path) -> None:
    """Raise FileNotFoundError where the run in `path` has no checkpoint yet."""
    if not checkpoints.steps_of(path / CHECKPOINTS):
        raise FileNotFoundError(f"{path / CHECKPOINTS} has no finished checkpoint")


def load(
    path: pathlib.Path, decoder: DecoderConfig, compute: Compute, layout: Layout
) -> reward.RewardModel:
    """The model of the run's newest checkpoint on the current mesh, float32.

    Raises checkpoints.NoUsableCheckpoint, and ValueError for a weight that is not finite.
    """
    with checkpoints.reading(path / CHECKPOINTS) as saved:
        return restore(saved, decoder, compute, layout)[0]


def restore(
    saved: checkpoints.Checkpoints,
    decoder: DecoderConfig,
    compute: Compute,
    layout: Layout,
    step: int | None = None,
) -> tuple[reward.RewardModel, dict[str, Any]]:
    """The model of a checkpoint, the newest where no step is named, and the checkpoint's record."""
    graph, abstract = nnx.split(reward.abstract(decoder, compute, layout), nnx.Param)
    # Without the optimizer's state: it is twice the parameters, and belongs to the run.
    _, trees, meta = saved.restore({"params": abstract}, step)
    refuse_not_finite(trees["params"], saved.folder.parent)
    return nnx.merge(graph, trees["params"]), meta
