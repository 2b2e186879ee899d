"""A judge's connection to one server: how it wants to be asked, found out by a first question."""

import dataclasses

from rewardjax.curation.judges.client import Judge, body
from rewardjax.curation.judges.requests.completion import read_reply
from rewardjax.curation.judges.requests.dialect import PROBE, PROBE_SCHEMA, Dialect, adapted, find
from rewardjax.curation.servers.connection import PURPOSE, Connection
from rewardjax.curation.servers.failures import Failure, ServerDown
from rewardjax.curation.servers.paid_calls import CallLedger
from rewardjax.curation.servers.purse import Purse
from rewardjax.curation.servers.requests import Answer, Request


class Endpoint(Connection):
    """A judge's connection to one server, to be used within one event loop."""

    path = "/chat/completions"

    def __init__(self, judge: Judge, url: str, ledger: CallLedger):
        super().__init__(judge, url, ledger)
        self.judge = judge

    def read(self, content: bytes, request: Request) -> Answer:
        """A chat completion. Raises Trouble for a reply that is none."""
        return read_reply(content, request)

    def small_question(self) -> Request:
        """A first question as plainly as it can be put."""
        return self.probe(Dialect("plain", self.judge.limit_field, system=False))

    def look_at_refusal(self, row: int, request: Request, failure: Failure) -> None:
        """Raise ServerDown where a setting of the judge makes the server refuse everything."""
        # Where the settings say nothing, the first question has found the dialect out.
        if self.judge.answer_format == "auto":
            return
        other_dialect = adapted(self.judge.dialect, failure.reason)
        if other_dialect is not None:
            self.ledger.abandon(row, request, tries=1, lost=0, reason=failure.reason)
            raise ServerDown(
                f"{self._who()}: {failure.reason}; set the judge's answer_format to 'auto', "
                "which finds out how the server wants to be asked"
            )

    async def find_dialect(self, purse: Purse) -> Dialect:
        """How the server wants to be asked, found out once per model and revision.

        Raises BudgetExceeded or ServerDown.
        """
        judge = self.judge
        if judge.answer_format != "auto":
            return judge.dialect
        remembered = self.ledger.dialect_of(judge.cache_name)
        if remembered is not None:
            return Dialect.read(remembered)
        refusals = []

        async def ask(dialect: Dialect) -> Answer | None:
            answer = await self.call(self.probe(dialect), purse)
            if answer is not None and answer.status == "rejected":
                refusals.append(answer.text)
            return answer

        dialect = await find(judge.dialect, ask)
        if dialect is None:
            reason = next(iter(refusals), "errors only")
            raise ServerDown(f"{self._who()}: it answers no first question: {reason}")
        if dialect != dataclasses.replace(judge.dialect, format=dialect.format):
            self._say(f"asked as it wants to be: {dialect.told()}")
        self.ledger.set_dialect(judge.cache_name, dialect.text)
        return dialect

    def probe(self, dialect: Dialect) -> Request:
        """A first question to the server."""
        judge = self.judge
        content = body(judge, PROBE, PROBE_SCHEMA, dialect, sample=0)
        return Request(judge.voter, content, judge.revision, judge.price, purpose=PURPOSE)
