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

from rewardjax.io import foreign_files
from rewardjax.io.files import refuse_stand_in
from rewardjax.models.hf_config import files_of, read_json

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
HEAD, HEAD_BIAS, VOCABULARY_HEAD = "score.weight", "score.bias", "lm_head.weight"
# Where LLaMA-Factory and older TRL keep a trained head beside the model's own files.
HEAD_FILES = ("value_head.safetensors", "value_head.bin", "v_head.safetensors", "v_head.bin")
# Weights as Python objects, which could run anything when they are opened.
PICKLED = ("pytorch_model*.bin", "*.pt", "*.pth", "model*.bin")
# Ends of the tensors in which GPTQ, AWQ, FP8 and bitsandbytes keep a weight and its scales.
QUANTIZED = (
    *(".qweight", ".qzeros", ".scales", ".weight_scale", ".weight_scale_inv"),
    *(".weight.absmax", ".SCB"),
)
SAVE_AGAIN = (
    "load the model where it was made, with transformers, and save_pretrained it, which writes "
    "safetensors"
)


def open_tensors(folder: pathlib.Path, stack: contextlib.ExitStack) -> dict[str, Any]:
    """Name -> lazy handle of every tensor in the folder's one or several files.

    Rotary buffers of older files and a head bias of zeros are left out. Raises FileNotFoundError or
    ValueError that names the file.
    """
    tensors = _with_prefix(_all_tensors(folder, stack))
    _refuse_wrapped(folder, tensors)
    if packed := [name for name in tensors if name.endswith(QUANTIZED)]:
        raise ValueError(
            f"{folder}: {packed[0]} belongs to a quantized weight, which is not read; use the "
            "folder of the unquantized model"
        )
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
    if files := _head_files(folder):
        raise ValueError(
            f"{folder}: the trained head is in {files[0]}, a file of its own that transformers "
            f"does not read; save its weight as {HEAD}, [1, hidden_size], with the model's"
        )
    heads = [name for name in tensors if _is_head(name)]
    if not heads:
        return
    shapes = {name: list(tensors[name].get_shape()) for name in heads}
    named = ", ".join(f"{name} {shape}" for name, shape in list(shapes.items())[:4])
    raise ValueError(
        f"{folder}: there is no {HEAD}, but a head of another name: {named}; "
        f"{_remedy(list(shapes.values()))}"
    )


def _remedy(shapes: list[list[int]]) -> str:
    """What to do with a head whose tensors have these shapes."""
    matrices = [shape for shape in shapes if len(shape) == 2]
    if len(matrices) > 1:
        return (
            "it has more than one layer, and a reward model here is one linear layer behind the "
            "decoder: score with the maker's own code, whose rewards can be compared as a file"
        )
    if matrices and matrices[0][0] > 1:
        width = matrices[0][1]
        return f"a reward model has one output: keep one row of it, [1, {width}], as {HEAD}"
    return (
        f"rename its weight to {HEAD} (a bias, which shifts every reward alike, must be zero or "
        "left out) and save the folder again"
    )


def _head_files(folder: pathlib.Path) -> list[str]:
    """Files of the folder that hold nothing but a head."""
    return [name for name in HEAD_FILES if (folder / name).exists()]


def _is_head(name: str) -> bool:
    """Whether a tensor lies outside the decoder, and is not the vocabulary head."""
    inside = name.startswith("model.") or ".layers." in name or "embed" in name
    return not inside and not name.startswith("lm_head.")


def _refuse_wrapped(folder: pathlib.Path, tensors: Mapping[str, Any]) -> None:
    """Raise ValueError where the decoder's tensors have the names that they have in a wrapper."""
    for name in tensors:
        wrapper = name.removesuffix("embed_tokens.weight").removesuffix("model.")
        # Of LoRA, which another message is about.
        if not name.endswith("embed_tokens.weight") or not wrapper or "base_model" in wrapper:
            continue
        raise ValueError(
            f"{folder}: the tensors are named as inside a wrapper ({name}, as TRL's value-head "
            f"models, torch.compile and DDP have them); save the model inside it, so that the "
            f"names begin with model."
        )


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


def _instead(folder: pathlib.Path) -> str:
    """What a folder without weights that can be read has in their place, and what to do."""
    heads = "".join(f" and the trained head in {name}" for name in _head_files(folder))
    for pattern in PICKLED:
        for file in sorted(folder.glob(pattern)):
            if file.name not in HEAD_FILES:
                return f"the weights are pickled, in {file.name}{heads}: {SAVE_AGAIN}"
    for file in sorted(folder.glob("*.gguf")):
        return f"{file.name} is llama.cpp's format: use the folder that it was converted from"
    if parts := sorted(file.name for file in folder.glob("*.safetensors")):
        return f"{parts[0]} is there without its index: fetch {INDEX} of the same repository too"
    return f"the folder has {files_of(folder)}; fetch the weights too"


def _all_tensors(folder: pathlib.Path, stack: contextlib.ExitStack) -> dict[str, Any]:
    index = folder / INDEX
    if index.exists():
        promised = read_json(index).get("weight_map")
        if not isinstance(promised, dict):
            raise ValueError(f"{index}: weight_map is not an object; fetch it again")
        for file in promised.values():
            foreign_files.inside(folder, file, str(index))
        files = sorted(set(promised.values()))
    elif (folder / WEIGHTS).exists():
        promised, files = {}, [WEIGHTS]
    else:
        raise FileNotFoundError(f"{folder}: neither {WEIGHTS} nor {INDEX}; {_instead(folder)}")
    # Handles only: a tensor, or the part of it that a device holds, is read when it is asked for.
    tensors = {}
    for file in files:
        refuse_stand_in(folder / file)
        foreign_files.refuse_link_out(folder / file)
        if not (folder / file).exists():
            raise FileNotFoundError(
                f"{folder / file}: not there, though {INDEX} names it; fetch that file too"
            )
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
