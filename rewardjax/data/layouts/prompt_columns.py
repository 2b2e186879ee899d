"""Columns that may hold part of the prompt: read, or a repetition of what is read, or refused.

Which names people use for it cannot be known in full. A column under one of those that are known
is never left out in silence; what else is not read is named when the file is.
"""

import functools
import re
from collections.abc import Iterator, Set
from typing import Any

from rewardjax.data.groups import BadRecord, Message
from rewardjax.data.layouts import fields
from rewardjax.data.layouts.fields import Record
from rewardjax.data.layouts.layout import Content

# Names by their letters: `systemPrompt`, `System Prompt` and `system_prompt` are one.
INSTRUCTIONS = frozenset(
    (
        *("sys", "sysprompt", "systemtext", "systeminstruction", "systeminstructions"),
        *("persona", "character", "developer", "developermessage", "developerprompt"),
        "constitution",
    )
)
EARLIER_TURNS = frozenset(
    (
        *("history", "chathistory", "messagehistory", "conversationhistory", "dialoghistory"),
        *("dialoguehistory", "dialog", "dialogue", "pastconversation", "pastmessages"),
        *("previousmessages", "previousturns", "priorturns"),
    )
)
ABOUT = frozenset(
    (
        *("contexts", "inputs", "questions", "instructions", "prompts", "background"),
        *("knowledge", "document", "documents", "doc", "docs", "passage", "passages"),
        *("article", "articles", "post", "selftext", "body", "title", "sourcetext"),
        *("sourcedocument", "schema", "evidence", "choices", "options", "userprompt"),
        *("userinput", "userquery", "userquestion"),
    )
)
PICTURES = frozenset(
    (
        *("imageurl", "imageurls", "imagepath", "imagepaths", "imagefile", "imagebase"),
        *("picture", "pictures", "pixelvalues", "videourl", "videopath", "audiourl"),
        *("audiopath", "audiofile", "attachment", "attachments"),
    )
)
# Columns that whole conversations may stand in, answers included.
WHOLE = ("messages", "conversations", "conversation")
# What an answer begins with is repeated by the answer.
OF_ANSWERS = (fields.PREFIX, "prefix", "prefill", "response_prefix")
SPEAKER = ("role", "from", "type", "name")  # fields of a message beside its text


def refuse_unread(record: Record, read: Set[str], content: Content) -> None:
    """Raise BadRecord where a column that may be part of the prompt says what was not read."""
    unread = [name for name in record if name not in read and _may_be_prompt(name)]
    for name in unread:
        value = record[name]
        if _says_something(name, value) and not _repeats(value, name, content):
            raise BadRecord(
                "bad_schema", f"`{name}` may be part of the prompt and is not read: {_remedy(name)}"
            )


@functools.lru_cache(maxsize=4096)
def _letters(name: str) -> str:
    return re.sub(r"[^a-z]", "", name.lower())


@functools.lru_cache(maxsize=1)
def _read_names() -> frozenset[str]:
    """The letters of the names that some layout reads."""
    return frozenset(map(_letters, fields.PROMPT_PARTS))


def _may_be_prompt(name: str) -> bool:
    letters = _letters(name)
    names = (_read_names(), INSTRUCTIONS, EARLIER_TURNS, ABOUT)
    return _is_picture(name) or any(letters in known for known in names)


def _is_picture(name: str) -> bool:
    is_numbered = fields.MEDIA.fullmatch(name) is not None
    return is_numbered or name in fields.NOT_TEXT or _letters(name) in PICTURES


def _says_something(name: str, value: Any) -> bool:
    if isinstance(value, str):
        return bool(value.strip())
    # A number under one of the other names counts or rates something.
    if isinstance(value, (int, float)) and name not in fields.PROMPT_PARTS:
        return False
    return bool(value)


def _remedy(name: str) -> str:
    """How to say what the column is."""
    is_no_part = f"data.columns={{{name}: ''}} if it is not"
    letters = _letters(name)
    if _is_picture(name):
        return f"models here read texts and tools; {is_no_part}"
    if letters in INSTRUCTIONS or name in fields.SYSTEMS:
        return f"data.columns={{system: {name}}} makes it the system message, {is_no_part}"
    if letters in EARLIER_TURNS:
        return f"data.columns={{history: {name}}} if it is a list of earlier turns, {is_no_part}"
    if name == "prompt":
        return f"chosen and rejected hold conversations that do not repeat it; {is_no_part}"
    return (
        f"data.columns={{prompt: {name}}} if it is the prompt, {{instruction: PROMPT, input: "
        f"{name}}} if it follows the column PROMPT, {is_no_part}"
    )


# ------------------------------------------------------------------ repetitions


def _repeats(value: Any, name: str, content: Content) -> bool:
    """Whether every text of a column stands in what was read; white space does not count.

    What a person or the system says has to stand in the prompt: an answer may well quote a
    document that nobody has shown to the model.
    """
    # Schemas and pictures have no text that could stand there.
    if _is_picture(name):
        return False
    asked, answered = _texts(content)
    turns: Any = value
    try:
        # A transcript or JSON in a text: its turns, not its markers, are what may be repeated.
        if isinstance(value, str) or name in WHOLE:
            turns = fields.text_or_messages(value, name)
    except BadRecord:
        if isinstance(value, str):
            return False
    if not isinstance(turns, (list, tuple)) or not all(map(_has_role, turns)):
        if name in OF_ANSWERS:
            asked = asked + answered
        return all(_stands_in(text, asked) for text in _leaves(value))
    # The answer that such a column ends with need not be one of those that are compared.
    if name in WHOLE and len(turns) > 1 and turns[-1]["role"] == "assistant":
        turns = turns[:-1]
    for turn in turns:
        said = asked
        if turn["role"] == "assistant":
            said = asked + answered
        if not all(_stands_in(text, said) for text in _leaves(turn)):
            return False
    return True


def _has_role(turn: Any) -> bool:
    return isinstance(turn, dict) and isinstance(turn.get("role"), str)


def _texts(content: Content) -> tuple[list[str], list[str]]:
    """What the prompt says, with what others than the assistant say later on; and the answers."""
    asked = list(map(_text, content.get("prompt", [])))
    answered = []
    # A layout that reads a record without text has refused it before.
    for response in content.get("responses", []):
        for message in response:
            if message.get("role") == "assistant":
                answered.append(_text(message))
            else:
                asked.append(_text(message))
    return asked, answered


def _text(message: Message) -> str:
    return " ".join(str(message["content"]).split())


def _stands_in(text: str, texts: list[str]) -> bool:
    """Whether one of the texts holds `text`, and not as a piece of a word or number."""
    text = " ".join(text.split())
    return any(_holds(whole, text) for whole in texts)


def _holds(whole: str, text: str) -> bool:
    start = whole.find(text)
    while start >= 0:
        end = start + len(text)
        if not _joined(whole[:start][-1:], text[:1]) and not _joined(text[-1:], whole[end:][:1]):
            return True
        start = whole.find(text, start + 1)
    return False


def _joined(left: str, right: str) -> bool:
    """Whether two characters belong to one word; scripts without spaces have no such place."""
    return (left + right).isascii() and left.isalnum() and right.isalnum()


def _leaves(value: Any) -> Iterator[str]:
    """The texts inside a value of any nesting, but for who says them."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, item in value.items():
            if name not in SPEAKER:
                yield from _leaves(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _leaves(item)
