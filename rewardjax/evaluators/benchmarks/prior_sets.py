"""The prior sets of RewardBench (arXiv 2403.13787): test sets of older preference data.

Sizes and rule are those of the repository allenai/reward-bench (test_data in its folder tests,
get_benchmark_results in analysis). A pair is right where chosen scores strictly higher; the
headline is the plain mean of the accuracies on the four sets that the leaderboard called "Prior
Sets (0.5 weight)": there it weighed half as much as a section of RewardBench
(`rewardbench.with_prior_sets`). Its other sets are reported beside them.
"""

import pathlib
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from rewardjax.data.groups import BadRecord, Group
from rewardjax.evaluators import finder, reading, rules
from rewardjax.evaluators.benchmarks import Truncation
from rewardjax.evaluators.records import Examples, Item, Part, Result, Rewards

TITLE = "RewardBench's prior sets"
HUB = "hf://allenai/preference-test-sets"
SOURCE = f"{HUB} (ODC-BY): data/SET-*.parquet"
CHANCE = 0.5
# run_rm of the repository allenai/reward-bench.
TRUNCATION = Truncation("left", 2048)

# Pairs by set, as published.
EXPECTED = {
    "anthropic_helpful": 6192,
    "anthropic_hhh": 221,
    "shp": 1741,
    "summarize": 9000,
    "anthropic_harmless": 2266,
    "mtbench_human": 3355,
    "mtbench_gpt4": 2400,
}
AVERAGED = ("anthropic_helpful", "anthropic_hhh", "shp", "summarize")
# In the files, and no longer part of the benchmark.
WITHDRAWN = ("pku_better", "pku_safer", "summarize_prompted")


# ------------------------------------------------------------------ the rule


def better(item: Item, responses: int) -> list[tuple[int, int]]:
    """The chosen response, which comes first, over the rejected one."""
    return rules.first_better(1, responses)


def summarize(items: Sequence[Item], rewards: Rewards) -> Result:
    """The four sets of the headline as parts, the others below."""
    accuracies: dict[str, Part] = {}
    for name, rows in rules.by_subset(items, rewards).items():
        table = np.array([pair for _, pair in rows])  # [N, 2]: chosen, rejected
        credit, ties = rules.strict_wins(table[:, 0], table[:, 1])
        accuracies[name] = rules.mean_part(credit, ties, EXPECTED[name])
    parts = {
        name: accuracies.pop(name, Part(None, 0, expected=EXPECTED[name])) for name in AVERAGED
    }
    return Result(
        "prior_sets",
        rules.average(part.value for part in parts.values()),
        "unweighted mean of 4 sets; on the leaderboard it weighed half a section of RewardBench",
        CHANCE,
        parts,
        accuracies,
    )


# ------------------------------------------------------------------ the files


LAYOUT = finder.Layout([("prompt", "chosen", "rejected")])


def load(path: str | pathlib.Path) -> Examples:
    """The hub's repository, a folder with some of its sets, or the file of one set.

    The set is that of the file's path. What a record calls its subset is a part of the set, which
    no number is of.
    """
    return finder.load("prior_sets", [path], LAYOUT, _read, _set_of)


def _set_of(unit: finder.Unit) -> dict[str, Any]:
    """The set that the end of a unit's path names."""
    for part in (*reversed(unit.place.parts), unit.source.files[0].parent.name):
        # Without the numbers of a shard: anthropic_hhh-00000-of-00001.parquet.
        name = re.split(r"[-.]", part)[0]
        if name in EXPECTED:
            return {"set": name}
        if name in WITHDRAWN:
            raise BadRecord("bad_schema", f"{name} is no longer part of the benchmark")
    raise BadRecord("bad_schema", f"is named after none of {', '.join(EXPECTED)}")


def _read(record: dict[str, Any]) -> tuple[Item, Group]:
    name = record["set"]
    return reading.example(
        # The records have no numbers of their own.
        f"{name}/{record['row']}",
        name,
        {},
        reading.conversation(record.get("prompt")),
        [reading.text(record, "chosen"), reading.text(record, "rejected")],
    )
