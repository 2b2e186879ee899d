"""A connection to one server: what is tried again, what is given up, and who is to blame.

| the server                        | what is done                                               |
| --------------------------------- | ---------------------------------------------------------- |
| 400, 413, 422                     | the request is refused as it stands: an answer, and free   |
| 401, 402, 403, 404, quota used up | the server is stopped: waiting changes nothing             |
| 429, 503 with Retry-After         | all its requests wait as long as it asks                   |
| 503 while it loads its model      | all its requests wait, and are told so                     |
| 5xx, a reply that is no completion| this request waits, longer each time                       |
| no reply in time, no connection   | this request waits, longer each time                       |

A request that fails again and again while the server answers others is at fault itself and costs
only itself. Where nothing is answered any more, one small question decides which it is: the server
is stopped, or the request is given up.

Tries, pauses and giving up are written out here, although the client library and packages such as
tenacity have them, since each try is a decision about money: a try that timed out may have been
charged and stays booked, one that was refused is free, and how often a request was tried stands in
the ledger. A library's retries are invisible to it.
"""

import abc
import asyncio
import contextlib
import itertools
import os
import random
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import Literal

import httpx2
import openai
from tqdm import tqdm

from rewardjax.command.terminal import visible
from rewardjax.curation.servers import failures
from rewardjax.curation.servers.failures import Failure, Kind, ServerDown
from rewardjax.curation.servers.paid_calls import CallLedger
from rewardjax.curation.servers.purse import Purse
from rewardjax.curation.servers.replies import Trouble, describe_error
from rewardjax.curation.servers.requests import Answer, Request
from rewardjax.curation.servers.server import Server

LONGEST_PAUSE = 60.0  # seconds, whatever a server's Retry-After says
FIRST_PAUSE = 0.25  # seconds, doubled with each try in vain; no pause is shorter
LOADING_PAUSE = 5.0  # seconds between looks at a server that loads its model
LOADING_LOOKS = 180  # a quarter of an hour in all
SILENT_AFTER = 30.0  # seconds without any reply after which it is said, and again each minute
SUSPECT_AFTER = 3  # tries of one request after which it is asked who is at fault
SUSPECT_AGAIN_AFTER = 2  # the same for a request that was given up before
TIMEOUTS = 3  # the same where a try ends by waiting in vain
BREAK_AFTER = 8  # tries in a row, of whatever requests, after which one at a time is sent

PURPOSE = "probe"  # of first questions, in the ledger of calls


