"""Hugging Face folders of safetensors: read straight into sharded arrays, write back bit for bit."""

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
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from rewardjax.models import families, reward
from rewardjax.models.config import Compute
from rewardjax.models.hf_config import read_config, read_json, write_config
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

__all__ = ["load", "read_config", "save"]

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
HEAD, VOCABULARY_HEAD = "score.weight", "lm_head.weight"


def load(
    folder: str | pathlib.Path,
    compute: Compute,
    layout: Layout,
    init_head: bool = False,
    seed: int = 0,
) -> RewardModel:
    """The model of a Hugging Face folder on the current mesh, float32; every process reads only the parts that its devices hold.

    Takes *ForSequenceClassification, and *ForCausalLM, whose vocabulary head is left out. A missing head is drawn from `seed` if
    `init_head`, else refused; an existing one is always kept. ValueError names a missing, unexpected or misshapen tensor.
    """
    folder = pathlib.Path(folder)
    config = read_config(folder)
    model = reward.abstract(config, compute, layout)
    size, rules = sizes(config), families.get(config.family).rules
    with contextlib.ExitStack() as stack:
        tensors = _open(folder, stack)
        if new_head := HEAD not in tensors:
            if not init_head:
                raise ValueError(
                    f"{folder}: there is no {HEAD}, so this is not yet a reward model; init_head=True starts one from it"
                )
            rules = [rule for rule in rules if rule.name != HEAD]
        _check(
            folder,
            tensors,
            rules,
            config.layers,
            size,
            ignored={VOCABULARY_HEAD} if new_head else set(),
        )
        for rule in rules:
            param = operator.attrgetter(rule.path)(model)
            wanted = param.get_value()
            param.set_value(
                jax.make_array_from_callback(
                    wanted.shape, wanted.sharding, _reader(tensors, rule, wanted.shape, size)
                )
            )
        if new_head:
            model.head = jax.jit(lambda: reward.new_head(config, layout, nnx.Rngs(params=seed)))()
        ignored = f", {VOCABULARY_HEAD} left out" if VOCABULARY_HEAD in tensors else ""
        logging.info(
            "%s: %d tensors%s, head %s",
            folder,
            len(tensors),
            ignored,
            f"drawn with seed {seed}" if new_head else "read",
        )
    return model


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
    """Writes `config.json` and the weights of a *ForSequenceClassification folder, in files of at most `shard_bytes` (or one tensor).

    All processes must call it; process 0 writes. Weights of an earlier save are replaced, and `config.json` comes last: a folder that has
    one is complete. ValueError for an unknown dtype or a pad token that is also EOS.
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
    origin = {
        name: (rule, layer)
        for rule in families.get(config.family).rules
        for name, layer in names(rule, config.layers)
    }
    files = _plan_files(
        {name: rule for name, (rule, _) in origin.items()}, size, itemsize, shard_bytes
    )
    file_names = (
        [f"model-{i + 1:05d}-of-{len(files):05d}.safetensors" for i in range(len(files))]
        if len(files) > 1
        else [WEIGHTS]
    )
    if writes:
        folder.mkdir(parents=True, exist_ok=True)
        for old in [folder / "config.json", folder / INDEX, *folder.glob("model*.safetensors")]:
            old.unlink(missing_ok=True)
    for file, members in zip(file_names, files, strict=True):
        tensors = {}
        for name in members:  # one layer of one parameter at a time is gathered
            rule, layer = origin[name]
            param = operator.attrgetter(rule.path)(model)[...]
            whole = _to_host((param if layer is None else param[layer]).astype(dtype))
            if writes:
                tensors[name] = np.ascontiguousarray(to_theirs(rule, whole, size))
        if writes:
            save_file(tensors, folder / file, metadata={"format": "pt"})
    if writes:
        if len(files) > 1:
            total = (
                sum(math.prod(their_shape(rule, size)) for rule, _ in origin.values()) * itemsize
            )
            where = {
                name: file
                for file, members in zip(file_names, files, strict=True)
                for name in members
            }
            (folder / INDEX).write_text(
                json.dumps({"metadata": {"total_size": total}, "weight_map": where}, indent=2)
                + "\n"
            )
        (folder / "config.json").write_text(text)
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(
            f"hf.save {folder}"
        )  # nobody reads before it is complete


def _open(folder: pathlib.Path, stack: contextlib.ExitStack) -> dict[str, Any]:
    """Name -> lazy handle of every tensor in the folder's one or several files."""
    index = folder / INDEX
    if index.exists():
        promised = read_json(index).get("weight_map", {})
        files = sorted(set(promised.values()))
    elif (folder / WEIGHTS).exists():
        promised, files = {}, [WEIGHTS]
    else:
        raise FileNotFoundError(
            f"{folder}: neither {WEIGHTS} nor {INDEX}; weights in another format must be saved as safetensors first"
        )
    tensors = {}
    for file in files:
        try:
            opened = stack.enter_context(safe_open(folder / file, framework="numpy"))
        except (SafetensorError, OSError) as error:
            raise ValueError(
                f"{folder / file}: not a readable safetensors file ({error}); fetch it again"
            ) from None
        tensors |= {name: opened.get_slice(name) for name in opened.keys()}
    if lost := sorted(promised.keys() - tensors.keys()):
        raise ValueError(
            f"{index}: {lost[0]} is not in {promised[lost[0]]}; the files of this folder do not belong together"
        )
    return tensors


