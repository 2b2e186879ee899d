"""The preference world: the oracle is right, splits are apart, labels are as good as they claim.

Nothing leaks, and nothing drifts.
"""

import collections
import dataclasses
import itertools
import json
import re

import pytest

from rewardjax import fingerprint
from rewardjax.data import world
from rewardjax.data.world import corpus, labels, style
from rewardjax.data.world.draw import Draw
from rewardjax.data.world.pairs import Problem, pair, problem, respond, split_of
from rewardjax.data.world.tasks import TASKS

NUM = 1500


@pytest.fixture(scope="module")
def honest():
    return list(world.generate(3, NUM))


def undress(text):
    """The bare answer inside a dressed response: the inverse of `style.dress`."""
    for phrase in style.OPENERS + style.HEDGES + style.FILLERS + style.CLOSERS:
        text = text.replace(phrase, "")
    text = text.replace("**", "").strip()
    frame = r"^(?:the answer is|answer:|result:)\s*"
    text = re.sub(frame, "", text, flags=re.IGNORECASE).strip().rstrip(".")
    lines = [line.strip().removeprefix("- ") for line in text.split("\n") if line.strip()]
    return ", ".join(lines)


def right_is_chosen(record):
    return record["chosen"][0]["content"] == world.oracle(record["id"])


@pytest.mark.parametrize("name", TASKS)
def test_right_is_right_and_wrong_is_wrong(name):
    task, wrongs = TASKS[name], set()
    for i in range(300):
        draw = Draw("test", name, i)
        state = task.make(draw)
        assert json.loads(json.dumps(state)) == state
        assert task.check(state, task.right(state, draw))
        for near in (True, False):
            wrong = task.wrong(state, draw, near)
            assert not task.check(state, wrong), (state, wrong)
            wrongs.add(wrong)
    assert len(wrongs) >= 5


@pytest.mark.parametrize(
    "name, state, right, wrong",
    [
        ("add", {"op": "-", "a": 41, "b": 17}, "24", "34"),
        ("next", {"terms": [40, 36, 32, 28]}, "28", "29"),
        ("order", {"names": ["Ada", "Bo", "Cy"], "word": "older", "place": 2}, "Cy", "Ada"),
        ("extreme", {"numbers": [31, 29, 92], "largest": False}, "29", "31"),
        ("count", {"word": "fig", "items": ["fig", "axe", "fig"]}, "2", "3"),
        ("reverse", {"letters": ["a", "b", "c"]}, "c-b-a", "a-b-c"),
        (
            "edit",
            {"words": ["fig", "axe", "saw"], "old": "axe", "new": None},
            "fig, saw",
            "fig, axe",
        ),
        (
            "edit",
            {"words": ["fig", "axe", "saw"], "old": "axe", "new": "red"},
            "fig, red, saw",
            "fig, saw, red",
        ),
        ("code", {"kind": "loop", "x": 3, "times": 4, "step": 2}, "11", "9"),
        ("code", {"kind": "branch", "x": 5, "limit": 5, "then": 11, "else": 60}, "60", "11"),
        (
            "plan",
            {"errands": ["gym", "lunch", "walk"], "told": [2, 0, 1]},
            "gym, lunch, walk",
            "walk, gym, lunch",
        ),
        (
            "brainstorm",
            {"kind": "tools", "n": 2, "not": ["axe", "saw"]},
            "drill, rake",
            "drill, saw",
        ),
        ("write", {"letter": "s", "n": 3, "with": ["six", "sun"]}, "sun sing six", "sun sing soft"),
        (
            "advice",
            {"goods": ["hat", "bag", "ring"], "weather": ["rain", "snow", "fog"], "now": 1},
            "bag",
            "hat",
        ),
    ],
)
def test_oracle_by_hand(name, state, right, wrong):
    assert TASKS[name].check(state, right) and not TASKS[name].check(state, wrong)


def test_dress_hides_nothing_and_style_is_independent_of_correctness():
    shown = {True: collections.Counter(), False: collections.Counter()}
    for i in range(2000):
        item = problem("train", 0, i, list(TASKS)[i % len(TASKS)])
        for correct in (True, False):
            response = respond(item, correct, Draw("style", i, correct), near=i % 2 == 0)
            assert undress(response.text) == response.answer
            assert item.task.check(item.state, response.answer) == correct == response.correct
            shown[correct].update(feature for feature in style.FEATURES if response.style[feature])
    for feature in style.FEATURES:  # 2000 draws each: a difference of 0.06 is five standard errors
        assert abs(shown[True][feature] - shown[False][feature]) < 0.06 * 2000


