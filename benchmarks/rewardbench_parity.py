"""Our RewardBench rules against the `rewardbench` package's pure functions, on random tables full
of edges.

    python -m benchmarks.rewardbench_parity [--python INTERPRETER]

Tables have ties, NaN, missing subsets, single items, questions without their sibling, zero spreads.
Without --python the package is installed (without the model libraries it pins) into a virtual
environment of its own under runs/. Prints one JSON line last with `max_diff`.

Where the two mean the same and say it differently, the comparison translates: what has no example
is 0 there and absent here; a best-of-N item with NaN earns 0 there and is left out and counted
here. NaN in Ties is not compared: the package's result depends on the order of the answers then.
"""

import argparse
import json
import math
import pathlib
import subprocess
import sys
import tempfile
import venv
from typing import Any

import numpy as np

from rewardjax.evaluators.benchmarks import rewardbench, rewardbench2
from rewardjax.evaluators.records import Item

PACKAGE = "rewardbench==0.1.4"
NEEDS = ("datasets>=3", "pandas", "numpy", "huggingface_hub")
SUBSETS = list(rewardbench.EXPECTED)


def random_tables(rng: np.random.Generator, count: int) -> dict[str, list[Any]]:
    """`count` tables for each function: coarse scores, so that ties are frequent."""
    tables: dict[str, list[Any]] = {"sections": [], "pairs": [], "best": [], "ties": []}
    for _ in range(count):
        present = [subset for subset in SUBSETS if rng.random() < rng.choice([0.1, 0.6, 1.0])]
        draw = lambda: float("nan") if rng.random() < 0.02 else float(rng.random())
        tables["sections"].append({subset: draw() for subset in present})
        scores = lambda *shape: rng.integers(-2, 3, shape).astype(float)
        tables["pairs"].append(
            {subset: scores(rng.choice([1, 2, 30]), 2).tolist() for subset in present}
        )
        groups = [scores(rng.integers(1, 6)) for _ in range(rng.integers(1, 20))]
        for group in groups:
            group[rng.random(len(group)) < 0.02] = np.nan
        tables["best"].append([group.tolist() for group in groups])
        tables["ties"].append(random_questions(rng))
    return tables


def random_questions(rng: np.random.Generator) -> list[dict[str, Any]]:
    """A Ties subset:

    1 to 8 numbers, each with ref, tied or both; sometimes a tied one with a single right answer or
    without spread.
    """
    questions = []
    for number in range(rng.integers(1, 9)):
        for kind in ("ref", "tied"):
            if rng.random() < 0.1:
                continue
            right = 1 if kind == "ref" else int(rng.integers(1, 6))
            scores = np.round(rng.normal(size=right + rng.integers(1, 6)), int(rng.integers(0, 4)))
            scores[:right] += rng.choice([0, 2, 5])
            if rng.random() < 0.15:
                scores[:right] = scores[0]
            questions.append(
                {"id": f"{kind}:{number}", "scores": scores.tolist(), "num_correct": right}
            )
    return questions or [{"id": "ref:0", "scores": [1.0, 0.0], "num_correct": 1}]


def ours(tables: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """The same tables by our rules, in the package's words."""
    zero_where_absent = lambda found: {
        section: found.get(section, 0.0) for section in rewardbench.WEIGHTS
    }
    results: dict[str, list[Any]] = {"sections": [], "pairs": [], "best": [], "ties": []}
    for metrics in tables["sections"]:
        results["sections"].append(zero_where_absent(rewardbench.section_scores(metrics)))
    for table in tables["pairs"]:
        items = [
            Item(f"{subset}/{i}", subset, {})
            for subset, pairs in table.items()
            for i in range(len(pairs))
        ]
        result = rewardbench.summarize(
            items, [np.array(pair) for pairs in table.values() for pair in pairs]
        )
        results["pairs"].append(
            zero_where_absent(
                {name: part.value for name, part in result.parts.items() if part.value is not None}
            )
        )
    for groups in tables["best"]:
        results["best"].append(
            np.nan_to_num(
                [rewardbench2.best_credit(group)[0] for group in groups], nan=0.0
            ).tolist()
        )
    for questions in tables["ties"]:
        results["ties"].append(ties(questions))
    return results


def ties(questions: list[dict[str, Any]]) -> float:
    """The Ties score as the package defines it at the edges:

    no question is 0, numbers without any spread are NaN.
    """
    split = [q["id"].split(":") for q in questions]
    found = [
        rewardbench2.Question(kind, number, q["num_correct"], np.array(q["scores"]))
        for (kind, number), q in zip(split, questions, strict=True)
    ]
    terms = rewardbench2.ties_score(found, zero_spread="skip")
    both = {number for kind, number in split if kind == "ref"} & {
        number for kind, number in split if kind == "tied"
    }
    absent = [name for name in ("ref", "tied") if np.isnan(terms[name])] + (
        [] if both else ["pref", "hard", "margin"]
    )
    return sum(
        weight * (0.0 if name in absent else terms[name])
        for name, weight in rewardbench2.TIES_WEIGHTS.items()
    )


def difference(a: Any, b: Any) -> float:
    """The largest difference of numbers in two equal structures;

    NaN equals NaN, anything else unlike is infinite.
    """
    if isinstance(a, dict):
        return (
            max((difference(a[key], b[key]) for key in a), default=0.0)
            if a.keys() == b.keys()
            else math.inf
        )
    if isinstance(a, list):
        return max(map(difference, a, b), default=0.0) if len(a) == len(b) else math.inf
    return (
        0.0
        if math.isnan(a) and math.isnan(b)
        else math.inf
        if math.isnan(a) or math.isnan(b)
        else abs(a - b)
    )


def interpreter(folder: pathlib.Path) -> str:
    """A Python that has the package, in a virtual environment made once."""
    python = folder / "bin" / "python"
    if not (folder / "ready").exists():
        venv.create(folder, with_pip=True, clear=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *NEEDS], check=True)
        subprocess.run([*pip, "--no-deps", PACKAGE], check=True)
        (folder / "ready").touch()
    return str(python)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.rewardbench_parity",
        description="Our rules against the package's.",
    )
    parser.add_argument(
        "--python", help="an interpreter that has the rewardbench package, datasets and pandas"
    )
    parser.add_argument(
        "--venv",
        type=pathlib.Path,
        default=pathlib.Path("runs/rewardbench-venv"),
        help="where to install it otherwise",
    )
    parser.add_argument("--tables", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    tables = random_tables(np.random.default_rng(args.seed), args.tables)
    with tempfile.TemporaryDirectory() as folder:
        given, answered = pathlib.Path(folder, "tables.json"), pathlib.Path(folder, "results.json")
        given.write_text(json.dumps(tables))
        peer = pathlib.Path(__file__).with_name("rewardbench_peer.py")
        subprocess.run(
            [args.python or interpreter(args.venv), str(peer), str(given), str(answered)],
            check=True,
            stdout=sys.stderr,
        )
        theirs = json.loads(answered.read_text())
    found = ours(tables)
    differences = {name: difference(found[name], theirs[name]) for name in found}
    compared = {name: len(rows) for name, rows in found.items()}
    print(
        json.dumps(
            {
                "rewardbench": theirs["version"],
                "tables": compared,
                **differences,
                "max_diff": max(differences.values()),
            }
        )
    )


if __name__ == "__main__":
    main()
