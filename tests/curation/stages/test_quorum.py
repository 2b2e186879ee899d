"""A run pauses where too few judges answered, says why and what to do, and then goes on."""

import pytest
from judging import judge_at, world_items, world_store

from rewardjax.curation.defaults import curation
from rewardjax.curation.judges import asking, lost, protocol
from rewardjax.curation.judges.scripted_judge import Behavior
from rewardjax.curation.judges.scripted_server import serve
from rewardjax.curation.ledger import stage_names
from rewardjax.curation.servers.paid_calls import CallLedger
from rewardjax.curation.stages import labeling, product, quorum
from rewardjax.curation.workspace import Paused, Workspace

ITEMS, _, TRUTH = world_items(12, seed=3)
STAGE, PANEL = stage_names.judges(0), stage_names.panel(0)


@pytest.fixture
def ws_of(tmp_path):
    store = world_store(tmp_path, 12)
    config = curation()
    config.shots = 0

    def make(*judges, **judging):
        config.judging.update(judging)
        calls = CallLedger(tmp_path / "calls.sqlite")
        return Workspace(tmp_path, config, store, calls, list(judges), product.PLUGINS)

    return make


def label(ws):
    ids = ws.store.query("select pair_id from pairs order by pair_id").column(0).to_pylist()
    labeling.judge(ws, ids, STAGE, PANEL, {})
    return PANEL.rows(ws.store, "votes", order="pair_id")


def test_a_judge_that_cannot_be_read_pauses_the_run_before_its_votes_count(ws_of):
    messy = Behavior(accuracy=1.0, malformed=1.0)
    with serve({"good": Behavior(accuracy=1.0), "messy": messy}, TRUTH) as server:
        ws = ws_of(judge_at(server, "good"), judge_at(server, "messy", asks=1))
        with pytest.raises(Paused, match="messy: none of its first 8 answers can be read"):
            label(ws)
        assert STAGE.rows(ws.store, "votes") == []
        # The other judge's answers stay, and are not paid for again.
        paid = dict(server.paid)
        with pytest.raises(Paused):
            label(ws)
        assert server.paid == paid


def test_answers_that_were_cut_off_are_asked_again_with_a_larger_limit(ws_of):
    with serve({"m": Behavior(accuracy=1.0)}, TRUTH) as server:
        ws = ws_of(judge_at(server, "m", max_tokens=10, answer_format="plain"))
        with pytest.raises(Paused, match="none of its first 8 answers.*max_tokens = 10"):
            label(ws)
        ws.judges[:] = [judge_at(server, "m", max_tokens=400, answer_format="plain")]
        assert len(label(ws)) == 12
        assert lost.lost_answers(ws.calls) == []


def test_pairs_without_a_quorum_get_no_label_of_the_panel(ws_of):
    with serve({"good": Behavior(accuracy=1.0), "messy": Behavior(malformed=0.5)}, TRUTH) as server:
        judges = judge_at(server, "good"), judge_at(server, "messy", asks=1)
        with pytest.raises(Paused, match="of 12 pairs have answers of 2 judges or more"):
            label(ws_of(*judges, quorum=2, readable=0.2, covered=1.0))
        ws = ws_of(*judges, quorum=2, readable=0.2, covered=0.3)
        labeled = {row["pair_id"] for row in label(ws)}
        voters = {}
        for row in STAGE.rows(ws.store, "votes"):
            voters.setdefault(row["pair_id"], set()).add(row["voter"])
        assert labeled == {pair for pair, names in voters.items() if len(names) == 2}
        assert 0 < len(labeled) < 12
        (sentence,) = lost.lost_answers(ws.calls)
        assert sentence.startswith("judge:messy answered") and "unreadable" in sentence


def test_a_judge_that_is_read_too_seldom_pauses_the_run_with_what_to_do(ws_of):
    with serve({"messy": Behavior(malformed=0.7)}, TRUTH) as server:
        ws = ws_of(judge_at(server, "messy", asks=1), readable=0.95)
        with pytest.raises(Paused, match=r"judge:messy answered \d+ of 24: .* raise its asks"):
            label(ws)
        ws.judges[:] = [judge_at(server, "messy", asks=30)]
        assert len(label(ws)) == 12


def test_half_of_the_panel_is_a_quorum():
    assert [quorum.needed(n, None) for n in (1, 2, 3, 4, 5)] == [1, 1, 2, 2, 3]
    assert quorum.needed(3, 3) == 3


def test_every_question_ends_in_one_way_and_the_ledger_keeps_it(tmp_path):
    ledger = CallLedger(tmp_path / "calls.sqlite")
    with serve({"m": Behavior(malformed=0.5)}, TRUTH) as server:
        judge = judge_at(server, "m", asks=1)
        asking.ask(ITEMS, [judge], ledger, purpose="s")
        votes = list(protocol.votes(ITEMS, [judge], ledger, "s"))
    (row,) = ledger.endings("s", "judge")
    assert row["answered"] == len(votes)
    assert row["answered"] + row["unreadable"] == 24 and row["refused"] == row["open"] == 0
    assert row["problem"]
