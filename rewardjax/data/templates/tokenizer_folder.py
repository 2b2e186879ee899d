"""The files of a tokenizer folder, read and written as transformers reads them.

Tokens may be declared beside tokenizer.json: in tokenizer_config.json (`added_tokens_decoder`, or
a name such as `pad_token`), in added_tokens.json and in special_tokens_map.json. Whoever loads the
folder with transformers has them all, so they are added here by the same rules.
"""

import json
import pathlib
from typing import Any, NamedTuple

import tokenizers
from absl import logging

from rewardjax.data.templates import tokenizer_class
from rewardjax.io.foreign_files import read_object, read_text

# What a declaration may say of a token besides its text.
FLAGS = ("single_word", "lstrip", "rstrip", "normalized", "special")
# Older files of more tokens and of named ones: their content goes into the two that are written.
OLDER_FILES = ("added_tokens.json", "special_tokens_map.json")


NEEDED = ("tokenizer.json", "tokenizer_config.json")
# What tokenizers were kept in before tokenizer.json.
SLOW_FILES = (
    *("tokenizer.model", "spiece.model", "tiktoken.model", "tekken.json"),
    *("vocab.json", "vocab.txt", "merges.txt"),
)


class TokenizerFiles(NamedTuple):
    """What a folder holds: the tokenizer, its configuration, its chat templates by name."""

    tokenizer_json: str
    config: dict[str, Any]
    templates: dict[str, str]


def read(folder: str | pathlib.Path) -> TokenizerFiles:
    """Read tokenizer.json, tokenizer_config.json and what may lie beside them.

    Raises FileNotFoundError or ValueError that names the file and what to do, also where there is
    no chat template.
    """
    folder = pathlib.Path(folder)
    _refuse_other_files(folder)
    config = _read_json(folder / "tokenizer_config.json")
    if "added_tokens_decoder" not in config:
        for name, token in _read_json(folder / "special_tokens_map.json", {}).items():
            if isinstance(token, dict):
                # How tokenizer_config.json writes a token with flags.
                token = token | {"__type": "AddedToken", "special": True}
            config[name] = token
    # Parsed here too: the library's own complaint would not name the file.
    _read_json(folder / "tokenizer.json")
    tokenizer_json = read_text(folder / "tokenizer.json")
    model = _read_json(folder / "config.json", {})
    _refuse_code(folder, config, model)
    tokenizer_json, config, note = tokenizer_class.as_loaded(tokenizer_json, config, model)
    if note is not None:
        logging.warning("%s: %s", folder, note)
    more = _read_json(folder / "added_tokens.json", {})
    return TokenizerFiles(
        with_declared_tokens(tokenizer_json, config, more), config, _templates(folder, config)
    )


