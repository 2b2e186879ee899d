"""`curate judges check`: what each server is worth, on pairs whose answer is known."""

import pytest
from judging import judge_at, world_items, world_store

from rewardjax.curation.defaults import curation
from rewardjax.curation.judges.scripted_judge import Behavior
from rewardjax.curation.judges.scripted_server import serve
from rewardjax.curation.ledger.store import Store
from rewardjax.curation.servers.paid_calls import CallLedger
from rewardjax.curation.stages import judges_check, product
from rewardjax.curation.workspace import Workspace

_, _, TRUTH = world_items(40, seed=3)
BEHAVIORS = {
    "good": Behavior(accuracy=1.0),
    "first": Behavior(position_bias=1.0),
    "messy": Behavior(malformed=1.0),
}


@pytest.fixture
def ws_of(tmp_path):
    store = world_store(tmp_path, 40)

    def make(*judges):
        calls = CallLedger(tmp_path / "calls.sqlite")
        return Workspace(tmp_path, curation(), store, calls, list(judges), product.PLUGINS)

    return make


def test_each_server_has_a_row_with_what_it_is_worth(ws_of):
    with serve(BEHAVIORS, TRUTH) as server, serve(BEHAVIORS, TRUTH) as other:
        good = judge_at(server, "good", base_url=f"{server.url},{other.url}")
        ws = ws_of(good, judge_at(server, "first"), judge_at(server, "messy", asks=1))
        rows, sentences = judges_check.check(ws)
        # The same questions again, and yet each server was asked itself.
        assert sum(other.paid.values()) == 21
        spent = ws.calls.spent()
        judges_check.check(ws)
        assert ws.calls.spent() == spent > 0
    assert [row["judge"] for row in rows] == ["good", "good", "first", "messy"]
    assert [row["server"] for row in rows[:2]] == [server.url, other.url]
    assert rows[0]["readable"].startswith("20 of 20") and rows[0]["right"].startswith("20 of 20")
    assert rows[0]["says first"] == "50%" and rows[2]["says first"] == "100%"
    assert rows[2]["right"].startswith("10 of 20")
    assert rows[3]["readable"].startswith("0 of 20") and rows[3]["right"] == "0 of 0"
    assert rows[0]["$ of the plan"] > 0
    assert "original labels" in sentences[0] and "can be read" in sentences[1]


def test_a_workspace_without_pairs_is_refused(tmp_path):
    store, calls = Store(tmp_path / "store"), CallLedger(tmp_path / "calls.sqlite")
    ws = Workspace(tmp_path, curation(), store, calls, [], product.PLUGINS)
    with pytest.raises(ValueError, match="curate import"):
        judges_check.check(ws)
