"""Who is shown what, asked in which order, and paid until when."""

import dataclasses

import numpy as np
import pyarrow as pa
import pytest
from hand_made import Cast, add_labels, add_pairs, ids, right, workspace
from ledgers import vote

from rewardjax.curation.ledger import stage_names
from rewardjax.curation.ledger.pools import labels
from rewardjax.curation.retrieval import embed
from rewardjax.curation.stages import labeling, people_steps, product
from rewardjax.curation.workspace import Paused

GOLD = ids("north", 0, 6) + ids("south", 0, 6)
ASKED = ["north07", "south09"]


def prepare(ws):
    add_pairs(ws, GOLD + ASKED)
    add_labels(ws, gold=right(GOLD), silver={})


def judge(ws, pair_ids, gold):
    labeling.judge(ws, pair_ids, stage_names.judges(1), stage_names.panel(1), gold)


def test_judges_are_shown_the_nearest_gold_pairs_the_nearest_first(tmp_path):
    cast = Cast()
    with workspace(tmp_path, cast, shots=3) as ws:
        prepare(ws)
        judge(ws, ASKED, labels(ws.store, "gold", 0))
        shown = {item.pair_id: [e.pair_id for e in item.examples] for item in cast.items}
        assert shown == {
            "north07": ["north05", "north04", "north03"],
            "south09": ["south05", "south04", "south03"],
        }
        for item in cast.items:
            assert all(example.value == right(GOLD)[example.pair_id] for example in item.examples)


def test_examples_carry_what_is_known_about_their_pairs(tmp_path):
    cast = Cast()
    with workspace(tmp_path, cast, shots=2) as ws:
        prepare(ws)
        ws.store.append("attributes", "tag", "0", [attributes("north05")])
        judge(ws, ["north07"], right(GOLD))
        (item,) = cast.items
        (described,) = [each.attributes for each in item.examples if each.pair_id == "north05"]
        assert described.annotation_guideline == "count"
        assert [e.attributes for e in item.examples if e.pair_id != "north05"] == [None]
        (text,) = ws.store.texts(["north05"])
        (example,) = [each for each in item.examples if each.pair_id == "north05"]
        assert example.prompt == text["prompt"]
        assert example.responses == (text["response_a"], text["response_b"])


def test_gold_is_read_once_however_many_units_are_asked(tmp_path, monkeypatch):
    monkeypatch.setattr(stage_names, "UNIT", 1)
    read = []
    vectors = labeling.vectors
    monkeypatch.setattr(labeling, "vectors", lambda ws, ids: read.append(ids) or vectors(ws, ids))
    cast = Cast()
    with workspace(tmp_path, cast, shots=3) as ws:
        prepare(ws)
        judge(ws, ASKED, right(GOLD))
        assert [len(item.examples) for item in cast.items] == [3, 3]
        assert sorted(map(len, read)) == [1, 1, len(GOLD)]


def test_a_pair_is_never_its_own_example(tmp_path):
    cast = Cast()
    with workspace(tmp_path, cast, shots=3) as ws:
        prepare(ws)
        judge(ws, ["north03"], labels(ws.store, "gold", 0))
        (item,) = cast.items
        assert [example.pair_id for example in item.examples] == ["north02", "north04"]


def test_vectors_of_another_embedder_are_refused(tmp_path):
    with workspace(tmp_path, Cast()) as ws:
        prepare(ws)
        row = {"pair_id": "north00", "embedder": "an earlier one", "vector": [1.0, 0.0]}
        ws.store.append("embeddings", "embed", "earlier", [row])
        with pytest.raises(ValueError, match="vectors of the embedder an earlier one"):
            labeling.embed(ws, ASKED, dataclasses.replace(stage_names.EMBED, name="embed-later"))


def test_how_rare_words_are_is_learned_from_a_sample(tmp_path, monkeypatch):
    monkeypatch.setattr(product, "RARITY", 3)
    with workspace(tmp_path, Cast()) as ws:
        prepare(ws)
        product.embedder(ws, GOLD)
        sample = embed.fit_rarity(labeling.embedded_texts(ws, GOLD[:3]))
        np.testing.assert_array_equal(np.load(ws.folder / "rarity.npy"), sample)


def test_without_shots_or_without_gold_nothing_is_shown(tmp_path):
    for name, shots, gold in (("no shots", 0, right(GOLD)), ("no gold", 3, {})):
        cast = Cast()
        with workspace(tmp_path / name, cast, shots=shots) as ws:
            prepare(ws)
            judge(ws, ASKED, gold)
            assert [item.examples for item in cast.items] == [(), ()]


