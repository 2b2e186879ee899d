"""People:

the queue's order, overlap, checks and budget; answers become votes whichever side was shown; who
errs too often is found out.
"""

import json
from collections import Counter

import pytest
from ledgers import pair

from rewardjax.curation import people, people_edits, people_files, people_quality
from rewardjax.curation.ledger.store import Store
from rewardjax.curation.people import Answer, queue, simulate

NAMES = ("ann", "bob", "cat")
IDS = [f"{i:04x}" for i in range(400)]


def attributes(pair_id, objectivity, controversiality):
    texts = {
        "task_category": "Math",
        "desired_attributes": "right",
        "annotation_guideline": f"Check {pair_id}.",
    }
    return {
        "pair_id": pair_id,
        "voter": "judge:m",
        "kind": "judge",
        "objectivity": objectivity,
        "controversiality": controversiality,
    } | texts


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("humans"))
    store.append("pairs", "import", "0", [pair(i) for i in IDS])
    cells = [(o, c) for o in ("Subjective", "Objective") for c in ("High", "Low", "Medium")]
    store.append(
        "attributes",
        "attributes",
        "0",
        [attributes(i, *cells[n % 6]) for n, i in enumerate(IDS[:-40])],
    )
    return store


def truth(pair_id):
    return "tie" if int(pair_id, 16) % 10 == 0 else "ab"[int(pair_id, 16) % 2]


def test_objective_and_uncontroversial_pairs_come_first(store):
    tasks = queue(store, IDS[::-1], NAMES, overlap=0, checks=0)
    assert Counter(task.pair_id for task in tasks) == Counter(IDS)
    attributes = {row["pair_id"]: row for row in store.current_attributes().to_pylist()}
    order = [
        ("Objective", "Low"),
        ("Objective", "Medium"),
        ("Objective", "High"),
        ("Subjective", "Low"),
        ("Subjective", "Medium"),
        ("Subjective", "High"),
        None,
    ]

    def cell(pair_id):
        row = attributes.get(pair_id)
        return row and (row["objectivity"], row["controversiality"])

    for name in NAMES:
        own = [task.pair_id for task in tasks if task.annotator == name]
        places = [order.index(cell(pair_id)) for pair_id in own]
        assert places == sorted(places) and set(places) == set(range(7)) and len(own) > 100
        # As given, where nothing else decides.
        first = [pair_id for pair_id in own if cell(pair_id) == order[0]]
        assert first == sorted(first, reverse=True)


def test_overlap_and_checks_are_what_was_asked_and_sides_are_balanced(store):
    todo, gold = IDS[:300], IDS[300:]
    tasks = queue(store, todo, NAMES, overlap=0.2, checks=0.1, gold=gold, seed=3)
    assert tasks == queue(store, todo, NAMES, overlap=0.2, checks=0.1, gold=gold, seed=3)
    work = Counter(task.pair_id for task in tasks if not task.check)
    assert set(work) == set(todo) and set(work.values()) == {1, 2}
    assert 40 <= sum(count == 2 for count in work.values()) <= 80
    for name in NAMES:
        mine = [task for task in tasks if task.annotator == name]
        known = [n for n, task in enumerate(mine) if task.check]
        assert len(known) == round(0.1 * (len(mine) - len(known))) and {
            mine[n].pair_id for n in known
        } <= set(gold)
        assert max(b - a for a, b in zip(known, known[1:], strict=False)) <= 12  # evenly spread
        assert len({task.pair_id for task in mine}) == len(mine)
    assert 0.4 < sum(task.shown == "ab" for task in tasks) / len(tasks) < 0.6
    assert len({task.id for task in tasks}) == len(tasks)
    with pytest.raises(ValueError, match="distinct names"):
        queue(store, todo, ["ann", "ann"])


def test_a_perfect_annotator_votes_the_truth_whichever_side_is_shown(store):
    tasks = queue(store, IDS, NAMES, overlap=0.3)
    rows, bad = people.votes(tasks, simulate(tasks, truth, accuracy=1.0))
    assert not bad and len(rows) == len(tasks)
    assert all(row["value"] == truth(row["pair_id"]) for row in rows)
    assert {row["shown"] for row in rows} == {"ab", "ba"}


