"""An evaluation as it lies in its output folder, with what follows from the stored scores."""

import dataclasses
import functools
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from rewardjax import evaluators
from rewardjax.evaluators import preferences, stored_rewards, uncertainty
from rewardjax.evaluators.records import Result
from rewardjax.evaluators.stored_rewards import Scores
from rewardjax.io import files

# Fields of the record that say how its numbers came about.
FACTS = ("path", "weights", "dtype", "max_length", "over_long", "seconds")


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """One output folder of `rewardjax.evaluate`: results and scores by the benchmark's config name.

    `record` is all of results.json, of which `results` is the typed part. `mistakes`: by benchmark,
    the rows of mistakes.jsonl.
    """

    name: str
    record: dict[str, Any]
    results: dict[str, Result]
    scores: dict[str, Scores]
    mistakes: Mapping[str, Sequence[Mapping[str, Any]]] = dataclasses.field(default_factory=dict)

    def title(self, benchmark: str) -> str:
        """The benchmark's own title, and the config's name for it where the two differ.

        One benchmark can stand in a config several times, on different files.
        """
        title = self.record["benchmarks"][benchmark]
        if benchmark == self.results[benchmark].name:
            return title
        return f"{title}: {benchmark}"

    @property
    def facts(self) -> dict[str, Any]:
        """How the numbers came about, with the score contract by its fingerprint."""
        facts = {name: self.record[name] for name in FACTS}
        facts["score contract"] = self.record["contract"]["fingerprint"]
        # Fields that are younger than some records.
        for name, part in self.record.get("selected", {}).items():
            facts[f"{name}, selected"] = part
        if self.record["over_long"] == "reference":
            for name, words in self.record["over_long_by_benchmark"].items():
                facts[f"{name}, over-long"] = words
        return facts

    # Both are used by several sections.

    @functools.cached_property
    def intervals(self) -> dict[str, dict[str, Any]]:
        """`uncertainty.of_result` of every benchmark, with "partial"."""
        by_benchmark = {}
        for name, result in self.results.items():
            intervals = self.record.get("intervals", {}).get(name, {})
            # An older evaluation kept none, or none of the parts.
            if "parts" not in intervals:
                module = evaluators.get(result.name)
                intervals = uncertainty.of_result(module, result, self.scores[name])
            by_benchmark[name] = intervals | {"partial": result.partial}
        return by_benchmark

    @functools.cached_property
    def pairs(self) -> dict[str, preferences.Pairs]:
        """Decided pairs of every benchmark that has some, by its title."""
        by_title = {}
        for name, scores in self.scores.items():
            pairs = preferences.pairs(scores)
            if len(pairs.better):
                by_title[self.title(name)] = pairs
        return by_title


def read(folder: str | pathlib.Path) -> Evaluation:
    """What `rewardjax.evaluate` left in `folder`.

    Raises FileNotFoundError that names the folder if there is no evaluation in it, and ValueError
    for an address in object storage, where no evaluation is written.
    """
    files.refuse_address(folder)
    folder = pathlib.Path(folder)
    file = folder / "results.json"
    if not file.exists():
        raise FileNotFoundError(
            f"{folder} has no results.json: give an output folder of rewardjax.evaluate "
            "(compare also takes training runs, with config.json and metrics.jsonl)"
        )
    record = json.loads(file.read_text(encoding="utf-8"))
    results = {name: Result.from_record(stored) for name, stored in record["results"].items()}
    scores = {name: stored_rewards.read(folder / "scores" / f"{name}.parquet") for name in results}
    return Evaluation(record["model"], record, results, scores, _mistakes(folder))


def _mistakes(folder: pathlib.Path) -> dict[str, list[dict[str, Any]]]:
    """Rows of mistakes.jsonl by benchmark; none where an older evaluation did not write them."""
    file = folder / "mistakes.jsonl"
    by_benchmark: dict[str, list[dict[str, Any]]] = {}
    if file.exists():
        for line in file.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            by_benchmark.setdefault(row["benchmark"], []).append(row)
    return by_benchmark
