"""How a server wants to be asked: what OpenAI-compatible servers do not agree about.

Servers ignore fields that they do not know and answer 200, or refuse the whole request for one of
them. So a model is asked a first question whose answer only the schema holds, and what the server
says about it is believed: "use max_completion_tokens", "system role not supported". The dialect is
remembered in the ledger of calls, once per model and revision.
"""

import dataclasses
import json
import re
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from rewardjax.curation.servers.requests import Answer
from rewardjax.data.groups import Message

# Tried in this order: a schema as the standard has it, a schema as llama.cpp takes it, words alone.
FORMATS = ("json_schema", "json_object", "plain")
# Fields that say how an answer is drawn; a server may refuse any of them.
SAMPLING = ("temperature", "top_p", "seed")


@dataclasses.dataclass(frozen=True)
class Dialect:
    """What a server takes.

    format: one of FORMATS. limit: the field that limits an answer's length. system: whether there
    is a system role. without: those of SAMPLING that are not sent.
    """

    format: str = FORMATS[0]
    limit: str = "max_tokens"
    system: bool = True
    without: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """As the ledger of calls keeps it."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @staticmethod
    def read(text: str) -> "Dialect":
        """The dialect of a `text`; ledgers of earlier releases kept the format alone."""
        if text in FORMATS:
            return Dialect(text)
        fields = json.loads(text)
        return Dialect(**(fields | {"without": tuple(fields["without"])}))

    def told(self) -> str:
        """What differs from the usual, in words."""
        words = []
        if self.limit != "max_tokens":
            words.append(f"with {self.limit}")
        if not self.system:
            words.append("without a system role")
        if self.without:
            words.append(f"without {', '.join(self.without)}")
        return ", ".join(words)

    def messages(self, messages: list[Message]) -> list[Message]:
        """Messages as the server takes them.

        Without a system role the first user turn opens with what the system message says.
        """
        if self.system or not messages or messages[0]["role"] != "system":
            return messages
        system, user, *others = messages
        content = f"{system['content']}\n\n{user['content']}"
        return [{**user, "content": content}, *others]


async def find(
    start: Dialect, ask: Callable[[Dialect], Awaitable[Answer | None]]
) -> Dialect | None:
    """The dialect with the strongest of FORMATS that a server honors.

    Args:
        start: what is tried first, with the first of FORMATS.
        ask: puts the first question in a dialect; None where there is no answer to it.

    Returns:
        None where the server answers in no dialect.
    """
    dialect, answers_something = start, False
    for format in FORMATS:
        # What answered although it ignored a schema will answer without one.
        if format == FORMATS[-1] and answers_something:
            return dataclasses.replace(dialect, format=format)
        dialect, answer = await _ask_until_taken(dataclasses.replace(dialect, format=format), ask)
        answers_something = answers_something or _is_answered(answer)
        if _is_honored(answer) or (format == FORMATS[-1] and _is_answered(answer)):
            return dialect
    for change in _UNEXPLAINED:
        changed = dataclasses.replace(dialect, **change)
        if not _is_answered(await ask(changed)):
            continue
        for format in FORMATS[:-1]:
            stronger = dataclasses.replace(changed, format=format)
            if _is_honored(await ask(stronger)):
                return stronger
        return changed
    return None


async def _ask_until_taken(
    dialect: Dialect, ask: Callable[[Dialect], Awaitable[Answer | None]]
) -> tuple[Dialect, Answer | None]:
    """Ask, changing what the server's refusals name, until it takes the question."""
    answer = await ask(dialect)
    while answer is not None and answer.status == "rejected":
        changed = adapted(dialect, answer.text)
        if changed is None:
            break
        dialect, answer = changed, await ask(changed)
    return dialect, answer


def _is_answered(answer: Answer | None) -> bool:
    return answer is not None and answer.status == "answered"


def _is_honored(answer: Answer | None) -> bool:
    if answer is None or answer.status != "answered":
        return False
    return "{" in answer.text and PROBE_WORD in answer.text


def adapted(dialect: Dialect, refusal: str) -> Dialect | None:
    """The dialect that a refusal asks for; None where it asks for nothing that we could do."""
    for change in _asked_for(dialect, refusal.lower()):
        changed = dataclasses.replace(dialect, **change)
        if changed != dialect:
            return changed
    return None


_SYSTEM = re.compile(
    r"system (role|message|prompt|instruction)s?|role[ \w]* .?system|must alternate"
    r"|developer instruction"
)
_NOT_TAKEN = re.compile(
    r"unsupported|not support|not allowed|not permitted|extra|unexpected|unrecognized|unknown"
    r"|only the default|deprecated|cannot both|incompatible"
)


def _asked_for(dialect: Dialect, refusal: str) -> Iterator[dict[str, Any]]:
    """Fields of a dialect that the words of a refusal name, the likeliest first."""
    if "max_completion_tokens" in refusal:
        yield {"limit": "max_completion_tokens"}
    # Chat templates say "System role not supported" (Gemma) or that roles must alternate between
    # user and assistant (Mistral, Zephyr).
    if _SYSTEM.search(refusal):
        yield {"system": False}
    if not _NOT_TAKEN.search(refusal):
        return
    # Of two that exclude each other the temperature stays: the samples differ by it.
    if "temperature" in refusal and "top_p" in refusal:
        yield {"without": _and(dialect, "top_p")}
    for field in SAMPLING:
        if re.search(rf"\b{field}\b", refusal):
            yield {"without": _and(dialect, field)}


def _and(dialect: Dialect, field: str) -> tuple[str, ...]:
    return tuple(sorted({*dialect.without, field}))


# Tried one after the other where a server refuses the first question and does not say why.
_UNEXPLAINED: tuple[dict[str, Any], ...] = (
    {"system": False},
    {"limit": "max_completion_tokens"},
    {"without": SAMPLING},
)

# Nothing in the question leads to this word: an answer that holds it has followed the schema.
PROBE_WORD = "heliotrope"
PROBE = [
    {"role": "system", "content": "You are brief."},
    {"role": "user", "content": "Write one short greeting."},
]
PROBE_SCHEMA = {
    "title": "probe",
    "type": "object",
    "properties": {"word": {"type": "string", "enum": [PROBE_WORD]}},
    "required": ["word"],
    "additionalProperties": False,
}