def test_as_many_examples_are_found_as_the_judge_that_is_shown_most_takes(tmp_path):
    judges = tuple(
        {"name": name, "model": "m", "base_url": "http://x", **settings}
        for name, settings in (("as the config says", {}), ("more", {"shots": 5}))
    )
    cast = Cast()
    with workspace(tmp_path, cast, shots=3, judges=judges) as ws:
        assert [judge.shots for judge in ws.judges] == [3, 5]
        prepare(ws)
        judge(ws, ASKED, right(GOLD))
        assert [len(item.examples) for item in cast.items] == [5, 5]


def test_the_panel_merges_the_judges_votes(tmp_path):
    with workspace(tmp_path, Cast(), shots=0) as ws:
        prepare(ws)
        judge(ws, ASKED, {})
        merged = stage_names.panel(1).rows(ws.store, "votes")
        assert {row["pair_id"]: row["value"] for row in merged} == right(ASKED)
        assert {row["kind"] for row in merged} == {"panel"}


def test_judges_who_pause_are_asked_again_from_the_unit_they_were_in(tmp_path, monkeypatch):
    monkeypatch.setattr(stage_names, "UNIT", 1)

    class Tired(Cast):
        def judge(self, ws, items, stage):
            if len(self.items) == 1:
                raise Paused("asleep")
            return super().judge(ws, items, stage)

    cast = Tired()
    with workspace(tmp_path, cast, shots=0) as ws:
        prepare(ws)
        with pytest.raises(Paused):
            judge(ws, ASKED, {})
        assert not stage_names.panel(1).has(ws.store)
        cast.judge = Cast().judge
        ws.plugins.__dict__["judge"] = cast.judge
        judge(ws, ASKED, {})
        assert [item.pair_id for item in cast.items] == ["north07"]  # not asked about it twice
        assert len(stage_names.panel(1).rows(ws.store, "votes")) == 2


def test_people_are_asked_until_their_money_ends(tmp_path):
    cast = Cast()
    with workspace(tmp_path, cast) as ws:
        prepare(ws)
        with ws.config.unlocked():
            ws.config.budget.people = 0.5 * (len(GOLD) + 1)
        people_steps.ask(ws, ASKED, stage_names.people(1), [])
        assert len(cast.tasks) == 1
        people_steps.ask(ws, ASKED, stage_names.people(1), [])
        assert len(cast.tasks) == 1  # what is in the ledger is not asked again


def test_pairs_with_attributes_are_not_described_again(tmp_path):
    described = []

    class Describing(Cast):
        def describe(self, ws, items, stage):
            described.extend(item.pair_id for item in items)
            return [attributes(item.pair_id) for item in items]

    with workspace(tmp_path, Describing()) as ws:
        prepare(ws)
        ws.store.append("attributes", "before", "0", [attributes(GOLD[0])])
        labeling.tag(ws, GOLD, stage_names.TAG)
        assert described == GOLD[1:]


def attributes(pair_id):
    return {
        "pair_id": pair_id,
        "voter": "judge:m",
        "kind": "judge",
        "task_category": "Math",
        "objectivity": "Objective",
        "controversiality": "Low",
        "desired_attributes": "correct",
        "annotation_guideline": "count",
    }


def test_how_much_is_read_at_a_time_does_not_show(tmp_path, monkeypatch):
    with workspace(tmp_path, Cast()) as ws:
        prepare(ws)
        order = [*ASKED, *GOLD]
        together = labeling.vectors(ws, order)
        monkeypatch.setattr(labeling, "VECTORS", 3)
        np.testing.assert_array_equal(labeling.vectors(ws, order), together)
        # As Arrow, and in another order.
        backwards = pa.array(order[::-1])
        np.testing.assert_array_equal(labeling.vectors(ws, backwards), together[::-1])
        with pytest.raises(KeyError, match="east07"):
            labeling.vectors(ws, ["north00", "east07"])

        stage = stage_names.judges(1)
        for unit, part in enumerate((GOLD, ASKED)):
            rows = [vote(i, sample=sample) for i in part for sample in range(3)]
            stage.append(ws.store, "votes", rows, f"{unit:05d}")
        monkeypatch.setattr(stage_names, "VOTES", 2)
        parts = list(stage.votes(ws.store))
        pairs = [{row["pair_id"] for row in part} for part in parts]
        assert sum(map(len, pairs)) == len(order)  # no pair is in two parts
        together = [(row["pair_id"], row["sample"]) for part in parts for row in part]
        assert together == sorted((i, sample) for i in order for sample in range(3))
