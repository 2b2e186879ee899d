"""Fields of records as messages, numbers and truth values, whatever shape people store them in.

Each raises BadRecord("bad_schema") with the field's name for what it cannot read. Roles and texts
are `groups.check`'s to judge.
"""

import decimal
import json
import re
from collections.abc import Sequence
from typing import Any

from rewardjax.data import json_text
from rewardjax.data.groups import LARGEST, BadRecord, Message
from rewardjax.data.layouts import transcripts, turns

Record = dict[str, Any]

PROMPTS = (
    *("prompt", "messages", "conversations", "conversation", "question", "instruction", "input"),
    *("context", "query", "trajectory"),
)
SYSTEMS = ("system", "system_prompt", "system_message")
# What every response of a record begins with: the steps that Math-Step-DPO's pairs share.
PREFIX = "initial_reason_steps"
# Columns that belong to the prompt in some layout: read, or a repetition of what is read, or the
# record is refused.
NOT_TEXT = ("tools", "functions", "image", "images", "video", "videos", "audio", "audios")
PROMPT_PARTS = (
    *(*PROMPTS, *SYSTEMS, PREFIX, "history", *NOT_TEXT),
    *("dialogue", "dialog", "chat_history", "conversation_history", "passage", "document"),
    *("prefix", "prefill", "response_prefix"),
)
# Under other names, pictures and sounds are part of what was asked just as well.
MEDIA = re.compile(r"(?:.*_)?(?:image|img|picture|video|audio)s?(?:_.*)?", re.IGNORECASE)
# Columns with lists or objects, which tables of texts hold as JSON or as Python prints them.
STRUCTURES = (
    *("responses", "candidates", "completions", "answers", "generations", "annotations"),
    *("scores", "ratings", "correct", "ranks", "labels", "history", "info", "summaries"),
)


def unpacked(record: Record) -> Record:
    """The record with lists and objects where a table of texts holds them as text."""
    texts = [name for name in STRUCTURES if isinstance(record.get(name), str)]
    return record | {name: structure(record[name]) for name in texts}


def structure(value: Any) -> Any:
    """The list or object that a text is, as JSON or as Python prints it; else the value itself."""
    if not isinstance(value, str) or not value.lstrip().startswith(("[", "{")):
        return value
    parsed = json_text.literal(value)
    if isinstance(parsed, (list, dict)):
        return parsed
    return value


def first_present(record: Record, names: Sequence[str]) -> str | None:
    """The first of `names` that the record has a value for; tables fill absent fields with None."""
    for name in names:
        if record.get(name) is not None:
            return name
    return None


# ------------------------------------------------------------------ prompts


def first_present_pair(
    record: Record, pairs_of_names: Sequence[tuple[str, str]]
) -> tuple[str, str] | None:
    """The first two columns, of those that belong together, that the record has both of."""
    for first, second in pairs_of_names:
        if record.get(first) is not None and record.get(second) is not None:
            return first, second
    return None


def prompt(record: Record) -> list[Message]:
    """The record's prompt, under any of its names, with its system message and earlier turns."""
    messages = _turns(record)
    earlier = history(record.get("history"))
    messages = with_system(record, messages)
    if not earlier:
        return messages
    if earlier[-1] == messages[-1]:
        raise BadRecord(
            "bad_schema",
            "history ends with the prompt, which the model would read twice: take it out of one",
        )
    # The system message stays the first one.
    start = int(messages[0].get("role") == "system")
    return messages[:start] + earlier + messages[start:]


def with_system(record: Record, messages: list[Message]) -> list[Message]:
    """The messages, begun by the system message that the record has in a column of its own.

    Raises BadRecord("bad_schema") where they begin with another one.
    """
    name = first_present(record, SYSTEMS)
    if name is None:
        return messages
    text, first = record[name], messages[0]
    if not isinstance(text, str):
        raise BadRecord("bad_schema", f"{name} = {text!r:.60}, not a text")
    if not text.strip():
        return messages
    if first.get("role") != "system":
        return [{"role": "system", "content": text}, *messages]
    if str(first["content"]).strip() != text.strip():
        raise BadRecord("bad_schema", f"{name} differs from the system message of the prompt")
    return messages


def _turns(record: Record) -> list[Message]:
    """The prompt but for what other columns add to it."""
    name = first_present(record, PROMPTS)
    if name is None:
        raise BadRecord("bad_schema", no_prompt(record))
    value = text_or_messages(record[name], name)
    if isinstance(value, list):
        # A transcript that ends in "Assistant:" has an empty turn for the response to come.
        if value[-1] == {"role": "assistant", "content": ""}:
            return value[:-1]
        return value
    # Of a prompt alone: an answer may well be a dialogue that somebody asked for.
    transcripts.refuse_other_speakers(value, name)
    transcripts.refuse_printed_prompt(value, name)
    # Alpaca's format: an instruction, and in a field of its own what it is about. LLaMA-Factory
    # joins the two by one line break.
    about = None
    if name == "instruction":
        about = record.get("input")
    if about and not isinstance(about, str):
        raise BadRecord("bad_schema", f"input = {about!r:.60}, not a text behind the instruction")
    if about and about.strip():
        value = "\n".join(filter(None, (value, about)))
    return [{"role": "user", "content": value}]


