"""A Hugging Face `config.json` and our DecoderConfig, in both directions.

What we would compute differently is refused by name, never ignored: a model that scores almost
right is worse than one that does not load.
"""

import json
import math
import pathlib
from typing import Any

from rewardjax.io import foreign_files
from rewardjax.models import families
from rewardjax.models.config import DecoderConfig, RopeScaling
from rewardjax.models.family import Family

ADAPTER = "adapter_config.json"  # written by peft
FILES_SHOWN = 6
# Of fields that are looked into; numbers are checked where they are read.
KINDS = {
    "auto_map": dict,
    "rope_parameters": dict,
    "rope_scaling": dict,
    "quantization_config": dict,
    "id2label": dict,
    "layer_types": list,
    "architectures": list,
    # Any text, also "false", would count as true.
    "tie_word_embeddings": bool,
}
KIND_NAMES = {dict: "an object", list: "a list", bool: "true or false"}
MOST_LAYERS, MOST = 10_000, 1 << 31  # above which a size is a mistake, or a trap


def read_json(path: pathlib.Path) -> dict[str, Any]:
    """The object in a JSON file. Raises FileNotFoundError or ValueError that names the file."""
    try:
        return foreign_files.read_object(path)
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{path}: not there; a Hugging Face model folder has a {path.name}, the workdir of a "
            f"run has checkpoints, and this folder has {files_of(path.parent)}"
        ) from None


def files_of(folder: pathlib.Path) -> str:
    """The first files of a folder, for a message about one that is not there."""
    names = sorted(path.name for path in folder.glob("*") if path.is_file())
    if not names:
        return "no file"
    return ", ".join(names[:FILES_SHOWN]) + ", ..." * (len(names) > FILES_SHOWN)


