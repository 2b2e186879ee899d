"""An evaluation as it lies in its output folder, with what follows from the stored scores."""

import dataclasses
import functools
import json
import pathlib
from typing import Any

from rewardjax import evaluators
from rewardjax.evaluators import compare, preferences, stored_rewards
from rewardjax.evaluators.records import Result
from rewardjax.evaluators.stored_rewards import Scores


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """One output folder of `rewardjax.evaluate`: results and scores by the benchmark's config name.

    `record` is all of results.json, of which `results` is the typed part.
    """

    name: str
    record: dict[str, Any]
    results: dict[str, Result]
    scores: dict[str, Scores]

    def title(self, benchmark: str) -> str:
        """The benchmark's own title, and the config's name for it where the two differ.

        One benchmark can stand in a config several times, on different files.
        """
        title = self.record["benchmarks"][benchmark]
        if benchmark == self.results[benchmark].name:
            return title
        return f"{title}: {benchmark}"

    # Both are used by several sections.

    @functools.cached_property
    def intervals(self) -> dict[str, dict[str, Any]]:
        """`compare.headline` of every benchmark, with "partial"."""
        intervals = {}
        for name, result in self.results.items():
            headline = self.record.get("intervals", {}).get(name)
            # An older evaluation kept none.
            if headline is None:
                headline = compare.headline(evaluators.get(result.name), self.scores[name])
            intervals[name] = headline | {"partial": result.partial}
        return intervals

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

    Raises FileNotFoundError that names the folder if there is no evaluation in it.
    """
    folder = pathlib.Path(folder)
    file = folder / "results.json"
    if not file.exists():
        raise FileNotFoundError(
            f"{folder} has no results.json: give an output folder of rewardjax.evaluate"
        )
    record = json.loads(file.read_text(encoding="utf-8"))
    results = {name: Result.from_record(stored) for name, stored in record["results"].items()}
    scores = {name: stored_rewards.read(folder / "scores" / f"{name}.parquet") for name in results}
    return Evaluation(record["model"], record, results, scores)