class Connection(abc.ABC):
    """A connection to one server, to be used within one event loop.

    Whoever asks something of it says where (`path`), how a reply is read, what the smallest
    question is, and what may be learned from a refusal.
    """

    path: str

    def __init__(self, server: Server, url: str, ledger: CallLedger):
        self.server, self.url, self.ledger = server, url, ledger
        self._client = openai.AsyncOpenAI(
            base_url=url,
            # Local servers take any key, but the client library insists on one.
            api_key=os.environ.get(server.key_env, "none"),
            max_retries=0,
            timeout=server.timeout,
            http_client=openai.DefaultAioHttpClient(
                timeout=server.timeout,
                # By default a thousand: the others would wait here, their time running already.
                # One more than requests, for the small question.
                limits=httpx2.Limits(max_connections=server.max_in_flight + 1),
            ),
        )
        self.suspect_after = SUSPECT_AFTER
        self._resume_at = 0.0
        # Completions so far, and when a reply of any kind came last.
        self._answered, self._heard_at = 0, 0.0
        self._in_flight = self._failed_in_a_row = 0
        self._said_loading = self._trying_again_helped = False
        self._one_at_a_time, self._small_question = asyncio.Lock(), asyncio.Lock()
        self._looking: set[asyncio.Task[bool]] = set()
        # Why it cannot be used, once that is known.
        self._down: str | None = None
        # One for each request that the server may have at a time.
        self._slots = asyncio.Semaphore(server.max_in_flight)

    async def close(self) -> None:
        """Give the connection back."""
        # A small question that was sent is paid for: its answer is booked.
        await asyncio.gather(*self._looking, return_exceptions=True)
        await self._client.close()

    async def call(self, request: Request, purse: Purse) -> Answer | None:
        """The answer to a request, from the ledger if it is there; None where it is given up.

        Raises BudgetExceeded or ServerDown.
        """
        booked = self.ledger.lookup(request)
        if booked is not None:
            return booked
        return await self.pay(request, purse)

    async def pay(self, request: Request, purse: Purse) -> Answer | None:
        """`call` of a request whose answer the ledger does not keep."""
        # A slot first: what is reserved when a process dies stays booked, so that it should be what
        # was sent.
        async with self._slots:
            # Found out while this request waited for its slot.
            if self._down is not None:
                raise ServerDown(self._down)
            row = await purse.reserve(request)
            try:
                return await self._settle(row, request)
            finally:
                await purse.settled()

    @abc.abstractmethod
    def read(self, content: bytes, request: Request) -> Answer:
        """The answer in the body of a reply of status 200. Raises Trouble."""

    @abc.abstractmethod
    def small_question(self) -> Request:
        """A request that every server of this kind can answer."""

    # Not abstract: of most refusals nothing more is to be learned.
    def look_at_refusal(self, row: int, request: Request, failure: Failure) -> None:  # noqa: B027
        """Raise ServerDown where a refusal is about settings that all requests share."""

    async def watch(self) -> None:
        """Say on standard error when the server lets all requests wait. Runs until canceled."""
        while True:
            await asyncio.sleep(SILENT_AFTER / 4)
            silence = time.monotonic() - self._heard_at
            if self._in_flight and silence > SILENT_AFTER:
                self._say(
                    f"no reply for {silence:.0f} s to {self._in_flight} requests; each is given up "
                    f"after {self.server.timeout:.0f} s (its timeout)"
                )
                await asyncio.sleep(2 * SILENT_AFTER)

    # -------------------------------------------------------------- one request

    async def _settle(self, row: int, request: Request) -> Answer | None:
        """Send a request, whose cost is reserved in `row`, until it is answered; book the cost."""
        started, answered_before = time.monotonic(), 0
        failed: Counter[Kind] = Counter()
        for tries in itertools.count(1):
            try:
                answer = await self._send_when_loaded(request)
            except Failure as error:
                failure = error
            else:
                break
            if failure.kind is Kind.REFUSED:
                self.look_at_refusal(row, request, failure)
                answer = Answer(failure.reason, finish="rejected", status="rejected")
                break
            if tries == 1:
                # Counted from the first failure: what was answered before does not tell whether
                # the server still works.
                answered_before = self._answered
            failed[failure.kind] += 1
            self._look_ahead(request, failure, failed, answered_before)
            at_fault = await self._at_fault(request, failure, failed, answered_before)
            if at_fault is not None:
                reason = f"{failure.reason} (try {tries})"
                lost = failed[Kind.TIMED_OUT]
                self.ledger.abandon(row, request, tries=tries, lost=lost, reason=reason)
                if at_fault == "server":
                    self._down = f"{self._who()}: {reason}"
                    raise ServerDown(self._down)
                return None
            doublings = tries - 1
            # A server that answers others needs no relief, unless it asks for it.
            if failure.kind is Kind.BROKEN and self._answered > answered_before:
                doublings = 0
            await self._pause(failure, doublings)
        self._trying_again_helped |= failed[Kind.BROKEN] > 0 and answer.status != "rejected"
        seconds, lost = time.monotonic() - started, failed[Kind.TIMED_OUT]
        self.ledger.settle(row, request, answer, seconds=seconds, tries=tries, lost=lost)
        return answer

    async def _at_fault(
        self, request: Request, failure: Failure, failed: Counter[Kind], answered_before: int
    ) -> Literal["server", "request"] | None:
        """Who is to blame for the failed tries of a request; None: try again."""
        if failure.kind is Kind.UNUSABLE:
            return "server"
        patience = self.server.retries + 1
        # Many requests at fault look like a server at fault: the small question tells.
        is_dead = self._failed_in_a_row >= BREAK_AFTER and not await self._is_alive(request)
        if is_dead and self._failed_in_a_row > BREAK_AFTER + patience:
            return "server"
        # Of this kind alone: that a server was busy before says nothing about the request.
        if failed[failure.kind] < self._tries_unsuspected(failure.kind):
            return None
        if self._answered > answered_before:
            return "request"
        if request.purpose == PURPOSE:
            return self._at_fault_of_probe(failure, failed.total())
        if await self._is_alive(request):
            return "request"
        if failed.total() >= patience or failure.kind is Kind.TIMED_OUT:
            return "server"
        return None

    def _tries_unsuspected(self, kind: Kind) -> int:
        """Failed tries of one kind after which it is asked who is at fault."""
        patience = self.server.retries + 1
        if kind is Kind.TIMED_OUT:
            return min(TIMEOUTS, patience)
        # Where trying again has helped another request, the server is at fault and not this one.
        if kind is Kind.SLOW_DOWN or self._trying_again_helped:
            return patience
        return min(self.suspect_after, patience)

    def _look_ahead(
        self, request: Request, failure: Failure, failed: Counter[Kind], answered_before: int
    ) -> None:
        """Put the small question beside a request's last unsuspected try, and not after it.

        The last requests of all have no others beside them whose answers would tell that the
        server works: each would be waited for longer by a question's time.
        """
        is_last = failed[failure.kind] == self._tries_unsuspected(failure.kind) - 1
        nobody_tells = self._answered == answered_before and request.purpose != PURPOSE
        # A server that is slow or that breaks down is not asked more.
        is_calm = failure.kind is Kind.BROKEN and self._failed_in_a_row < BREAK_AFTER
        if is_last and nobody_tells and is_calm and not self._small_question.locked():
            looking = asyncio.create_task(self._is_alive(request))
            # The event loop alone would let go of a task before its end.
            self._looking.add(looking)
            looking.add_done_callback(self._looking.discard)

    def _at_fault_of_probe(
        self, failure: Failure, tries: int
    ) -> Literal["server", "request"] | None:
        """The same for a first question, which is small already."""
        # llama.cpp says 500 about a response_format that it does not know: another question will
        # tell. A gateway's 502 is no answer to any question.
        if failure.reason.startswith("500"):
            return "request"
        if tries > self.server.retries or failure.kind is Kind.TIMED_OUT:
            return "server"
        return None

    async def _is_alive(self, request: Request) -> bool:
        """Whether anything is answered, by others' requests meanwhile or a small question."""
        # A first question is small itself.
        if request.purpose == PURPOSE:
            return False
        answered = self._answered
        async with self._small_question:
            return self._answered > answered or await self._answers_a_small_question()

    async def _answers_a_small_question(self) -> bool:
        """Whether the server still answers anything at all."""
        request = self.small_question()
        row = self.ledger.reserve(request)
        # Without money for it, the request's own tries must tell.
        if row is None:
            return False
        try:
            answer = await self._send(request)
        except Failure as failure:
            lost = int(failure.kind is Kind.TIMED_OUT)
            self.ledger.abandon(row, request, tries=1, lost=lost, reason=failure.reason)
            # A refusal is an answer in this.
            return failure.kind in (Kind.REFUSED, Kind.SLOW_DOWN)
        self.ledger.settle(row, request, answer)
        return True

    # -------------------------------------------------------------- one try

    async def _send_when_loaded(self, request: Request) -> Answer:
        """Send a request in its turn. Raises Failure."""
        for look in itertools.count(1):
            try:
                async with self._turn():
                    return await self._send(request)
            except Failure as failure:
                if failure.kind is not Kind.LOADING or look > LOADING_LOOKS:
                    raise
                # One of all that wait says so, once.
                if not self._said_loading:
                    self._say(f"{failure.reason}; looking again every {LOADING_PAUSE:.0f} s")
                self._said_loading = True
                self._hold_back(LOADING_PAUSE)
        raise AssertionError  # count has no end

    @contextlib.asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """Wait until the server may be asked; where nothing is answered, one request at a time."""
        await asyncio.sleep(max(0.0, self._resume_at - time.monotonic()))
        if self._failed_in_a_row < BREAK_AFTER:
            yield
            return
        async with self._one_at_a_time:
            # Whoever waited for the lock need not hold it where the server has recovered.
            if self._failed_in_a_row >= BREAK_AFTER:
                await asyncio.sleep(max(0.0, self._resume_at - time.monotonic()))
                yield
                return
        yield

    async def _send(self, request: Request) -> Answer:
        if not self._in_flight:
            self._heard_at = time.monotonic()
        self._in_flight += 1
        try:
            answer = await self._try(request)
        except Failure as failure:
            # A server that turns requests away is at work.
            if failure.kind in (Kind.BROKEN, Kind.TIMED_OUT, Kind.UNREACHED):
                self._failed_in_a_row += 1
            raise
        finally:
            self._in_flight -= 1
        self._failed_in_a_row = 0
        self._answered += 1
        return answer

    async def _try(self, request: Request) -> Answer:
        """One request and its reply. Raises Failure."""
        try:
            # The body goes out as the ledger knows it, with fields that the client library has no
            # name for, and the reply comes back unread: what is in it is not yet to be believed.
            content = await self._client.post(self.path, cast_to=bytes, body=request.body)
            self._heard_at = time.monotonic()
            return self.read(content, request)
        except openai.APIStatusError as error:
            self._heard_at = time.monotonic()
            message, code = describe_error(error.body)
            if error.body is None:
                message = error.message
            headers = error.response.headers
            raise failures.of_status(error.status_code, message, code, headers) from None
        except openai.APIConnectionError as error:
            raise failures.of_connection(error) from None
        except Trouble as trouble:
            status = 502
            if str(trouble.code).isdigit() and 400 <= int(str(trouble.code)) < 600:
                status = int(str(trouble.code))
            raise failures.of_status(status, str(trouble), trouble.code, {}) from None

    async def _pause(self, failure: Failure, doublings: int) -> None:
        """Wait after a failed try: FIRST_PAUSE, doubled so often, or as the server asks."""
        seconds = failure.pause
        if seconds is None:
            seconds = FIRST_PAUSE * 2**doublings
        # With jitter, so that the waiting requests do not all come back at once.
        seconds = min(max(seconds, FIRST_PAUSE), LONGEST_PAUSE) * random.uniform(1.0, 1.25)
        if failure.kind in (Kind.SLOW_DOWN, Kind.UNREACHED):
            self._hold_back(seconds)
        elif self._failed_in_a_row > BREAK_AFTER:
            # In its own time and not in the request's: each of many requests has failed seldom.
            steps = self._failed_in_a_row - BREAK_AFTER
            self._hold_back(min(FIRST_PAUSE * 2**steps, LONGEST_PAUSE))
        elif self._answered and self._failed_in_a_row <= BREAK_AFTER // 2:
            await self._sleep_outside(seconds)
        else:
            # A server that answers nothing is not asked more.
            await asyncio.sleep(seconds)

    async def _sleep_outside(self, seconds: float) -> None:
        """Let another request have this one's slot for some time: the server has time for it."""
        self._slots.release()
        try:
            await asyncio.sleep(seconds)
        finally:
            await self._slots.acquire()

    def _hold_back(self, seconds: float) -> None:
        """Send nothing to this server for some time."""
        self._resume_at = max(self._resume_at, time.monotonic() + seconds)

    def _who(self) -> str:
        return f"{self.server.kind} {self.server.name} ({self.server.model} at {self.url})"

    def _say(self, text: str) -> None:
        # What a server says of itself is part of it.
        tqdm.write(visible(f"{self._who()}: {text}"), file=sys.stderr)


@contextlib.asynccontextmanager
async def watched(connections: Sequence[Connection]) -> AsyncIterator[None]:
    """Watch connections while the block runs, and give them back at its end."""
    watchers = [asyncio.create_task(connection.watch()) for connection in connections]
    try:
        yield
    finally:
        for watcher in watchers:
            watcher.cancel()
        await asyncio.gather(*(connection.close() for connection in connections))
