"""One annotator model behind an OpenAI-compatible server: how it is asked, tried again and paused.

Servers ignore fields that they do not know and answer 200, so whether `response_format` works is
found out by a question whose answer only the schema holds. It is asked once per model and
remembered in the ledger.
"""

import asyncio
import dataclasses
import functools
import os
import random
import time
from typing import Any

import openai

from rewardjax.curation.judges.judge_prompts import JudgePrompt, judge_prompt
from rewardjax.curation.judges.paid_calls import Answer, BudgetExceeded, CallLedger, Price, Request

# Tried in this order: a schema as the standard has it, a schema as llama.cpp takes it, words alone.
FORMATS = ("json_schema", "json_object", "plain")
LONGEST_PAUSE = 60.0  # seconds, whatever a server's Retry-After says
FIRST_PAUSE = 0.5  # seconds, doubled with each try
DEAD_AFTER = 3  # requests in a row that used up their retries

UNUSABLE = (401, 403, 404)  # key, permission, model: nothing that waiting could change
REFUSED = (400, 413, 422)  # this very request, as it stands


class JudgeDown(Exception):
    """A server that cannot be used: unreachable, or it refuses the key or the model."""


@dataclasses.dataclass(frozen=True)
class Judge:
    """An annotator model and how it is asked; the keyword arguments of a config's judge.

    name: the voter is "judge:NAME". base_url: several servers of one model are joined by commas and
    share its work. revision: any text that tells apart what the model's name does not (weights,
    server version); a new one asks everything again. prompt: what it is told when it judges
    (judge_prompts.py). shots: gold examples that it is shown at most, the nearest first; None for
    all that the pair comes with. samples: judgments per pair, half of them in each order.
    max_in_flight: requests at a time, per server. retries: after 429, 5xx, timeouts and lost
    connections; asks: how often a question is asked before an unreadable answer is given up.
    price_*: dollars per million tokens. key_env: the environment variable with the API key.
    answer_format: one of FORMATS, or "auto" to find out. seed: sent as `seed` + sample + 1000 x
    attempt, None to send none. extra: further fields of the request body.
    """

    name: str
    model: str
    base_url: str
    revision: str = ""
    prompt: str = "standard"
    shots: int | None = None
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
            value = getattr(self, field)
            if value < 1:
                raise ValueError(f"judge {self.name}: {field} = {value}, must be at least 1")
        if self.shots is not None and self.shots < 0:
            raise ValueError(f"judge {self.name}: shots = {self.shots}, must be at least 0")
        if self.answer_format not in ("auto", *FORMATS):
            formats = ", ".join(("auto", *FORMATS))
            raise ValueError(
                f"judge {self.name}: answer_format {self.answer_format!r} is not one of {formats}"
            )
        # These fields are this client's to set: what is booked, cached and read depends on them.
        if clash := set(self.extra) & {"model", "messages", "response_format", "stream", "n"}:
            raise ValueError(f"judge {self.name}: extra may not hold {', '.join(sorted(clash))}")
        # Read now and not at the first question: a misspelt prompt fails before anything is paid,
        # and a file that is edited while a run goes on changes nothing in it.
        try:
            self.prompt_text  # noqa: B018
        except ValueError as error:
            raise ValueError(f"judge {self.name}: {error}") from None

    @functools.cached_property
    def prompt_text(self) -> JudgePrompt:
        """What the judge is told when it judges."""
        return judge_prompt(self.prompt)

    @property
    def voter(self) -> str:
        """Its name in the ledgers."""
        return f"judge:{self.name}"

    @property
    def urls(self) -> list[str]:
        """The servers that share its work."""
        return [url.strip() for url in self.base_url.split(",")]

    @property
    def price(self) -> Price:
        """What its tokens cost."""
        return Price(self.price_input, self.price_cached, self.price_output)

    @property
    def cache_name(self) -> str:
        """Under which name the ledger remembers how the model is asked for JSON."""
        return f"{self.model} {self.revision}".strip()


def body(
    judge: Judge,
    messages: list[dict],
    schema: dict[str, Any],
    format: str,
    sample: int,
    attempt: int = 0,
) -> dict[str, Any]:
    """A chat completion's JSON body, asking for an answer of `schema` in one of FORMATS.

    schema: a JSON schema with a title.
    """
    completion = {
        "model": judge.model,
        "messages": messages,
        "temperature": judge.temperature,
        "top_p": judge.top_p,
        "max_tokens": judge.max_tokens,
        **judge.extra,
    }
    if judge.seed is not None:
        # Another seed for each attempt: asked afresh with the same one, a model would say the same
        # again.
        completion["seed"] = judge.seed + sample + 1000 * attempt
    if format == "json_schema":
        completion["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": schema["title"], "strict": True, "schema": schema},
        }
    elif format == "json_object":
        completion["response_format"] = {"type": "json_object", "schema": schema}
    return completion


