"""What a plan expects is near what is then paid, and says how it is known."""

import dataclasses

import pytest
from judging import judge_at, world_items, world_store

from rewardjax.curation.defaults import curation
from rewardjax.curation.judges.scripted_judge import Behavior
from rewardjax.curation.judges.scripted_server import serve
from rewardjax.curation.ledger import stage_names
from rewardjax.curation.planning import cost_plan, expected_cost
from rewardjax.curation.planning.cost_plan import AT_MOST, EXPECTED
from rewardjax.curation.servers.paid_calls import CallLedger
from rewardjax.curation.stages import labeling, product
from rewardjax.curation.workspace import Workspace

_, _, TRUTH = world_items(24, seed=3)
TAGS, JUDGES = "describe the unverified pool and gold", "iteration 0: judges"


@pytest.fixture
def ws(tmp_path):
    """Twenty-four pairs, all to be described and half of them to be judged."""
    config = curation()
    config.stage1.update(iterations=0, first=12, human_share=0.0)
    config.stage2.table = ""
    store = world_store(tmp_path, 24)
    with serve({"m": Behavior(malformed=0.1)}, TRUTH) as server:
        judges = [judge_at(server, "m", max_tokens=1000)]
        calls = CallLedger(tmp_path / "calls.sqlite")
        yield Workspace(tmp_path, config, store, calls, judges, product.PLUGINS)


def plan(ws):
    return {step["step"]: step for step in cost_plan.plan(ws)}


def ids(ws, count):
    sql = "select pair_id from pairs order by pair_id limit ?"
    return ws.store.query(sql, [count]).column(0).to_pylist()


def test_the_expectation_is_within_a_factor_of_two_of_what_is_paid(ws):
    before = plan(ws)
    assert before[TAGS]["expected from"] == "lengths of 20 pairs' texts"
    labeling.tag(ws, ids(ws, 24), stage_names.TAG)
    tagged = plan(ws)
    paid = tagged[TAGS][EXPECTED]
    assert tagged[TAGS]["state"] == "done" and tagged[TAGS]["expected from"] == "paid"
    assert paid / 2 < before[TAGS][EXPECTED] < 2 * paid < before[TAGS][AT_MOST]
    asked, merged = stage_names.judges(0), stage_names.panel(0)
    labeling.judge(ws, ids(ws, 12), asked, merged, {})
    paid = plan(ws)[JUDGES][EXPECTED]
    assert paid / 2 < tagged[JUDGES][EXPECTED] < 2 * paid


def test_it_goes_by_the_own_answers_and_counts_what_is_left(ws):
    asked = stage_names.judges(0)
    items = labeling.as_items(ws, ids(ws, 8))
    product.judge(ws, items, asked)
    step = plan(ws)[JUDGES]
    # Of twelve pairs with two questions each sixteen questions are settled.
    assert step["state"] == "to do" and step["requests"] == 24
    assert step["expected from"] == "median of 16 answered questions"
    paid = sum(row["dollars"] for row in ws.calls.costs() if row["purpose"] == asked.name)
    assert step[EXPECTED] == pytest.approx(paid / 2, rel=0.3)
    # A thinking model writes what no length of a text tells.
    ws.calls._db.execute("update calls set completion_tokens = 50 * completion_tokens")
    assert plan(ws)[JUDGES][EXPECTED] > 4 * step[EXPECTED]


def test_without_token_prices_it_is_the_price_per_pair(ws):
    ws.judges[:] = [
        dataclasses.replace(judge, price_input=0.0, price_output=0.0) for judge in ws.judges
    ]
    step = plan(ws)[JUDGES]
    assert step[EXPECTED] == step[AT_MOST] == pytest.approx(12 * 0.05)
    assert step["expected from"] == "prices.silver per pair"


def test_of_the_wild_pool_only_those_that_the_table_asks_about(ws):
    ws.config.stage2.table = "frugal"
    share = expected_cost.asked_of_wild(ws, 1000, "stage2-ask")
    assert share.pairs == 100 and "assumed: 10% of the wild pool" in share.source
    ws.config.stage2.table = "filter"
    assert expected_cost.asked_of_wild(ws, 1000, "stage2-ask").pairs == 400
    ws.config.stage2.table = "both_rms"
    assert expected_cost.asked_of_wild(ws, 1000, "stage2-ask").pairs == 0
    opinions = dict.fromkeys(("original", "gold", "best", "judges", "humans"), "none")
    row = {"action": "annotate", "rule": "r", "round": 0} | opinions
    decided = [row | {"pair_id": pair_id} for pair_id in ids(ws, 3)]
    ws.store.append("decisions", "stage2-ask", "0", decided, iteration=1)
    assert expected_cost.asked_of_wild(ws, 1000, "stage2-ask").pairs == 3
