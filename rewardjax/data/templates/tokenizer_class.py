"""Tokenizers that transformers 5 does not read as their tokenizer.json says.

For some classes it takes vocabulary, merges and added tokens from the file, and the rest from the
class: the GPT2Tokenizer that SmolLM2's folder names no longer splits numbers into digits, and
Llama 2's LlamaTokenizer sets a space before the first text only. Whoever serves such a folder with
it has these ids, so they are the ids here (transformers 5.24, `convert_to_native_format`;
AutoTokenizer says which class a folder gets).
"""

import json
from collections.abc import Callable
from typing import Any, NamedTuple

import tokenizers
from tokenizers import normalizers, pre_tokenizers


class Pipeline(NamedTuple):
    """What a class puts in place of the file's, and the tokens that it names by itself."""

    normalizer: Any
    pre_tokenizer: Any
    byte_fallback: bool
    named: dict[str, str]


# PRETOKENIZE_REGEX of Qwen2Tokenizer
QWEN_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
END_OF_TEXT: dict[str, str] = dict.fromkeys(
    ("bos_token", "eos_token", "unk_token"), "<|endoftext|>"
)


def _bytes(config: dict[str, Any], **options: Any) -> pre_tokenizers.ByteLevel:
    prefix = bool(config.get("add_prefix_space"))
    return pre_tokenizers.ByteLevel(add_prefix_space=prefix, **options)


def _llama(config: dict[str, Any]) -> Pipeline:
    scheme = "first"
    if config.get("legacy", False):
        scheme = "always"
    # Null means the class's default, which is to set one.
    if config.get("add_prefix_space") is False:
        scheme = "never"
    pieces = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=False)
    named = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    return Pipeline(None, pieces, True, named)


def _gemma(config: dict[str, Any]) -> Pipeline:
    words = pre_tokenizers.Split(" ", "merged_with_previous")
    named = {"bos_token": "<bos>", "eos_token": "<eos>", "unk_token": "<unk>"}
    return Pipeline(normalizers.Replace(" ", "▁"), words, True, named)


def _gpt2(config: dict[str, Any]) -> Pipeline:
    return Pipeline(None, _bytes(config), False, END_OF_TEXT)


def _gpt_neox(config: dict[str, Any]) -> Pipeline:
    return Pipeline(normalizers.NFC(), _bytes(config), False, END_OF_TEXT)


