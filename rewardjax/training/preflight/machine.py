"""Checks of what a training run finds on its machine, before any data is read."""

import importlib.util
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import jax
from flax import nnx

from rewardjax import config as config_lib
from rewardjax.command import errors
from rewardjax.config import Config
from rewardjax.data import spelling
from rewardjax.data.chat import ChatTokenizer
from rewardjax.data.sources import open_source
from rewardjax.io import files, storage
from rewardjax.kernels.attention import FASTEST
from rewardjax.models import build, reward, trainable
from rewardjax.models.checkpoints.checkpoints import steps_of
from rewardjax.models.config import Compute, DecoderConfig
from rewardjax.parallel.mesh import Layout, make_mesh, refuse_uneven_rows, row_share
from rewardjax.reporting import run_record
from rewardjax.scoring import contract
from rewardjax.training import metrics, optim
from rewardjax.training.preflight import host_memory
from rewardjax.training.preflight.fields import data_sections, refusals
from rewardjax.training.preflight.resume import refuse_if_changed

# Asked for by name and not imported: importing TensorBoard's takes a second.
WRITERS = {"tensorboard": "tensorboardX", "wandb": "wandb"}  # field of log.writers -> its package
GB = 1e9


class Sizes(NamedTuple):
    """Bytes of one checkpoint: parameters, and two moments of those that are trained."""

    parameters: int
    moments: int

    @property
    def total(self) -> int:
        """Of the whole checkpoint."""
        return self.parameters + self.moments


def check(config: Config, workdir: str | pathlib.Path) -> errors.Complaints:
    """What is wrong with folders, files and devices that a run with sound fields would use."""
    complaints = errors.Complaints()
    for check in CHECKS:
        complaints.add(check(config, workdir))
    return complaints


# ------------------------------------------------------------------ folders


def workdir_takes_run(config: Config, workdir: str | pathlib.Path) -> Iterator[str]:
    """Whether the workdir can be written, and holds no run of another config."""
    if reason := files.unwritable(workdir, addresses=True):
        yield f"--workdir: {reason}"
        return
    workdir = storage.path_of(workdir)
    # Its config would name itself as where the decoder is described.
    start = config.model.folder
    if start is not None and os.path.realpath(start) == os.path.realpath(workdir):
        yield f"model.folder: {workdir} is this run's own --workdir; name another --workdir"
        return
    # Without a finished checkpoint there is nothing to continue, and nothing to lose.
    if steps_of(workdir / "checkpoints") and (workdir / "config.json").exists():
        saved = {"config": run_record.read_config(workdir)}
        yield from refusals(
            refuse_if_changed, saved, {"config": config_lib.resolve(config)}, workdir
        )


def caches(config: Config, workdir: str | pathlib.Path) -> Iterator[str]:
    """Whether tokenized data can be kept."""
    for where, section in data_sections(config):
        if reason := files.unwritable(section.cache, addresses=True):
            yield f"{where}.cache: {reason}"


def sources(config: Config, workdir: str | pathlib.Path) -> Iterator[str]:
    """Whether the data are where the config says; nothing of them is read."""
    for where, section in data_sections(config):
        # An empty path would be the working directory.
        if not section.source:
            yield f"{where}.source is empty: name the data, such as pairs.jsonl"
            continue
        described = {"split": section.get("split"), "spelling": spelling.of_entry(where)}
        for complaint in refusals(open_source, section.source, **described):
            yield f"{where}.source: {complaint}"


def packages(config: Config, workdir: str | pathlib.Path) -> Iterator[str]:
    """Whether what writes metrics is installed and can be told what it is told."""
    yield from refusals(metrics.wandb_options, config.log.writers.wandb)
    for writer, package in WRITERS.items():
        if config.log.writers[writer] and importlib.util.find_spec(package) is None:
            yield (
                f"log.writers.{writer}: the package {package} is not installed; pip install "
                f"'rewardjax[{writer}]', or set log.writers.{writer} to False"
            )


# ------------------------------------------------------------------ tokenizer and model


def tokenizer_and_model(config: Config, workdir: str | pathlib.Path) -> Iterator[str]:
    """Tokenizer and model files: there, whole, and made for each other."""
    refused = errors.Complaints()
    folder = config.model.folder
    tokenizer = refused.of(build.load_tokenizer, model_folder=folder, **config.tokenizer)
    decoder = _decoder(config)
    if folder is not None:
        refused.of(build.refuse_missing_weights, folder, config.model.init_head)
        if decoder is not None and tokenizer is not None:
            refused.of(build.refuse_other_decoder, folder, decoder)
    yield from refused.sentences()
    if tokenizer is None:
        return
    if decoder is not None:
        yield from refusals(build.refuse_other_vocabulary, tokenizer, decoder)
    # None: rows will be long enough (row_fit).
    if config.batch.row_length is not None:
        yield from refusals(refuse_golden, tokenizer, config.batch.row_length)


