"""Waiting for money: what does not fit into the budget now may fit when a request comes back."""

import asyncio

from rewardjax.curation.servers.paid_calls import BudgetExceeded, CallLedger
from rewardjax.curation.servers.requests import Request


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
                    # The next one may be cheaper, or is told the same.
                    self._change.notify()
                    raise BudgetExceeded(
                        f"budget: {self._ledger.spent():.4f} of {self._ledger.budget:.4f} dollars "
                        f"are booked, the next request of {request.voter} may cost "
                        f"{request.most():.4f}"
                    )
                await self._change.wait()
            self._in_flight += 1
            # Perhaps there is room for one more.
            self._change.notify()
        return row

    async def settled(self) -> None:
        """A request has come back: what it did not cost is free again."""
        async with self._change:
            self._in_flight -= 1
            # One of those that wait, and it the next one: if thousands all asked the ledger each
            # time, it would do nothing else.
            self._change.notify()