def test_splits_share_no_problem_and_follow_the_seed():
    prompts = {split: set() for split in world.SPLITS}
    for split in world.SPLITS:
        for seed in (0, 1):
            for record in world.generate(seed, NUM, split=split):
                prompts[split].add(record["prompt"][0]["content"])
    for first, second in itertools.combinations(world.SPLITS, 2):
        assert not prompts[first] & prompts[second]
    item = problem("heldout", 5, 7, "add")
    assert split_of("add", item.state) == "heldout" and world.problem_of(item.id) == item
    assert list(world.generate(1, 5)) != list(world.generate(2, 5))


def test_records_are_explicit_conversations_without_the_truth(honest):
    assert len({r["id"] for r in honest}) == NUM
    for record in honest:
        assert [m["role"] for m in record["prompt"] + record["chosen"] + record["rejected"]] == [
            "user",
            "assistant",
            "assistant",
        ]
        assert (
            record["chosen"] != record["rejected"]
            and record["category"] == TASKS[record["task"]].category
        )
        assert right_is_chosen(record)
    assert {r["task"] for r in honest} == set(TASKS) and len({r["category"] for r in honest}) >= 8
    noisy = list(world.generate(3, NUM, labels="random:1"))
    # A turned label changes the sides and nothing else: no field tells them apart.
    sides = ("chosen", "rejected", "style_chosen", "style_rejected", "label_source")
    for record, turned in zip(honest, noisy, strict=True):
        assert not right_is_chosen(turned)
        assert record["chosen"] == turned["rejected"]
        assert record["style_chosen"] == turned["style_rejected"]
        for field in record:
            assert field in sides or record[field] == turned[field]


def test_label_quality():
    accuracy = lambda spec: (
        sum(right_is_chosen(r) for r in world.generate(3, NUM, labels=spec)) / NUM
    )
    assert abs(accuracy("random:0.3") - 0.7) < 0.05
    biased = list(world.generate(3, NUM, labels="style:1"))
    for record in biased:  # never the plainer one; equally stylish ones are labeled honestly
        gap = len(record["style_chosen"]) - len(record["style_rejected"])
        assert gap > 0 or (gap == 0 and right_is_chosen(record))
    assert 0.5 < sum(map(right_is_chosen, biased)) / NUM < 0.65
    mixed = list(world.generate(3, NUM, labels="0.5*honest+0.3*random:0.4+0.2*style:1"))
    by_source = collections.Counter(r["label_source"] for r in mixed)
    assert (
        abs(by_source["honest"] / NUM - 0.5) < 0.06 and abs(by_source["style:1"] / NUM - 0.2) < 0.06
    )
    assert all(right_is_chosen(r) for r in mixed if r["label_source"] == "honest")


def test_a_source_knows_which_of_its_labels_are_right():
    spec = "world:heldout?num=60&seed=3&labels=random:0.3"
    right = [right_is_chosen(record) for record in world.open_world(spec)]
    assert world.open_world(spec).right_labels(range(60)) == right and 30 < sum(right) < 60
    # In whatever order, and more than once: a record may have several pairs.
    assert world.open_world(spec).right_labels([7, 7, 2]) == [right[7], right[7], right[2]]
    groups = world.open_world("world:heldout?num=2&responses=4&labels=random:0.3")
    assert groups.right_labels([0, 1]) == [True, True]


def test_more_noise_turns_the_same_pairs_and_more():
    turned = lambda p: {
        r["id"] for r in world.generate(3, 500, labels=f"random:{p}") if not right_is_chosen(r)
    }
    assert turned(0.1) < turned(0.3)


@pytest.mark.parametrize(
    "spec",
    [
        "best",
        "random",
        "random:x",
        "random:1.5",
        "honest:0.1",
        "0.5*honest",
        "0.5*honest+0.6*random:0.1",
        "x*honest",
        "",
    ],
)
def test_bad_labels_are_refused(spec):
    with pytest.raises(ValueError, match="labels="):
        labels.parse(spec)