def _qwen2(config: dict[str, Any]) -> Pipeline:
    words = pre_tokenizers.Split(tokenizers.Regex(QWEN_WORDS), "isolated")
    both = pre_tokenizers.Sequence([words, _bytes(config, use_regex=False)])
    named = {"eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}
    return Pipeline(normalizers.NFC(), both, False, named)


def _cohere(config: dict[str, Any]) -> Pipeline:
    digits = pre_tokenizers.Digits(individual_digits=True)
    both = pre_tokenizers.Sequence([digits, _bytes(config)])
    named = {"bos_token": "<BOS_TOKEN>", "eos_token": "<|END_OF_TURN_TOKEN|>"}
    return Pipeline(normalizers.NFC(), both, False, named)


OWN_PIPELINES: dict[str, Callable[[dict[str, Any]], Pipeline]] = {
    "LlamaTokenizer": _llama,
    "GemmaTokenizer": _gemma,
    "GPT2Tokenizer": _gpt2,
    "GPTNeoXTokenizer": _gpt_neox,
    "Qwen2Tokenizer": _qwen2,
    "CohereTokenizer": _cohere,
}
# The class that belongs to config.json's model_type; with those of AS_FILED none of its own.
OF_MODEL = {
    **dict.fromkeys(("qwen2", "qwen2_moe", "qwen3", "qwen3_moe"), "Qwen2Tokenizer"),
    **dict.fromkeys(("gemma", "gemma2", "gemma3_text"), "GemmaTokenizer"),
    **dict.fromkeys(("gpt2", "phi", "opt", "starcoder2"), "GPT2Tokenizer"),
    **dict.fromkeys(("gpt_neox", "olmo", "mpt"), "GPTNeoXTokenizer"),
    **dict.fromkeys(("cohere", "cohere2"), "CohereTokenizer"),
}
AS_FILED = (
    *("mistral", "mixtral", "olmo2", "olmo3", "phi3", "granite", "stablelm", "glm", "glm4"),
    *("internlm2", "internlm3", "nemotron", "phimoe", "minicpm3", "minimax_m2", "ernie4_5"),
)
# Whoever reads tokenizer_config.json with this class takes tokenizer.json as it is.
AS_IT_IS = {"tokenizer_class": "PreTrainedTokenizerFast"}
GENERAL = ("PreTrainedTokenizer", "TokenizersBackend")
# Of these the class is the model's, whatever the folder names.
WRONGLY_NAMED = ("qwen2",)


def as_loaded(
    tokenizer_json: str, config: dict[str, Any], model: dict[str, Any]
) -> tuple[str, dict[str, Any], str | None]:
    """What transformers 5 makes of tokenizer.json and tokenizer_config.json (`config`).

    model: config.json, empty where there is none. The sentence says what is not as it is filed;
    None where all of it is.
    """
    spec = json.loads(tokenizer_json)
    name = _class_of(config, model, _is_bytes(spec))
    if name not in OWN_PIPELINES or spec["model"].get("type") != "BPE":
        # Beside another config.json the class or code that is passed over here would count.
        if _plain_name(config.get("tokenizer_class")) in OWN_PIPELINES or "auto_map" in config:
            config = {key: config[key] for key in config if key != "auto_map"} | AS_IT_IS
        return tokenizer_json, config, None
    pipeline = OWN_PIPELINES[name](config)
    vocab = spec["model"]["vocab"].keys() | {token["content"] for token in spec["added_tokens"]}
    # A null says that there is none; what the vocabulary does not have cannot be printed.
    named = {role: text for role, text in pipeline.named.items() if text in vocab}
    as_it_is = _plain_name(config.get("tokenizer_class")) in GENERAL
    if not as_it_is:
        config = named | config
    # Through the library, so that what is left to its defaults compares equal.
    filed = tokenizers.Tokenizer.from_str(tokenizer_json)
    changed = []
    for field in ("normalizer", "pre_tokenizer"):
        state = _state(getattr(pipeline, field))
        if _state(getattr(filed, field)) != state:
            changed.append(field)
            spec[field] = state
    for field, value in (("byte_fallback", pipeline.byte_fallback), ("ignore_merges", False)):
        if bool(spec["model"].get(field)) != value:
            changed.append(field)
            spec["model"][field] = value
    if not changed:
        return tokenizer_json, config, None
    others = (
        f"the tokenizer's class is {name}, for which transformers 5 has rules of its own in place "
        f"of tokenizer.json's ({', '.join(changed)})"
    )
    # Somebody asked for the file as it is, which for this model type is not to be had; a model that
    # was trained with it is another one without it.
    if as_it_is:
        note = f"{others}; the file's are used here, so that texts that it changes differ there"
        return tokenizer_json, config, note
    note = (
        f"{others}, and these are used; to have the file's, write tokenizer_class = "
        "PreTrainedTokenizerFast into tokenizer_config.json"
    )
    return json.dumps(spec, ensure_ascii=False), config, note


def _class_of(config: dict[str, Any], model: dict[str, Any], is_bytes: bool) -> str | None:
    """The class that AutoTokenizer chooses, without its ending Fast."""
    named = _plain_name(config.get("tokenizer_class") or model.get("tokenizer_class"))
    model_type = model.get("model_type") or ""
    if model_type in AS_FILED:
        return None
    # DeepSeek's folders name Llama's class over a byte-level vocabulary.
    if named == "LlamaTokenizer" and is_bytes and model_type not in WRONGLY_NAMED:
        return None
    if model_type in WRONGLY_NAMED or not named:
        return OF_MODEL.get(model_type)
    return named


def _plain_name(name: str | None) -> str:
    return (name or "").removesuffix("Fast")


def _is_bytes(spec: dict[str, Any]) -> bool:
    """Whether the vocabulary is of bytes, as ByteLevel spells them."""
    return '"ByteLevel"' in json.dumps([spec.get("pre_tokenizer"), spec.get("decoder")])


def _state(component: Any) -> Any:
    if component is None:
        return None
    return json.loads(component.__getstate__())
