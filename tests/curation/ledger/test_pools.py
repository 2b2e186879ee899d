"""Pools: the rule for one pair, and the same rule as a query over a store with every situation."""

import itertools

import pytest
from ledgers import pair, vote

from rewardjax.curation.ledger import pools as pools_lib
from rewardjax.curation.ledger.pools import FACTS, POOLS, standing
from rewardjax.curation.ledger.store import Store

SITUATIONS = [dict(zip(FACTS, words, strict=True)) for words in itertools.product(*FACTS.values())]


def decision(pair_id, action, round=0, value=None):
    opinions = dict.fromkeys(("original", "gold", "best", "judges", "humans"), "none")
    row = {"pair_id": pair_id, "action": action, "rule": "r", "round": round, "value": value}
    return row | opinions


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """One pair per situation, its id the situation's number; every original label is `a`."""
    store = Store(tmp_path_factory.mktemp("pools"))
    rows = {"pairs": [], "votes": [], "decisions": [], "findings": []}
    for i, facts in enumerate(SITUATIONS):
        pair_id = f"{i:04x}"
        rows["pairs"].append(pair(pair_id, entry=facts["entry"]))
        rows["votes"].append(vote(pair_id, "original:s", "a"))
        if facts["held"] == "yes":
            rows["findings"].append({"pair_id": pair_id, "finding": "pii", "action": "hold"})
        if facts["humans"] != "none":
            rows["votes"].append(vote(pair_id, "human:ann", facts["humans"]))
        if facts["panel"] != "none":
            rows["votes"].append(vote(pair_id, "panel", facts["panel"]))
        if facts["decided"] != "none":
            value = {"keep": "a", "flip": "b"}.get(facts["decided"])
            rows["decisions"].append(decision(pair_id, facts["decided"], value=value))
    for ledger, of_ledger in rows.items():
        store.append(ledger, "hand", "0", of_ledger)
    return store


def test_the_query_is_the_rule(store):
    stands = pools_lib.pools(store).to_pylist()
    assert len(stands) == len(SITUATIONS) == 600
    for facts, row in zip(SITUATIONS, stands, strict=True):
        expected = standing(facts)
        decided = {"keep": "a", "flip": "b"}.get(facts["decided"])
        value = {"humans": facts["humans"], "decided": decided, "panel": facts["panel"]}
        assert row["pool"] == expected.pool, facts
        assert row["reason"] == (expected.reason or f"{facts['decided']}: r")
        label = value.get(expected.by, "a")
        assert row["value"] == (label if expected.labeled else None)
    assert pools_lib.sizes(store).keys() == set(POOLS)


@pytest.mark.parametrize(
    "facts, pool",
    [
        ({}, "unverified"),
        ({"held": "yes", "humans": "a"}, "discarded"),
        ({"humans": "tie"}, "gold"),
        ({"humans": "undecided", "panel": "a"}, "discarded"),
        ({"humans": "a", "decided": "discard"}, "gold"),
        ({"panel": "b", "decided": "flip"}, "silver"),
        ({"panel": "tie"}, "discarded"),
        ({"entry": "wild", "panel": "a"}, "wild"),
        ({"entry": "wild", "decided": "annotate"}, "wild"),
        ({"entry": "wild", "decided": "flip"}, "curated"),
    ],
)
def test_people_go_before_decisions_and_decisions_before_judges(facts, pool):
    nothing = dict(entry="unverified", held="no", humans="none", decided="none", panel="none")
    assert standing(nothing | facts).pool == pool


def test_the_latest_decision_is_that_of_the_highest_iteration_then_round(tmp_path):
    store = Store(tmp_path)
    store.append("pairs", "import", "0", [pair("p1", entry="wild")])
    stands = lambda iteration=None: pools_lib.pools(store, iteration).to_pylist()[0]
    # The names of the stages run against the order that counts.
    store.append("decisions", "z", "0", [decision("p1", "keep", 0, "a")], iteration=1)
    store.append("decisions", "a", "0", [decision("p1", "flip", 1, "b")], iteration=1)
    assert (stands()["value"], stands()["reason"]) == ("b", "flip: r")
    store.append("decisions", "m", "0", [decision("p1", "discard", 0)], iteration=2)
    assert (stands()["pool"], stands(1)["pool"], stands(0)["pool"]) == (
        "discarded",
        "curated",
        "wild",
    )
