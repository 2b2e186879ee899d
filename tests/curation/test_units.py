"""Stages whose units tasks are asked about leave what this process leaves, and pay no more."""

import dataclasses

import pytest
from labeled import PAIRS, judged_workspace, label_all, scripted
from tasks_here import run_here

from rewardjax.curation.ledger import pools, stage_names
from rewardjax.curation.stages import labeling
from rewardjax.curation.workspace import Paused
from rewardjax.engine.executors import Engine

TASKS = Engine("local", tasks=2)


@pytest.fixture
def runs(monkeypatch):
    monkeypatch.setattr(stage_names, "UNIT", 3)
    return run_here(monkeypatch)


def as_they_are(ws):
    """What lies in the ledger, and how every question ended."""
    return ws.store.manifests(), ws.calls.endings()


def test_the_ledger_is_that_of_one_process_and_costs_as_much(tmp_path, runs):
    ledgers, spent = [], []
    for name, engine in (("here", Engine()), ("tasks", TASKS)):
        with scripted() as server, judged_workspace(tmp_path / name, server, engine) as ws:
            label_all(ws)
            ledgers.append(as_they_are(ws))
            of_pairs = [row for row in ws.calls.costs() if row["purpose"] != "probe"]
            spent.append([row["dollars"] for row in of_pairs])
            # Each task of the first stage finds out for itself how the server wants to be asked.
            assert server.stats()["answered_twice"] == (engine == TASKS)
    assert ledgers[0] == ledgers[1] and spent[0] == pytest.approx(spent[1])
    assert not list(tmp_path.rglob("task-*/*.parquet")) + list(tmp_path.rglob("task-*/*.sqlite"))


def test_a_lost_task_is_made_up_for_and_nothing_is_paid_twice(tmp_path, runs):
    ledgers = []
    for name, lost in (("all", []), ("lost", [2, 1, 1])):
        runs += lost
        with scripted() as server, judged_workspace(tmp_path / name, server, TASKS) as ws:
            label_all(ws)
            ledgers.append(as_they_are(ws))
            assert server.stats()["answered"] <= 3 * PAIRS + 2
    assert not runs and ledgers[0] == ledgers[1]


def test_tasks_keep_to_the_budget_together_and_more_money_goes_on(tmp_path, runs):
    with scripted() as server:
        with judged_workspace(tmp_path, server, TASKS, **{"budget.judges": 0.012}) as ws:
            ids = pools.ids(ws.store, "unverified", stage_names.IMPORTED)
            with pytest.raises(Paused, match="^tag: budget: .* raise budget.judges and run again$"):
                labeling.tag(ws, ids, stage_names.TAG)
            dearest = max(ws.calls.budget - ws.calls.spent(), 0.0)
            assert 0 < ws.calls.spent() <= 0.012
            # Less than two tasks' next requests is left.
            assert dearest < 2 * 0.005
            answered = server.stats()["answered"]
        with judged_workspace(tmp_path, server, TASKS) as ws:
            labeling.tag(ws, ids, stage_names.TAG)
            assert stage_names.TAG.finished(ws.store, PAIRS)
        # What was answered before was not asked again.
        assert server.stats()["answered"] - answered < PAIRS
        assert server.stats()["answered_twice"] <= 1


def test_a_server_that_is_down_is_told_as_in_one_process(tmp_path, runs, monkeypatch):
    monkeypatch.setattr("rewardjax.curation.servers.connection.LONGEST_PAUSE", 0.01)
    with scripted() as server, judged_workspace(tmp_path, server, TASKS) as ws:
        ids = pools.ids(ws.store, "unverified", stage_names.IMPORTED)
        server.respond = lambda body: (401, {"error": {"message": "no such key"}}, {})
        with pytest.raises(Paused, match="^tag: judge m .*no such key.*run again when that is"):
            labeling.tag(ws, ids, stage_names.TAG)


def test_units_are_asked_about_together_where_one_has_too_few_questions(tmp_path, monkeypatch):
    monkeypatch.setattr(stage_names, "UNIT", 3)
    monkeypatch.setattr(labeling, "UNIT", 3)
    ledgers, most = [], []
    for name, in_flight in (("few", 2), ("many", 12)):
        with scripted(latency=0.05) as server, judged_workspace(tmp_path / name, server) as ws:
            ws.judges[0] = dataclasses.replace(ws.judges[0], max_in_flight=in_flight)
            labeling.tag(
                ws, pools.ids(ws.store, "unverified", stage_names.IMPORTED), stage_names.TAG
            )
            ledgers.append([m["content"] for m in ws.store.manifests("attributes")])
            most.append(server.most_at_once)
    assert ledgers[0] == ledgers[1] and len(ledgers[0]) == 4
    assert most[0] == 2 and most[1] > 3
