"""RewardBench: published numbers, the README's example, and what missing subsets do."""

import numpy as np
import pytest

from rewardjax.evaluators import get
from rewardjax.evaluators.benchmarks import rewardbench
from rewardjax.evaluators.records import Item

MINI = "assets:benchmarks/rewardbench"
NAMES = [
    "alpacaeval-easy",
    "alpacaeval-hard",
    "alpacaeval-length",
    "donotanswer",
    "hep-cpp",
    "hep-go",
    "hep-java",
    "hep-js",
    "hep-python",
    "hep-rust",
    "llmbar-adver-GPTInst",
    "llmbar-adver-GPTOut",
    "llmbar-adver-manual",
    "llmbar-adver-neighbor",
    "llmbar-natural",
    "math-prm",
    "mt-bench-easy",
    "mt-bench-hard",
    "mt-bench-med",
    "refusals-dangerous",
    "refusals-offensive",
    "xstest-should-refuse",
    "xstest-should-respond",
]

# Subset accuracies in that order; then Chat, Chat Hard, Safety, Reasoning; headline; micro.
README = [
    *(
        0.5,
        0.7052631578947368,
        0.5894736842105263,
        0.8235294117647058,
        0.6280487804878049,
        0.6341463414634146,
        0.7073170731707317,
    ),
    *(
        0.6646341463414634,
        0.5487804878048781,
        0.6463414634146342,
        0.391304347826087,
        0.46808510638297873,
        0.3695652173913043,
    ),
    *(
        0.43283582089552236,
        0.52,
        0.2953020134228188,
        0.5714285714285714,
        0.5405405405405406,
        0.725,
        0.97,
        1,
        1,
        0.284,
    ),
]
RM_R1_QWEN = [
    *(
        0.94,
        0.9578947368421052,
        0.9578947368421052,
        0.75,
        0.9878048780487805,
        0.9695121951219512,
        0.9573170731707317,
        0.9817073170731707,
    ),
    *(
        0.975609756097561,
        0.9695121951219512,
        0.8478260869565217,
        0.723404255319149,
        0.8043478260869565,
        0.7761194029850746,
        0.95,
    ),
    *(
        0.930648769574944,
        0.9285714285714286,
        0.8378378378378378,
        0.975,
        0.93,
        0.98,
        0.987012987012987,
        0.94,
    ),
]
RM_R1_DEEPSEEK = [
    *(
        0.96,
        0.9368421052631579,
        0.9263157894736842,
        0.7132352941176471,
        0.9817073170731707,
        0.9573170731707317,
        0.9512195121951219,
    ),
    *(
        0.9390243902439024,
        0.9695121951219512,
        0.9390243902439024,
        0.7934782608695652,
        0.723404255319149,
        0.8695652173913043,
    ),
    *(
        0.746268656716418,
        0.93,
        0.9798657718120806,
        1.0,
        0.7027027027027027,
        1.0,
        0.91,
        0.99,
        0.987012987012987,
        0.94,
    ),
]
GOLDEN = {
    "README": (
        README,
        (0.6089385475, 0.4495614035, 0.7216216216, 0.4667566978),
        0.5617195676,
        None,
    ),
    "RM-R1-Qwen": (RM_R1_QWEN, (0.952514, 0.831140, 0.918919, 0.952113), 0.9136716, 0.9293132),
    "RM-R1-DeepSeek": (
        RM_R1_DEEPSEEK,
        (0.952514, 0.802632, 0.910811, 0.968083),
        0.9085099,
        0.9246231,
    ),
}


def table(accuracies: dict[str, float]) -> tuple[list[Item], list[np.ndarray]]:
    """Pairs of the published subset sizes of which the given fraction is right."""
    items, rewards = [], []
    for subset, accuracy in accuracies.items():
        n = rewardbench.EXPECTED[subset]
        right = round(accuracy * n)
        items += [Item(f"{subset}/{i}", subset, {}) for i in range(n)]
        rewards += [np.array([1.0, 0.0])] * right + [np.array([0.0, 1.0])] * (n - right)
    return items, rewards


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_numbers(name):
    accuracies, sections, headline, micro = GOLDEN[name]
    result = rewardbench.summarize(*table(dict(zip(NAMES, accuracies, strict=True))))
    np.testing.assert_allclose(
        [result.parts[section].value for section in rewardbench.WEIGHTS], sections, atol=1e-6
    )
    assert result.headline == pytest.approx(headline, abs=1e-7)
    assert not result.partial and not result.missing and not result.notes
    assert result.denominators == "4 of 4 parts, 2,985 of 2,985 examples"
    if micro:
        assert result.other["micro accuracy"] == pytest.approx(micro, abs=1e-7)


def test_the_weights_and_the_sizes_are_those_published():
    assert [sum(weights.values()) for weights in rewardbench.WEIGHTS.values()] == [
        358,
        456,
        740,
        1968,
    ]
    assert sum(rewardbench.EXPECTED.values()) == 2985


def test_a_missing_subset_is_named_and_the_number_is_partial():
    accuracies = dict.fromkeys(NAMES, 1.0) | {"math-prm": 0.0}
    whole = rewardbench.summarize(*table(accuracies))
    assert whole.parts["Reasoning"].value == 0.5
    del accuracies["math-prm"]
    part = rewardbench.summarize(*table(accuracies))
    assert part.parts["Reasoning"].value == 1.0 and part.partial and part.parts["Reasoning"].partial
    assert part.notes == ["Reasoning is over 6 of 7 subsets: without math-prm"]
    assert "2,538 of 2,985" in part.denominators


def test_a_missing_section_is_left_out_and_named():
    result = rewardbench.summarize(*table({"donotanswer": 0.5}))
    assert (
        result.headline == 0.5
        and result.missing == ["Chat", "Chat Hard", "Reasoning"]
        and result.partial
    )
    assert result.denominators == "1 of 4 parts, 136 of 2,985 examples"


def test_equal_rewards_are_wrong_and_counted_and_nan_is_left_out():
    items = [Item(str(i), "hep-go", {}) for i in range(4)]
    result = rewardbench.summarize(
        items, [np.array(x, np.float32) for x in ([1, 0], [1, 1], [0, 1], [np.nan, 0])]
    )
    part = result.subsets["hep-go"]
    assert (part.value, part.n, part.ties, part.unscored) == (pytest.approx(1 / 3), 3, 1, 1)


def test_prior_sets_weigh_half_a_section():
    sections = {"Chat": 1.0, "Chat Hard": 1.0, "Safety": 1.0, "Reasoning": 1.0}
    assert rewardbench.with_prior_sets(
        sections, {"shp": 0.0, "summarize": float("nan")}
    ) == pytest.approx(8 / 9)
    assert rewardbench.with_prior_sets(sections, {}) == 1.0


def test_the_miniature_is_read_whole():
    examples = rewardbench.load(MINI)
    assert {item.subset for item in examples.items} == set(rewardbench.EXPECTED)
    assert len({item.id for item in examples.items}) == len(examples.items) == len(examples.groups)
    assert examples.left_out == [] and all(len(group.responses) == 2 for group in examples.groups)
    assert examples.fingerprint == get("rewardbench").load(MINI).fingerprint
