"""Stage 1 over a store written by hand:

which pairs are picked, by what, for whom, and what is left.
"""

import json

import pytest
from hand_made import Cast, add_labels, add_pairs, ids, right, workspace

from rewardjax.curation.ledger import stage_names
from rewardjax.curation.ledger.pools import labels
from rewardjax.curation.overview import money
from rewardjax.curation.planning import cost_plan
from rewardjax.curation.stages import loop, report, stage1

GOLD = ["north10", "south10"]
POOL = [*ids("north", 0, 20), *ids("south", 0, 20), *ids("east", 0, 20), *ids("west", 0, 3)]


@pytest.fixture(autouse=True)
def without_pages(monkeypatch):
    """The report of an iteration takes longer than the iteration; one test asks for it."""
    monkeypatch.setattr(report, "write", lambda ws, iteration, name: None)


def prepare(ws):
    """Iteration 0 is over: one gold pair in the north, one in the south, and silver in the west."""
    add_pairs(ws, POOL)
    add_labels(ws, gold=right(GOLD), silver=right(ids("west", 0, 3)))


def evidence(ws, iteration=1):
    rows = stage_names.picks(iteration).rows(ws.store, "picks", order="place")
    return [(row["pair_id"], json.loads(row["evidence"])) for row in rows]


def test_a_source_of_several_splits_is_taken_in_by_the_one_that_is_named(tmp_path):
    for split, count in (("train", 3), ("test", 1)):
        (tmp_path / "data").mkdir(exist_ok=True)
        rows = [
            {"prompt": f"{split} north0{i}?", "chosen": "yes", "rejected": "no"}
            for i in range(count)
        ]
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (tmp_path / "data" / f"{split}.jsonl").write_text(lines)
    source = {"source": str(tmp_path / "data"), "split": "train", "entry": "unverified"}
    with workspace(tmp_path / "w", Cast(margins={}), sources={"mine": source}) as ws:
        steps = {step["step"]: step for step in cost_plan.plan(ws)}
        assert steps["import mine"]["pairs"] == 3
        stage1.prepare(ws)
        prompts = ws.store.query("select prompt from pairs order by row").to_pylist()
    assert ["train" in row["prompt"] for row in prompts] == [True] * 3


def test_errors_on_gold_pull_their_neighbors_and_what_is_right_does_not(tmp_path):
    cast = Cast(margins={"best": {"north10": -2.0, "south10": -3.0}})  # wrong in the north alone
    with workspace(tmp_path, cast, stage1__budget=6, stage1__k_max=6) as ws:
        prepare(ws)
        picks = stage1.pick(ws, 1)
        assert picks["people"] + picks["judges"] == [pair_id for pair_id, _ in evidence(ws)]
        nearest = ["north09", "north11", "north08", "north12", "north07", "north13"]
        assert sorted(picks["people"] + picks["judges"]) == sorted(nearest)
        for pair_id, why in evidence(ws):
            assert why["gold"] == "north10" and why["p"] < 0.5 and why["k_max"] == 6
            assert why["rank"] in (nearest.index(pair_id), nearest.index(pair_id) ^ 1)


def test_the_first_picks_go_to_people_the_rest_to_judges(tmp_path):
    cast = Cast(margins={"best": {"north10": -2.0}})
    with workspace(tmp_path, cast, stage1__budget=5, stage1__human_share=0.4) as ws:
        prepare(ws)
        labeled = stage1.iterate(ws, 1)
        order = [pair_id for pair_id, _ in evidence(ws)]
        assert {task.pair_id for task in cast.tasks} == set(order[:2])
        assert [item.pair_id for item in cast.items] == order[2:]
        assert labeled == (2, 3, 0)
        assert set(labels(ws.store, "gold", 1)) == {*GOLD, *order[:2]}
        assert set(labels(ws.store, "silver", 1)) == {*ids("west", 0, 3), *order[2:]}


def test_judges_are_shown_what_people_said_in_the_same_iteration(tmp_path):
    cast = Cast()
    with workspace(tmp_path, cast, stage1__first=8, stage1__human_share=0.5, shots=2) as ws:
        add_pairs(ws, POOL)
        stage1.iterate(ws, 0)
        by_people = {task.pair_id for task in cast.tasks}
        assert len(by_people) == len(cast.items) == 4
        for item in cast.items:
            shown = [example.pair_id for example in item.examples]
            assert len(shown) == 2 and set(shown) <= by_people


def test_the_best_model_learns_silver_and_its_checkpoint_is_chosen_on_gold(tmp_path):
    cast = Cast(margins={"best": {"north10": -2.0}})
    with workspace(tmp_path, cast, stage1__budget=4) as ws:
        prepare(ws)
        stage1.iterate(ws, 1)
        training = cast.trained["best-1"]
        assert training.labels == right(ids("west", 0, 3))
        assert training.choose_on == right(GOLD)
        # What iteration 1 itself has labeled steers iteration 2, and nothing before it.
        stage1.iterate(ws, 2)
        assert cast.trained["best-2"].labels == labels(ws.store, "silver", 1) != training.labels
        assert cast.trained["best-2"].choose_on == labels(ws.store, "gold", 1) != training.choose_on


def test_the_rule_is_widened_until_it_fills_the_budget(tmp_path):
    cast = Cast(margins={"best": {"north10": -2.0}})
    with workspace(tmp_path, cast, stage1__budget=15, stage1__k_max=2) as ws:
        prepare(ws)
        labeled = stage1.iterate(ws, 1)
        assert labeled.people + labeled.judges == 15 and labeled.unspent == 0
        assert {why["k_max"] for _, why in evidence(ws)} == {16}
        # The rule's own order: what the error pulls comes before what the right answer pulls.
        assert all(pair_id.startswith("north") for pair_id, _ in evidence(ws))