def test_a_simulated_annotator_is_as_good_as_asked(store):
    tasks = queue(store, IDS, NAMES, overlap=1.0)
    assert len(tasks) == 800
    answers = simulate(tasks, truth, accuracy=0.8, p_undecided=0.1, seed=1)
    assert answers == simulate(tasks[::-1], truth, accuracy=0.8, p_undecided=0.1, seed=1)[::-1]
    rows, _ = people.votes(tasks, answers)
    decided = [row for row in rows if row["value"] != "undecided"]
    assert abs(1 - len(decided) / 800 - 0.1) < 0.04  # 3.8 standard deviations
    assert (
        abs(sum(row["value"] == truth(row["pair_id"]) for row in decided) / len(decided) - 0.8)
        < 0.06
    )


@pytest.mark.parametrize("style", ["jsonl", "label_studio"])
def test_task_files_show_the_texts_and_nothing_that_tells_a_label(store, tmp_path, style):
    tasks = queue(store, IDS[:30], NAMES[:2], overlap=0.5)
    out = tmp_path / "out"
    people_files.write_tasks(store, tasks, out, style)
    assert "check" not in out.read_text()
    if style == "jsonl":
        records = [json.loads(line) for line in out.read_text().splitlines()]
    else:
        records = [record["data"] for record in json.loads(out.read_text())]
    assert [record["task"] for record in records] == [task.id for task in tasks]
    shown = dict(
        zip([task.id for task in tasks], store.texts([task.pair_id for task in tasks]), strict=True)
    )
    for record, task in zip(records, tasks, strict=True):
        left = shown[task.id][f"response_{task.shown[0]}"]
        if style == "label_studio":
            left = left[0]["content"]
        assert record["left"] == left and record["guideline"] == f"Check {task.pair_id}."


def test_what_cannot_be_a_vote_is_listed(store):
    tasks = queue(store, IDS[:3], NAMES[:1], overlap=0, checks=0)
    ids = [task.id for task in tasks]
    rows, bad = people.votes(
        tasks,
        [
            Answer(ids[0], "left"),
            Answer(ids[0], "right"),
            Answer("x", "left"),
            Answer(ids[1], "both"),
            Answer(ids[2], "right", confidence=2),
        ],
    )
    assert len(rows) == 1
    assert [line.split(": ", 1)[1] for line in bad] == [
        "answered a second time",
        "not in the queue",
        "choice = 'both', not one of left, right, no_preference, cannot_decide",
        "confidence = 2, not a probability",
    ]


def test_a_budget_takes_the_most_important_pairs_over_all_annotators(store):
    todo = IDS[:200]
    whole = queue(store, todo, NAMES, overlap=0.2, checks=0.1, gold=IDS[200:])
    order = people.priority(people.attributes_of(store, todo))
    for most in (0, 1, 17, 60):
        tasks = queue(store, todo, NAMES, overlap=0.2, checks=0.1, gold=IDS[200:], most=most)
        assert most - 1 <= len(tasks) <= most
        assert {task.id for task in tasks} <= {task.id for task in whole}
        taken = {task.pair_id for task in tasks if not task.check}
        left_out = set(todo) - taken
        if taken:
            assert max(map(order, taken)) <= min(map(order, left_out))
    # Of 60 tasks each of three people has some.
    assert min(Counter(task.annotator for task in tasks).values()) > 10
    assert sum(task.check for task in tasks) in (4, 5, 6)


def test_nobody_is_checked_against_their_own_word(tmp_path):
    store = Store(tmp_path)
    store.append("pairs", "import", "0", [pair(i) for i in IDS])
    first = queue(store, IDS[:100], ["ann", "bob"], overlap=0, checks=0)
    store.append(
        "votes", "people", "0", people.votes(first, simulate(first, truth, accuracy=1.0))[0]
    )
    by = {task.pair_id: task.annotator for task in first}
    second = queue(store, IDS[100:], ["ann", "bob"], checks=0.5, gold=IDS[:100], seed=1)
    checks = [task for task in second if task.check]
    assert len(checks) > 50 and all(by[task.pair_id] != task.annotator for task in checks)


