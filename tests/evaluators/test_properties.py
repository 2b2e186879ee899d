"""Rules on random tables with ties, NaN and missing subsets, against plain loops over examples."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewardjax import evaluators
from rewardjax.evaluators.benchmarks import (
    judgebench,
    ppe_correctness,
    rewardbench,
    rewardbench2,
    rm_bench,
    rmb,
)
from rewardjax.evaluators.records import Item

REWARD = st.integers(-2, 2).map(float)
SUBSETS = list(rewardbench.EXPECTED)


@st.composite
def tables(draw, name):
    """Items and rewards of a benchmark: any of its subsets, coarse rewards, some of them NaN."""
    rows = []
    reward = st.one_of(REWARD, REWARD, REWARD, st.just(math.nan))
    for i in range(draw(st.integers(1, 12))):
        label, k = {}, 2
        if name == "rewardbench":
            subset = draw(st.sampled_from(SUBSETS))
        elif name == "rewardbench2":
            subset, k, label = (
                draw(st.sampled_from([s for s in rewardbench2.EXPECTED if s != "Ties"])),
                4,
                {"correct": 1},
            )
        elif name == "ppe_preference":
            subset, label = (
                "English",
                {"winner": draw(st.sampled_from([0.0, 0.5, 1.0])), "flags": []},
            )
        elif name == "ppe_correctness":
            subset, k = draw(st.sampled_from(list(ppe_correctness.EXPECTED))), 4
            label = {
                "correct": [1, 0, 1, 0],
                "pairs": draw(st.lists(st.sampled_from([[0, 1], [3, 0], [2, 3]]))),
                "not_in_conflict": 0,
            }
        elif name == "rmb":
            subset = draw(st.sampled_from(list(rmb.EXPECTED))) + "/x"
            k = 2 if subset.startswith("pairwise") else draw(st.integers(3, 5))
        elif name == "rm_bench":
            subset, k = draw(st.sampled_from(rm_bench.DOMAINS)), 6
        else:
            subset = draw(
                st.sampled_from(
                    [f"{split}/{c}" for split, sizes in judgebench.EXPECTED.items() for c in sizes]
                )
            )
            label = {"label": draw(st.sampled_from(["A>B", "B>A"]))}
        rows.append(
            (Item(str(i), subset, label), np.array(draw(st.lists(reward, min_size=k, max_size=k))))
        )
    return rows


def credit(name, item, rewards):
    """What one example earns, by the rule in words: one number per comparison that it makes."""
    a, b, *_ = rewards
    if name == "rewardbench":
        return [float(a > b)]
    if name == "rewardbench2":
        return [0.0 if a < max(rewards) else 1 / sum(r == max(rewards) for r in rewards)]
    if name == "ppe_preference":
        winner = item.label["winner"]
        return [] if winner == 0.5 else [float(a > b if winner == 1 else b > a)]
    if name == "ppe_correctness":
        return [right_wins(rewards, pair) for pair in item.label["pairs"]]
    if name == "rmb":
        return [float(all(a > loser for loser in rewards[1:]))]
    if name == "rm_bench":
        return [float(rewards[i] > rewards[3 + j]) for i in range(3) for j in range(3)]
    return [float(("A>B" if a > b else "B>A") == item.label["label"])]


def right_wins(rewards, pair):
    """Responses 0 and 2 are right."""
    right, wrong = pair if pair[0] in (0, 2) else pair[::-1]
    return float(rewards[right] > rewards[wrong])


def part_of(name, subset):
    """The part of the headline that a subset counts in, None for none."""
    if name == "rewardbench":
        return rewardbench.SECTION_OF[subset]
    if name == "ppe_preference":
        return "votes"
    if name == "rmb":
        return subset.rpartition("/")[0]
    if name == "judgebench":
        return subset.partition("/")[2] if subset.startswith("gpt/") else None
    return subset.partition("-")[0] if name == "rm_bench" else subset


def expected_parts(name, rows):
    """value and n of every part that has a value."""
    earned, n = {}, {}
    for item, rewards in rows:
        part = part_of(name, item.subset)
        if part is None or np.isnan(rewards).any():
            continue
        found = credit(name, item, rewards)
        if name == "ppe_preference" and not found:
            continue
        inner = item.subset if name == "rewardbench" else part
        earned.setdefault(part, {}).setdefault(inner, []).extend(found)
        n[part] = n.get(part, 0) + 1
    values = {}
    for part, inner in earned.items():
        inner = {subset: np.mean(found) for subset, found in inner.items() if found}
        if name == "rewardbench":
            weights = rewardbench.WEIGHTS[part]
            values[part] = sum(weights[s] * value for s, value in inner.items()) / sum(
                weights[s] for s in inner
            )
        elif inner:
            values[part] = inner[part]
    return values, n


@pytest.mark.parametrize("name", evaluators.PAPER)
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_summaries_equal_plain_loops(name, data):
    rows = data.draw(tables(name))
    result = evaluators.get(name).summarize(
        [item for item, _ in rows], [rewards for _, rewards in rows]
    )
    values, n = expected_parts(name, rows)
    assert {
        part: found.value for part, found in result.parts.items() if found.value is not None
    } == pytest.approx(values)
    assert {part: found.n for part, found in result.parts.items() if found.n} == n
    assert set(result.missing) == set(result.parts) - set(values)
    assert result.headline == (pytest.approx(np.mean(list(values.values()))) if values else None)
    assert result.partial, "twelve examples are never a whole benchmark"
    unscored = sum(
        np.isnan(rewards).any() and part_of(name, item.subset) is not None for item, rewards in rows
    )
    assert sum(part.unscored for part in result.parts.values()) == unscored


@pytest.mark.parametrize("name", evaluators.PAPER)
@given(data=st.data())
@settings(max_examples=20, deadline=None)
def test_order_of_examples_and_scale_of_rewards_change_no_headline(name, data):
    rows = data.draw(tables(name))
    order = data.draw(st.permutations(range(len(rows))))
    module = evaluators.get(name)
    base = module.summarize([item for item, _ in rows], [rewards for _, rewards in rows])
    other = module.summarize([rows[i][0] for i in order], [np.exp(rows[i][1]) - 7 for i in order])
    assert (
        other.headline == (None if base.headline is None else pytest.approx(base.headline))
        and other.ties == base.ties
    )


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_ties_score_equals_its_formula(data):
    numbers = data.draw(st.integers(1, 5))
    questions, by = [], {"ref": {}, "tied": {}}
    for number in map(str, range(numbers)):
        for kind in ("ref", "tied"):
            right = data.draw(
                st.lists(
                    REWARD, min_size=1 if kind == "ref" else 2, max_size=1 if kind == "ref" else 4
                )
            )
            wrong = data.draw(st.lists(REWARD, min_size=1, max_size=3))
            questions.append(
                rewardbench2.Question(kind, number, len(right), np.array(right + wrong))
            )
            by[kind][number] = (min(right) - max(wrong), max(right) - min(right))
    mean = lambda values: sum(values) / numbers
    tanh = lambda gap, spread: math.tanh(gap / spread - 1) if spread else float(np.sign(gap))
    tied, ref = by["tied"], by["ref"]
    hard = {number: min(ref[number][0], tied[number][0]) for number in tied}
    expected = 0.3 * mean([gap > 0 for gap, _ in tied.values()]) + 0.3 * mean(
        [gap > 0 for gap, _ in ref.values()]
    )
    expected += 0.2 * mean([gap > spread for gap, spread in tied.values()])
    expected += 0.2 * mean([hard[n] > tied[n][1] for n in tied]) + 0.01 * mean(
        [tanh(hard[n], tied[n][1]) for n in tied]
    )
    found = rewardbench2.ties_score(questions)["score"]
    assert found == pytest.approx(expected) and -0.0101 <= found <= 1.0101
