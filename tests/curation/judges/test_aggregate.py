import random

import numpy as np
import pytest
from judging import accuracy

from rewardjax.curation.judges import aggregate
from rewardjax.curation.judges.aggregate import (
    consistency,
    dawid_skene,
    reliability,
    self_consistent,
    shares,
)


def votes(pair: str, voter: str, *said: str) -> list[dict]:
    """ "ab:a" is value a, shown in order ab."""
    return [
        {"pair_id": pair, "voter": voter, "shown": one.split(":")[0], "value": one.split(":")[1]}
        for one in said
    ]


def simulated(pairs: int, judges: dict[str, tuple[float, float]], samples: int = 2, seed: int = 0):
    """Votes of judges (accuracy, position bias) and the truth; samples alternate in order."""
    random, rows = np.random.default_rng(seed), []
    right = {f"p{i}": "ab"[random.integers(2)] for i in range(pairs)}
    for pair, truth in right.items():
        for name, (correct, biased) in judges.items():
            for sample in range(samples):
                shown = ("ab", "ba")[sample % 2]
                said = (
                    shown[0]
                    if random.random() < biased
                    else truth
                    if random.random() < correct
                    else "ba"["ab".index(truth)]
                )
                rows += votes(pair, name, f"{shown}:{said}")
    return rows, right


def alone(rows, voter):
    return consistency([row for row in rows if row["voter"] == voter])


def test_orders_weigh_the_same_however_many_answers_could_be_read():
    assert shares(votes("p", "j", "ab:a", "ab:a", "ab:b", "ba:b")) == pytest.approx(
        {"a": 1 / 3, "b": 2 / 3, "tie": 0.0}
    )


def test_a_voter_says_what_most_of_its_votes_say_or_nothing():
    assert self_consistent(votes("p", "j", "ab:a", "ba:a", "ab:b", "ba:a")) == "a"
    assert self_consistent(votes("p", "j", "ab:a", "ba:b")) is None  # always the first
    assert self_consistent(votes("p", "j", "ab:tie", "ba:tie", "ab:a", "ba:tie")) == "tie"
    assert self_consistent(votes("p", "j", "ab:a", "ba:a", "ab:b", "ba:a"), threshold=0.8) is None


def test_pairs_of_which_the_same_was_said_are_merged_alike():
    rng = random.Random(0)
    by_pair = {}
    for place in range(300):
        rows = []
        for voter in ("x", "y"):
            said = []
            for _ in range(3):
                said.append(f"{rng.choice(('ab', 'ba'))}:{rng.choice(('a', 'b', 'tie'))}")
            rows += votes(f"p{place}", voter, *said)
        by_pair[f"p{place}"] = rows
    together = consistency([row for rows in by_pair.values() for row in rows])
    for pair_id, rows in by_pair.items():
        assert together[pair_id] == consistency(rows)[pair_id]


def test_across_judges_the_most_frequent_value_wins_and_the_inconsistent_abstain():
    rows = (
        votes("p", "x", "ab:a", "ba:a")
        + votes("p", "y", "ab:a", "ba:b")
        + votes("p", "z", "ab:b", "ba:a")
    )
    merged = consistency(rows)["p"]
    assert (merged.value, merged.confidence, merged.by_voter) == (
        "a",
        1.0,
        {"x": "a", "y": "inconsistent", "z": "inconsistent"},
    )
    assert consistency(rows + votes("p", "w", "ab:b", "ba:b"))["p"].value == "tie"
    assert consistency(votes("p", "y", "ab:a", "ba:b"))["p"] == aggregate.Merged(
        "tie", 0.0, {"y": "inconsistent"}
    )


@pytest.mark.parametrize("method", list(aggregate.METHODS))
def test_merging_beats_every_judge_and_survives_one_with_total_position_bias(method):
    judges = {"one": (0.8, 0.0), "two": (0.78, 0.0), "three": (0.75, 0.1), "four": (0.72, 0.0)}
    rows, right = simulated(400, judges | {"first": (0.9, 1.0)})
    (merged,) = aggregate.merge(lambda: [rows], method)
    best = max(accuracy(alone(rows, name), right) for name in judges)
    assert accuracy(alone(rows, "first"), right) == 0.5  # it never says anything
    assert accuracy(merged, right) > best + 0.03
    sound = [row for row in rows if row["voter"] != "first"]
    (without,) = aggregate.merge(lambda: [sound], method)
    assert sum(merged[pair].value != without[pair].value for pair in right) <= len(right) * 0.01


