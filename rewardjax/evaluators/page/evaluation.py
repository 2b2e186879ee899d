"""An evaluation as it lies in its output folder, with what follows from the stored scores, and numbers as the report writes them."""

import dataclasses
import functools
import json
import pathlib
from typing import Any

from rewardjax import evaluators
from rewardjax.evaluators import compare, preferences
from rewardjax.evaluators import stored_rewards as scores
from rewardjax.evaluators.records import Result
from rewardjax.evaluators.stored_rewards import Scores


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """One output folder of `rewardjax.evaluate`, read."""

    name: str
    record: dict[str, Any]
    results: dict[str, Result]
    scores: dict[str, Scores]

    def title(self, benchmark: str) -> str:
        """What a benchmark of the config is called: its title, with the config's name where that says more."""
        title = self.record["benchmarks"][benchmark]
        return title if benchmark == self.results[benchmark].name else f"{title}: {benchmark}"

    @functools.cached_property
    def intervals(self) -> dict[str, dict[str, Any]]:
        """`compare.headline` of every benchmark, with "partial"."""
        return {
            name: compare.headline(evaluators.get(result.name), self.scores[name])
            | {"partial": result.partial}
            for name, result in self.results.items()
        }

    @functools.cached_property
    def pairs(self) -> dict[str, preferences.Pairs]:
        """Decided pairs of every benchmark that has some, by its title."""
        found = {self.title(name): preferences.pairs(one) for name, one in self.scores.items()}
        return {title: one for title, one in found.items() if len(one.better)}


def read(folder: str | pathlib.Path) -> Evaluation:
    """What `rewardjax.evaluate` left in `folder`. Raises FileNotFoundError naming it where it left nothing."""
    folder = pathlib.Path(folder)
    if not (folder / "results.json").exists():
        raise FileNotFoundError(
            f"{folder} has no results.json: give an output folder of rewardjax.evaluate"
        )
    record = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    results = {name: Result.from_record(one) for name, one in record["results"].items()}
    return Evaluation(
        record["model"],
        record,
        results,
        {name: scores.read(folder / "scores" / f"{name}.parquet") for name in results},
    )


def percent(value: float | None, mark: str = "") -> str | None:
    """A share in percent with one digit, and a footnote's mark."""
    return None if value is None else f"{100 * value:.1f}{mark}"


def between(
    low: float | None, high: float | None, scale: float = 100, digits: int = 1
) -> str | None:
    """An interval, in percent unless another scale is given."""
    return (
        None
        if low is None or high is None
        else f"{scale * low:.{digits}f} to {scale * high:.{digits}f}"
    )


def signed(value: float | None) -> str | None:
    """A number with its sign and two digits."""
    return None if value is None else f"{value:+.2f}"
