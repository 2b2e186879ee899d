"""Every benchmark is whole: one module with all that the rest of the package asks for."""

import dataclasses
import pathlib

import numpy as np
import pytest

from rewardjax import evaluators
from rewardjax.evaluators import benchmarks
from rewardjax.evaluators.benchmarks import Evaluated, rm_bench
from rewardjax.evaluators.records import Item
from rewardjax.evaluators.stored_rewards import Scores


@pytest.mark.parametrize("name", evaluators.NAMES)
def test_a_benchmark_provides_everything_that_the_protocol_lists(name):
    module = evaluators.get(name)
    assert isinstance(module, benchmarks.Benchmark)
    assert module.TITLE and module.SOURCE
    assert module.HUB is None or module.HUB.startswith("hf://")
    empty = module.summarize([], [])
    assert empty.name == name and empty.headline is None and empty.chance == module.CHANCE


def test_an_unknown_benchmark_is_refused_with_the_names_there_are():
    with pytest.raises(ValueError, match="benchmark = 'os.nope' cannot be imported: No module"):
        evaluators.get("os.nope")
    with pytest.raises(ValueError, match="no benchmark is called 'rewardbnch'.*rmb"):
        evaluators.get("rewardbnch")


def test_the_evaluation_names_no_benchmark_outside_of_its_module():
    """Whoever adds one needs to write its name into the registry alone."""
    package = pathlib.Path(evaluators.__file__).parent
    elsewhere = []
    for path in [*package.rglob("*.py"), package.parent / "evaluate.py"]:
        source = path.read_text(encoding="utf-8")
        named = {name for name in evaluators.PUBLISHED if f'"{name}"' in source}
        # A module names itself in its records, and the registry all of them.
        if path != package / "__init__.py":
            elsewhere += [(path.name, name) for name in named - {path.stem}]
    assert elsewhere == []


def rm_bench_scores(rewards):
    """A model's rewards [N, 6] on N prompts of RM-Bench's chat domain."""
    items = [Item(f"chat/{i}", "chat", {}) for i in range(len(rewards))]
    lengths = [np.ones(6, np.int32)] * len(items)
    prompts = [item.id for item in items]
    meta = {"benchmark": "rm_bench", "data": "d"}
    return Scores(items, list(rewards), lengths, lengths, [1] * len(items), prompts, [], meta)


def test_a_benchmark_draws_its_own_section_from_stored_rewards(tmp_path):
    drawn = []

    def draw(name, function, *args):
        drawn.append(args)
        function(*args, path=tmp_path / f"{name}.png")
        return tmp_path / f"{name}.png"

    assert isinstance(rm_bench, benchmarks.HasSections)
    rewards = np.random.default_rng(0).normal([2, 1, 0, 2, 1, 0], 1, (40, 6))  # dislikes markdown
    scores = rm_bench_scores(rewards)
    result = rm_bench.summarize(scores.items, scores.rewards)
    [section] = rm_bench.sections([Evaluated("mine", "RM-Bench", result, scores)], draw)
    # Forty examples of 1,327: no published number stands beside them.
    [mine] = section.tables[""]
    assert mine["model"] == "mine" and "published" not in section.text[0]
    parts = {
        name: dataclasses.replace(part, expected=part.n)
        for name, part in result.parts.items()
        if part.n
    }
    whole = dataclasses.replace(result, parts=parts)
    [section] = rm_bench.sections([Evaluated("mine", "RM-Bench", whole, scores)], draw)
    mine, *published = section.tables[""]
    assert mine["model"] == "mine" and len(published) == len(rm_bench.PUBLISHED)
    assert mine["hard"] == f"{100 * result.other['hard']:.1f}"
    assert float(mine["hard"]) > float(mine["easy"]), "a model that dislikes markdown"
    [picture] = section.figures.values()
    assert picture.exists()
    accuracies, *_ = drawn[-1]
    for level, estimate in accuracies["mine"].items():
        assert estimate.value == result.other[level] and estimate.low < estimate.high
    unscored = rm_bench_scores(np.full((3, 6), np.nan))
    nothing = rm_bench.summarize(unscored.items, unscored.rewards)
    assert rm_bench.sections([Evaluated("mine", "RM-Bench", nothing, unscored)], draw) == []


def test_chance_levels_are_those_that_the_paper_s_table_prints():
    printed = [round(100 * evaluators.get(name).CHANCE, 1) for name in evaluators.PAPER]
    assert printed == [50.0, 20.8, 50.0, 50.0, 40.5, 50.0, 50.0]
