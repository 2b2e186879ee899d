"""Stage 2 over a store written by hand:

who is trained on what, who is asked, and what is decided.
"""

import numpy as np
import pyarrow.parquet as pq
import pytest
from hand_made import Cast, add_labels, add_pairs, ids, right, truth, workspace
from ledgers import pair, vote

from rewardjax.curation.ledger import stage_names
from rewardjax.curation.ledger.cross_fit import fold_of
from rewardjax.curation.ledger.pools import labels, pools
from rewardjax.curation.ledger.rows import other
from rewardjax.curation.reward_models import gold_errors
from rewardjax.curation.stages import report, stage2

GOLD = ids("north", 0, 8) + ids("south", 0, 8)
SILVER = ids("west", 0, 5)
WILD = ids("east", 0, 4) + ids("south", 10, 12)
# The original labels of these two are wrong, and judges and people would say so.
WRONG = ("east02", "east03")


@pytest.fixture(autouse=True)
def without_pages(monkeypatch):
    """The report of an iteration takes longer than the iteration."""
    monkeypatch.setattr(report, "write", lambda ws, iteration, name: None)


def prepare(ws):
    add_pairs(ws, GOLD + SILVER)
    original = {pair_id: other(truth(pair_id)) for pair_id in WRONG}
    add_pairs(ws, WILD, "wild", original)
    add_labels(ws, gold=right(GOLD), silver=right(SILVER))


def wild_decisions(ws, stage):
    rows = ws.store.query("select * from decisions where stage = ?", [stage]).to_pylist()
    return {row["pair_id"]: row for row in rows}


def test_each_seat_is_trained_on_its_own_pool(tmp_path):
    cast = Cast()
    with workspace(tmp_path, cast, stage1__iterations=0) as ws:
        prepare(ws)
        stage2.run(ws)
        folds = {"gold-1-fold-0", "gold-1-fold-1"}
        assert set(cast.trained) == {"best-1", "gold-1", *folds}
        assert cast.trained["best-1"].labels == right(SILVER)
        assert cast.trained["best-1"].choose_on == right(GOLD)
        assert cast.trained["gold-1"].labels == right(GOLD)
        assert not cast.trained["gold-1"].choose_on
        recorded = ws.store.query("select pair_id from training where model = 'weights of gold-1'")
        assert sorted(recorded.column(0).to_pylist()) == GOLD


# Too few flips for a gate about them to pass: what is tested here is not the gate.
FLIP_BOTH = {
    "stage1__iterations": 0,
    "stage2__table": "flip_both",
    "gates__agreement__flips": None,
}


def test_judges_are_asked_only_where_the_best_model_does_not_confirm_the_label(tmp_path):
    cast = Cast()
    with workspace(tmp_path, cast, **FLIP_BOTH) as ws:
        prepare(ws)
        counts = stage2.run(ws)
        # Both models are right: they confirm four labels and contradict the two wrong ones.
        assert sorted(item.pair_id for item in cast.items) == list(WRONG)
        assert counts == {"keep": 4, "flip": 2}
        for pair_id, row in wild_decisions(ws, stage_names.decided_wild(1)).items():
            assert row["value"] == truth(pair_id)


def test_by_default_no_judge_is_asked_whose_answer_cannot_matter(tmp_path):
    # The best model is wrong about these two: it confirms a wrong label, and not a right one.
    margins = {"best": {"east02": -1.0, "south10": 1.0}}
    cast = Cast(margins=margins)
    changes = {"stage1__iterations": 0, "gates__agreement__models": None}
    with workspace(tmp_path, cast, **changes) as ws:
        prepare(ws)
        stage2.run(ws)
        # What the gold model does not confirm is flipped or discarded, whatever judges say.
        assert [item.pair_id for item in cast.items] == ["south10"]
        decided = wild_decisions(ws, stage_names.decided_wild(1))
        actions = {pair_id: row["action"] for pair_id, row in decided.items()}
        assert actions["south10"] == "keep" and actions["east03"] == "flip"
        assert actions["east02"] == "discard"


def test_the_last_decision_of_an_iteration_counts(tmp_path):
    with workspace(tmp_path, Cast(), **FLIP_BOTH) as ws:
        prepare(ws)
        stage2.run(ws)
        asked = wild_decisions(ws, stage_names.asked_wild(1))
        # Keeps and flips of the first round would count as decided before the gates have spoken.
        assert asked.keys() == set(WRONG)
        assert {asked[pair_id]["action"] for pair_id in WRONG} == {"annotate"}
        stands = {row["pair_id"]: row for row in pools(ws.store).to_pylist()}
        assert {stands[pair_id]["pool"] for pair_id in WILD} == {"curated"}
        assert all(stands[pair_id]["value"] == truth(pair_id) for pair_id in WRONG)


