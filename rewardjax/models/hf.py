"""Hugging Face folders of safetensors.

They are read straight into sharded arrays and written back bit for bit.
"""

import contextlib
import json
import math
import operator
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging
from flax import nnx
from jax.experimental import multihost_utils

from rewardjax.models import families, reward
from rewardjax.models.config import Compute, DecoderConfig
from rewardjax.models.finite import refuse_not_finite
from rewardjax.models.hf_config import read_config, read_dtype, write_config
from rewardjax.models.hf_folder import (
    HEAD,
    INDEX,
    VOCABULARY_HEAD,
    WEIGHTS,
    open_tensors,
    refuse_other_head,
    write_tensors,
)
from rewardjax.models.hf_table import (
    Rule,
    names,
    sizes,
    their_shape,
    their_slices,
    to_ours,
    to_theirs,
)
from rewardjax.models.reward import RewardModel
from rewardjax.parallel.mesh import Layout

__all__ = ["check", "load", "read_config", "read_dtype", "save"]


def load(
    folder: str | pathlib.Path,
    compute: Compute,
    layout: Layout,
    init_head: bool = False,
    seed: int = 0,
) -> RewardModel:
    """The model of a Hugging Face folder on the current mesh, float32.

    Every process reads only the parts that its devices hold. Takes *ForSequenceClassification, and
    *ForCausalLM, whose vocabulary head is left out. A missing head is drawn from `seed` if
    `init_head`, else refused; an existing one is always kept. Raises ValueError that names a
    missing, unexpected or misshapen tensor, or a weight that is not finite.
    """
    folder = pathlib.Path(folder)
    config = read_config(folder)
    model = reward.abstract(config, compute, layout)
    size = sizes(config)
    with contextlib.ExitStack() as stack:
        tensors, rules = _open(folder, config, init_head, stack)
        new_head = HEAD not in tensors
        for rule in rules:
            param = operator.attrgetter(rule.path)(model)
            spec = param.get_value()
            read = _reader(tensors, rule, spec.shape, size)
            param.set_value(jax.make_array_from_callback(spec.shape, spec.sharding, read))
        if new_head:
            model.head = jax.jit(lambda: reward.new_head(config, layout, nnx.Rngs(params=seed)))()
        logging.info("%s: %d tensors, new head: %s", folder, len(tensors), new_head)
    refuse_not_finite(nnx.state(model, nnx.Param), folder)
    return model


def check(folder: str | pathlib.Path, init_head: bool = False) -> None:
    """Raise what `load` would raise for the folder, without reading a weight."""
    folder = pathlib.Path(folder)
    with contextlib.ExitStack() as stack:
        _open(folder, read_config(folder), init_head, stack)


def _open(
    folder: pathlib.Path, config: DecoderConfig, init_head: bool, stack: contextlib.ExitStack
) -> tuple[dict[str, Any], list[Rule]]:
    """The folder's tensors as lazy handles, and the rules by which they are read.

    Without the head's rule where there is no head and `init_head` allows for that. Raises
    ValueError for tensors that are not those of the rules.
    """
    tensors = open_tensors(folder, stack)
    # A language model's own head is of no use here. transformers passes over it too where a folder
    # has both heads.
    tensors.pop(VOCABULARY_HEAD, None)
    rules = list(families.get(config.family).rules)
    if HEAD not in tensors:
        refuse_other_head(folder, tensors)
        if not init_head:
            raise ValueError(
                f"{folder}: there is no {HEAD}, so this is a language model and not yet a reward "
                "model (one that writes its verdicts has no reward to read); training with "
                "--config.model.folder and init_head=True makes one of it"
            )
        rules = [rule for rule in rules if rule.name != HEAD]
    _check(folder, tensors, rules, config.layers, sizes(config))
    return tensors, rules


