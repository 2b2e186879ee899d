"""The page that `make quickstart` ends with: noise in, who labeled what, accuracy out, and why.

A page of its own beside those of the runs and of each iteration, which it names.
"""

import contextlib
import itertools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rewardjax.curation.ledger.store import Store
from rewardjax.curation.overview import fates, money, samples, status, verdict
from rewardjax.curation.servers.paid_calls import CallLedger
from rewardjax.reporting import page, run_record
from rewardjax.reporting.page import Row, Section
from rewardjax.stats.intervals import paired_difference, wilson
from rewardjax.stats.tests import mcnemar

NAME = "quickstart.html"
# What the same model reaches on 12,000 to 24,000 pairs whose labels are all honest, by
# docs/log.md (2026-11-21, training on honest pairs): a measurement of its own, not of this run.
HONEST = "0.886 to 0.894"
FLIPS = 5  # pairs that are shown with the reason for which their label was turned
_WHO = {
    "original": "labels that came with the pairs",
    "human": "people, who are simulated",
    "check": "people, asked to check a label again",
    "judge": "judges, which are scripted",
    "panel": "the judges' majority",
}


def write(
    output: pathlib.Path,
    labels: Sequence[Row],
    arms: Mapping[str, str],
    correct: Mapping[str, np.ndarray],
    categories: Sequence[str],
    seconds: float,
) -> pathlib.Path:
    """Write the story of the quickstart in `output`; returns the path of the page.

    Args:
        output: the quickstart's folder, with its curation and its plot of the data sets.
        labels: how good the labels of each pool were, as they came.
        arms: what is in each data set; the first is of labels as they came.
        correct: data set -> whether the model that was trained on it prefers the right response,
            bool [N], on the same held-out pairs.
        categories: of the held-out pairs, text [N].
        seconds: that everything took.
    """
    curation = output / "curation"
    store = Store(curation / "store")
    with contextlib.closing(CallLedger(curation / "calls.sqlite")) as calls:
        config = status.config_of(curation)
        costs = money.table(store, calls, config)
        spent = money.money(store, calls, config)
    ways = fates.courses(store)
    flipped = samples.flipped(store, FLIPS)
    parts = [
        Section(
            "In short",
            text=[headline(correct), *verdict.sentences(store, ways, spent)],
            figures={"What became of the pairs": max(_flows(curation), key=_written)},
        ),
        Section(
            "The labels as they came",
            text=["The world has an oracle, which says which response is right."],
            tables={"": labels},
        ),
        Section(
            "Who labeled what",
            tables={
                "Answers": voters(store),
                "What their answers cost, descriptions of the pairs included": costs,
            },
        ),
        Section(
            "What the labels are worth",
            text=[
                f"Each model saw the same {len(categories):,} held-out pairs, which the oracle "
                f"labeled. Beside them: the same model on honest labels alone, and more of them, "
                f"reached {HONEST} (measured once, docs/log.md, 2026-11-21)."
            ],
            figures={"Held-out accuracy by training data": output / "plots" / "curation.png"},
            tables={
                "Accuracy": accuracies(arms, correct),
                "Differences on the same pairs": differences(correct),
                "By category, the last model": by_category(list(correct.values())[-1], categories),
            },
        ),
        Section("Labels that were turned, and why", tables={"": flipped}),
        Section("Where everything is", links=_places(output)),
    ]
    facts = {"pairs": sum(way.pairs for way in ways), "seconds": seconds}
    path = output / NAME
    page.write_report(
        path, "From noisy labels to a reward model", facts | run_record.git_state(), parts=parts
    )
    return path


def headline(correct: Mapping[str, np.ndarray]) -> str:
    """What curation changed, in a sentence with intervals."""
    (before, first), *_, (after, last) = correct.items()
    return (
        f"Trained on what curation made of the labels ({after}) the model prefers the right "
        f"response in {_share(last)} of {len(last):,} held-out pairs; trained on the labels as "
        f"they came ({before}), in {_share(first)}."
    )


def _share(right: np.ndarray) -> str:
    low, high = wilson(int(right.sum()), len(right))
    return f"{right.mean():.1%} ({100 * low:.1f} to {100 * high:.1f})"


def accuracies(arms: Mapping[str, str], correct: Mapping[str, np.ndarray]) -> list[Row]:
    """A row for each data set."""
    rows = []
    for name, right in correct.items():
        rows.append({"trained on": name} | _accuracy(right) | {"which is": arms[name]})
    return rows


def differences(correct: Mapping[str, np.ndarray]) -> list[Row]:
    """A row for each two data sets: what the second gains, on the same pairs."""
    rows = []
    for first, second in itertools.combinations(correct, 2):
        test = mcnemar(correct[second], correct[first])
        gained, lost = test["first_only"], test["second_only"]
        total = len(correct[first])
        low, high = paired_difference(gained, lost, total)
        rows.append(
            {
                "from": first,
                "to": second,
                "difference": f"{(gained - lost) / total:+.3f}",
                "95% interval": f"{low:+.3f} to {high:+.3f}",
                "only the first right": lost,
                "only the second right": gained,
                "p (McNemar)": f"{test['p']:.2g}",
            }
        )
    return rows


def by_category(right: np.ndarray, categories: Sequence[str]) -> list[Row]:
    """A row for each category, the best first."""
    names = np.asarray(categories)
    of_category = {name: right[names == name] for name in sorted(set(categories))}
    rows = []
    for name, of_it in sorted(of_category.items(), key=lambda each: -each[1].mean()):
        rows.append({"category": name, "pairs": len(of_it)} | _accuracy(of_it))
    return rows


def _accuracy(right: np.ndarray) -> dict[str, str]:
    low, high = wilson(int(right.sum()), len(right))
    return {"accuracy": f"{right.mean():.3f}", "95% interval": f"{low:.3f} to {high:.3f}"}


def voters(store: Store) -> list[dict[str, Any]]:
    """A row for each kind of voter: answers, and pairs that they are about."""
    rows = store.query("""
        select kind, count(*) as answers, count(distinct pair_id) as pairs
        from votes group by kind order by answers desc""").to_pylist()
    return [{"who": _WHO.get(kind := row.pop("kind"), kind)} | row for row in rows]


def _flows(curation: pathlib.Path) -> list[pathlib.Path]:
    return list((curation / "reports").glob("flows-*.png"))


def _written(path: pathlib.Path) -> int:
    # Each iteration leaves one; the last one knows what became of all pairs.
    return path.stat().st_mtime_ns


def _places(output: pathlib.Path) -> dict[str, str]:
    """Path in `output` -> what it is."""
    places = {
        "report.html": "the last model's run: curves, calibration, hardest pairs",
        "original/report.html": "the run on labels as they came",
        "filtered/report.html": "the run on confirmed labels",
    }
    for path in sorted((output / "curation" / "reports").glob("*.html"), key=_written):
        places[str(path.relative_to(output))] = f"curation, {path.stem.replace('-', ' ')}"
    return places | {
        "curation/data": "the data sets that came out",
        "hf": "the Hugging Face folder of the last model",
    }
