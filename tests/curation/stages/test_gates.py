"""Gates between instruments and decisions: each fails and passes, and pauses before anything turns.

A workspace in which models, judges and people are right unless a test says otherwise.
"""

import dataclasses

import pytest
from hand_made import Cast, add_labels, add_pairs, ids, right, truth, workspace
from ledgers import vote

from rewardjax.curation.defaults import curation
from rewardjax.curation.ledger import decisions, gates, stage_names
from rewardjax.curation.ledger.cross_fit import fold_of
from rewardjax.curation.ledger.pools import labels
from rewardjax.curation.ledger.rows import other
from rewardjax.curation.people import Answer
from rewardjax.curation.stages import gates as stage_gates
from rewardjax.curation.stages import loop, report, stage2
from rewardjax.curation.workspace import Paused

GOLD = ids("north", 0, 10) + ids("south", 0, 10)
SILVER = ids("west", 0, 5)
WILD = ids("east", 0, 12) + ids("south", 10, 22)
# The original labels of a third are wrong.
WRONG = WILD[::3]


@pytest.fixture(autouse=True)
def without_pages(monkeypatch):
    """The report of an iteration takes longer than the iteration, as do the sets."""
    monkeypatch.setattr(report, "write", lambda ws, iteration, name: None)
    monkeypatch.setattr(stage2, "write_sets", lambda ws: {})


def prepare(ws, wrong=WRONG):
    add_pairs(ws, GOLD + SILVER)
    original = {pair_id: other(truth(pair_id)) for pair_id in wrong}
    add_pairs(ws, WILD, "wild", original)
    add_labels(ws, gold=right(GOLD), silver=right(SILVER))


def against_truth(pair_ids):
    """Margins of a model that is wrong about these pairs."""
    return {pair_id: -1.0 if truth(pair_id) == "a" else 1.0 for pair_id in pair_ids}


def run(folder, cast, wrong=WRONG, **changes):
    """Run Stage 2 in a workspace that is made where there is none."""
    with workspace(folder, cast, stage1__iterations=0, **changes) as ws:
        if not ws.store.manifests("pairs"):
            prepare(ws, wrong)
        try:
            return ws.store, stage2.run(ws)
        except Paused as error:
            return ws.store, str(error)


def verdicts(store):
    return {row["gate"]: row["verdict"] for row in gates.latest(store)}


def test_by_default_good_instruments_pass_and_the_ledger_says_what_they_were_worth(tmp_path):
    store, counts = run(tmp_path, Cast())
    assert counts == {"keep": 16, "flip": 8}
    rows = {row["gate"]: row for row in gates.latest(store)}
    assert list(rows) == list(gates.MEANS)
    measured = {name: (row["hits"], row["pairs"]) for name, row in rows.items()}
    assert measured["best_accuracy"] == measured["gold_accuracy"] == (20, 20)
    assert measured["agreement.models"] == (24, 24)
    assert measured["flipped"] == (8, 24)
    assert rows["best_accuracy"]["low"] == pytest.approx(0.839, abs=1e-3)
    says = verdicts(store)
    assert [name for name, verdict in says.items() if verdict == "passed"] == [
        "best_accuracy",
        "gold_accuracy",
        "agreement.models",
        "flipped",
    ]
    # Nobody was asked whether the flips are right: the table needs no judge for them.
    assert says["agreement.flips"] == "nothing to judge"
    assert says["agreement.people"] == says["agreement.judges"] == "off"
    assert says["audit.keep"] == says["audit.flip"] == "off"
    assert gates.audit(store) == []


@pytest.mark.parametrize("seat", ["best", "gold"])
def test_a_model_that_prefers_nothing_pauses_the_run_and_is_no_mistake(tmp_path, seat):
    cast = Cast(margins={seat: dict.fromkeys(GOLD + WILD, 0.0)})
    store, said = run(tmp_path, cast)
    assert said.startswith(f"stage2-score: gates.{seat}_accuracy") and "0 of 20" in said
    assert not store.manifests("decisions")


