"""Taggers are not the judges, and neither need be the same in each iteration."""

import json

import pytest
from hand_made import Cast
from hand_made import workspace as workspace_by_hand
from judging import judge_at, world_items, world_store

from rewardjax.curation.defaults import curation
from rewardjax.curation.judges.scripted_judge import Behavior
from rewardjax.curation.judges.scripted_server import serve
from rewardjax.curation.ledger import stage_names
from rewardjax.curation.planning import cost_plan
from rewardjax.curation.servers.paid_calls import CallLedger
from rewardjax.curation.stages import (
    batches,
    judges_check,
    labeling,
    loop,
    product,
)
from rewardjax.curation.workspace import Waiting, Workspace

ITEMS, _, TRUTH = world_items(12, seed=3)
NAMES = ("small", "large", "tagger")


@pytest.fixture
def server():
    with serve({name: Behavior(accuracy=1.0) for name in NAMES}, TRUTH) as server:
        yield server


@pytest.fixture
def ws_of(tmp_path):
    store = world_store(tmp_path, 12)
    config = curation()
    config.shots = 0

    def make(judges, taggers=(), plugins=product.PLUGINS):
        calls = CallLedger(tmp_path / "calls.sqlite")
        return Workspace(tmp_path, config, store, calls, list(judges), plugins, list(taggers))

    return make


def all_ids(ws):
    return ws.store.query("select pair_id from pairs order by pair_id").column(0).to_pylist()


def label(ws, iteration):
    """The voters of an iteration in which all pairs are labeled."""
    asked = stage_names.judges(iteration)
    labeling.judge(ws, all_ids(ws), asked, stage_names.panel(iteration), {})
    return {row["voter"] for row in asked.rows(ws.store, "votes")}


def tag(ws, stage=stage_names.TAG):
    labeling.tag(ws, all_ids(ws), stage)
    return {row["voter"] for row in stage.rows(ws.store, "attributes")}


def test_taggers_describe_and_judges_label(ws_of, server):
    ws = ws_of([judge_at(server, "small")], [judge_at(server, "tagger")])
    assert tag(ws) == {"judge:tagger"}
    assert label(ws, 0) == {"judge:small"}
    by_task = {(row["voter"], row["task"]): row["answered"] for row in ws.calls.endings()}
    assert by_task == {("judge:tagger", "tag"): 12, ("judge:small", "judge"): 24}


def test_without_taggers_the_judges_describe(ws_of, server):
    assert tag(ws_of([judge_at(server, "small")])) == {"judge:small"}


def test_early_and_late_iterations_have_judges_of_their_own(ws_of, server):
    judges = [judge_at(server, "small", last=1), judge_at(server, "large", first=1)]
    ws = ws_of(judges)
    assert label(ws, 0) == {"judge:small"}
    assert label(ws, 1) == {"judge:small", "judge:large"}
    assert label(ws, 2) == {"judge:large"}


def test_the_quorum_is_of_those_who_serve_the_iteration(ws_of, server):
    """Half of three is two: one judge alone would have no quorum if the others counted."""
    later = [judge_at(server, name, first=1) for name in ("large", "tagger")]
    ws = ws_of([judge_at(server, "small"), *later])
    label(ws, 0)
    assert len(stage_names.panel(0).rows(ws.store, "votes")) == 12


def test_taggers_of_the_wild_pool_are_those_that_serve_stage_2(ws_of, server):
    taggers = [judge_at(server, "tagger", last=0), judge_at(server, "small", first=3)]
    ws = ws_of([judge_at(server, "large")], taggers)
    assert tag(ws, stage_names.tag_wild(3)) == {"judge:small"}


def test_the_plan_counts_whom_each_step_asks(ws_of, server):
    judges = [judge_at(server, "small", last=0), judge_at(server, "large", first=1, samples=4)]
    ws = ws_of(judges, [judge_at(server, "tagger")])
    ws.config.stage1.update(iterations=1, first=6, budget=6, human_share=0.0)
    steps = {step["step"]: step for step in cost_plan.plan(ws)}
    assert steps["describe the unverified pool and gold"]["requests"] == 12
    assert steps["iteration 0: judges"]["requests"] == 12
    assert steps["iteration 1: judges"]["requests"] == 24
    assert cost_plan.questions_left(ws) == {
        ("tag", "tagger"): 12,
        ("judge", "small"): 12,
        ("judge", "large"): 24,
    }


def test_a_step_costs_what_those_cost_whom_it_asks(ws_of, server):
    cheap = judge_at(server, "small", last=0)
    dear = judge_at(server, "large", first=1, price_input=100.0, price_output=400.0)
    ws = ws_of([cheap, dear])
    ws.config.tag = False
    ws.config.stage1.update(iterations=1, first=6, budget=6, human_share=0.0)
    steps = {step["step"]: step["judges $ at most"] for step in cost_plan.plan(ws)}
    assert 0 < 90 * steps["iteration 0: judges"] < steps["iteration 1: judges"]


