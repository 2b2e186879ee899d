"""The token ids that other readers of a folder get, by another way than this package's own.

With transformers where it is installed, else with tokenizers and jinja as transformers uses them.
"""

import importlib.util
import pathlib

import tokenizers

from rewardjax.data.groups import Message
from rewardjax.data.templates import chat_template, tokenizer_folder


def token_ids(folder: str | pathlib.Path, messages: list[Message]) -> tuple[str, list[int]]:
    """The reader's name, and the ids that it gives a conversation."""
    if importlib.util.find_spec("transformers") is None:
        return "tokenizers", _with_tokenizers(folder, messages)
    # Here, because it takes seconds to import and nothing else of this package needs it.
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    return "transformers", list(tokenizer.apply_chat_template(messages, return_dict=False))


def _with_tokenizers(folder: str | pathlib.Path, messages: list[Message]) -> list[int]:
    files = tokenizer_folder.read(folder)
    rendered = chat_template.compile_template(files.templates["default"])(
        messages=[chat_template.as_template_reads(message) for message in messages],
        tools=None,
        documents=None,
        add_generation_prompt=False,
        **tokenizer_folder.named_tokens(files.config),
    )
    tokenizer = tokenizers.Tokenizer.from_str(files.tokenizer_json)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer.encode(rendered, add_special_tokens=False).ids