def test_without_gold_there_is_no_gold_model(tmp_path):
    cast = Cast()
    # Nobody was asked, so that nothing can be measured: a gate would pause.
    changes = {"stage2__table": "no_human", "gates__best_accuracy": None}
    with workspace(tmp_path, cast, stage1__iterations=0, **changes) as ws:
        prepare_without_gold = {"gold": {}, "silver": right(SILVER)}
        add_pairs(ws, SILVER)
        add_pairs(ws, WILD, "wild")
        add_labels(ws, **prepare_without_gold)
        stage2.run(ws)
        assert set(cast.trained) == {"best-1"} and not cast.trained["best-1"].choose_on


def test_gold_pairs_are_cross_fitted_when_folds_are_set(tmp_path):
    # Sure of itself where it was trained on a pair, and often wrong where it was not.
    wrong = {pair_id: -0.5 if truth(pair_id) == "a" else 0.5 for pair_id in GOLD[::3]}
    cast = Cast(margins={"gold": wrong})
    changes = {
        "stage1__iterations": 0,
        "stage2__folds": 3,
        "stage2__band": 0.01,
        "gates__gold_accuracy": 0.2,
    }
    with workspace(tmp_path, cast, **changes) as ws:
        prepare(ws)
        stage2.run(ws)
        scored = []
        for fold in range(3):
            training = cast.trained[f"gold-1-fold-{fold}"]
            held_out = {pair_id for pair_id in GOLD if fold_of(pair_id, 3) == fold}
            assert training.labels == right(set(GOLD) - held_out)
            rows = stage_names.cross_fitted("gold", 1, fold).rows(ws.store, "scores")
            assert {row["pair_id"] for row in rows} == held_out
            assert {row["model"] for row in rows} <= {f"weights of gold-1-fold-{fold}"}
            scored += rows
        _, margin, left_out = gold_errors.margins(right(GOLD), scored)
        assert left_out == 0
        assert stage2.gold_margins(ws, 1).tolist() == margin.tolist()
        (manifest, *_) = [
            m for m in ws.store.manifests("decisions") if m["stage"] == stage_names.decided_wild(1)
        ]
        settings = manifest["inputs"]["settings"]
        assert settings["gold_temperature"] == gold_errors.fit_temperature(margin)
        # The best model is right everywhere, by a margin of 1.
        assert settings["best_temperature"] == gold_errors.fit_temperature(np.ones(len(GOLD)))


@pytest.mark.parametrize("changes", [{"calibrate": False}, {"stage2__folds": 0}])
def test_the_band_means_the_same_for_both_models_or_both_are_raw(tmp_path, changes):
    changes = {"stage1__iterations": 0, "gates__gold_accuracy": None, **changes}
    with workspace(tmp_path, Cast(), **changes) as ws:
        prepare(ws)
        stage2.run(ws)
        manifests = ws.store.manifests("decisions")
        for manifest in manifests:
            settings = manifest["inputs"]["settings"]
            assert settings["gold_temperature"] == settings["best_temperature"] == 1.0
        assert manifests


def test_a_pair_that_came_with_a_tie_is_neither_kept_nor_flipped(tmp_path):
    with workspace(tmp_path, Cast(), stage1__iterations=0) as ws:
        prepare(ws)
        ties = ids("north", 20, 22) + ids("west", 20, 22)
        ws.store.append("pairs", "import-ties", "0", [pair(i, entry="wild") for i in ties])
        votes = [vote(i, "original:s", "tie") for i in ties]
        ws.store.append("votes", "import-ties", "0", votes)
        stage2.run(ws)
        decided = wild_decisions(ws, stage_names.decided_wild(1))
        # Both models prefer a in the north and b in the west.
        for pair_id in ties:
            assert decided[pair_id]["original"] == "even"
            assert decided[pair_id]["action"] == "discard"


def test_judges_of_the_wild_pool_are_shown_gold_and_no_silver(tmp_path):
    cast = Cast()
    with workspace(tmp_path, cast, stage1__iterations=0, shots=3) as ws:
        prepare(ws)
        stage2.run(ws)
        for item in cast.items:
            shown = {example.pair_id for example in item.examples}
            assert len(shown) == 3 and shown <= set(GOLD)


def test_the_sets_differ_in_the_flipped_pairs(tmp_path):
    with workspace(tmp_path, Cast(), stage1__iterations=0) as ws:
        prepare(ws)
        stage2.run(ws)
        pair_ids = {}
        for name in ("original", "filtered", "flipped"):
            table = pq.read_table(tmp_path / f"data/{name}.parquet")
            pair_ids[name] = set(table.column("pair_id").to_pylist())
        assert pair_ids["flipped"] - pair_ids["filtered"] == set(WRONG)
        assert pair_ids["original"] == pair_ids["flipped"] == {*GOLD, *SILVER, *WILD}
        assert labels(ws.store, "curated").keys() == set(WILD)