def test_the_check_has_a_row_for_each_tagger(ws_of, server):
    ws = ws_of([judge_at(server, "small")], [judge_at(server, "tagger")])
    rows, _ = judges_check.check(ws)
    assert [(row["judge"], row["asked to"]) for row in rows] == [
        ("small", "judge"),
        ("tagger", "tag"),
    ]
    assert rows[1]["readable"].startswith("10 of 10") and rows[1]["right"] == "0 of 0"
    assert rows[1]["$ of the plan"] > 0


def test_a_batch_file_of_attributes_is_the_taggers(ws_of, server, tmp_path):
    plain = {"answer_format": "plain"}
    judges, taggers = [judge_at(server, "small", **plain)], [judge_at(server, "tagger", **plain)]
    writer = batches.Writer(["tagger"])
    ws = ws_of(judges, taggers, writer.plugins(product.PLUGINS))
    with pytest.raises(Waiting):
        tag(ws)
    (path,) = writer.files
    assert path.name == "tag.tagger.000.jsonl"
    results = []
    for request in map(json.loads, path.read_text().splitlines()):
        status, body, _ = server.respond(request["body"])
        response = {"status_code": status, "body": body}
        results.append(json.dumps({"custom_id": request["custom_id"], "response": response}))
    path.with_suffix(".results").write_text("\n".join(results))
    prices = {"price_input": 1.0, "price_output": 4.0}
    entry = lambda name: {"name": name, "model": name, **prices}
    config = {"judges": [entry("small")], "taggers": [entry("tagger")]}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert batches.read(tmp_path, [path.with_suffix(".results")])["answered"] == 12
    assert tag(ws) == {"judge:tagger"}


# ------------------------------------------------------------------ refused before it is paid


def entry(name, **more):
    return {"name": name, "model": name, "base_url": "http://127.0.0.1:1/v1", **more}


def config_with(judges, taggers=(), **changes):
    config = curation()
    config.judges, config.taggers = tuple(judges), tuple(taggers)
    for name, value in changes.items():
        section, _, field = name.rpartition("__")
        (config[section] if section else config)[field] = value
    return config


REFUSED = {
    "no judge at all": (config_with([]), r"stage tag asks in iteration 0.*config\.judges"),
    "a gap": (
        config_with([entry("a", last=0), entry("b", first=2)]),
        "stage label-1-judges asks in iteration 1, which none of config.judges serves",
    ),
    "nobody for Stage 2": (
        config_with([entry("a", last=2)], tag=False),
        "stage label-wild-3-judges asks in iteration 3",
    ),
    "taggers that start too late": (
        config_with([entry("a")], [entry("t", first=1)]),
        r"stage tag asks in iteration 0, which none of config\.taggers serves",
    ),
    "taggers that end before Stage 2": (
        config_with([entry("a")], [entry("t", last=2)]),
        "stage tag-wild-3 asks in iteration 3",
    ),
    "never asked": (
        config_with([entry("a"), entry("b", first=4)]),
        "judge b: first = 4, but iteration 3 is the last one",
    ),
    "backwards": (config_with([entry("a", first=2, last=1)]), "last = 1 is before first = 2"),
    "negative": (config_with([entry("a", first=-1)]), "first = -1, must be at least 0"),
    "misspelt": (
        config_with([entry("a", lst=1)]),
        r"config\.judges\[0\] has no setting 'lst'; there are .*last",
    ),
    "no model": (
        config_with([entry("a")], [{"name": "t", "base_url": "u"}]),
        r"config\.taggers\[0\] has no model",
    ),
    "one name, two models": (
        config_with([entry("a")], [entry("a") | {"model": "b"}]),
        "'a' is a judge with other settings",
    ),
    "one name twice": (config_with([entry("a"), entry("a")]), "config.judges: 'a' is given twice"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_list_that_cannot_work_is_refused_at_the_start(name):
    config, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        loop.check(config)


def test_what_asks_nobody_needs_nobody():
    loop.check(config_with([], tag=False, stage1__human_share=1.0, stage2__table="both_rms"))
    loop.check(config_with([entry("a")], [entry("a")]))
    loop.check(config_with([entry("a", first=0, last=2)], stage2__table="both_rms"))


def test_a_workspace_of_an_earlier_release_has_no_taggers(tmp_path):
    with workspace_by_hand(tmp_path, Cast()):
        pass
    recorded = json.loads((tmp_path / "config.json").read_text())
    del recorded["taggers"]
    (tmp_path / "config.json").write_text(json.dumps(recorded))
    with workspace_by_hand(tmp_path, Cast()) as ws:
        assert ws.taggers == []


def test_another_tagger_is_told_on_the_screen_and_another_server_of_it_is_not(tmp_path, capsys):
    change = lambda **more: (entry("t") | more,)
    with workspace_by_hand(tmp_path, Cast(), taggers=change()):
        pass
    with workspace_by_hand(tmp_path, Cast(), taggers=change(base_url="http://other/v1")) as ws:
        assert ws.taggers[0].base_url == "http://other/v1"
    assert capsys.readouterr().out == ""
    with workspace_by_hand(tmp_path, Cast(), taggers=change(model="other")):
        said = capsys.readouterr().out
    assert said.startswith("changed since the last start: taggers.t.model: ")
