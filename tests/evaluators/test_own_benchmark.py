"""A benchmark outside of this package: a file or a module, whatever it leaves out."""

import json

import numpy as np
import pytest

from rewardjax import evaluate, evaluators
from rewardjax.evaluators import benchmark as for_own
from rewardjax.evaluators import preferences, reading, records, rules, stored_rewards
from rewardjax.evaluators.benchmarks import Benchmark

MODULE = """
import dataclasses

import numpy as np

from rewardjax.data import sources
from rewardjax.evaluators import benchmark

TITLE = "Colors"


@dataclasses.dataclass
class Rule:
    chance: float = 0.25


def load(path):
    files = benchmark.files_in(path)
    rows = benchmark.numbered(sources.open_source(files[0]))
    return benchmark.collect("colors", rows, _read, files)


def _read(record):
    answers = [benchmark.text(record, name) for name in ("bad", "good")]
    prompt = benchmark.user(benchmark.text(record, "prompt"))
    return benchmark.example(record["id"], "all", {}, prompt, answers)


def summarize(items, rewards):
    pairs = np.array(rewards).reshape(-1, 2)
    part = benchmark.mean_part(*benchmark.strict_wins(pairs[:, 1], pairs[:, 0]))
    return benchmark.Result("any", part.value, "accuracy", Rule().chance, {"all": part})
"""
BETTER = "\n\ndef better(item, responses):\n    return [(1, 0)]\n"


@pytest.fixture
def own(tmp_path):
    """(benchmark, path): a module in a file and its data, the better response second."""
    file = tmp_path / f"{tmp_path.name}.py"
    file.write_text(MODULE)
    data = tmp_path / "data.jsonl"
    rows = [{"id": i, "prompt": f"p{i}", "good": "red", "bad": "loud"} for i in range(3)]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file, data


def scores_of(examples):
    """Scores in which the second response always wins by 1."""
    groups = examples.groups
    return stored_rewards.Scores(
        items=examples.items,
        rewards=[np.array([0.0, 1.0], np.float32) for _ in groups],
        tokens=[np.array([1, 2], np.int32) for _ in groups],
        characters=[np.array([3, 4], np.int32) for _ in groups],
        prompt_tokens=[1 for _ in groups],
        prompts=[group.id for group in groups],
        unscored=[],
        meta={"benchmark": examples.name},
    )


def test_a_file_is_a_benchmark_with_its_own_rule(own):
    file, data = own
    examples = evaluators.load(str(file), path=str(data))
    module = evaluators.get(str(file))
    assert isinstance(module, Benchmark)
    assert (module.TITLE, module.HUB, module.CHANCE) == ("Colors", None, None)
    result = evaluate.summarize(examples, scores_of(examples))
    assert (result.headline, result.chance) == (1.0, 0.25)
    assert evaluators.get(result.name) is evaluators.get(examples.name), "found again by its name"
    assert examples.name == str(file.resolve()), "from any working directory"


def test_without_better_its_pairs_are_left_out_and_with_it_they_have_its_sign(own):
    file, data = own
    examples = evaluators.load(str(file), path=str(data))
    assert len(preferences.pairs(scores_of(examples)).better) == 0
    other = file.with_name("with_better.py")
    other.write_text(MODULE + BETTER)
    decided = preferences.pairs(scores_of(evaluators.load(str(other), path=str(data))))
    assert (decided.better - decided.worse).tolist() == [1.0] * 3


def test_a_module_is_named_with_its_package():
    examples = evaluators.load(
        "rewardjax.evaluators.benchmarks.llmbar", path="assets:benchmarks/llmbar"
    )
    assert evaluators.get(examples.name) is evaluators.get("llmbar")


def test_what_is_not_a_benchmark_is_refused_in_a_sentence(tmp_path):
    (tmp_path / "empty.py").write_text("")
    with pytest.raises(ValueError, match="has no function load and no summarize"):
        evaluators.get(str(tmp_path / "empty.py"))
    with pytest.raises(ValueError, match="there is no such file"):
        evaluators.get(str(tmp_path / "nowhere.py"))
    with pytest.raises(ValueError, match=r"files \(DIR/NAME\.py\)"):
        evaluators.get("toybench")


def test_what_own_modules_import_is_what_ours_use():
    for name in for_own.__all__:
        homes = [module for module in (records, rules, reading) if hasattr(module, name)]
        assert homes and all(getattr(for_own, name) is getattr(home, name) for home in homes)
