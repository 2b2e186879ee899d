"""Tasks and answers while they wait: shown, stored, corrected, closed; beside a run and a kill."""

import json
import os
import signal
import sqlite3
import subprocess
import sys

import pytest
from answering import NAMES, STEP, counts
from tiny import ROOT

from rewardjax import curate
from rewardjax.curation import people
from rewardjax.curation.annotation.desk import FILE, StepClosed, open_desk
from rewardjax.curation.people import Answer


def rows_of(board, choice="left", of=None):
    return [{"task": id, "choice": choice} for id in of or board.ids]


def test_a_preview_stores_nothing(board):
    code, said, _ = board.take("back", rows_of(board), flags=())
    assert code == 0 and counts(said) == (16, 0, 0) and "nothing is stored yet" in said
    assert board.stored() == {}
    assert json.loads(said.splitlines()[-1]) == {
        "committed": False,
        "missing": {STEP: 16},
        "closed": {STEP: False},
    }


def test_a_later_file_corrects_until_the_step_is_closed(board):
    assert board.take("back", rows_of(board))[0] == 0
    wrong = board.ids[3]
    code, said, _ = board.take("fix", rows_of(board, "right", [wrong]))
    assert code == 0 and f"correction: {board.folder}/fix, line 1: task {wrong}: left -> right" in (
        said
    )
    assert board.choices()[wrong] == "right" and len(board.choices()) == 16
    # The same file again says nothing new.
    code, said, _ = board.take("fix", rows_of(board, "right", [wrong]))
    assert code == 0 and "line 1: is stored already" in said
    assert board.give(flags=("--close",))[0] == 0
    for flags in ((), ("--commit",)):
        code, _, said = board.take("fix", rows_of(board, "left"), flags)
        assert code == 2 and said.count("\n") == 1 and f"{STEP} is closed" in said
    assert board.choices()[wrong] == "right"
    # What a tool exports again and again holds the old answers too.
    assert board.take("fix", rows_of(board, "right", [wrong]))[0] == 0


def test_nothing_closes_without_an_answer(board):
    code, _, said = board.give(flags=("--close",))
    assert code == 2 and "has no answer yet, so it stays open" in said
    code, _, said = board.take("back", rows_of(board), flags=("--close",))
    assert code == 2 and "--close with files needs --commit" in said
    assert board.give(flags=("--commit",))[0] == 2
    code, said, _ = board.take("back", rows_of(board)[:3], flags=("--commit", "--close"))
    assert code == 0 and "13 tasks without an answer are left unlabeled" in said
    code, _, said = board.give(flags=("--close",))
    assert code == 2 and "no step is open" in said


def test_a_folder_without_tasks_says_so(tmp_path, capsys):
    assert curate.main(["answers", str(tmp_path), "back.jsonl"]) == 2
    assert "is not a workspace" in capsys.readouterr().err


def test_a_quota_counts_the_tasks_with_an_answer(board):
    with open_desk(board.folder) as desk:
        desk.deal(STEP, board.tasks, 0.7)
        assert desk.open_tasks(STEP) == 12 and not desk.close_where_met(STEP)
        desk.take(STEP, [Answer(id, "left", annotator="ann") for id in board.ids[:11]])
        assert desk.open_tasks(STEP) == 1 and not desk.close_where_met(STEP)
        # Another person about the same task, and a correction, answer no further task.
        desk.take(STEP, [Answer(board.ids[0], "left", annotator="bob")])
        desk.take(STEP, [Answer(board.ids[1], "right", annotator="ann")])
        assert desk.open_tasks(STEP) == 1
        desk.take(STEP, [Answer(board.ids[11], "left", annotator="ann")])
        assert desk.close_where_met(STEP)
        with pytest.raises(StepClosed, match="is closed"):
            desk.take(STEP, [Answer(board.ids[12], "left", annotator="ann")])
        # Seven tenths of ten tasks are seven, and a quota of nothing still waits for one answer.
        desk.deal("tenth", _again(board, 10), 0.7)
        assert desk.open_tasks("tenth") == 7
        desk.deal("tenth", _again(board, 10), 0.0)
        assert desk.open_tasks("tenth") == 1
        desk.deal("none", [], 1.0)
        assert desk.close_where_met("none")


def _again(board, count):
    ids = [task.pair_id for task in board.tasks[:count]]
    return people.queue(board.store, ids, NAMES, overlap=0, checks=0, seed=9)


