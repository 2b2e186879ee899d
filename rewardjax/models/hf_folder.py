"""The tensors of a Hugging Face folder, under the names that transformers would give them.

Files of other makers and other years hold more than a reward model needs, or hold it under other
names. What transformers passes over is passed over here; what it would replace by random numbers,
with a warning that nobody reads, is refused with a sentence about what is there.
"""

import contextlib
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from rewardjax.models.hf_config import read_json

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
HEAD, HEAD_BIAS, VOCABULARY_HEAD = "score.weight", "score.bias", "lm_head.weight"
# Where LLaMA-Factory and older TRL keep a trained head beside the model's own files.
HEAD_FILES = ("value_head.safetensors", "value_head.bin", "v_head.safetensors", "v_head.bin")


def open_tensors(folder: pathlib.Path, stack: contextlib.ExitStack) -> dict[str, Any]:
    """Name -> lazy handle of every tensor in the folder's one or several files.

    Rotary buffers of older files and a head bias of zeros are left out. Raises FileNotFoundError or
    ValueError that names the file.
    """
    tensors = _with_prefix(_all_tensors(folder, stack))
    # Llama files of 2023 hold the rotary wavelengths too, which follow from config.json.
    for name in [name for name in tensors if name.endswith("rotary_emb.inv_freq")]:
        del tensors[name]
    if unmerged := [name for name in tensors if ".lora_" in name]:
        raise ValueError(
            f"{folder}: {unmerged[0]} is a LoRA matrix that is not merged into its weight; merge "
            "first (peft: merge_and_unload, then save_pretrained)"
        )
    # Classes of transformers have no bias in this head; some trainers write one that stayed zero.
    if HEAD_BIAS in tensors:
        bias = np.asarray(tensors.pop(HEAD_BIAS)[:], np.float32)
        if np.any(bias):
            raise ValueError(
                f"{folder}: {HEAD_BIAS} is {bias.tolist()}; a reward head has no bias (it would "
                "shift every reward alike): delete the tensor if the shift does not matter"
            )
    return tensors


def write_tensors(
    tensors: dict[str, np.ndarray], path: pathlib.Path, metadata: dict[str, str] | None = None
) -> None:
    """Write a safetensors file that whoever may read its neighbors may read."""
    # safetensors renames a private temporary file (mode 0600), which a server under another user
    # could not open. A file made in the usual way tells the mode that the umask gives.
    path.touch()
    mode = path.stat().st_mode
    save_file(tensors, path, metadata=metadata)
    path.chmod(mode)


def refuse_other_head(folder: pathlib.Path, tensors: Mapping[str, Any]) -> None:
    """Raise ValueError if there is a trained head that is not called `score.weight`.

    A new head would be drawn in its place.
    """
    files = [name for name in HEAD_FILES if (folder / name).exists()]
    if files:
        raise ValueError(
            f"{folder}: the trained head is in {files[0]}, a file of its own that transformers "
            f"does not read; save its weight as {HEAD}, [1, hidden_size], with the model's"
        )
    heads = [name for name in tensors if _is_head(name)]
    if not heads:
        return
    shapes = ", ".join(f"{name} {list(tensors[name].get_shape())}" for name in heads[:4])
    outputs = tensors[heads[0]].get_shape()
    remedy = f"rename its weight to {HEAD} (a bias must be zero) and save the folder again"
    if len(outputs) == 2 and outputs[0] > 1:
        remedy = f"a reward model has one output: keep one row of it, [1, {outputs[1]}], as {HEAD}"
    raise ValueError(
        f"{folder}: there is no {HEAD}, but a head of another name: {shapes}; {remedy}"
    )


def _is_head(name: str) -> bool:
    """Whether a tensor lies outside the decoder, and is not the vocabulary head."""
    inside = name.startswith("model.") or ".layers." in name or "embed" in name
    return not inside and not name.startswith("lm_head.")


def _with_prefix(tensors: dict[str, Any]) -> dict[str, Any]:
    """The tensors of a bare decoder (`LlamaModel`) under its names in a whole model."""
    if "embed_tokens.weight" not in tensors:
        return tensors
    renamed = {}
    for name, tensor in tensors.items():
        if name.startswith(("layers.", "embed_tokens.", "norm.", "rotary_emb.")):
            name = f"model.{name}"
        renamed[name] = tensor
    return renamed


def _all_tensors(folder: pathlib.Path, stack: contextlib.ExitStack) -> dict[str, Any]:
    index = folder / INDEX
    if index.exists():
        promised = read_json(index).get("weight_map", {})
        files = sorted(set(promised.values()))
    elif (folder / WEIGHTS).exists():
        promised, files = {}, [WEIGHTS]
    else:
        raise FileNotFoundError(
            f"{folder}: neither {WEIGHTS} nor {INDEX}; weights in another format must be saved as "
            "safetensors first"
        )
    # Handles only: a tensor, or the part of it that a device holds, is read when it is asked for.
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
            f"{index}: {lost[0]} is not in {promised[lost[0]]}; the files of this folder do not "
            "belong together"
        )
    return tensors
