"""One annotator model behind an OpenAI-compatible server: bounded concurrency, retries, and how it can be asked for JSON.

Servers ignore fields that they do not know and answer 200, so whether `response_format` works is found out by a question whose answer only
the schema holds. It is asked once per model and remembered in the ledger.
"""

import asyncio
import dataclasses
import os
import random
import time
from typing import Any

import openai

from rewardjax.curation.judges.paid_calls import Answer, BudgetExceeded, CallLedger, Price, Request

FORMATS = (
    "json_schema",
    "json_object",
    "plain",
)  # tried in this order: schema of the standard, schema as llama.cpp takes it, by asking
LONGEST_PAUSE = 60.0  # seconds, whatever a server's Retry-After says
DEAD_AFTER = 3  # requests in a row that used up their retries


class JudgeDown(Exception):
    """A server that cannot be used: unreachable, or it refuses the key or the model."""


@dataclasses.dataclass(frozen=True)
class Judge:
    """An annotator model and how it is asked; the keyword arguments of a config's judge.

    name: the voter is "judge:NAME". base_url: several servers of one model are joined by commas and share its work. revision: any text that
    tells apart what the model's name does not (weights, server version); a new one asks everything again. samples: judgments of a pair,
    half of them in each order. max_in_flight: requests at a time, per server. retries: after 429, 5xx, timeouts and lost connections; asks:
    how often a question is asked before an unreadable answer is given up. price_*: dollars per million tokens. key_env: the environment
    variable with the API key. answer_format: one of FORMATS, or "auto" to find out. seed: sent as `seed` + sample + 1000 x attempt, None to
    send none. extra: further fields of the request body."""

    name: str
    model: str
    base_url: str
    revision: str = ""
    temperature: float = 0.6
    top_p: float = 0.9
    max_tokens: int = 1024
    samples: int = 4
    max_in_flight: int = 8
    timeout: float = 120.0
    retries: int = 8
    asks: int = 3
    price_input: float = 0.0
    price_cached: float = 0.0
    price_output: float = 0.0
    key_env: str = "OPENAI_API_KEY"
    answer_format: str = "auto"
    seed: int | None = 0
    extra: dict[str, Any] = dataclasses.field(default_factory=dict, hash=False)

    def __post_init__(self):
        for field in ("samples", "max_in_flight", "asks", "max_tokens"):
            if getattr(self, field) < 1:
                raise ValueError(
                    f"judge {self.name}: {field} = {getattr(self, field)}, must be at least 1"
                )
        if self.answer_format not in ("auto", *FORMATS):
            raise ValueError(
                f"judge {self.name}: answer_format {self.answer_format!r} is not one of auto, {', '.join(FORMATS)}"
            )
        if clash := set(self.extra) & {"model", "messages", "response_format", "stream", "n"}:
            raise ValueError(f"judge {self.name}: extra may not hold {', '.join(sorted(clash))}")

    @property
    def voter(self) -> str:
        return f"judge:{self.name}"

    @property
    def urls(self) -> list[str]:
        return [url.strip() for url in self.base_url.split(",")]

    @property
    def price(self) -> Price:
        return Price(self.price_input, self.price_cached, self.price_output)


def body(
    judge: Judge,
    messages: list[dict],
    schema: dict[str, Any],
    format: str,
    sample: int,
    attempt: int = 0,
) -> dict[str, Any]:
    """A chat completion's JSON body, asking for an answer of `schema` (JSON schema with a title) in one of FORMATS."""
    sampling = {
        "temperature": judge.temperature,
        "top_p": judge.top_p,
        "max_tokens": judge.max_tokens,
        **judge.extra,
    }
    found = {"model": judge.model, "messages": messages, **sampling}
    if judge.seed is not None:
        found["seed"] = (
            judge.seed + sample + 1000 * attempt
        )  # asked afresh with one seed, a model would say the same again
    if format == "json_schema":
        found["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": schema["title"], "strict": True, "schema": schema},
        }
    elif format == "json_object":
        found["response_format"] = {"type": "json_object", "schema": schema}
    return found


def known_as(judge: Judge) -> str:
    """Under which name the ledger remembers how a model is asked for JSON."""
    return f"{judge.model} {judge.revision}".strip()