def test_the_pairs_of_a_suspended_person_go_to_others(store):
    tasks = queue(store, IDS[:60], NAMES, overlap=0.3, checks=0.1, gold=IDS[300:])
    own = [task for task in tasks if task.annotator == "ann"]
    answers = [Answer(task.id, "left") for task in own[:5]]
    remaining = people.reassigned(tasks, answers, ["ann"], NAMES, seed=0)
    assert {task.pair_id for task in remaining if task.annotator != "ann" and not task.check} == {
        task.pair_id for task in tasks if not task.check
    }
    # What she did stays, what she had left to do does not.
    assert [task for task in remaining if task.annotator == "ann"] == own[:5]
    # Whom the new ones go to does not depend on who asks again.
    assert people.reassigned(remaining, answers, ["ann"], NAMES, seed=0) == remaining
    assert people.reassigned(tasks, [], NAMES, NAMES, seed=0) == []
    cut = people.reassigned(tasks, answers, ["ann"], NAMES, seed=0, most=len(tasks) - 10)
    assert len(cut) <= len(tasks) - 10 < len(remaining)
    rows, _ = people.votes(remaining, answers, ["ann"])
    assert {row["kind"] for row in rows} <= {"suspended", "check"}


def test_edits_of_attributes_go_before_the_judges(store, tmp_path):
    tasks = queue(store, IDS[:2], NAMES[:1], overlap=0, checks=0)
    rows = people_edits.edited_attributes(
        store,
        tasks,
        [
            Answer(tasks[0].id, "left", edits={"task_category": "Planning"}),
            Answer(tasks[1].id, "left"),
        ],
    )
    (row,) = rows
    assert (
        row["task_category"] == "Planning"
        and row["annotation_guideline"] == f"Check {tasks[0].pair_id}."
        and row["kind"] == "human"
    )
    for edits, message in (
        ({"mood": "good"}, "'mood' is not an attribute"),
        ({"objectivity": "subjective"}, "objectivity = 'subjective' is not one of Objective"),
        ({"annotation_guideline": " "}, "annotation_guideline = ' ' is not a text"),
        ({"annotation_guideline": "\ud800"}, "lone surrogate"),
    ):
        with pytest.raises(ValueError, match=message):
            people_edits.edited_attributes(store, tasks, [Answer(tasks[0].id, "left", edits=edits)])
    # The last forty pairs have no attributes: one edit alone would leave the others empty.
    bare = queue(store, IDS[-1:], NAMES[:1], overlap=0, checks=0)
    with pytest.raises(ValueError, match="all attributes are needed, or none"):
        people_edits.edited_attributes(
            store, bare, [Answer(bare[0].id, "left", edits={"objectivity": "Objective"})]
        )


def test_quality_tells_a_careless_annotator(tmp_path):
    store = Store(tmp_path)
    store.append("pairs", "import", "0", [pair(i) for i in IDS])
    first = queue(store, IDS[:200], ["expert", "reader"], overlap=1.0, checks=0)
    store.append(
        "votes", "people", "0", people.votes(first, simulate(first, truth, accuracy=1.0))[0]
    )
    second = queue(store, IDS[200:], ["good", "bad"], overlap=0.5, checks=0.5, gold=IDS[:200])
    good = [task for task in second if task.annotator == "good"]
    bad = [task for task in second if task.annotator == "bad"]
    for tasks, accuracy in ((good, 0.95), (bad, 0.5)):
        rows, _ = people.votes(tasks, simulate(tasks, truth, accuracy=accuracy))
        store.append("votes", f"people-{tasks[0].annotator}", "0", rows, iteration=1)
    tables = people_quality.tables(people_quality.votes(store))
    by_name = {row["annotator"]: row for row in tables["People"]}
    for row in by_name.values():
        assert row["right"] is None or row["low"] < row["right"] < row["high"] + 1e-9
    assert by_name["good"]["right"] > 0.85 and by_name["bad"]["right"] < 0.7
    assert by_name["bad"]["checks"] == sum(task.check for task in bad)
    assert by_name["bad"]["answers"] == len(bad)
    assert by_name["expert"]["checks"] == 0 and by_name["expert"]["right"] is None
    measured = people_quality.votes(store)
    assert set(people_quality.suspended(measured, 0.75, 10)) == {"bad"}
    assert people_quality.suspended(measured, 0.75, 1000) == {}
    assert people_quality.suspended(measured, None, 10) == {}
    (overlap,) = tables["People who answered the same pair"]
    assert overlap["items"] > 200 and 0.5 < overlap["agreement"] < 1