def _check(
    folder: pathlib.Path,
    tensors: dict[str, Any],
    rules: list[Rule],
    layers: int,
    size: dict[str, int],
    ignored: set[str],
) -> None:
    """ValueError unless the tensors are exactly those of the rules, in name, shape and a floating type."""
    expected = {name: rule for rule in rules for name, _ in names(rule, layers)}
    if missing := sorted(expected.keys() - tensors.keys()):
        raise ValueError(f"{folder}: {len(missing)} tensors are missing, the first is {missing[0]}")
    if unexpected := sorted(tensors.keys() - expected.keys() - ignored):
        raise ValueError(
            f"{folder}: {len(unexpected)} tensors are not part of this model, the first is {unexpected[0]}"
        )
    for name, rule in expected.items():
        found, wanted = tuple(tensors[name].get_shape()), their_shape(rule, size)
        if found != wanted:
            raise ValueError(f"{folder}: {name} has shape {found}; config.json makes it {wanted}")
        if tensors[name].get_dtype() not in ("F32", "BF16", "F16"):
            raise ValueError(
                f"{folder}: {name} is {tensors[name].get_dtype()}; only float32, bfloat16 and float16 weights are read"
            )


def _reader(
    tensors: dict[str, Any], rule: Rule, shape: tuple[int, ...], size: dict[str, int]
) -> Callable[[Any], np.ndarray]:
    """index into our parameter -> that block, float32. Devices that hold the same block share one read."""
    blocks = {}

    def read(index):
        key = tuple(part.indices(length)[:2] for part, length in zip(index, shape, strict=True))
        if key not in blocks:
            layers = range(*key[0]) if rule.stacked else [None]
            block = their_slices(rule, index[1:] if rule.stacked else index, size)
            parts = [
                to_ours(rule, tensors[rule.name.format(layer)][block], size).astype(np.float32)
                for layer in layers
            ]
            blocks[key] = np.stack(parts) if rule.stacked else parts[0]
        return blocks[key]

    return read


def _plan_files(
    names_rules: dict[str, Rule], size: dict[str, int], itemsize: int, shard_bytes: int
) -> list[list[str]]:
    """Names of the tensors of each file, in order: a file is closed when the next tensor would not fit."""
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
    return np.asarray(array if array.is_fully_addressable else jax.reshard(array, jax.P()))