@pytest.mark.parametrize("count", [1, 2])
def test_gold_of_which_no_part_can_be_held_out_pauses_the_run(tmp_path, count):
    # All of them in one of two folds.
    gold = [pair_id for pair_id in GOLD if fold_of(pair_id, 2) == 0][:count]
    cast = Cast()
    with workspace(tmp_path, cast, stage1__iterations=0) as ws:
        add_pairs(ws, GOLD + SILVER)
        add_pairs(ws, WILD, "wild")
        add_labels(ws, gold=right(gold), silver=right(SILVER))
        with pytest.raises(Paused, match=f"the {count} labeled pairs .* import --entry gold"):
            stage2.run(ws)
        # Nothing was trained that would not know what is labeled now.
        assert not cast.trained
        more = [pair_id for pair_id in GOLD if pair_id not in gold]
        add_labels(ws, gold=right(more), silver={}, iteration=-1)
    assert run(tmp_path, cast)[1]["keep"] == len(WILD)


def test_two_or_three_gold_pairs_in_both_folds_are_measured_and_are_too_few(tmp_path):
    gold = [next(i for i in GOLD if fold_of(i, 2) == fold) for fold in (0, 1)]
    with workspace(tmp_path, Cast(), stage1__iterations=0) as ws:
        add_pairs(ws, gold + SILVER)
        add_pairs(ws, WILD, "wild")
        add_labels(ws, gold=right(gold), silver=right(SILVER))
        with pytest.raises(
            Paused, match="gates.best_accuracy: .*: 2 of 2, .*gold_accuracy.*2 of 2"
        ):
            stage2.run(ws)


@pytest.mark.parametrize("seat, words", [("best", "the best RM"), ("gold", "the gold RM")])
def test_a_model_that_is_a_coin_on_gold_decides_nothing(tmp_path, seat, words):
    cast = Cast(margins={seat: against_truth(GOLD[::2])})
    store, said = run(tmp_path, cast)
    assert said.startswith(
        f"stage2-score: gates.{seat}_accuracy: gold pairs {words} is right about"
    )
    assert "10 of 20, 0.500 (95% interval 0.299 - 0.701), not shown to be above 0.5" in said
    assert f"set gates.{seat}_accuracy to another value" in said and "\n" not in said
    # Neither the pool is scored nor a judge asked, and no label has turned.
    stages = {m["stage"] for m in store.manifests("scores")}
    assert not any(stage.startswith("wild") for stage in stages) and not cast.items
    assert not store.manifests("decisions") and not labels(store, "curated")
    assert verdicts(store)[f"{seat}_accuracy"] == "failed"
    # The same again is the same try.
    before = store.fingerprint()
    assert run(tmp_path, cast)[1] == said and store.fingerprint() == before
    # Lowered knowingly, it passes, and both tries stay in the ledger.
    _, counts = run(tmp_path, cast, **{f"gates__{seat}_accuracy": 0.25})
    assert counts == {"keep": 16, "flip": 8}
    rows = store.query(
        "select unit, threshold, verdict from gates where gate = ? order by unit",
        [f"{seat}_accuracy"],
    ).to_pylist()
    assert [(row["threshold"], row["verdict"]) for row in rows] == [
        (0.5, "failed"),
        (0.25, "passed"),
    ]
    assert gates.audit(store) == []


def test_a_model_that_the_table_does_not_ask_is_not_measured(tmp_path):
    cast = Cast(margins={"best": against_truth(GOLD)})
    store, counts = run(tmp_path, cast, stage2__table="gold_rm")
    assert counts == {"keep": 16, "flip": 8}
    assert verdicts(store)["best_accuracy"] == "nothing to judge"
    assert verdicts(store)["agreement.models"] == "nothing to judge"


def test_without_gold_nothing_is_shown(tmp_path):
    with workspace(tmp_path, Cast(), stage1__iterations=0, stage2__table="no_human") as ws:
        add_pairs(ws, SILVER)
        add_pairs(ws, WILD, "wild")
        add_labels(ws, gold={}, silver=right(SILVER))
        with pytest.raises(Paused, match=r"gates.best_accuracy: .*: 0 of 0, not shown"):
            stage2.run(ws)


def test_models_that_contradict_each_other_pause_before_judges_are_paid(tmp_path):
    cast = Cast(margins={"best": against_truth(WILD[::2])})
    store, said = run(tmp_path, cast)
    assert said.startswith("stage2-ask: gates.agreement.models: ") and "12 of 24, 0.500" in said
    assert not cast.items and not store.manifests("decisions")
    assert run(tmp_path, cast, gates__agreement__models=None)[1]["keep"] > 0


