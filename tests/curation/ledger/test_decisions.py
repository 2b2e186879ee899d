"""Decisions:

the table as configuration, the same from the ledger as by hand, and again from the ledger alone.
"""

import itertools
import math

import numpy as np
import pytest
from ledgers import pair, score, vote

from rewardjax.curation.ledger import decisions as decide_lib
from rewardjax.curation.ledger import pools as pools_lib
from rewardjax.curation.ledger.cross_fit import OwnTrainingPair
from rewardjax.curation.ledger.decision_tables import PRESETS, SAYS, SEATS, first_match, rules
from rewardjax.curation.ledger.decisions import decide
from rewardjax.curation.ledger.rows import other
from rewardjax.curation.ledger.store import Store


def random_store(folder, pairs=300, seed=0):
    """A store in which each seat speaks about some pairs, in up to three iterations;

    ids spread as hashes do.
    """
    rng = np.random.default_rng(seed)
    ids = sorted(f"{x:016x}" for x in rng.integers(2**63, size=pairs, dtype=np.uint64).tolist())
    some = lambda p: [i for i in ids if rng.random() < p]
    pick = lambda *values: values[rng.integers(len(values))]
    store = Store(folder)
    store.append("pairs", "import", "0", [pair(i, entry=pick("unverified", "wild")) for i in ids])
    for sample in range(2):  # two sources of the same pair may contradict each other
        votes = [
            vote(i, "original:s", pick("a", "b", "a", "tie"), sample=sample) for i in some(0.7)
        ]
        store.append("votes", "import", f"{sample}", votes)
    for iteration in range(3):
        panel = [vote(i, "panel", pick("a", "b", "tie")) for i in some(0.4)]
        people = [
            vote(i, f"human:{name}", pick("a", "b", "tie", "undecided"))
            for name in "xyz"
            for i in some(0.15)
        ]
        store.append("votes", "panel", f"{iteration}", panel, iteration=iteration)
        store.append("votes", "people", f"{iteration}", people, iteration=iteration)
        for scorer in ("gold", "best"):
            rows = [
                score(i, "m", float(np.float32(rng.normal() * pick(0, 0.1, 2))), scorer)
                for i in some(0.6)
            ]
            store.append("scores", scorer, f"{iteration}", rows, iteration=iteration)
    store.append(
        "findings",
        "clean",
        "0",
        [{"pair_id": i, "finding": "x", "action": "hold"} for i in ids[:20]],
    )
    store.append(
        "findings",
        "review",
        "0",
        [{"pair_id": i, "finding": "x", "action": "restore"} for i in ids[:10]],
    )
    store.append(
        "findings",
        "review",
        "1",
        [{"pair_id": i, "finding": "x", "action": "flag"} for i in ids[20:30]],
    )
    return store


def opinions_by_hand(store, band, temperature):
    """pair_id -> (side of the label, opinions), in plain Python."""
    votes, scores = (
        store.query(f"select * from {name}").to_pylist() for name in ("votes", "scores")
    )
    sign = lambda x: (x > 0) - (x < 0)
    side = {"a": 1, "b": -1, "tie": 0}
    said = {}
    for row in votes:
        said.setdefault(row["pair_id"], []).append(row)
    for row in scores:
        said.setdefault(row["pair_id"], []).append(row)
    latest = lambda rows: max(rows, key=lambda row: row["iteration"], default=None)
    found = {}
    for pair_id, rows in said.items():
        original = [side[row["value"]] for row in rows if row.get("kind") == "original"]
        sides = {"original": sign(sum(original)) if original else None}
        for seat in ("gold", "best"):
            row = latest([row for row in rows if row.get("scorer") == seat])
            p = row and 1 / (
                1 + math.exp(-np.float32(row["reward_a"] - row["reward_b"]) / temperature)
            )
            sides[seat] = None if row is None else 0 if abs(p - 0.5) <= band else sign(p - 0.5)
        panel = latest([row for row in rows if row.get("kind") == "panel"])
        sides["judges"] = panel and side[panel["value"]]
        people = {}
        for row in sorted(
            (row for row in rows if row.get("kind") == "human"), key=lambda row: row["iteration"]
        ):
            people[row["voter"]] = row["value"]
        decided = [side[value] for value in people.values() if value != "undecided"]
        sides["humans"] = None if not people else sign(sum(decided)) if decided else "undecided"
        reference = sides["original"] or 1
        word = lambda x, reference=reference: (
            "none"
            if x is None
            else x
            if x == "undecided"
            else "even"
            if x == 0
            else "for"
            if x == reference
            else "against"
        )
        opinions = {seat: word(sides[seat]) for seat in SEATS}
        opinions["original"] = {None: "none", 0: "even"}.get(sides["original"], "for")
        found[pair_id] = reference, opinions
    return found


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return random_store(tmp_path_factory.mktemp("random"))