def no_prompt(record: Record) -> str:
    """A sentence about a record without a prompt, which names the columns that could be one."""
    texts = [name for name, value in record.items() if isinstance(value, str)]
    # Short texts name tasks and sources.
    texts.sort(key=lambda name: -len(record[name]))
    # A list of messages is more likely a prompt than any text.
    texts = [name for name, value in record.items() if _is_dicts(value)] + texts
    others = [name for name in texts if not name.startswith(("chosen", "reject", "response"))]
    column = "COLUMN"
    if others:
        column = others[0]
    return (
        f"no prompt: none of {', '.join(PROMPTS)} among {sorted(record)}; if a column holds it, "
        f"name it: data.columns={{prompt: {column}}}"
    )


def _is_dicts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


def history(value: Any) -> list[Message]:
    """Earlier turns: (user, assistant) pairs of texts as LLaMA-Factory has them, or messages."""
    if not value:
        return []
    if not isinstance(value, (list, tuple)):
        raise BadRecord("bad_schema", f"history = {value!r:.60}, not a list of earlier turns")
    if all(isinstance(turn, dict) for turn in value):
        return text_or_messages(value, "history")
    messages = []
    for turn in value:
        is_pair = isinstance(turn, (list, tuple)) and len(turn) == 2
        if not is_pair or not all(isinstance(text, str) for text in turn):
            raise BadRecord("bad_schema", f"history holds {turn!r:.60}, not a pair of texts")
        messages.append({"role": "user", "content": turn[0]})
        messages.append({"role": "assistant", "content": turn[1]})
    return messages


# ------------------------------------------------------------------ responses, messages


def response(value: Any, where: str) -> list[Message]:
    """A response as messages: a text, a list of messages, or a dict with its text and labels."""
    value = transposed(value)
    if isinstance(value, dict) and not ("from" in value and "value" in value):
        name = first_present(value, ("content", "text", "response", "answer", "value"))
        if name is None and not value.get("tool_calls"):
            raise BadRecord("bad_schema", f"{where}: no content among {sorted(value)}")
        return [
            turns.message({"role": "assistant"} | value | {"content": value.get(name or "")}, where)
        ]
    messages = text_or_messages(value, where)
    if isinstance(messages, str):
        return [{"role": "assistant", "content": messages}]
    # A text is what the model wrote; one that begins a dialogue anew is more than one answer.
    if isinstance(value, str) and messages[0].get("role") != "assistant":
        raise BadRecord("bad_role", f"{where} = {value!r:.60} begins with another turn")
    return messages


def after(prompt: list[Message], response: list[Message]) -> list[Message]:
    """The response without the prompt, where its column holds the whole conversation."""
    # The system message may stand in the prompt's column alone.
    without_system = [message for message in prompt if message.get("role") != "system"]
    for start in (prompt, without_system):
        if start and len(response) > len(start) and response[: len(start)] == start:
            return response[len(start) :]
    return response


def response_or_fault(value: Any, where: str) -> list[Message]:
    """A response as `response` reads it; one that cannot be read is left for `groups.check`.

    So it costs itself alone, and not the other responses.
    """
    try:
        return response(value, where)
    except BadRecord as error:
        return unreadable(error.detail)


def unreadable(detail: str) -> list[Message]:
    """A response without a text, which is refused for the reason in `detail`."""
    return [{"role": "assistant", "content": {"unreadable": detail}}]


def is_unreadable(response: list[Message]) -> bool:
    """Whether a response is one of `unreadable`."""
    return isinstance(response[0].get("content"), dict)


def responses(record: Record, names: Sequence[str]) -> list[list[Message]]:
    """The responses in some columns. Raises BadRecord where not one of them can be read."""
    items = [response_or_fault(record.get(name), name) for name in names]
    if all(map(is_unreadable, items)):
        response(record.get(names[0]), names[0])
    return items


def apart(prompt: list[Message], responses: Sequence[list[Message]]) -> list[Message]:
    """The prompt of responses that stand in other columns.

    A whole conversation ends with a response, which must not be read twice. Raises BadRecord where
    it ends with another answer than those: it is no part of the question that they answer.
    """
    answered = prompt[-1].get("role") == "assistant"
    if not answered or any(response[0].get("role") != "assistant" for response in responses):
        return prompt
    if len(prompt) > 1 and any(response[0] == prompt[-1] for response in responses):
        return prompt[:-1]
    raise BadRecord(
        "bad_schema",
        f"the prompt ends with an answer, {prompt[-1].get('content')!r:.60}, and the responses "
        "begin with one: end the prompt before it, or name another column, as in "
        "data.columns={prompt: question}",
    )