def test_more_than_half_flipped_is_too_many(tmp_path):
    store, said = run(tmp_path, Cast(), wrong=WILD[:13])
    assert said.startswith("stage2-final: gates.flipped: ")
    assert "13 of 24, 0.542" in said and "more than 0.5" in said
    assert not labels(store, "curated") and len(labels(store, "wild")) == len(WILD)
    assert run(tmp_path, Cast(), wrong=(), gates__flipped=0.6)[1] == {"keep": 11, "flip": 13}


def test_flips_that_the_judges_contradict_pause(tmp_path):
    # Good on gold, reversed on a part of the wild pool, whose labels are right.
    reversed_pairs = WILD[:8]
    wrong_there = against_truth(reversed_pairs)
    cast = Cast(margins={"best": wrong_there, "gold": wrong_there})
    table = {"stage2__table": "flip_both"}
    store, said = run(tmp_path, cast, wrong=(), **table)
    assert "gates.agreement.flips" in said and "0 of 8, 0.000" in said
    assert len(cast.items) == 8 and not labels(store, "curated")
    _, counts = run(tmp_path, cast, gates__agreement__flips=None, **table)
    assert counts == {"keep": 16, "flip": 8}
    # Judges who confirm the flips of wrong labels.
    confirmed = run(tmp_path / "good", Cast(), **table)
    assert confirmed[1] == {"keep": 16, "flip": 8}
    assert verdicts(confirmed[0])["agreement.flips"] == "passed"


@dataclasses.dataclass
class TwoJudges(Cast):
    """A second judge, who says the opposite about every other pair."""

    def judge(self, ws, items, stage):
        rows = super().judge(ws, items, stage)
        for place, item in enumerate(items):
            value = truth(item.pair_id)
            if place % 2:
                value = other(value)
            rows.append(vote(item.pair_id, "judge:n", value))
        return rows


def test_judges_who_contradict_each_other_pause_where_that_is_asked(tmp_path):
    changes = {"stage2__table": "flip_both", "gates__agreement__flips": None}
    store, said = run(tmp_path, TwoJudges(), gates__agreement__judges=0.5, **changes)
    assert "gates.agreement.judges" in said and "4 of 8" in said
    assert not labels(store, "curated")
    assert run(tmp_path, TwoJudges(), gates__agreement__judges=0.1, **changes)[1]["flip"] == 8


def test_people_who_contradict_each_other_pause_where_that_is_asked(tmp_path):
    with workspace(tmp_path, Cast(), stage1__iterations=0, gates__agreement__people=0.5) as ws:
        prepare(ws)
        with pytest.raises(Paused, match=r"agreement.people: .*: 0 of 0, not shown .*overlap"):
            stage2.run(ws)
        same = [vote(i, "human:bob", truth(i)) for i in GOLD[:8]]
        ws.store.append("votes", "second", "0", same)
        stage2.run(ws)
        assert verdicts(ws.store)["agreement.people"] == "passed"


# ------------------------------------------------------------------ the audit


@dataclasses.dataclass
class Auditors(Cast):
    """People who wait, or prefer what is not right, about wild pairs."""

    mood: str = "right"

    def people(self, ws, tasks, stage):
        self.tasks += tasks
        if self.mood == "waiting":
            raise Paused(f"{stage.name}: {len(tasks)} tasks are not answered")
        answers = []
        for task in tasks:
            is_left = task.shown[0] == truth(task.pair_id)
            if self.mood == "wrong":
                is_left = not is_left
            answers.append(Answer(task.id, ["right", "left"][is_left]))
        return answers


AUDIT = {"gates__audit__pairs": 8}


def test_people_are_asked_about_as_many_keeps_as_flips_and_waited_for(tmp_path):
    people = Auditors(mood="waiting")
    store, said = run(tmp_path, people, **AUDIT)
    assert said == "audit-1-8: 16 tasks are not answered"
    asked = {task.pair_id for task in people.tasks}
    assert len(asked & set(WRONG)) == len(asked - set(WRONG)) == 8
    assert not any(m["stage"] == "stage2-final-1" for m in store.manifests("decisions"))
    assert not labels(store, "curated")

    people.mood = "right"
    _, counts = run(tmp_path, people, **AUDIT)
    assert counts == {"keep": 16, "flip": 8}
    rows = {row["gate"]: row for row in gates.latest(store)}
    for action in ("keep", "flip"):
        row = rows[f"audit.{action}"]
        assert (row["hits"], row["pairs"], row["verdict"]) == (8, 8, "passed")
    # What people looked at is verified by people.
    assert asked <= labels(store, "gold").keys()
    assert gates.audit(store) == [] and decisions.audit(store, "stage2-final-1") == []