class Endpoint:
    """A judge's connection to one server, to be used within one event loop."""

    def __init__(self, judge: Judge, url: str, ledger: CallLedger):
        self.judge, self.url, self.ledger = judge, url, ledger
        self._client = openai.AsyncOpenAI(
            base_url=url,
            api_key=os.environ.get(judge.key_env, "none"),
            max_retries=0,  # every try is counted here
            timeout=judge.timeout,
            http_client=openai.DefaultAioHttpClient(timeout=judge.timeout),
        )
        self._resume_at, self._failed_in_a_row = 0.0, 0

    async def close(self) -> None:
        await self._client.close()

    async def call(self, request: Request, purse: "Purse") -> Answer | None:
        """The answer to a request, from the ledger if it is there; None where every try failed. Raises BudgetExceeded or JudgeDown."""
        if known := self.ledger.lookup(request.key):
            return known
        row = await purse.reserve(request)
        try:
            return await self._settle(row, request)
        finally:
            await purse.settled()

    async def _settle(self, row: int, request: Request) -> Answer | None:
        started, lost = time.monotonic(), 0
        for tried in range(1, self.judge.retries + 2):
            await asyncio.sleep(max(0.0, self._resume_at - time.monotonic()))
            try:
                answer = await self._send(request)
            except openai.APIStatusError as error:
                if error.status_code in (401, 403, 404):
                    self.ledger.abandon(row, request, tries=tried, lost=lost)
                    raise JudgeDown(
                        f"{self._who()}: {error.status_code} {error.message}; check base_url, model and {self.judge.key_env}"
                    ) from None
                probed = (
                    request.purpose == PROBE and error.status_code >= 500 and tried >= 3
                )  # llama.cpp's way of saying "unknown format"
                if error.status_code in (400, 413, 422) or probed:
                    answer = Answer(
                        f"{error.status_code} {error.message}"[:500],
                        finish="rejected",
                        status="rejected",
                    )
                else:
                    self._back_off(tried, error.response.headers.get("retry-after"))
                    continue
            except openai.APIConnectionError as error:
                lost += isinstance(error, openai.APITimeoutError) and not _unsent(error)
                self._back_off(tried, None)
                continue
            self.ledger.settle(
                row, request, answer, seconds=time.monotonic() - started, tries=tried, lost=lost
            )
            self._failed_in_a_row = 0
            return answer
        self.ledger.abandon(row, request, tries=self.judge.retries + 1, lost=lost)
        self._failed_in_a_row += 1
        if self._failed_in_a_row >= DEAD_AFTER:
            raise JudgeDown(
                f"{self._who()}: {self._failed_in_a_row} requests in a row failed {self.judge.retries + 1} times each"
            )
        return None

    async def _send(self, request: Request) -> Answer:
        # the body goes out as the ledger knows it, with fields that the client library has no name for
        found: Any = await self._client.post("/chat/completions", cast_to=object, body=request.body)
        return read_completion(found)

    def _back_off(self, tried: int, retry_after: str | None) -> None:
        """Nobody sends to this server before the pause is over: 0.5 s, doubled with each try, or what the server asks for; with jitter, so
        that they do not all come back at once."""
        try:
            pause = float(retry_after or "")
        except ValueError:  # none given, or a date
            pause = 0.5 * 2 ** (tried - 1)
        pause = min(pause, LONGEST_PAUSE) * random.uniform(1.0, 1.25)
        self._resume_at = max(self._resume_at, time.monotonic() + pause)

    def _who(self) -> str:
        return f"judge {self.judge.name} ({self.judge.model} at {self.url})"

    async def answer_format(self, purse: "Purse") -> str:
        """The strongest of FORMATS that the server honours, asked once per model and revision."""
        if self.judge.answer_format != "auto":
            return self.judge.answer_format
        if known := self.ledger.format_of(known_as(self.judge)):
            return known
        for format in FORMATS[:-1]:
            asked = body(self.judge, _PROBE, _PROBE_SCHEMA, format, sample=0)
            answer = await self.call(
                Request(
                    self.judge.voter, asked, self.judge.revision, self.judge.price, purpose=PROBE
                ),
                purse,
            )
            if answer is None:
                raise JudgeDown(
                    f"{self._who()}: no answer to a first question after {self.judge.retries + 1} tries"
                )
            if (
                answer.status == "answered"
                and _PROBE_WORD in answer.text
                and answer.text.strip().startswith("{")
            ):
                break
        else:
            format = FORMATS[-1]
        self.ledger.set_format(known_as(self.judge), format)
        return format


def _unsent(error: openai.APIConnectionError) -> bool:
    """Whether there was no connection, so that nothing can be charged; a refused one comes as a time-out of connecting."""
    return type(error.__cause__).__name__.startswith("Connect")


PROBE = "probe"
_PROBE_WORD = (
    "heliotrope"  # nothing in the question leads to it: an answer with it has followed the schema
)
_PROBE = [{"role": "user", "content": "Write one short greeting."}]
_PROBE_SCHEMA = {
    "title": "probe",
    "type": "object",
    "properties": {"word": {"type": "string", "enum": [_PROBE_WORD]}},
    "required": ["word"],
    "additionalProperties": False,
}


def read_completion(found: Any) -> Answer:
    """A chat completion's JSON as an Answer. Whatever is missing reads as empty: a judgment on it fails later, and is counted there."""
    inside = lambda value, key: value.get(key) if isinstance(value, dict) else None
    choices, usage = inside(found, "choices"), inside(found, "usage")
    choice = choices[0] if isinstance(choices, list) and choices else None
    prompt, completion = inside(usage, "prompt_tokens"), inside(usage, "completion_tokens")
    return Answer(
        text=inside(inside(choice, "message"), "content") or "",
        finish=inside(choice, "finish_reason") or "",
        prompt_tokens=prompt or 0,
        cached_tokens=inside(inside(usage, "prompt_tokens_details"), "cached_tokens") or 0,
        completion_tokens=completion or 0,
        counted=prompt is not None and completion is not None,
    )


class Purse:
    """Waits for money: a request that does not fit beside what is in flight may fit when some of that has come back."""

    def __init__(self, ledger: CallLedger):
        self._ledger, self._in_flight, self._change = ledger, 0, asyncio.Condition()

    async def reserve(self, request: Request) -> int:
        """The ledger's row for `request`. Raises BudgetExceeded where it does not fit and nothing that is in flight could change that."""
        async with self._change:
            while (row := self._ledger.reserve(request)) is None:
                if not self._in_flight:
                    raise BudgetExceeded(
                        f"budget: {self._ledger.spent():.4f} of {self._ledger.budget:.4f} dollars are booked, the next request of "
                        f"{request.voter} may cost {request.most():.4f}"
                    )
                await self._change.wait()
            self._in_flight += 1
        return row

    async def settled(self) -> None:
        async with self._change:
            self._in_flight -= 1
            self._change.notify_all()
