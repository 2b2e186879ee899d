"""A step that people answer by file: dealt, waited for, closed; who errs on checks is suspended."""

import dataclasses

import pytest
from hand_made import Cast, add_labels, add_pairs, ids, right, truth, workspace

from rewardjax.curation.annotation.desk import open_desk
from rewardjax.curation.ledger import pools, stage_names
from rewardjax.curation.people import Answer
from rewardjax.curation.stages import people_steps, product
from rewardjax.curation.workspace import Paused

KNOWN = ids("north", 0, 20)
ASKED = ids("south", 0, 20)
STAGE = stage_names.people(1)
EDITS = {
    "task_category": "Math",
    "objectivity": "Objective",
    "controversiality": "Low",
    "desired_attributes": "right",
    "annotation_guideline": "Check it.",
}


def prepared(tmp_path, **changes):
    """A workspace in which the north is gold and people are to label the south by file."""
    options = dict(people__kind="files", people__annotators=("amy", "bob"), people__checks=0.5)
    return workspace(tmp_path, Cast(), **(options | changes))


def fill(ws):
    add_pairs(ws, KNOWN + ASKED)
    add_labels(ws, gold=right(KNOWN), silver={})


def ask(ws):
    """Go on with the step; whether people are still waited for."""
    ws = dataclasses.replace(ws, plugins=dataclasses.replace(ws.plugins, people=product.people))
    try:
        people_steps.ask(ws, ASKED, STAGE, KNOWN)
    except Paused:
        return True
    return False


def answer(ws, wrong=(), only=("amy", "bob")):
    """Let people answer what they have; those who are named `wrong` always err."""
    with open_desk(ws.folder) as desk:
        given = []
        for task in desk.missing(STAGE.name):
            is_left = task.shown[0] == truth(task.pair_id)
            if task.annotator in wrong:
                is_left = not is_left
            if task.annotator in only:
                choice = "left" if is_left else "right"
                given.append(Answer(task.id, choice, annotator=task.annotator, edits=EDITS))
        desk.take(STAGE.name, given)


def votes(ws, kind):
    sql = "select pair_id, voter, value from votes where stage = ? and kind = ?"
    return ws.store.query(sql, [STAGE.name, kind]).to_pylist()


def test_the_pairs_of_who_errs_on_checks_go_to_others_and_the_votes_do_not_count(tmp_path, capsys):
    with prepared(tmp_path, people__suspend_below=0.7, people__suspend_after=3) as ws:
        fill(ws)
        assert ask(ws)
        answer(ws, wrong=["bob"], only=["bob"])
        with open_desk(tmp_path) as desk:
            of_bob = [task.pair_id for task in desk.tasks(STAGE.name) if task.annotator == "bob"]
        assert ask(ws)
        said = capsys.readouterr().err
        assert "people-1: suspended: bob (0 of" in said and "of their pairs go to others" in said
        answer(ws)
        assert not ask(ws)
        assert {vote["pair_id"] for vote in votes(ws, "human")} == set(ASKED)
        assert {vote["voter"] for vote in votes(ws, "human")} == {"human:amy"}
        kept = votes(ws, "suspended")
        assert {vote["pair_id"] for vote in kept} == set(of_bob) & set(ASKED)
        assert {vote["voter"] for vote in kept} == {"human:bob"}
        # Every label is amy's, who is right; bob's opposite votes are seen by nobody.
        assert {i: pools.labels(ws.store, "gold", 1)[i] for i in ASKED} == right(ASKED)
        # What he corrected does not count either.
        editors = ws.store.query("select distinct voter from attributes where kind = 'human'")
        assert editors.column(0).to_pylist() == ["human:amy"]
        # In the next iteration bob is asked nothing.
        more = ids("west", 0, 6)
        add_pairs(ws, more, entry="wild")
        with pytest.raises(Paused):
            people_steps.ask(
                dataclasses.replace(
                    ws, plugins=dataclasses.replace(ws.plugins, people=product.people)
                ),
                more,
                stage_names.people(2),
                KNOWN,
            )
        with open_desk(tmp_path) as desk:
            assert {task.annotator for task in desk.tasks("people-2")} == {"amy"}