# ------------------------------------------------------------------ the connection


class Endpoint:
    """A judge's connection to one server, to be used within one event loop.

    Tries, pauses and giving up are written out here, although the client library and packages such
    as tenacity have them, since each try is a decision about money: a try that timed out may have
    been charged and stays booked, one that was refused is free, and how often a request was tried
    stands in the ledger. A library's retries are invisible to it. A pause also holds back all
    requests to the server, where theirs hold back one.
    """

    def __init__(self, judge: Judge, url: str, ledger: CallLedger):
        self.judge, self.url, self.ledger = judge, url, ledger
        self._client = openai.AsyncOpenAI(
            base_url=url,
            # Local servers take any key, but the client library insists on one.
            api_key=os.environ.get(judge.key_env, "none"),
            max_retries=0,
            timeout=judge.timeout,
            http_client=openai.DefaultAioHttpClient(timeout=judge.timeout),
        )
        self._resume_at, self._failed_in_a_row = 0.0, 0

    async def close(self) -> None:
        """Give the connection back."""
        await self._client.close()

    async def call(self, request: Request, purse: "Purse") -> Answer | None:
        """The answer to a request, from the ledger if it is there; None where every try failed.

        Raises BudgetExceeded or JudgeDown.
        """
        booked = self.ledger.lookup(request.key)
        if booked is not None:
            return booked
        row = await purse.reserve(request)
        try:
            return await self._settle(row, request)
        finally:
            await purse.settled()

    async def _settle(self, row: int, request: Request) -> Answer | None:
        """Send a request, whose cost is reserved in `row`, until it is answered; book the cost."""
        started, lost = time.monotonic(), 0
        for attempt in range(1, self.judge.retries + 2):
            await asyncio.sleep(max(0.0, self._resume_at - time.monotonic()))
            try:
                answer = await self._send(request)
            except openai.APIStatusError as error:
                if error.status_code in UNUSABLE:
                    self.ledger.abandon(row, request, tries=attempt, lost=lost)
                    raise JudgeDown(
                        f"{self._who()}: {error.status_code} {error.message}; "
                        f"check base_url, model and {self.judge.key_env}"
                    ) from None
                if not _is_rejection(error, request, attempt):
                    self._back_off(attempt, error.response.headers.get("retry-after"))
                    continue
                reason = f"{error.status_code} {error.message}"[:500]
                answer = Answer(reason, finish="rejected", status="rejected")
            except openai.APIConnectionError as error:
                lost += isinstance(error, openai.APITimeoutError) and not _unsent(error)
                self._back_off(attempt, None)
                continue
            seconds = time.monotonic() - started
            self.ledger.settle(row, request, answer, seconds=seconds, tries=attempt, lost=lost)
            self._failed_in_a_row = 0
            return answer
        tries = self.judge.retries + 1
        self.ledger.abandon(row, request, tries=tries, lost=lost)
        # One request may be unlucky; several in a row mean that the server is gone, and every
        # further one would wait through all its pauses to find that out.
        self._failed_in_a_row += 1
        if self._failed_in_a_row >= DEAD_AFTER:
            raise JudgeDown(
                f"{self._who()}: {self._failed_in_a_row} requests in a row failed "
                f"{tries} times each"
            )
        return None

    async def _send(self, request: Request) -> Answer:
        # The body goes out as the ledger knows it, with fields that the client library has no name
        # for.
        completion: Any = await self._client.post(
            "/chat/completions", cast_to=object, body=request.body
        )
        return read_completion(completion)

    def _back_off(self, attempt: int, retry_after: str | None) -> None:
        """Pause all requests to this server: FIRST_PAUSE, doubled with each try, or as told."""
        try:
            pause = float(retry_after or "")
        except ValueError:  # none given, or a date
            pause = FIRST_PAUSE * 2 ** (attempt - 1)
        # With jitter, so that the waiting requests do not all come back at once.
        pause = min(pause, LONGEST_PAUSE) * random.uniform(1.0, 1.25)
        self._resume_at = max(self._resume_at, time.monotonic() + pause)

    def _who(self) -> str:
        return f"judge {self.judge.name} ({self.judge.model} at {self.url})"

    async def answer_format(self, purse: "Purse") -> str:
        """The strongest of FORMATS that the server honors, asked once per model and revision."""
        judge = self.judge
        if judge.answer_format != "auto":
            return judge.answer_format
        remembered = self.ledger.format_of(judge.cache_name)
        if remembered is not None:
            return remembered
        honored = FORMATS[-1]
        for format in FORMATS[:-1]:
            if await self._honors(format, purse):
                honored = format
                break
        self.ledger.set_format(judge.cache_name, honored)
        return honored

    async def _honors(self, format: str, purse: "Purse") -> bool:
        """Whether an answer follows the schema that was sent in this format.

        Raises JudgeDown where there is no answer.
        """
        judge = self.judge
        probe = body(judge, _PROBE, _PROBE_SCHEMA, format, sample=0)
        request = Request(judge.voter, probe, judge.revision, judge.price, purpose=PROBE)
        answer = await self.call(request, purse)
        if answer is None:
            raise JudgeDown(
                f"{self._who()}: no answer to a first question after {judge.retries + 1} tries"
            )
        is_object = answer.text.strip().startswith("{")
        return answer.status == "answered" and is_object and _PROBE_WORD in answer.text