@pytest.mark.parametrize(
    "table, band, temperature",
    [("flip_both", 0.0, 1.0), ("frugal", 0.05, 0.5), ("stage1", 0.0, 3.0)],
)
def test_decisions_are_those_made_by_hand(store, table, band, temperature, monkeypatch):
    monkeypatch.setattr(
        decide_lib, "PAIRS_AT_ONCE", 100
    )  # several ranges of pairs, which must cover all
    stage = f"{table}-test"
    counts = decide(
        store,
        stage,
        table=table,
        band=band,
        gold_temperature=temperature,
        best_temperature=temperature,
    )
    stored = {
        row["pair_id"]: row
        for row in store.query("select * from decisions where stage = ?", [stage]).to_pylist()
    }
    held = {
        row["pair_id"]
        for row in store.query("select pair_id from findings where action = 'hold'").to_pylist()
    }
    held -= {
        row["pair_id"]
        for row in store.query("select pair_id from findings where action = 'restore'").to_pylist()
    }
    expected = opinions_by_hand(store, band, temperature)
    assert len(held) == 10 and set(stored) == set(expected) - held
    assert len([m for m in store.manifests("decisions") if m["stage"] == stage]) > 1
    for pair_id, row in stored.items():
        reference, opinions = expected[pair_id]
        assert {seat: row[seat] for seat in SEATS} == opinions, pair_id
        rule = first_match(PRESETS[table], opinions)
        label = {1: "a", -1: "b"}[reference]
        assert (row["action"], row["rule"]) == (rule["then"], rule["rule"])
        assert row["value"] == {"keep": label, "flip": other(label)}.get(row["action"])
    assert sum(counts.values()) == len(stored) and len(counts) > 2


def test_stored_decisions_are_the_ledgers_alone(tmp_path):
    store = random_store(tmp_path / "store", pairs=60, seed=1)
    decide(store, "stage2", table="flip_both")
    before = store.query("select * from decisions order by pair_id")
    assert decide_lib.audit(store, "stage2") == []
    # What is said later changes nothing about a decision that was made; deciding again under that
    # name is refused a new answer.
    ids = before.column("pair_id").to_pylist()
    store.append("votes", "later", "0", [vote(i, "panel", "b") for i in ids], iteration=9)
    assert decide_lib.audit(store, "stage2") == []
    decide(store, "stage2b", table="flip_both")
    assert (
        store.query("select pair_id, judges from decisions where stage = 'stage2b'")
        .column("judges")
        .to_pylist()
        .count("none")
        == 0
    )
    # A decision that does not follow from the ledger is found.
    rows = before.drop_columns(["iteration", "stage", "unit"]).to_pylist()
    wrong = next(row for row in rows if row["action"] == "discard")
    wrong |= {"action": "keep", "value": "a"}
    (manifest,) = [m for m in store.manifests("decisions") if m["stage"] == "stage2"]
    store.append("decisions", "forged", manifest["unit"], rows, inputs=manifest["inputs"])
    assert decide_lib.audit(store, "forged") == [wrong["pair_id"]]
    (store.folder / "votes/people.0.json").unlink()
    with pytest.raises(ValueError, match=r"votes/people\.0.*gone"):
        decide_lib.audit(store, "stage2")