def test_tasks_are_dealt_again_without_losing_an_answer(board):
    with open_desk(board.folder) as desk:
        desk.take(STEP, [Answer(board.ids[0], "left", annotator="ann")])
        desk.deal(STEP, board.tasks[2:], 1.0)
        assert {task.id for task in desk.tasks(STEP)} == {board.ids[0], *board.ids[2:]}
        assert [task.id for task in desk.tasks(STEP, withdrawn=True)] == [board.ids[1]]
    code, _, said = board.take("back", rows_of(board, of=[board.ids[1]]))
    assert code == 2 and "the task was withdrawn from" in said
    with open_desk(board.folder) as desk:
        desk.deal(STEP, board.tasks, 1.0)
        assert len(desk.tasks(STEP)) == 16


def test_answers_are_read_in_the_order_of_the_tasks_whoever_was_first(board):
    with open_desk(board.folder) as desk:
        for id in reversed(board.ids):
            desk.take(STEP, [Answer(id, "left", annotator="ann")])
        assert [answer.task for answer in desk.answers(STEP)] == board.ids


def test_the_file_survives_a_kill_and_lets_others_read(board):
    database = sqlite3.connect(board.folder / FILE)
    assert database.execute("pragma journal_mode").fetchone() == ("wal",)
    code = f"""
import os, signal
from rewardjax.curation.annotation.desk import open_desk
from rewardjax.curation.people import Answer
with open_desk({str(board.folder)!r}) as desk:
    assert desk._database.execute("pragma synchronous").fetchone() == (2,)
    desk.take({STEP!r}, [Answer({board.ids[0]!r}, "left", annotator="ann")])
    def answers():
        yield Answer({board.ids[1]!r}, "left", annotator="ann")
        os.kill(os.getpid(), signal.SIGKILL)
    desk.take({STEP!r}, answers())
"""
    killed = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=dict(os.environ))
    assert killed.returncode == -signal.SIGKILL
    # What was committed is there, and the half of what was not is gone; nobody is locked out.
    assert board.choices() == {board.ids[0]: "left"}
    assert board.take("back", rows_of(board))[0] == 0


def test_status_shows_who_owes_what_and_how_checks_went(board):
    assert board.take("back", rows_of(board, of=[task.id for task in board.of("ann")]))[0] == 0
    assert curate.main(["status", str(board.folder)]) == 0
    shown = board.capsys.readouterr().out
    lines = {line.split()[1]: line.split() for line in shown.splitlines() if STEP in line}
    assert lines["ann"][3:5] == [str(len(board.of("ann"))), "0"]
    assert lines["bob"][3:5] == ["0", str(len(board.of("bob")))]
    assert "annotator" in shown and "checks" in shown


def test_what_a_wrong_file_said_is_taken_back(board):
    assert board.take("right", rows_of(board, of=board.ids[:3]))[0] == 0
    assert board.take("wrong", rows_of(board, "right", of=board.ids[2:8]))[0] == 0
    code, said, _ = board.take("wrong", rows_of(board, "right", of=board.ids[2:8]), ("--retract",))
    assert code == 0 and "6 answers to take back" in said and len(board.choices()) == 8
    code, said, _ = board.give(board.folder / "wrong", flags=("--retract", "--commit"))
    assert code == 0 and "6 answers are taken back" in said
    assert board.choices() == dict.fromkeys(board.ids[:2], "left")
    # An answer that is another one by now stays.
    code, _, said = board.take("old", rows_of(board, "right", of=[board.ids[0]]), ("--retract",))
    assert code == 2 and said.count("\n") == 1 and "no such answer is stored" in said
    # What was taken back can be given again, and is owed until it is.
    code, said, _ = board.take("right", rows_of(board))
    assert code == 0 and counts(said) == (14, 0, 0)
    assert board.choices() == dict.fromkeys(board.ids, "left")


def test_answers_booked_to_the_wrong_person_are_taken_back(board):
    def annotated(task):
        region = {"type": "pairwise", "value": {"selected": "left"}}
        return {"data": {"task": task.id}, "annotations": [{"completed_by": 1, "result": [region]}]}

    export = board.file("export.json", json.dumps(list(map(annotated, board.of("ann")))))
    assert board.give(export, flags=("--person", "1=bob", "--commit"))[0] == 0
    assert {who for _, who in board.stored()} == {"bob"}
    assert board.give(export, flags=("--person", "1=bob", "--retract", "--commit"))[0] == 0
    assert board.give(export, flags=("--person", "1=ann", "--commit"))[0] == 0
    assert {who for _, who in board.stored()} == {"ann"}


def test_nothing_is_taken_back_from_a_closed_step(board):
    assert board.take("back", rows_of(board), ("--commit", "--close"))[0] == 0
    code, _, said = board.give(board.folder / "back", flags=("--retract", "--commit"))
    assert code == 2 and f"{STEP} is closed" in said and said.count("\n") == 1
    assert len(board.choices()) == 16
    code, _, said = board.give(flags=("--retract",))
    assert code == 2 and "--retract need the files" in said