def write(folder: str | pathlib.Path, files: TokenizerFiles) -> None:
    """Write tokenizer.json and tokenizer_config.json as AutoTokenizer reads them."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    chat_template: Any = files.templates["default"]
    if len(files.templates) > 1:
        chat_template = [{"name": k, "template": text} for k, text in files.templates.items()]
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        **files.config,
        "chat_template": chat_template,
    }
    (folder / "tokenizer.json").write_text(files.tokenizer_json, encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(
        json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    # Stale ones would win over the config's.
    for name in ("chat_template.jinja", *OLDER_FILES):
        (folder / name).unlink(missing_ok=True)


def with_declared_tokens(
    tokenizer_json: str, config: dict[str, Any], more: dict[str, int] | None = None
) -> str:
    """tokenizer.json with the tokens that `config` and `more` (text to id) declare besides.

    Unchanged where all of them are there already. As transformers does, a token keeps the id that
    it has in the vocabulary, and a new one gets the next free id.
    """
    tokenizer = tokenizers.Tokenizer.from_str(tokenizer_json)
    before = json.loads(tokenizer_json)["added_tokens"]
    present = {token["content"]: {flag: token[flag] for flag in FLAGS} for token in before}
    named = named_tokens(config)
    extra = _extra_tokens(config)

    # Added in the order of their ids, so that new ones get the ids that they were declared with.
    for text, flags in _declared(config, more or {}, {*named.values(), *extra}):
        older = "added_tokens_decoder" not in config
        if flags == present.get(text) or (older and text in present):
            continue
        tokenizer.add_tokens([tokenizers.AddedToken(text, **flags)])
        present[text] = flags
    # A token that has a role (end of text, padding, ...) is special, whatever its declaration says.
    with_flags = {token_text(token): token for token in config.values() if isinstance(token, dict)}
    for text in dict.fromkeys([*named.values(), *extra]):
        token = with_flags.get(text, {})
        flags = present.get(text, {flag: token.get(flag, False) for flag in FLAGS})
        if text not in present or not flags["special"]:
            present[text] = flags | {"special": True}
            tokenizer.add_special_tokens([tokenizers.AddedToken(text, **present[text])])
    if present == {token["content"]: {flag: token[flag] for flag in FLAGS} for token in before}:
        return tokenizer_json
    return tokenizer.to_str()


def named_tokens(config: dict[str, Any]) -> dict[str, str]:
    """The tokens that tokenizer_config.json gives a role: bos_token, eos_token, ...; by role."""
    named = {}
    for name, token in config.items():
        text = token_text(token)
        if name.endswith("_token") and text:
            named[name] = text
    return named


def token_text(token: Any) -> str | None:
    """The text of a token that a file names by its text, or by a dict with its flags."""
    if isinstance(token, dict):
        token = token.get("content")
    if isinstance(token, str):
        return token
    return None


def _extra_tokens(config: dict[str, Any]) -> list[str]:
    """Special tokens without a role of their own."""
    extra = config.get("extra_special_tokens") or config.get("additional_special_tokens") or []
    if isinstance(extra, dict):
        extra = extra.values()
    return [text for text in map(token_text, extra) if text]


def _declared(
    config: dict[str, Any], more: dict[str, int], special: set[str]
) -> list[tuple[str, dict[str, bool]]]:
    """(text, flags) of the tokens declared beside tokenizer.json, in the order of their ids."""
    if "added_tokens_decoder" in config:
        declared = config["added_tokens_decoder"]
        tokens = [declared[i] for i in sorted(declared, key=int)]
        return [(t["content"], {flag: t.get(flag, False) for flag in FLAGS}) for t in tokens]
    plain = dict.fromkeys(FLAGS, False)
    return [
        (text, plain | {"special": text in special, "normalized": text not in special})
        for text in sorted(more, key=more.__getitem__)
    ]


def _templates(folder: pathlib.Path, config: dict[str, Any]) -> dict[str, str]:
    """The folder's chat templates by name; "default" is always among them."""
    templates = {}
    if (folder / "chat_template.jinja").exists():
        templates["default"] = read_text(folder / "chat_template.jinja")
    for file in sorted((folder / "additional_chat_templates").glob("*.jinja")):
        templates[file.stem] = read_text(file, folder)
    # Files win over the configuration, all of it.
    if not templates:
        in_config = config.get("chat_template") or {}
        if isinstance(in_config, str):
            in_config = {"default": in_config}
        if isinstance(in_config, list):
            in_config = {entry["name"]: entry["template"] for entry in in_config}
        templates = in_config
    if not isinstance(templates, dict) or not all(isinstance(x, str) for x in templates.values()):
        raise ValueError(f"{folder}/tokenizer_config.json: chat_template is not a template's text")
    if "default" not in templates:
        raise ValueError(
            f"{folder}: no chat template in chat_template.jinja or in tokenizer_config.json "
            "(field chat_template)"
        )
    return templates


def _refuse_other_files(folder: pathlib.Path) -> None:
    """Raise FileNotFoundError where a tokenizer lies in files that are not read."""
    missing = [name for name in NEEDED if not (folder / name).exists()]
    if not missing:
        return
    older = [name for name in SLOW_FILES if (folder / name).exists()]
    remedy = "fetch it from the repository of the model"
    if older:
        remedy = (
            f"it has {', '.join(older)}, which transformers turns into it: "
            "AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)"
        )
    raise FileNotFoundError(f"{folder}: there is no {missing[0]}; {remedy}")


def _refuse_code(folder: pathlib.Path, config: dict[str, Any], model: dict[str, Any]) -> None:
    """Raise ValueError for a tokenizer that code of the folder's own makes of its files."""
    code = config.get("auto_map") or []
    # An older form is the list alone.
    if isinstance(code, dict):
        code = code.get("AutoTokenizer") or []
    # For some model types transformers passes the code over and reads tokenizer.json.
    if not code or model.get("model_type") in tokenizer_class.AS_FILED:
        return
    raise ValueError(
        f"{folder}: tokenizer_config.json names code of its own ({', '.join(filter(None, code))}), "
        "which decides the ids: AutoTokenizer.from_pretrained(FOLDER, trust_remote_code=True)"
        ".save_pretrained(FOLDER) of transformers writes them down, or take auto_map out to have "
        "tokenizer.json as it is"
    )


def _read_json(path: pathlib.Path, default: dict[str, Any] | None = None) -> dict[str, Any]:
    if default is not None and not path.exists():
        return default
    return read_object(path)