def read_config(folder: str | pathlib.Path) -> DecoderConfig:
    """The decoder that `folder/config.json` describes.

    Raises FileNotFoundError or ValueError that names the file, the field and the fix.
    """
    path = pathlib.Path(folder) / "config.json"
    _refuse_adapter(path.parent)
    raw = read_json(path)
    _refuse_other_kinds(raw, path)
    _refuse_own_code(raw, path)
    try:
        family = families.get(raw.get("model_type"))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: model_type={raw.get('model_type')!r}: {error}") from None
    raw = {**family.absent, **raw}
    _refuse_what_differs(family, raw, path)
    theta, scaling = _rope(raw, path)
    heads, width = _count(raw, "num_attention_heads", path), _count(raw, "hidden_size", path)
    # null means "one for each query head" and "the heads add up to the width", as in transformers.
    own = {"num_key_value_heads": heads, "head_dim": width // heads}
    own |= {name: raw[name] for name in own if raw.get(name)}
    kv_heads = _count(own, "num_key_value_heads", path)
    if heads % kv_heads:
        raise ValueError(
            f"{path}: num_attention_heads = {heads}, not a multiple of num_key_value_heads = "
            f"{kv_heads}"
        )
    return DecoderConfig(
        family=family.name,
        vocab_size=_count(raw, "vocab_size", path),
        width=width,
        mlp_width=_count(raw, "intermediate_size", path),
        layers=_count(raw, "num_hidden_layers", path, most=MOST_LAYERS),
        heads=heads,
        kv_heads=kv_heads,
        head_dim=_count(own, "head_dim", path),
        rope_theta=theta,
        rope_scaling=scaling,
        norm_eps=_scale(raw, "rms_norm_eps", path),
        tied=bool(raw.get("tie_word_embeddings", False)),
        max_positions=_count(raw, "max_position_embeddings", path),
    )


def read_dtype(folder: str | pathlib.Path) -> str:
    """The dtype in which a folder's maker computes: "bfloat16", or else "float32".

    float32 holds every float16 number, and bfloat16 would round most of them.
    """
    raw = read_json(pathlib.Path(folder) / "config.json")
    # Newer files say `dtype`; some hold "torch.bfloat16".
    stored = str(raw.get("dtype") or raw.get("torch_dtype"))
    if stored.removeprefix("torch.") == "bfloat16":
        return "bfloat16"
    return "float32"


def write_config(
    config: DecoderConfig,
    *,
    dtype: str,
    pad_token_id: int,
    eos_token_id: int | list[int],
    bos_token_id: int | None,
) -> str:
    """The text of a `config.json` for a reward model with one output.

    Raises ValueError when the pad token can end a text.
    """
    _refuse_pad_that_ends(pad_token_id, eos_token_id)
    family = families.get(config.family)
    # The older spelling of the rotary fields and of the dtype: every version of transformers, vLLM
    # and SGLang reads it.
    fields = {only.field: only.value for only in family.only} | {
        "architectures": [f"{family.architecture}ForSequenceClassification"],
        "model_type": config.family,
        "vocab_size": config.vocab_size,
        "hidden_size": config.width,
        "intermediate_size": config.mlp_width,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_dim,
        "rope_theta": config.rope_theta,
        "rope_scaling": _rope_scaling_fields(config.rope_scaling),
        "rms_norm_eps": config.norm_eps,
        "tie_word_embeddings": config.tied,
        "max_position_embeddings": config.max_positions,
        "id2label": {"0": "LABEL_0"},
        "label2id": {"LABEL_0": 0},
        # Or transformers' pipelines and vLLM's /classify put a sigmoid on the reward.
        "problem_type": "regression",
        "torch_dtype": dtype,
        "pad_token_id": pad_token_id,
        "eos_token_id": eos_token_id,
        "bos_token_id": bos_token_id,
    }
    return json.dumps(fields, indent=2, sort_keys=True) + "\n"


def _rope_scaling_fields(scaling: RopeScaling | None) -> dict[str, Any] | None:
    if scaling is None:
        return None
    return {
        "rope_type": "llama3",
        "factor": scaling.factor,
        "low_freq_factor": scaling.low_freq_factor,
        "high_freq_factor": scaling.high_freq_factor,
        "original_max_position_embeddings": scaling.original_positions,
    }


def _refuse_adapter(folder: pathlib.Path) -> None:
    path = folder / ADAPTER
    if not path.exists():
        return
    # Also beside whole weights: transformers would add the adapter to them.
    base = read_json(path).get("base_model_name_or_path") or "a base model"
    raise ValueError(
        f"{folder} holds an adapter ({ADAPTER}) of {base}, not a whole model: merge it into that "
        "(peft: merge_and_unload, then save_pretrained), or delete the file if the weights here "
        "are merged"
    )


def _refuse_other_kinds(raw: dict[str, Any], path: pathlib.Path) -> None:
    """Raise ValueError for a field that is looked into and holds another kind of value."""
    for field, kind in KINDS.items():
        value = raw.get(field)
        if value is not None and not isinstance(value, kind):
            raise ValueError(f"{path}: {field} = {value!r:.40}, not {KIND_NAMES[kind]}")
        if isinstance(value, list) and not all(isinstance(item, str) for item in value):
            raise ValueError(f"{path}: {field} = {value!r:.40}, not a list of names")


def _refuse_own_code(raw: dict[str, Any], path: pathlib.Path) -> None:
    """Raise ValueError for a model that is computed by Python code in its own folder."""
    for auto_class, code in (raw.get("auto_map") or {}).items():
        if not auto_class.startswith("AutoModel"):
            continue
        raise ValueError(
            f"{path}: auto_map names code of its own, {code} (trust_remote_code), which is not "
            f"run here: it may pool, scale or gate what a plain model does not; delete auto_map "
            f"if the weights are those of a plain model with a linear head"
        )


def _refuse_what_differs(family: Family, raw: dict[str, Any], path: pathlib.Path) -> None:
    for only in family.only:
        value = raw.get(only.field, only.value)
        if value != only.value:
            remedy = f"; {only.remedy}" if only.remedy else ""
            raise ValueError(
                f"{path}: {only.field}={value!r} is not implemented; only {only.value!r} is{remedy}"
            )
    if other := set(raw.get("layer_types") or ()) - {"full_attention"}:
        raise ValueError(
            f"{path}: layer_types has {sorted(other)}; only 'full_attention' is implemented"
        )
    if quantization := raw.get("quantization_config"):
        raise ValueError(
            f"{path}: the weights are quantized (quantization_config, quant_method="
            f"{quantization.get('quant_method')!r}), and those are not read; use the folder of the "
            f"unquantized model, or write one with transformers (dequantize, then save_pretrained)"
        )
    if any("SequenceClassification" in name for name in raw.get("architectures") or ()):
        _refuse_other_than_one_output(raw, path)


def _refuse_other_than_one_output(raw: dict[str, Any], path: pathlib.Path) -> None:
    labels = raw.get("num_labels", 1)
    # transformers writes the number of outputs only as the length of this table.
    table = raw.get("id2label") or {}
    if table:
        labels = len(table)
    if labels != 1:
        named = ""
        if table:
            named = " (id2label: " + ", ".join(map(str, list(table.values())[:8])) + ")"
        raise ValueError(
            f"{path}: num_labels={labels}{named}; a reward model has exactly one "
            "output: keep the row of score.weight that is the reward, and its one entry in id2label"
        )


def _refuse_pad_that_ends(pad: int, eos: int | list[int]) -> None:
    # Only where a folder is written. One that is read may have any pad token, or none: rewards are
    # read by the length of a conversation, not by looking for the last token that is not padding.
    ends: list[int] = [eos] if isinstance(eos, int) else eos
    if pad in ends:
        raise ValueError(
            f"save: pad_token_id={pad} is also eos_token_id={eos}: a server that looks for the "
            "last token that is not padding would read the reward too early; set pad_token_id to a "
            "special token that never occurs in a conversation"
        )


def _rope(raw: dict[str, Any], path: pathlib.Path) -> tuple[float, RopeScaling | None]:
    # Newer files keep theta and scaling together in `rope_parameters`, older ones in `rope_theta`
    # and `rope_scaling`.
    rope = dict(raw.get("rope_parameters") or raw.get("rope_scaling") or {})
    theta = rope.get("rope_theta", raw.get("rope_theta"))
    if theta is None:
        raise ValueError(f"{path}: no rope_theta, neither by itself nor in rope_parameters")
    kind = rope.get("rope_type", rope.get("type", "default"))
    theta = _scale({"rope_theta": theta}, "rope_theta", path)
    if kind == "default":
        return theta, None
    # The only kind that changes nothing within the context it starts from; to leave out any other
    # one would change every reward.
    if kind == "dynamic":
        raise ValueError(
            f"{path}: rotary scaling 'dynamic' is not implemented; remove it from the file if no "
            "conversation is longer than max_position_embeddings"
        )
    if kind != "llama3":
        raise ValueError(
            f"{path}: rotary scaling {kind!r} is not implemented, and without it every reward "
            "would be another; there are 'default' and 'llama3'"
        )
    return theta, RopeScaling(
        factor=_scale(rope, "factor", path),
        low_freq_factor=_scale(rope, "low_freq_factor", path),
        high_freq_factor=_scale(rope, "high_freq_factor", path),
        original_positions=_count(rope, "original_max_position_embeddings", path),
    )


def _count(raw: dict[str, Any], key: str, path: pathlib.Path, most: int = MOST) -> int:
    """A field that counts something. Raises ValueError for what is no such number."""
    value = _need(raw, key, path)
    # Some writers make 4096.0 of 4096.
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= most:
        raise ValueError(f"{path}: {key} = {value!r:.40}, not a count from 1 to {most:,}")
    return value


def _scale(raw: dict[str, Any], key: str, path: pathlib.Path) -> float:
    """A field that is a finite number above zero. Raises ValueError for any other."""
    value = _need(raw, key, path)
    # Also false for NaN, with which every reward would be NaN.
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not 0 < value < math.inf:
        raise ValueError(f"{path}: {key} = {value!r:.40}, not a finite number above 0")
    return float(value)


def _need(raw: dict[str, Any], key: str, path: pathlib.Path) -> Any:
    if raw.get(key) is None:
        raise ValueError(f"{path}: the field {key} is missing")
    return raw[key]