def _decoder(config: Config) -> DecoderConfig | None:
    """The decoder; None where the checks of fields, or of the model's folder, say why not."""
    return errors.Complaints().of(build.decoder_config, **config.model)


def refuse_golden(tokenizer: ChatTokenizer, row_length: int) -> None:
    """Raise ValueError unless a checkpoint's score contract could be made.

    Its golden conversations must pass the template, and each must fit a row.
    """
    longest = contract.longest_golden(tokenizer)
    if longest > row_length:
        raise ValueError(
            f"batch.row_length = {row_length}: the golden conversations, with which every "
            f"checkpoint is checked, need {longest} tokens; raise it to at least that"
        )


# ------------------------------------------------------------------ devices and disk


def mesh_and_model(config: Config, workdir: str | pathlib.Path) -> Iterator[str]:
    """Whether rows and model can be split over the devices, and a checkpoint has room.

    The optimizer's patterns are tried on the model's parameters, which are only described.
    """
    refused = errors.Complaints()
    mesh = refused.of(make_mesh, **config.mesh)
    if mesh is None:
        yield from refused.sentences()
        return
    with jax.set_mesh(mesh):
        if config.batch.rows is not None:
            refused.of(refuse_uneven_rows, config.batch.rows)
        refused.of(row_share, Layout())
        decoder, params = _decoder(config), None
        if decoder is not None:
            params = refused.of(_parameters, decoder)
        yield from refused.sentences()
    if params is None:
        return
    patterns = {name: config.optimizer[name] for name in optim.PATTERNS}
    complaints = refusals(optim.parameter_groups, params, **patterns)
    yield from (f"optimizer.{complaint}" for complaint in complaints)
    if not complaints:
        sizes = checkpoint_sizes(config, params)
        yield from room_for_checkpoints(config, workdir, sizes)
        yield from memory_for_save(sizes, host_memory.available())


def _parameters(decoder: DecoderConfig) -> Any:
    """Shapes of the model's parameters on the current mesh, however it is computed."""
    return nnx.split(reward.abstract(decoder, Compute(), Layout()), nnx.Param)[1]


def checkpoint_sizes(config: Config, params: Any) -> Sizes:
    """Bytes of a checkpoint of parameters that are only described."""
    trained, _ = trainable.split(params, optim.is_trainable(params, config.optimizer.freeze))
    # The second moment is float32 as the parameters are; the first may be shorter.
    moment_bytes = 8
    if config.optimizer.mu_dtype == "bfloat16":
        moment_bytes = 6
    return Sizes(
        parameters=4 * reward.count_parameters(params),
        moments=moment_bytes * reward.count_parameters(trained),
    )


def room_for_checkpoints(
    config: Config, workdir: str | pathlib.Path, sizes: Sizes
) -> Iterator[str]:
    """Whether the disk has room for two checkpoints: one is written while the last one stays."""
    # A bucket has room for as much as is paid for.
    if storage.is_address(workdir) or files.unwritable(workdir):
        return
    missing = 2
    # A run that goes on has one of them already.
    if steps_of(pathlib.Path(workdir) / "checkpoints"):
        missing = 1
    needed, free = missing * sizes.total, files.free_bytes(workdir)
    if needed > free:
        yield (
            f"--workdir: {workdir} has {free / GB:.1f} GB left, and one checkpoint takes "
            f"{sizes.total / GB:.1f} GB, of which there are two while the second is written "
            f"(checkpoint.keep.keep = {config.checkpoint.keep.keep} are kept); free some space, or "
            "name a folder on another disk"
        )


def memory_for_save(sizes: Sizes, available: int | None) -> Iterator[str]:
    """Whether the host can hold its part of the state, which a save copies to it.

    available: bytes, None where the system does not tell.
    """
    needed = sizes.total // jax.process_count()
    if available is not None and needed > available:
        yield (
            f"the host has {available / GB:.1f} GB of memory left, and a save copies "
            f"{needed / GB:.1f} GB of the state to it; take a host with more memory, or more hosts "
            "that share the state"
        )


def kernel(config: Config, workdir: str | pathlib.Path) -> Iterator[str]:
    """Whether the attention kernel runs on this machine's devices."""
    backend, platform = config.compute.attention, jax.default_backend()
    for its_platform, fastest in FASTEST.items():
        if backend == fastest and platform != its_platform:
            yield (
                f"compute.attention = {backend!r} runs on {its_platform}, and this machine's "
                f"devices are {platform}; set it to 'auto'"
            )


CHECKS: tuple[Callable[[Config, str | pathlib.Path], Iterable[str]], ...] = (
    workdir_takes_run,
    caches,
    sources,
    packages,
    tokenizer_and_model,
    mesh_and_model,
    kernel,
)
