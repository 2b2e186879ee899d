"""A Hugging Face `config.json` and our DecoderConfig, in both directions. What we would compute differently is refused, not ignored."""

import json
import pathlib

from rewardjax.models.config import FAMILIES, DecoderConfig, RopeScaling

ARCHITECTURE = {"qwen3": "Qwen3", "llama": "Llama", "qwen2": "Qwen2"}
# Fields that change what a family computes, with the only value (or absence) we implement.
ONLY = {
    "qwen3": {"hidden_act": "silu", "attention_bias": False, "use_sliding_window": False},
    "llama": {"hidden_act": "silu", "attention_bias": False, "mlp_bias": False},
    "qwen2": {"hidden_act": "silu", "use_sliding_window": False},
}


def read_json(path: pathlib.Path) -> dict:
    """The object in a JSON file. FileNotFoundError or ValueError that names the file."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{path}: not there; a Hugging Face model folder has a {path.name}"
        ) from None
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: not JSON ({error})") from None


def read_config(folder: str | pathlib.Path) -> DecoderConfig:
    """The decoder that `folder/config.json` describes. ValueError names the file, the field and the fix."""
    path = pathlib.Path(folder) / "config.json"
    raw = read_json(path)
    _refuse_what_differs(raw, path)
    need = lambda key: _need(raw, key, path)
    theta, scaling = _rope(raw, path)
    heads, width = need("num_attention_heads"), need("hidden_size")
    return DecoderConfig(
        family=raw["model_type"],
        vocab_size=need("vocab_size"),
        width=width,
        mlp_width=need("intermediate_size"),
        layers=need("num_hidden_layers"),
        heads=heads,
        kv_heads=raw.get("num_key_value_heads") or heads,
        head_dim=raw.get("head_dim") or width // heads,
        rope_theta=theta,
        rope_scaling=scaling,
        norm_eps=need("rms_norm_eps"),
        tied=bool(raw.get("tie_word_embeddings", False)),
        max_positions=need("max_position_embeddings"),
    )


def write_config(
    config: DecoderConfig,
    *,
    dtype: str,
    pad_token_id: int,
    eos_token_id: int | list[int],
    bos_token_id: int | None,
) -> str:
    """The text of a `config.json` for a reward model with one output. ValueError when the pad token can end a text."""
    _refuse_pad_that_ends(pad_token_id, eos_token_id, "save")
    scaling = config.rope_scaling
    # The older spelling of the rotary fields and of the dtype: every version of transformers, vLLM and SGLang reads it.
    fields = ONLY[config.family] | {
        "architectures": [f"{ARCHITECTURE[config.family]}ForSequenceClassification"],
        "model_type": config.family,
        "vocab_size": config.vocab_size,
        "hidden_size": config.width,
        "intermediate_size": config.mlp_width,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_dim,
        "rope_theta": config.rope_theta,
        "rope_scaling": scaling
        and {
            "rope_type": "llama3",
            "factor": scaling.factor,
            "low_freq_factor": scaling.low_freq_factor,
            "high_freq_factor": scaling.high_freq_factor,
            "original_max_position_embeddings": scaling.original_positions,
        },
        "rms_norm_eps": config.norm_eps,
        "tie_word_embeddings": config.tied,
        "max_position_embeddings": config.max_positions,
        "id2label": {"0": "LABEL_0"},
        "label2id": {"LABEL_0": 0},
        "torch_dtype": dtype,
        "pad_token_id": pad_token_id,
        "eos_token_id": eos_token_id,
        "bos_token_id": bos_token_id,
    }
    return json.dumps(fields, indent=2, sort_keys=True) + "\n"


def _refuse_what_differs(raw: dict, path: pathlib.Path) -> None:
    if raw.get("model_type") not in FAMILIES:
        raise ValueError(
            f"{path}: model_type={raw.get('model_type')!r}; this decoder covers {FAMILIES}"
        )
    for key, value in ONLY[raw["model_type"]].items():
        if raw.get(key, value) != value:
            raise ValueError(f"{path}: {key}={raw[key]!r} is not implemented; only {value!r} is")
    if other := set(raw.get("layer_types") or ()) - {"full_attention"}:
        raise ValueError(
            f"{path}: layer_types has {sorted(other)}; only 'full_attention' is implemented"
        )
    if raw.get("quantization_config"):
        raise ValueError(
            f"{path}: quantized weights (quantization_config) are not read; use the folder of the unquantized model"
        )
    if any("SequenceClassification" in name for name in raw.get("architectures") or ()):
        labels = len(raw["id2label"]) if "id2label" in raw else raw.get("num_labels", 1)
        if labels != 1:
            raise ValueError(
                f"{path}: num_labels={labels} (id2label); a reward model has exactly one output"
            )
        _refuse_pad_that_ends(raw.get("pad_token_id"), raw.get("eos_token_id"), path)


def _refuse_pad_that_ends(pad: int | None, eos: int | list[int] | None, where) -> None:
    if pad is not None and pad in (eos if isinstance(eos, list) else [eos]):
        raise ValueError(
            f"{where}: pad_token_id={pad} is also eos_token_id={eos}: a server that looks for the last token that is not "
            "padding would read the reward too early; set pad_token_id to a special token that never occurs in a conversation"
        )


def _rope(raw: dict, path: pathlib.Path) -> tuple[float, RopeScaling | None]:
    """Newer files keep theta and scaling together in `rope_parameters`, older ones in `rope_theta` and `rope_scaling`."""
    rope = dict(raw.get("rope_parameters") or raw.get("rope_scaling") or {})
    theta = rope.get("rope_theta", raw.get("rope_theta"))
    if theta is None:
        raise ValueError(f"{path}: no rope_theta, neither by itself nor in rope_parameters")
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind == "default":
        return float(theta), None
    if kind != "llama3":
        raise ValueError(
            f"{path}: rotary scaling {kind!r} is not implemented; remove it if no text outgrows the original context"
        )
    need = lambda key: _need(rope, key, path)
    return float(theta), RopeScaling(
        float(need("factor")),
        float(need("low_freq_factor")),
        float(need("high_freq_factor")),
        int(need("original_max_position_embeddings")),
    )


def _need(raw: dict, key: str, path: pathlib.Path):
    if raw.get(key) is None:
        raise ValueError(f"{path}: the field {key} is missing")
    return raw[key]