def test_people_who_contradict_the_decisions_pause_and_a_larger_sample_asks_about_the_rest(
    tmp_path,
):
    people = Auditors(mood="wrong")
    store, said = run(tmp_path, people, gates__audit__pairs=4)
    # Both gates are told at once.
    assert "gates.audit.keep" in said and "gates.audit.flip" in said
    assert said.count("0 of 4, 0.000") == 2 and not labels(store, "curated")
    first = {task.pair_id for task in people.tasks}
    people.tasks.clear()
    people.mood = "right"
    _, said = run(tmp_path, people, **AUDIT)
    second = {task.pair_id for task in people.tasks}
    assert len(first) == len(second) == 8 and not first & second
    assert said.count("4 of 8, 0.500") == 2
    lowered = {"gates__audit__keep": 0.1, "gates__audit__flip": 0.1}
    assert run(tmp_path, people, **AUDIT, **lowered)[1]["keep"] > 0


def test_a_run_killed_after_the_auditors_votes_asks_the_same_and_ends_the_same(
    tmp_path, monkeypatch
):
    whole, _ = run(tmp_path / "whole", Auditors(), **AUDIT)
    killed = Auditors()

    class Killed(Exception):
        """Stands for a kill."""

    def kill(*args):
        raise Killed

    from rewardjax.curation import people_edits

    with monkeypatch.context() as patched:
        patched.setattr(people_edits, "edited_attributes", kill)
        with pytest.raises(Killed):
            run(tmp_path / "killed", killed, **AUDIT)
    before = list(killed.tasks)
    store, _ = run(tmp_path / "killed", killed, **AUDIT)
    assert killed.tasks == before * 2
    assert store.fingerprint() == whole.fingerprint()
    # Started again, a finished run measures nothing anew, though more was said since.
    assert run(tmp_path / "killed", killed, gates__flipped=0.1)[1] == {"keep": 16, "flip": 8}
    assert store.fingerprint() == whole.fingerprint()


def test_a_gate_that_does_not_follow_from_the_ledger_is_found(tmp_path):
    store, _ = run(tmp_path, Cast())
    (manifest,) = [m for m in store.manifests("gates") if m["stage"] == "stage2-final"]
    rows = store.query(
        "select * exclude (stage, unit, iteration) from gates where stage = 'stage2-final'"
    ).to_pylist()
    for row in rows:
        if row["gate"] == "flipped":
            row["hits"] = 2
    store.append("gates", "stage2-final", "00001", rows, inputs=manifest["inputs"])
    (problem,) = gates.audit(store)
    assert problem == "gates stage2-final.00001: flipped has hits = 2, and the ledger gives 8"


# ------------------------------------------------------------------ the config


def test_every_threshold_of_the_config_is_a_gate_and_every_gate_is_in_the_config():
    config = curation().gates
    flat = {name for name in _dotted(config.to_dict()) if name != "audit.pairs"}
    assert flat == set(gates.MEANS) == set(stage_gates.REMEDIES)
    assert set(stage_gates.GUARDED) == set(gates.POINTS)
    assert stage_names.GATES_DECIDE in gates.POINTS


def _dotted(tree, prefix=""):
    names = []
    for name, value in tree.items():
        if isinstance(value, dict):
            names += _dotted(value, f"{prefix}{name}.")
        else:
            names.append(f"{prefix}{name}")
    return names


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"gates.flipped": 1.5}, r"gates.flipped = 1.5 is not in \[0, 1\]; None turns"),
        ({"gates.audit.pairs": -1}, "gates.audit.pairs = -1 is negative"),
        ({"stage2.folds": 0}, "gates.gold_accuracy = 0.5 needs stage2.folds >= 2"),
        (
            {"stage2.folds": 0, "gates.gold_accuracy": None, "stage2.band": 0.1},
            "stage2.band = 0.1 with calibrate needs stage2.folds >= 2",
        ),
    ],
)
def test_what_cannot_be_measured_is_refused_before_anything_is_paid(changes, message):
    config = curation()
    config.update_from_flattened_dict(changes)
    with pytest.raises(ValueError, match=message):
        loop.check(config)


def test_a_table_without_the_gold_model_needs_no_folds():
    config = curation()
    config.update_from_flattened_dict({"stage2.folds": 0, "stage2.table": "no_human"})
    config.judges = (dict(name="m", model="m", base_url="http://127.0.0.1:9/v1"),)
    loop.check(config)