def test_learning_who_is_reliable_beats_counting_heads():
    judges = {"good": (0.95, 0.0)} | {f"bad{k}": (0.6, 0.0) for k in range(4)}
    rows, right = simulated(500, judges)
    assert accuracy(reliability(rows), right) > accuracy(consistency(rows), right) + 0.03


def test_dawid_skene_finds_the_confusion_that_made_the_votes():
    rows, right = simulated(
        3000, {"one": (0.9, 0.0), "two": (0.7, 0.3), "three": (0.8, 0.0), "first": (0.5, 1.0)}
    )
    found = dawid_skene(rows)
    confusion = dict(zip(found.voters, found.confusion, strict=True))
    np.testing.assert_allclose(confusion["one"][:, :2], [[0.9, 0.1], [0.1, 0.9]], atol=0.03)
    np.testing.assert_allclose(confusion["two"][:, :2], [[0.79, 0.21], [0.51, 0.49]], atol=0.04)
    np.testing.assert_allclose(confusion["first"][:, 0], [1, 1], atol=0.01)
    np.testing.assert_allclose(found.confusion.sum(-1), 1)


def test_its_posterior_is_bayes_rule_and_its_objective_never_falls():
    rows, _ = simulated(60, {"one": (0.8, 0.2), "two": (0.7, 0.0)}, samples=4)
    found = dawid_skene(rows, rounds=3000, tolerance=1e-12)
    assert np.all(np.diff(found.trace) > -1e-9)
    said = {}
    for row in rows:
        said.setdefault((row["pair_id"], row["voter"], row["shown"]), []).append(row["value"])
    odds = np.zeros(len(found.pairs))
    for (pair, voter, shown), values in said.items():
        value = self_consistent([{"shown": shown, "value": one} for one in values]) or "tie"
        place = 2 if value == "tie" else shown.index(value)
        confusion = found.confusion[found.voters.index(voter)]
        odds[found.pairs.index(pair)] += np.log(confusion[shown.index("a"), place]) - np.log(
            confusion[shown.index("b"), place]
        )
    np.testing.assert_allclose(found.probability, 1 / (1 + np.exp(-odds)), atol=1e-6)


def test_known_pairs_keep_their_answer_and_teach_who_to_trust():
    rows, right = simulated(
        300, {"wrong1": (0.2, 0.0), "wrong2": (0.25, 0.0), "good": (0.8, 0.0)}
    )  # the majority is wrong
    assert accuracy(reliability(rows), right) < 0.5
    known = dict(list(right.items())[:100])
    found = reliability(rows, known=known)
    assert all(found[pair].value == value for pair, value in known.items())
    rest = {pair: value for pair, value in right.items() if pair not in known}
    assert accuracy(found, rest) > 0.8


def test_a_family_that_errs_together_can_be_held_down():
    rows, right = simulated(300, {"x": (0.85, 0.0), "y": (0.85, 0.0), "clone": (0.7, 0.0)})
    clones = [
        row | {"voter": f"clone{k}"} for k in range(4) for row in rows if row["voter"] == "clone"
    ]
    rows = [row for row in rows if row["voter"] != "clone"] + clones
    names = [f"clone{k}" for k in range(4)]
    assert accuracy(reliability(rows, weights=dict.fromkeys(names, 0.25)), right) > accuracy(
        reliability(rows), right
    )


def test_bad_votes_are_named():
    with pytest.raises(ValueError, match="'c' of j about p"):
        consistency(votes("p", "j", "ab:c"))
    with pytest.raises(ValueError, match="no votes"):
        dawid_skene([])
    assert consistency([]) == {}


@pytest.mark.parametrize("method", list(aggregate.METHODS))
def test_in_how_many_parts_votes_are_read_does_not_show(method):
    rows, right = simulated(60, {"one": (0.8, 0.0), "two": (0.75, 0.2), "three": (0.7, 0.0)})
    (whole,) = aggregate.merge(lambda: [rows], method)

    def in_sevens():
        names = list(right)
        for start in range(0, len(names), 7):
            yield [row for row in rows if row["pair_id"] in names[start : start + 7]]

    in_parts = {}
    for merged in aggregate.merge(in_sevens, method):
        in_parts |= merged
    assert in_parts == whole and list(in_parts) == list(whole)