def test_a_reward_model_that_judged_its_training_pair_is_refused(tmp_path):
    store = Store(tmp_path)
    store.append("pairs", "import", "0", [pair("p1"), pair("p2")])
    store.append("votes", "import", "0", [vote("p1", "original:s"), vote("p2", "original:s")])
    store.append(
        "scores",
        "gold",
        "0",
        [score("p1", "fold0", scorer="gold"), score("p2", "fold1", scorer="gold")],
    )
    decide(store, "before", table="gold_rm")
    store.append(
        "training", "fold0", "0", [{"pair_id": "p2", "model": "fold0", "value": "a"}]
    )  # cross-fitted: fine
    decide(store, "crossfit", table="gold_rm")
    store.append(
        "training", "late", "0", [{"pair_id": "p1", "model": "fold0", "value": "a"}]
    )  # recorded only after scoring
    with pytest.raises(
        OwnTrainingPair, match="model fold0 was trained on 1 of the pairs .* such as p1"
    ):
        decide(store, "after", table="gold_rm")


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_complete_and_people_have_the_last_word(name):
    table = rules(name)
    for says in itertools.product(*(SAYS[seat] for seat in SEATS)):
        opinions = dict(zip(SEATS, says, strict=True))
        action = first_match(table, opinions)["then"]
        if name not in ("both_rms", "gold_rm", "best_rm", "no_human"):
            assert opinions["humans"] != "for" or action == "keep"
            assert opinions["humans"] != "against" or action == "flip"
            assert opinions["humans"] not in ("even", "undecided") or action == "discard"


def test_presets_are_the_papers_readings():
    says = lambda table, **seats: first_match(
        PRESETS[table], dict.fromkeys(SEATS, "none") | {"original": "for"} | seats
    )["then"]
    for table in ("filter", "flip_discarded", "flip_both", "flip_gold"):
        assert says(table, gold="for", best="for") == "keep"  # p > 0.5: kept without annotation
        assert says(table, gold="for", best="against") == "annotate"
        assert says(table, gold="for", best="even") == "annotate"  # p close to 0.5
        assert says(table, gold="for", best="against", judges="for") == "keep"
        assert says(table, gold="against", best="for") != "keep"  # the gold filter
        assert says(table, gold="against", best="against", judges="for") != "keep"
    ends = {
        table: says(table, gold="against", best="for", judges="none")
        for table in ("filter", "flip_discarded", "flip_both", "flip_gold")
    }
    assert ends == {
        "filter": "discard",
        "flip_discarded": "flip",
        "flip_both": "discard",
        "flip_gold": "flip",
    }
    assert says("flip_both", gold="against", best="against", judges="against") == "flip"
    assert (
        says("frugal", gold="against", best="against") == "flip"
    )  # no judge could save it: none is asked
    assert says("frugal", gold="for", best="against") == "annotate"


@pytest.mark.parametrize(
    "table, message",
    [
        ("paper", "there are stage1, filter"),
        ([{"then": "keep", "rule": "x", "silver": "for"}], r"table\[0\]: unknown field 'silver'"),
        ([{"then": "drop", "rule": "x"}], "then = 'drop'"),
        (
            [{"then": "keep", "rule": "x", "gold": "for|maybe"}],
            "'maybe', not one of for, against, even, none",
        ),
        ([{"then": "keep", "rule": "x", "gold": "for"}], "no rule covers"),
        ([{"then": "keep", "rule": "x"}, {"then": "flip", "rule": "y"}], "'y' is never reached"),
        (
            [{"gold": "for", "then": "keep", "rule": "x"}, {"then": "flip", "rule": "x"}],
            "two rules are named 'x'",
        ),
    ],
)
def test_bad_tables_are_refused_by_name(table, message):
    with pytest.raises(ValueError, match=message):
        rules(table)


def test_every_pair_is_in_exactly_one_pool(store):
    table = pools_lib.pools(store)
    ids = store.query("select pair_id from pairs order by pair_id").column("pair_id").to_pylist()
    assert table.column("pair_id").to_pylist() == ids
    sizes = pools_lib.sizes(store)
    assert sum(sizes.values()) == len(ids) and all(sizes.values())
    rows = {row["pair_id"]: row for row in table.to_pylist()}
    sides = opinions_by_hand(store, 0.0, 1.0)
    for pair_id, row in rows.items():
        humans = sides.get(pair_id, (1, {"humans": "none"}))[1]["humans"]
        if row["reason"] != "held for review":
            assert (row["pool"] == "gold") == (humans in ("for", "against", "even")), row
        assert (row["value"] is None) >= (row["pool"] == "discarded")
        assert row["pool"] != "silver" or row["entry"] == "unverified"
    early = {row["pair_id"]: row for row in pools_lib.pools(store, iteration=0).to_pylist()}
    assert all(row["since"] == 0 for row in early.values())
    assert sum(row["pool"] == "gold" for row in early.values()) < sizes["gold"]
