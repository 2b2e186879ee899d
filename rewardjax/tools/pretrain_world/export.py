"""A pretraining state as a Hugging Face folder, with a record of how it was made.

`models.hf.save` writes reward models; this is a language model without a head of its own.
"""

import json
import pathlib
from typing import Any

import ml_dtypes
import numpy as np
from safetensors.numpy import load_file, save

from rewardjax import fingerprint
from rewardjax.data.chat import ChatTokenizer
from rewardjax.models import families
from rewardjax.models.config import DecoderConfig
from rewardjax.models.hf_config import write_config
from rewardjax.models.hf_table import names, sizes, to_theirs
from rewardjax.tools.pretrain_world.state import STATE, decoder_weights
from rewardjax.tools.pretrain_world.tokenizer import TOKENIZER_NUM
from rewardjax.tools.pretrain_world.train import LOG


def export(run: str, output: str) -> None:
    """The newest state of `run` as a Qwen3ForCausalLM in bfloat16, with tokenizer, log and record.

    Prints the record, which is also written to pretraining.json.
    """
    run_folder, folder = pathlib.Path(run), pathlib.Path(output)
    config = DecoderConfig(**json.loads((run_folder / "decoder.json").read_text()))
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("tokenizer.json", "tokenizer_config.json", LOG):
        (folder / name).write_bytes((run_folder / name).read_bytes())
    arrays = load_file(run_folder / STATE)
    tensors = _their_tensors(config, arrays)
    # Half the bytes: the backbone ships with the package.
    (folder / "model.safetensors").write_bytes(save(tensors, metadata={"format": "pt"}))
    (folder / "config.json").write_text(_config_json(config, folder))
    parameters = sum(array.size for array in tensors.values())
    record = record_of(folder, step=int(arrays["step"]), parameters=parameters)
    (folder / "pretraining.json").write_text(json.dumps(record, indent=2) + "\n")
    print(json.dumps(record))


def _their_tensors(config: DecoderConfig, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The decoder's weights under Hugging Face's names, in bfloat16; the probe is thrown away."""
    tensors, size = {}, sizes(config)
    for rule in families.get(config.family).rules:
        # The table also has the head, which only reward models have.
        if not rule.path.startswith("decoder."):
            continue
        ours = decoder_weights(arrays, rule.path)
        for name, layer in names(rule, config.layers):
            # Ours are stacked over layers, except those that no layer owns.
            one_layer = ours
            if layer is not None:
                one_layer = ours[layer]
            theirs = to_theirs(rule, one_layer, size)
            tensors[name] = np.ascontiguousarray(theirs).astype(ml_dtypes.bfloat16)
    return tensors


def _config_json(config: DecoderConfig, folder: pathlib.Path) -> str:
    """config.json of a causal language model; the folder must have its tokenizer by now."""
    chat = ChatTokenizer.load(folder)
    fields = json.loads(
        write_config(
            config,
            dtype="bfloat16",
            pad_token_id=chat.pad_id,
            eos_token_id=chat.eos_id,
            bos_token_id=None,
        )
    )
    # What `write_config` says of a classifier with one output.
    del fields["id2label"], fields["label2id"], fields["problem_type"]
    fields["architectures"] = ["Qwen3ForCausalLM"]
    return json.dumps(fields, indent=2, sort_keys=True) + "\n"


def record_of(folder: pathlib.Path, step: int, parameters: int) -> dict[str, Any]:
    """How the backbone in `folder` was made: stages with all settings, last losses, time, hashes.

    Read from its log: a line with "start" for each start of the run, then lines with "step".
    """
    lines = [json.loads(line) for line in (folder / LOG).read_text().splitlines()]
    # A run can have gone on beyond the state that is exported.
    lines = [line for line in lines if line.get("step", line.get("start", 0)) <= step]
    starts = [line for line in lines if "start" in line]
    # The last line of each start: "seconds" counts from the start.
    ends = []
    for line, after in zip(lines, [*lines[1:], {"start": step}], strict=True):
        if "step" in line and "start" in after:
            ends.append(line)
    return {
        "model": {
            "fingerprint": fingerprint.of_file(folder / "model.safetensors"),
            "parameters": parameters,
            "steps": step,
        },
        "tokenizer": {
            "fingerprint": fingerprint.of_file(folder / "tokenizer.json"),
            "seed": 0,
            "num": TOKENIZER_NUM,
        },
        "world_version": starts[-1]["world_version"],
        "last": ends[-1],
        "minutes": round(sum(line["seconds"] for line in ends) / 60, 1),
        "stages": starts,
    }