def test_open_tasks_of_who_errs_are_taken_away(tmp_path):
    with prepared(tmp_path, people__suspend_below=0.7, people__suspend_after=3) as ws:
        fill(ws)
        assert ask(ws)
        with open_desk(tmp_path) as desk:
            checks = [task for task in desk.tasks(STAGE.name) if task.check]
            wrong = [task for task in checks if task.annotator == "bob"][:3]
            given = []
            for task in wrong:
                choice = "right" if task.shown[0] == truth(task.pair_id) else "left"
                given.append(Answer(task.id, choice, annotator="bob"))
            desk.take(STAGE.name, given)
        assert ask(ws)
        with open_desk(tmp_path) as desk:
            assert {task.id for task in desk.tasks(STAGE.name) if task.annotator == "bob"} == {
                task.id for task in wrong
            }
        # Nothing is waited for from bob.
        answer(ws, only=["amy"])
        assert not ask(ws)
        assert {vote["pair_id"] for vote in votes(ws, "human")} == set(ASKED)


def test_when_everybody_is_suspended_the_step_says_so_and_waits(tmp_path):
    with prepared(tmp_path, people__suspend_below=0.9, people__suspend_after=1) as ws:
        fill(ws)
        assert ask(ws)
        answer(ws, wrong=["amy", "bob"])
        with pytest.raises(Paused, match="every annotator is suspended"):
            replaced = dataclasses.replace(ws.plugins, people=product.people)
            people_steps.ask(dataclasses.replace(ws, plugins=replaced), ASKED, STAGE, KNOWN)


def test_checks_are_drawn_anew_in_each_iteration(tmp_path):
    with prepared(tmp_path) as ws:
        fill(ws)
        drawn = []
        for iteration in (1, 2):
            stage = stage_names.people(iteration)
            replaced = dataclasses.replace(ws.plugins, people=product.people)
            with pytest.raises(Paused):
                people_steps.ask(dataclasses.replace(ws, plugins=replaced), ASKED, stage, KNOWN)
            with open_desk(tmp_path) as desk:
                drawn.append({task.id for task in desk.tasks(stage.name)})
        assert not drawn[0] & drawn[1]


def test_a_killed_closing_goes_on_with_the_same_answers(tmp_path, monkeypatch):
    with prepared(tmp_path) as ws:
        fill(ws)
        assert ask(ws)
        answer(ws)

        def killed(*_):
            raise KeyboardInterrupt

        with monkeypatch.context() as patched:
            patched.setattr(stage_names.Stage, "append", killed)
            with pytest.raises(KeyboardInterrupt):
                ask(ws)
        # Closed already: what comes now is refused, so that both tries see the same answers.
        with open_desk(tmp_path) as desk:
            assert [step.is_closed for step in desk.steps()] == [True]
        assert not ask(ws)
        assert len(votes(ws, "human")) == len(ASKED)


def test_the_budget_of_people_is_spent_over_all_of_them(tmp_path, capsys):
    names = ("amy", "bob", "cat", "dan", "eve")
    changes = dict(people__annotators=names, people__checks=0.0, budget__people=13.0)
    with prepared(tmp_path, **changes) as ws:
        fill(ws)
        assert ask(ws)
        assert (
            "budget.people pays 6 answers, and 14 of 20 pairs get none" in capsys.readouterr().err
        )
        with open_desk(tmp_path) as desk:
            tasks = desk.tasks(STAGE.name)
        # Ten of the thirteen dollars are spent on what is known, and three buy six answers at half
        # a dollar: by the order of pairs, not of names.
        assert sorted(task.pair_id for task in tasks) == ASKED[:6]
        assert len({task.annotator for task in tasks}) > 1
        answer(ws, only=names)
        assert not ask(ws)
        assert len(votes(ws, "human")) == 6
