"""What was spent on whom, and what is left of the budgets."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from rewardjax.curation import people_quality
from rewardjax.curation.ledger.store import Store
from rewardjax.curation.servers.paid_calls import CallLedger


class Money(NamedTuple):
    """Dollars spent, and the most that may be; a budget of None has no limit."""

    judges: float
    judges_budget: float | None
    people: float
    people_budget: float | None

    def sentence(self) -> str:
        """Both in words."""
        return (
            f"judges {_of(self.judges, self.judges_budget)}, "
            f"people {_of(self.people, self.people_budget)}"
        )


def _of(spent: float, budget: float | None) -> str:
    if budget is None:
        return f"{dollars(spent)} (no limit)"
    return f"{dollars(spent)} of {dollars(budget)}"


def dollars(amount: float) -> str:
    """An amount as people read it; cents of a small one say nothing."""
    if 0 < amount < 0.1:
        return f"${amount:.2g}"
    return f"${amount:,.2f}"


def money(store: Store, calls: CallLedger, config: Mapping[str, Any]) -> Money:
    """What was spent so far; config: the fields `prices` and `budget` of a curation."""
    people = people_answers(store) * config["prices"]["gold"]
    # What was paid is booked by request; people's answers have a price, and no bill.
    budget = config["budget"]
    return Money(calls.spent(), budget["judges"], people, budget["people"])


def people_answers(store: Store) -> int:
    """Answers that people were paid for."""
    sql = f"select count(*) from votes where {people_quality.PAID}"
    return store.query(sql).column(0)[0].as_py()


def table(store: Store, calls: CallLedger, config: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row for each judge, for all judges and for people: answers, tokens, dollars, what is left.

    "in doubt" is the part of the dollars that is booked for requests without an answer.
    """
    rows: dict[str, dict[str, Any]] = {}
    for cost in calls.costs():
        row = rows.setdefault(cost["voter"], {"who": cost["voter"]})
        for name, column in (
            ("answered", "answers"),
            ("prompt_tokens", "tokens in"),
            ("completion_tokens", "tokens out"),
            ("dollars", "$"),
            ("in_doubt", "$ in doubt"),
        ):
            row[column] = row.get(column, 0) + cost[name]
    spent = money(store, calls, config)
    everyone = {"who": "all judges", "$": spent.judges} | _left(spent.judges, spent.judges_budget)
    people = {"who": "people", "answers": people_answers(store), "$": spent.people}
    return [*rows.values(), everyone, people | _left(spent.people, spent.people_budget)]


def _left(spent: float, budget: float | None) -> dict[str, Any]:
    if budget is None:
        return {"budget": "no limit", "$ left": "no limit"}
    # A budget that was lowered below what was spent has nothing left, and not a debt.
    return {"budget": budget, "$ left": max(0.0, budget - spent)}
