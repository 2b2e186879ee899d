"""Asking several judges at once for what the ledger of calls lacks.

report = asking.ask(items, [Judge(...), ...], ledger, purpose="label-0")
if why := asking.unfinished(report): ...
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import TypedDict, TypeVar

from rewardjax.curation.judges.client import Judge
from rewardjax.curation.judges.prompts import Item
from rewardjax.curation.judges.protocol import (
    Outcome,
    Question,
    question_count,
    questions,
    settle,
)
from rewardjax.curation.judges.requests.dialect import Dialect
from rewardjax.curation.judges.requests.endpoint import Endpoint
from rewardjax.curation.servers import open_files
from rewardjax.curation.servers.connection import SUSPECT_AGAIN_AFTER, watched
from rewardjax.curation.servers.event_loop import run
from rewardjax.curation.servers.failures import ServerDown
from rewardjax.curation.servers.paid_calls import BudgetExceeded, CallLedger
from rewardjax.curation.servers.purse import Purse
from rewardjax.curation.servers.requests import Request

T = TypeVar("T")
# Told how many pairs more are settled, a part of one for each question, and what was paid so far.
Advance = Callable[[float, str], None]

# A judge that cannot be read in its first questions is asked no more: each of them was paid for.
NONE_READABLE_OF = 8


class Report(TypedDict):
    """What a call of `ask` came to, in questions, servers and dollars."""

    questions: int
    settled: int
    unreadable: int  # of the settled ones: those without a value
    in_batches: int  # those that a batch file holds and that no results were read for
    stopped: dict[str, str]  # server -> why it took no more; the others went on
    out_of_budget: str | None
    dollars: float  # booked in all


def ask(
    items: Sequence[Item],
    judges: Sequence[Judge],
    ledger: CallLedger,
    *,
    task: str = "judge",
    purpose: str = "",
    advance: Advance = lambda pairs, note: None,
) -> Report:
    """Put every question about `items` to every judge, paying only for what `ledger` lacks.

    All judges work at the same time. Call it again to go on where it stopped. Raises ValueError for
    a pair or a judge's name that occurs twice, and for more requests in flight than this process
    may have connections.
    """
    _refuse_repeats("pair", [item.pair_id for item in items])
    _refuse_repeats("judge", [judge.name for judge in judges])
    open_files.make_room(sum(judge.max_in_flight * len(judge.urls) for judge in judges))
    return run(_ask(items, judges, ledger, task, purpose, advance))


def unfinished(report: Report) -> str | None:
    """Why questions wait and what to do about it, as one sentence; None where none does.

    A question that was given up by itself does not wait: how many of them may be is for whoever
    counts the votes.
    """
    if report["out_of_budget"]:
        return f"{report['out_of_budget']}; raise budget.judges and run again"
    if report["stopped"]:
        return f"{next(iter(report['stopped'].values()))}; run again when that is mended"
    if report["in_batches"]:
        return (
            f"{report['in_batches']} questions are in batch files; "
            "read their results with `curate batch read` and run again"
        )
    return None


async def _ask(
    items: Sequence[Item],
    judges: Sequence[Judge],
    ledger: CallLedger,
    task: str,
    purpose: str,
    advance: Advance,
) -> Report:
    per_pair = sum(question_count(judge, task) for judge in judges)
    total = len(items) * per_pair
    asking = _Asking(ledger, lambda questions, note: advance(questions / per_pair, note))
    await asyncio.gather(*(asking.serve(judge, items, task, purpose) for judge in judges))
    settled = asking.states.total()
    answered = sum(asking.states[judge.voter, "answered"] for judge in judges)
    return Report(
        questions=total,
        settled=settled,
        unreadable=settled - answered,
        in_batches=asking.in_batches,
        stopped=asking.stopped,
        out_of_budget=asking.out_of_budget,
        dollars=ledger.spent(),
    )


class _Asking:
    """One call of `ask`: what its judges and their workers share."""

    def __init__(self, ledger: CallLedger, advance: Advance):
        self.ledger, self.purse, self._advance = ledger, Purse(ledger), advance
        self.in_batches = 0
        self.stopped: dict[str, str] = {}
        # How many settled questions of a voter ended in which state.
        self.states: Counter[tuple[str, str]] = Counter()
        self.out_of_budget: str | None = None

    async def serve(self, judge: Judge, items: Sequence[Item], task: str, purpose: str) -> None:
        """Put all questions to one judge, `max_in_flight` at a time for each of its servers."""
        endpoints = [Endpoint(judge, url, self.ledger) for url in judge.urls]
        # One iterator for all workers, each of which takes the next question: a slow server gets
        # fewer.
        waiting = _all_questions(items, judge, task, purpose)
        async with watched(endpoints):
            dialect = await self._dialect(endpoints)
            if dialect is None:
                return
            given_up = await self._work_all(endpoints, waiting, dialect)
            # Once more at the end: what failed among others may have had bad luck with the server.
            self._advance(-len(given_up), "")
            for endpoint in endpoints:
                endpoint.suspect_after = SUSPECT_AGAIN_AFTER
            await self._work_all(endpoints, iter(given_up), dialect)

    async def _work_all(
        self, endpoints: Sequence[Endpoint], waiting: Iterator[Question], dialect: Dialect
    ) -> list[Question]:
        """Put questions to all servers of a judge; those that stay open come back."""
        given_up: list[Question] = []
        # Each of them is one question at a time; those beyond the server's slots work while others
        # wait to try again.
        workers = []
        for endpoint in endpoints:
            for _ in range(2 * endpoint.judge.max_in_flight):
                workers.append(self._work(endpoint, waiting, dialect, given_up))
        await asyncio.gather(*workers)
        return given_up

    async def _dialect(self, endpoints: Sequence[Endpoint]) -> Dialect | None:
        """How the judge is asked, as the first of its servers that answers says."""
        for endpoint in endpoints:
            dialect = await self._unless_stopped(endpoint, endpoint.find_dialect(self.purse))
            if dialect is not None:
                return dialect
        return None

    async def _work(
        self,
        endpoint: Endpoint,
        waiting: Iterator[Question],
        dialect: Dialect,
        given_up: list[Question],
    ) -> None:
        for question in waiting:
            step = settle(question, dialect, self.ledger)
            while isinstance(step, Request) and self._may_send(endpoint, step):
                answer = await self._unless_stopped(endpoint, endpoint.call(step, self.purse))
                if answer is None:
                    break
                step = settle(question, dialect, self.ledger)
            if isinstance(step, Request) and self._may_send(endpoint, step):
                given_up.append(question)
            self._count(endpoint.judge, step)
            # Answers that come from the ledger come without a pause in which others could work.
            await asyncio.sleep(0)

    def _may_send(self, endpoint: Endpoint, request: Request) -> bool:
        # Once something has stopped no more is paid; what is in flight is paid for and is waited
        # for.
        stopped = self.out_of_budget or endpoint.url in self.stopped
        return not stopped and self.ledger.in_batch(request.key) is None

    def _count(self, judge: Judge, step: Outcome | Request) -> None:
        if isinstance(step, Outcome):
            self.states[judge.voter, step.state] += 1
            self._stop_if_unreadable(judge, step)
        else:
            self.in_batches += self.ledger.in_batch(step.key) is not None
        self._advance(1, f"{self.ledger.spent():.4f} dollars")

    def _stop_if_unreadable(self, judge: Judge, outcome: Outcome) -> None:
        unreadable = self.states[judge.voter, "unreadable"]
        if unreadable >= NONE_READABLE_OF and not self.states[judge.voter, "answered"]:
            sentence = (
                f"judge {judge.name}: none of its first {unreadable} answers can be read "
                f"({outcome.problem}); look at them with `curate judges check`"
            )
            for url in judge.urls:
                self.stopped.setdefault(url, sentence)

    async def _unless_stopped(self, endpoint: Endpoint, working: Awaitable[T]) -> T | None:
        """What `working` returns; None, with the reason noted, where it cannot go on."""
        try:
            return await working
        except ServerDown as error:
            self.stopped.setdefault(endpoint.url, str(error))
        except BudgetExceeded as error:
            self.out_of_budget = self.out_of_budget or str(error)
        return None


def _all_questions(
    items: Iterable[Item], judge: Judge, task: str, purpose: str
) -> Iterator[Question]:
    for item in items:
        yield from questions(item, judge, task, purpose)


def _refuse_repeats(what: str, names: Sequence[str]) -> None:
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise ValueError(f"judges: {what} {repeated[0]} is given twice")
