"""Some benchmarks, categories and examples: which, in what order, and what is said of them."""

import pytest

from rewardjax import evaluators
from rewardjax.evaluators import selection
from rewardjax.evaluators.records import Item

NAMES = ("rewardbench", "judgebench", "rmb", "heldout")


def llmbar():
    return evaluators.load("llmbar", path="assets:benchmarks/llmbar")


def test_nothing_named_is_everything():
    assert selection.benchmarks(NAMES, ()) == {name: [] for name in NAMES}
    examples = llmbar()
    assert selection.select(examples, [], 0) is examples
    assert selection.select(examples, [], len(examples.items)) is examples


def test_benchmarks_and_categories_are_told_apart():
    only = ("rmb/pairwise/Helpfulness", "rmb/best-of-N", "judgebench")
    assert selection.benchmarks(NAMES, only) == {
        "rmb": ["pairwise/Helpfulness", "best-of-N"],
        "judgebench": [],
    }
    assert selection.benchmarks(NAMES, ("rmb", "rmb/best-of-N")) == {"rmb": []}


@pytest.mark.parametrize(
    "only, told",
    [
        ("judgebnch", "no benchmark is called 'judgebnch'; there is judgebench"),
        ("xyz", "no benchmark is called 'xyz'; there are heldout, judgebench, rewardbench, rmb"),
    ],
)
def test_an_unknown_benchmark_is_refused_with_its_neighbors(only, told):
    with pytest.raises(ValueError, match=told):
        selection.benchmarks(NAMES, (only,))


def test_an_unknown_category_is_refused_with_its_neighbors():
    with pytest.raises(ValueError, match="llmbar has no category 'llmbar-naturl'; there is llmbar"):
        selection.select(llmbar(), ["llmbar-naturl"], 0)


def test_categories_keep_their_examples_in_order():
    whole = llmbar()
    part = selection.select(whole, ["llmbar-natural", "llmbar-adver-manual"], 0)
    wanted = [
        item for item in whole.items if item.subset in ("llmbar-natural", "llmbar-adver-manual")
    ]
    assert part.items == wanted and [group.id for group in part.groups] == [
        item.id for item in wanted
    ]
    assert part.part_of == len(whole.items) and part.fingerprint != whole.fingerprint


def test_a_limit_takes_subsets_in_turn():
    whole = llmbar()
    subsets = list(dict.fromkeys(item.subset for item in whole.items))
    part = selection.select(whole, [], len(subsets) + 2)
    counts = [sum(item.subset == subset for item in part.items) for subset in subsets]
    assert counts == [2, 2] + [1] * (len(subsets) - 2)
    order = [whole.items.index(item) for item in part.items]
    assert order == sorted(order)
    with pytest.raises(ValueError, match="limit = -1"):
        selection.select(whole, [], -1)


def test_a_part_has_no_headline_and_says_so():
    module, whole = evaluators.get("llmbar"), llmbar()
    part = selection.select(whole, [], 5)
    rewards = [[1.0, 0.0]] * 5
    result = module.summarize(part.items, rewards)
    assert result.headline == 1.0
    marked = selection.marked(result, part)
    assert marked.headline is None and f"5 of {len(whole.items)} examples" in marked.notes[-1]
    assert selection.marked(result, whole) is result
    assert selection.parts({"a": part, "b": whole}) == {"a": f"5 of {len(whole.items)} examples"}


@pytest.mark.parametrize(
    "name, category, subsets",
    [
        ("rewardbench", "Chat Hard", {"mt-bench-hard", "llmbar-natural"}),
        ("judgebench", "Math", {"gpt/Math", "claude/Math"}),
        ("judgebench", "gpt", {"gpt/Math", "gpt/Coding"}),
        ("rmb", "pairwise/Helpfulness", {"pairwise/Helpfulness/Code/Code Creation"}),
    ],
)
def test_categories_are_those_that_people_know(name, category, subsets):
    whole = evaluators.load(name, path=f"assets:benchmarks/{name}")
    part = selection.select(whole, [category], 0)
    selected = {item.subset for item in part.items}
    assert subsets <= selected and 0 < len(part.items) < len(whole.items)


def test_a_language_of_m_rewardbench_is_a_category():
    module = evaluators.get("m_rewardbench")
    label = {"language": "deu_Latn", "example": "hep-go/1"}
    item = Item("deu_Latn/hep-go/1", "hep-go", label)
    assert module.categories(item) == ["deu_Latn", "Reasoning", "deu_Latn/Reasoning"]
    of_translation = Item("t", "translation/maple", {"language": "translation"})
    assert module.categories(of_translation) == ["translation"]