def save(
    model: RewardModel,
    folder: str | pathlib.Path,
    *,
    pad_token_id: int,
    eos_token_id: int | list[int],
    bos_token_id: int | None = None,
    dtype: str = "float32",
    shard_bytes: int = 5_000_000_000,
) -> None:
    """Write `config.json` and the weights of a *ForSequenceClassification folder.

    In files of at most `shard_bytes` (or one tensor). All processes must call it; process 0 writes.
    Weights of an earlier save are replaced, and `config.json` comes last: a folder that has one is
    complete. Raises ValueError for an unknown dtype or a pad token that is also EOS.
    """
    if dtype not in ("float32", "bfloat16"):
        raise ValueError(f"dtype={dtype!r}; choose 'float32' or 'bfloat16'")
    config, folder, writes = model.decoder.config, pathlib.Path(folder), jax.process_index() == 0
    text = write_config(
        config,
        dtype=dtype,
        pad_token_id=pad_token_id,
        eos_token_id=eos_token_id,
        bos_token_id=bos_token_id,
    )
    size, itemsize = sizes(config), jnp.dtype(dtype).itemsize
    origin = {}
    for rule in families.get(config.family).rules:
        for name, layer in names(rule, config.layers):
            origin[name] = (rule, layer)
    files = _plan_files(
        {name: rule for name, (rule, _) in origin.items()}, size, itemsize, shard_bytes
    )
    file_names = [WEIGHTS]
    if len(files) > 1:
        number = range(1, len(files) + 1)
        file_names = [f"model-{n:05d}-of-{len(files):05d}.safetensors" for n in number]
    if writes:
        folder.mkdir(parents=True, exist_ok=True)
        for old in [folder / "config.json", folder / INDEX, *folder.glob("model*.safetensors")]:
            old.unlink(missing_ok=True)
    for file, members in zip(file_names, files, strict=True):
        tensors = {}
        for name in members:
            rule, layer = origin[name]
            param = operator.attrgetter(rule.path)(model)[...]
            # One layer of one parameter at a time is gathered: the whole model fits on no device.
            if layer is not None:
                param = param[layer]
            whole = _to_host(param.astype(dtype))
            if writes:
                tensors[name] = np.ascontiguousarray(to_theirs(rule, whole, size))
        if writes:
            write_tensors(tensors, folder / file, metadata={"format": "pt"})
    if writes:
        if len(files) > 1:
            numbers = sum(math.prod(their_shape(rule, size)) for rule, _ in origin.values())
            file_of = {}
            for file, members in zip(file_names, files, strict=True):
                file_of |= dict.fromkeys(members, file)
            index = {"metadata": {"total_size": numbers * itemsize}, "weight_map": file_of}
            (folder / INDEX).write_text(json.dumps(index, indent=2) + "\n")
        (folder / "config.json").write_text(text)
    # Nobody reads before it is complete.
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(f"hf.save {folder}")


def _check(
    folder: pathlib.Path,
    tensors: dict[str, Any],
    rules: list[Rule],
    layers: int,
    size: dict[str, int],
) -> None:
    """Raise ValueError unless the tensors are those of the rules, in name, shape and type."""
    expected = {}
    for rule in rules:
        expected |= dict.fromkeys((name for name, _ in names(rule, layers)), rule)
    if missing := sorted(expected.keys() - tensors.keys()):
        raise ValueError(f"{folder}: {len(missing)} tensors are missing, the first is {missing[0]}")
    if unexpected := sorted(tensors.keys() - expected.keys()):
        raise ValueError(
            f"{folder}: {len(unexpected)} tensors are not part of this model, the first is "
            f"{unexpected[0]}"
        )
    for name, rule in expected.items():
        shape, dtype = tuple(tensors[name].get_shape()), tensors[name].get_dtype()
        if name == HEAD and len(shape) == 2 and shape[0] > 1:
            raise ValueError(
                f"{folder}: {name} has shape {shape}, {shape[0]} outputs per response; a reward "
                f"model has one: keep the row that is the reward, {their_shape(rule, size)}"
            )
        if shape != their_shape(rule, size):
            raise ValueError(
                f"{folder}: {name} has shape {shape}; config.json makes it "
                f"{their_shape(rule, size)}"
            )
        if dtype not in ("F32", "BF16", "F16"):
            raise ValueError(
                f"{folder}: {name} is {dtype}; only float32, bfloat16 and float16 weights are read"
            )


def _reader(
    tensors: dict[str, Any], rule: Rule, shape: tuple[int, ...], size: dict[str, int]
) -> Callable[[Any], np.ndarray]:
    """A function that reads a block of our parameter, given by its index, as float32.

    Devices that hold the same block share one read.
    """
    blocks = {}

    def read_block(name, index):
        block = their_slices(rule, index, size)
        return to_ours(rule, tensors[name][block], size).astype(np.float32)

    def read(index):
        # Bounds instead of slices, whose spelling differs between devices with the same block.
        key = tuple(part.indices(length)[:2] for part, length in zip(index, shape, strict=True))
        if key not in blocks and rule.stacked:
            layers = [rule.name.format(layer) for layer in range(*key[0])]
            blocks[key] = np.stack([read_block(name, index[1:]) for name in layers])
        elif key not in blocks:
            blocks[key] = read_block(rule.name, index)
        return blocks[key]

    return read


def _plan_files(
    names_rules: dict[str, Rule], size: dict[str, int], itemsize: int, shard_bytes: int
) -> list[list[str]]:
    """Names of the tensors of each file, in order.

    A file is closed when the next tensor would not fit.
    """
    files, used = [[]], 0
    for name, rule in names_rules.items():
        more = math.prod(their_shape(rule, size)) * itemsize
        if files[-1] and used + more > shard_bytes:
            files, used = [*files, []], 0
        files[-1].append(name)
        used += more
    return files


def _to_host(array: jax.Array) -> np.ndarray:
    """The whole of a sharded array on this host; a collective when other hosts hold parts of it."""
    if not array.is_fully_addressable:
        array = jax.reshard(array, jax.P())
    return np.asarray(array)