def test_groups_hold_a_right_and_a_wrong_response():
    for group in world.open_world("world:heldout?num=50&responses=6&seed=4"):
        item = world.problem_of(group["id"])
        assert (
            len(group["responses"]) == len(group["correct"]) == 6 and 0 < sum(group["correct"]) < 6
        )
        for text, correct in zip(group["responses"], group["correct"], strict=True):
            assert item.task.check(item.state, undress(text)) == correct


def test_open_world_reads_the_specification():
    source = world.open_world(
        "world:train?num=40&labels=0.5*honest+0.5*style:0.4&seed=9&tasks=add+count"
    )
    records = list(source)
    assert (
        len(source) == len(records) == 40
        and records == list(source)
        and source.name.startswith("world:train")
    )
    assert {r["task"] for r in records} == {"add", "count"} and {
        r["label_source"] for r in records
    } == {"honest", "style:0.4"}
    assert (
        source.fingerprint()
        == world.open_world(
            "world:train?seed=9&num=40&tasks=add+count&labels=0.5*honest+0.5*style:0.4"
        ).fingerprint()
    )
    assert (
        source.fingerprint()
        != world.open_world(
            "world:train?num=40&labels=0.5*honest+0.5*style:0.4&seed=8&tasks=add+count"
        ).fingerprint()
    )
    assert len(world.open_world("world:heldout")) == 2000


@pytest.mark.parametrize(
    "spec, word",
    [
        ("train", "world:"),
        ("world:test", "test"),
        ("world:train?nums=4", "nums"),
        ("world:train?num=0", "num"),
        ("world:train?num=4&num=5", "num"),
        ("world:train?tasks=sing", "sing"),
        ("world:train?labels=bad", "bad"),
        ("world:train?num", "num"),
        ("world:train?responses=1", "responses"),
        ("world:train?seed=-1", "seed"),
    ],
)
def test_bad_specifications_name_the_part(spec, word):
    with pytest.raises(ValueError, match=word):
        world.open_world(spec)


def test_oracle_refuses_foreign_ids():
    for id in (
        "",
        "world-train-0-1",
        "world-test-0-1-add",
        "world-train-0-x-add",
        "world-train-0-1-sing",
    ):
        with pytest.raises(ValueError, match="not an id of the world"):
            world.oracle(id)


def test_the_text_never_drifts():
    """The shipped backbone and every logged result belong to this text.

    If it is changed on purpose, raise world.VERSION and pretrain again.
    """
    assert (
        world.VERSION,
        fingerprint.of_json(list(world.generate(0, 300, labels="0.5*honest+0.5*style:0.4"))),
    ) == (1, "01f051573a60af6c")
    conversations = []
    for turns in corpus.documents(0, 400):
        conversations.append([dataclasses.astuple(turn) for turn in turns])
    assert fingerprint.of_json(conversations) == "522902ed035bff9a"
    right, wrong, _ = pair(problem("train", 0, 0, "add"))
    assert right.correct and not wrong.correct


def test_the_corpus_teaches_verdicts_and_right_answers():
    wrong_answers = 0
    for turns in corpus.documents(0, 400):
        for turn in turns:
            if turn.correct is not None:
                assert turn.weight == turn.verdict == (1.0 if turn.correct else 0.1)
                wrong_answers += not turn.correct
            if turn.role == "user" and turn.content.startswith(("Right", "Wrong")):
                assert turn.verdict == corpus.VERDICT
    assert wrong_answers > 100


@pytest.mark.parametrize(
    "name, state, answer, right_so_far",
    [
        ("brainstorm", {"kind": "tools", "n": 2, "not": ["axe", "saw"]}, "drill, axe", "drill, "),
        ("brainstorm", {"kind": "tools", "n": 2, "not": ["axe", "saw"]}, "rake, rake", "rake, "),
        # Nothing is wrong until the third item.
        (
            "brainstorm",
            {"kind": "tools", "n": 2, "not": ["axe", "saw"]},
            "rake, drill, file",
            "rake, drill, ",
        ),
        # Too few: only the end can say.
        ("brainstorm", {"kind": "tools", "n": 2, "not": ["axe", "saw"]}, "rake", "rake"),
        ("write", {"letter": "s", "n": 3, "with": ["six", "sun"]}, "sun tea six", "sun "),
    ],
)
def test_where_a_wrong_answer_goes_wrong(name, state, answer, right_so_far):
    item = Problem("id", TASKS[name], state, "")
    assert corpus._right_so_far(item, f"Answer: {answer}.", answer) == f"Answer: {right_so_far}"