def _is_rejection(error: openai.APIStatusError, request: Request, attempt: int) -> bool:
    """Whether the server refuses this request as it stands, so that trying again is of no use."""
    # llama.cpp says 500 about a response_format that it does not know. Only a probe asks for one
    # that may be unknown, and three times in a row is no accident.
    unknown_format = request.purpose == PROBE and error.status_code >= 500 and attempt >= 3
    return error.status_code in REFUSED or unknown_format


def _unsent(error: openai.APIConnectionError) -> bool:
    """Whether there was no connection, so that nothing can be charged.

    A refused connection comes as a time-out of connecting.
    """
    return type(error.__cause__).__name__.startswith("Connect")


PROBE = "probe"
# Nothing in the question leads to this word: an answer that holds it has followed the schema.
_PROBE_WORD = "heliotrope"
_PROBE = [{"role": "user", "content": "Write one short greeting."}]
_PROBE_SCHEMA = {
    "title": "probe",
    "type": "object",
    "properties": {"word": {"type": "string", "enum": [_PROBE_WORD]}},
    "required": ["word"],
    "additionalProperties": False,
}


def read_completion(completion: Any) -> Answer:
    """A chat completion's JSON as an Answer.

    Whatever is missing reads as empty: a judgment on it fails later, and is counted there.
    """
    choices, usage = _member(completion, "choices"), _member(completion, "usage")
    choice = None
    if isinstance(choices, list) and choices:
        choice = choices[0]
    prompt_tokens = _member(usage, "prompt_tokens")
    completion_tokens = _member(usage, "completion_tokens")
    return Answer(
        text=_member(_member(choice, "message"), "content") or "",
        finish=_member(choice, "finish_reason") or "",
        prompt_tokens=prompt_tokens or 0,
        cached_tokens=_member(_member(usage, "prompt_tokens_details"), "cached_tokens") or 0,
        completion_tokens=completion_tokens or 0,
        counted=prompt_tokens is not None and completion_tokens is not None,
    )


def _member(value: Any, key: str) -> Any:
    if isinstance(value, dict):
        return value.get(key)
    return None


class Purse:
    """Waits for money.

    A request that does not fit beside what is in flight may fit when some of that has come back.
    """

    def __init__(self, ledger: CallLedger):
        self._ledger, self._in_flight, self._change = ledger, 0, asyncio.Condition()

    async def reserve(self, request: Request) -> int:
        """The ledger's row for `request`.

        Raises BudgetExceeded where it does not fit and nothing that is in flight could change that.
        """
        async with self._change:
            while (row := self._ledger.reserve(request)) is None:
                if not self._in_flight:
                    raise BudgetExceeded(
                        f"budget: {self._ledger.spent():.4f} of {self._ledger.budget:.4f} dollars "
                        f"are booked, the next request of {request.voter} may cost "
                        f"{request.most():.4f}"
                    )
                await self._change.wait()
            self._in_flight += 1
        return row

    async def settled(self) -> None:
        """A request has come back: what it did not cost is free again."""
        async with self._change:
            self._in_flight -= 1
            self._change.notify_all()