def test_a_budget_beyond_the_pool_is_reported_as_unspent(tmp_path):
    cast = Cast(margins={"best": {"north10": -2.0}})
    with workspace(tmp_path, cast, stage1__budget=100, stage1__k_max=2) as ws:
        prepare(ws)
        in_pool = len(labels(ws.store, "unverified", 0))
        labeled = stage1.iterate(ws, 1)
        assert (labeled.people + labeled.judges, labeled.unspent) == (in_pool, 100 - in_pool)
        (row,) = report.spending(ws, 1)
        assert (row["pairs"], row["unspent"]) == (100, 100 - in_pool)


def test_the_console_says_what_is_unspent(tmp_path, capsys):
    with workspace(tmp_path, Cast(), stage1__iterations=0, stage1__first=9, stage2__table="") as ws:
        add_pairs(ws, ids("north", 0, 4))
        loop.run(ws)
    assert "5 pairs of the budget are unspent" in capsys.readouterr().out


def test_retrieval_without_gold_is_refused(tmp_path):
    with workspace(tmp_path, Cast()) as ws:
        add_pairs(ws, POOL)
        add_labels(ws, gold={}, silver=right(ids("west", 0, 3)))
        with pytest.raises(ValueError, match="needs gold pairs"):
            stage1.pick(ws, 1)


@pytest.mark.parametrize("select", ["random", "diversity", "uncertainty", "retrieval"])
def test_every_selection_picks_new_pairs_for_the_whole_budget(tmp_path, select):
    cast = Cast(margins={"best": {"north10": -2.0, "east05": 0.01}})
    with workspace(tmp_path, cast, stage1__budget=20, stage1__select=select) as ws:
        prepare(ws)
        stage1.iterate(ws, 1)
        stage1.iterate(ws, 2)
        picked = [pair_id for i in (1, 2) for pair_id, _ in evidence(ws, i)]
        assert len(set(picked)) == len(picked) == 40
        assert not set(picked) & {*GOLD, *ids("west", 0, 3)}
        if select == "uncertainty":
            assert picked[0] == "east05"


def test_preparing_imports_cleans_and_embeds(tmp_path):
    prompt = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen"
    test_set = tmp_path / "test_set.jsonl"
    test_set.write_text(json.dumps({"id": "q", "prompt": prompt}) + "\n")
    records = [
        {"prompt": f"Question {text}", "chosen": "yes", "rejected": "no"}
        for text in ("north01?", "north02?", prompt + " north03?")
    ]
    source = tmp_path / "records.jsonl"
    source.write_text("".join(json.dumps(record) + "\n" for record in records))
    with workspace(tmp_path / "w", Cast()) as ws:
        ws.config.sources = {"hand": {"source": str(source), "entry": "unverified"}}
        ws.config.clean.benchmarks = {"test set": str(test_set)}
        stage1.prepare(ws)
        findings = ws.store.query("select finding, action from findings").to_pylist()
        assert {"finding": "contaminated", "action": "hold"} in findings
        clean = list(labels(ws.store, "unverified", stage_names.IMPORTED))
        assert len(clean) == 2
        embedded = ws.store.query("select pair_id from embeddings order by pair_id").column(0)
        assert embedded.to_pylist() == clean


def test_what_an_import_loses_is_said(tmp_path, capsys):
    pair = {"prompt": "Question north01?", "chosen": "x", "rejected": "y"}
    records = [pair, pair, pair | {"chosen": " "}, pair | {"prompt": "Question north02?"}]
    path = tmp_path / "s.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    sources = {"mine": dict(source=str(path), entry="unverified")}
    with workspace(tmp_path / "w", Cast(), sources=sources) as ws:
        stage1.prepare(ws)
    expected = "import mine: 4 rows, 2 pairs, 1 repeat a pair, 1 are no pair (`curate status` has"
    assert expected in capsys.readouterr().out


def test_gold_of_the_teams_own_is_used_in_the_first_iteration(tmp_path):
    """As examples for judges and as checks for people."""
    sources = {}
    for name, entry in (("own", "gold"), ("pool", "unverified")):
        # North of the team's own, south to be labeled.
        cluster = {"own": "north", "pool": "south"}[name]
        rows = [
            {"prompt": f"Question {i}?", "chosen": "yes", "rejected": "no"}
            for i in ids(cluster, 0, 12)
        ]
        path = tmp_path / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        sources[name] = {"source": str(path), "entry": entry}

    class ByText(Cast):
        """Knows pairs by their ids alone: everything is `a`."""

        def people(self, ws, tasks, stage):
            self.tasks += tasks
            return []

        def judge(self, ws, items, stage):
            self.items += items
            return []

    cast = ByText()
    changes = dict(stage1__first=8, stage1__human_share=0.5, people__checks=0.5, shots=2)
    with workspace(tmp_path / "w", cast, **changes) as ws:
        ws.config.sources = sources
        stage1.prepare(ws)
        own = labels(ws.store, "gold", stage_names.IMPORTED)
        assert len(own) == 12
        assert {row["labeled"] for row in cost_plan_rows(ws)} == {24}
        stage1.iterate(ws, 0)
        checks = [task.pair_id for task in cast.tasks if task.check]
        assert checks and set(checks) <= set(own)
        assert not set(own) & {task.pair_id for task in cast.tasks if not task.check}
        assert len(cast.items) == 4
        for item in cast.items:
            assert len(item.examples) == 2
            assert {example.pair_id for example in item.examples} <= set(own)
        # Nobody is paid for what the team had.
        assert money.people_answers(ws.store) == 0


def cost_plan_rows(ws):
    """Pairs that the plan counts in its first steps."""
    return [{"labeled": step["pairs"]} for step in cost_plan.plan(ws) if step["step"] == "clean"]