def text_or_messages(value: Any, where: str) -> Any:
    """A text as it is; a transcript, JSON or a list of messages as messages for templates."""
    value = transposed(value)
    if isinstance(value, str):
        if transcripts.is_transcript(value):
            return transcripts.read_transcript(value, where)
        transcripts.refuse_rendered(value, where)
        messages = transcripts.parsed(value, where)
        if messages is None:
            return value
        value = messages
    if isinstance(value, dict):
        value = [value]
    is_list = isinstance(value, (list, tuple)) and len(value) > 0
    if not is_list or not all(isinstance(message, dict) for message in value):
        raise BadRecord(
            "bad_schema", f"{where} = {value!r:.80}, neither a text nor a list of messages"
        )
    messages = []
    for turn in value:
        messages += [turns.message(message, where) for message in turns.exchange(turn) or [turn]]
    return turns.with_calls(messages, where)


def transposed(value: Any) -> Any:
    """Rows of a value that holds them as columns; any other value as it is.

    `datasets` stores a Sequence of dicts so: {"role": [...], "content": [...]}.
    """
    if not isinstance(value, dict) or not value:
        return value
    columns = list(value.values())
    are_lists = all(isinstance(column, (list, tuple)) for column in columns)
    if not are_lists or len({len(column) for column in columns}) != 1:
        return value
    return [dict(zip(value, row, strict=True)) for row in zip(*columns, strict=True)]


def decoded(value: Any, name: str) -> Any:
    """The value of a column, which tables of text hold as JSON. Raises BadRecord("bad_schema")."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        raise BadRecord("bad_schema", f"{name} = {value!r:.60} is not JSON") from None


def tools(record: Record) -> list[dict[str, Any]] | None:
    """The schemas of the functions that the conversation may call, a list or JSON of one."""
    name = first_present(record, ("tools", "functions"))
    if name is None or record[name] in ("", [], ()):
        return None
    value = decoded(record[name], name)
    if value is None:
        return None
    if isinstance(value, dict):
        value = [value]
    if not isinstance(value, (list, tuple)) or not all(isinstance(tool, dict) for tool in value):
        raise BadRecord("bad_schema", f"{name} = {value!r:.60}, not a list of schemas")
    return list(value) or None


# ------------------------------------------------------------------ what conversations share


def split_messages(
    chosen: list[Message], rejected: list[Message]
) -> tuple[list[Message], list[list[Message]]]:
    """The common start of two conversations as the prompt, and the rest of each as its response.

    It is cut back to end where the assistant is to speak.
    """
    limit = min(len(chosen), len(rejected)) - 1
    n = 0
    while n < limit and chosen[n] == rejected[n]:
        n += 1
    # After the same answers: the two that follow are answers to different questions.
    if n > 0 and chosen[n].get("role") == rejected[n].get("role") == "user":
        raise BadRecord(
            "bad_schema", "chosen and rejected part in a turn of the user: the prompts differ"
        )
    while n > 0 and not _both_assistant(chosen[n], rejected[n]):
        n -= 1
    if n == 0:
        raise BadRecord(
            "bad_schema",
            "chosen and rejected share no start that ends before a turn of the assistant",
        )
    return chosen[:n], [chosen[n:], rejected[n:]]


def _both_assistant(first: Message, second: Message) -> bool:
    return first.get("role") == second.get("role") == "assistant"


# ------------------------------------------------------------------ numbers, truth values


def number(value: Any, where: str) -> float:
    """A finite number, which tables of texts spell out."""
    if isinstance(value, (str, decimal.Decimal)):
        try:
            value = float(value)
        except ValueError:
            raise BadRecord("bad_schema", f"{where} = {value!r:.40}, not a number") from None
    # Labels become float32, where anything larger is infinite. The comparison fails for NaN too.
    # True says that something is so, and not how much, or in which place.
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if is_number and abs(value) <= LARGEST:
        return float(value)
    raise BadRecord("bad_schema", f"{where} = {value!r:.40}, not a finite number")


def boolean(value: Any, where: str) -> bool:
    """True or False; 0 and 1 count, since Parquet files often have them."""
    if isinstance(value, str) and value.strip().lower() in ("true", "false", "0", "1"):
        return value.strip().lower() in ("true", "1")
    if value in (0, 1):
        return bool(value)
    raise BadRecord("bad_schema", f"{where} = {value!r:.40}, neither true nor false")
