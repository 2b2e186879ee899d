"""Waiting for money that requests in flight may give back."""

import asyncio

import pytest

from rewardjax.curation.servers.paid_calls import BudgetExceeded, CallLedger
from rewardjax.curation.servers.purse import Purse
from rewardjax.curation.servers.requests import Answer, Price, Request

BODY = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 1000}


def request(sample: int) -> Request:
    return Request("judge:m", BODY, "", Price(output=1.0), sample=sample)


class Counting(CallLedger):
    asked = 0

    def reserve(self, *args, **options):
        self.asked += 1
        return super().reserve(*args, **options)


async def ask(purse, ledger, samples: int, tokens: int):
    async def one(sample):
        row = await purse.reserve(request(sample))
        await asyncio.sleep(0)
        ledger.settle(row, request(sample), Answer("x", completion_tokens=tokens))
        await purse.settled()

    return await asyncio.gather(*map(one, range(samples)), return_exceptions=True)


def test_who_waits_for_money_does_not_ask_the_ledger_at_each_payment(tmp_path):
    # Room for two at a time; each costs a thousandth of what it may cost.
    ledger = Counting(tmp_path / "calls.sqlite", budget=2.5 * request(0).most())
    outcomes = asyncio.run(ask(Purse(ledger), ledger, samples=200, tokens=1))
    assert outcomes == [None] * 200
    # With 198 that wait and all of them asking each time it would be thousands.
    assert ledger.asked < 4 * 200


def test_all_that_wait_are_told_when_the_money_has_ended(tmp_path):
    ledger = Counting(tmp_path / "calls.sqlite", budget=3.5 * request(0).most())
    purse = Purse(ledger)
    outcomes = asyncio.run(asyncio.wait_for(ask(purse, ledger, samples=20, tokens=1000), 20))
    assert outcomes.count(None) == 3
    told = [each for each in outcomes if isinstance(each, BudgetExceeded)]
    assert len(told) == 17 and ledger.spent() == pytest.approx(3 * request(0).most(), rel=1e-3)
