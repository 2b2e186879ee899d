"""The curation ablations on the embedded world: do the paper's figures 7 and 8 hold here?

    python -m experiments.curation_ablation [--workdir runs/ablation] [--seeds 3] [--only curves]

Runs the sweeps of configs/curation/ablation.py on the product's own loop (`experiments/arm.py`).
Reward models and finished trials are kept in the workdir, so a second call goes on where the first
one ended. Prints tables, draws plots, and says of each claim of the paper whether it holds here.
The last line is one JSON object; intervals are 95% t intervals over seeds (which draw the pairs,
the opinions and the order of training), on one held-out set.
"""

import argparse
import json
import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from experiments import arm, lab
from rewardjax import config as config_lib
from rewardjax import fingerprint
from rewardjax.parallel.mesh import make_mesh
from rewardjax.reporting import plots, text_table
from rewardjax.stats import intervals
from rewardjax.sweeps import trials as trials_lib

CONFIG = pathlib.Path(__file__).parents[1] / "configs/curation/ablation.py"
SWEEPS = ("curves", "protocol", "selection", "filters", "quantity")
# Sets of labels that models are trained on (`measures.label_sets`).
SETS = ("original", "filtered", "flipped")
# Of the JSON line: a curve, the label of it in the plot.
CURVES = {
    "original": "original labels",
    "filtered": "filtered",
    "flipped": "filtered + flipped",
    "no_human": "no people: filtered",
    "no_human_flipped": "no people: filtered + flipped",
}
VERDICTS = {True: "holds", False: "not shown", None: "unknown"}

# A trial and what it measured: {"overrides": ..., "stages": ...}, see `arm.run`.
Result = dict[str, Any]
# Mean, and the ends of its interval; None where there is no value.
Interval = tuple[float | None, float | None, float | None]


def main() -> None:
    """Run the sweeps; print and draw what they measured."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.curation_ablation",
        description="The ablations of the curation pipeline.",
    )
    parser.add_argument("--workdir", type=pathlib.Path, default=pathlib.Path("runs/ablation"))
    parser.add_argument("--seeds", type=int, default=3, help="how many of the config's seeds")
    parser.add_argument("--scale", type=float, default=1.0, help="of every number of pairs")
    parser.add_argument("--only", nargs="+", choices=SWEEPS, default=SWEEPS)
    args = parser.parse_args()
    figures = summary(run(args.workdir, args.only, args.seeds, args.scale))
    draw(figures, args.workdir)
    show(figures)
    about = {"benchmark": "curation_ablation", "seeds": args.seeds, "scale": args.scale}
    print(json.dumps({**about, **figures}))


def run(
    workdir: pathlib.Path, names: Sequence[str], seeds: int, scale: float
) -> dict[str, list[Result]]:
    """The results of the sweeps by name, from the workdir where they are there."""
    config = f"{CONFIG}:scale={scale}"
    chosen_seeds = config_lib.load_module(str(CONFIG)).SEEDS[:seeds]
    trials: dict[str, list[trials_lib.Trial]] = {}
    for name in names:
        planned = trials_lib.plan(config, name)
        trials[name] = [trial for trial in planned if trial.overrides["seed"] in chosen_seeds]
    results: dict[str, list[Result]] = {name: [] for name in names}
    with jax.set_mesh(make_mesh()), tqdm(total=sum(map(len, trials.values())), unit="trial") as bar:
        opened = lab.open_lab(workdir / "models", str(config_lib.load(config).backbone))
        for name, of_name in trials.items():
            for trial in of_name:
                bar.set_description(f"{name} {trial.id}")
                measured = result_of(opened, config, trial, workdir)
                results[name].append({"overrides": trial.overrides, **measured})
                bar.update()
    return results


def result_of(
    opened: lab.Lab, config: str, trial: trials_lib.Trial, workdir: pathlib.Path
) -> Result:
    """What a trial measured; it is run where the workdir does not have it for this backbone."""
    path = workdir / "trials" / f"{fingerprint.of_json([trial.id, opened.backbone])}.json"
    if not path.exists():
        settings = config_lib.load(config, trial.overrides)
        measured = arm.run(opened, settings, workdir / "workspaces" / path.stem)
        path.parent.mkdir(parents=True, exist_ok=True)
        config_lib.write_json(path, measured)
    # Also what was just measured: a first and a second call give the very same values.
    return json.loads(path.read_text())


# ------------------------------------------------------------------ figures over seeds


def interval(measured: Iterable[float | None], level: float = 0.95) -> Interval:
    """Mean and t interval of the values that are there.

    One value has no spread: it is then the mean and both ends.
    """
    values = [value for value in measured if value is not None]
    if not values:
        return None, None, None
    mean = float(np.mean(values))
    if len(values) < 2:
        return mean, mean, mean
    return mean, *intervals.student(values, level)


def summary(results: Mapping[str, list[Result]]) -> dict[str, Any]:
    """Everything that the JSON line holds, of the sweeps that ran."""
    figures: dict[str, Any] = {}
    if "curves" in results:
        people = [r for r in results["curves"] if r["overrides"]["people"]]
        without = [r for r in results["curves"] if not r["overrides"]["people"]]
        figures |= curves(people, without)
    for name, labeled in BARS.items():
        if name in results:
            figures[name] = bars(results[name], labeled)
    return figures


def curves(people: Sequence[Result], without: Sequence[Result]) -> dict[str, Any]:
    """The sweep `curves`: arms with people, and arms in which judges answer in their place."""
    figures: dict[str, Any] = {name: curve(people, name) for name in SETS}
    figures["no_human"] = curve(without, "filtered")
    figures["no_human_flipped"] = curve(without, "flipped")
    figures["kept_precision"] = precisions(people, "keep")
    figures["flipped_precision"] = precisions(people, "flip")
    for figure in ("labels_right", "against_style"):
        figures[figure] = {name: curve(people, name, figure) for name in SETS}
        # Without people there is no curve of the original labels: they are the same pairs'.
        figures[f"no_human_{figure}"] = {name: curve(without, name, figure) for name in SETS[1:]}
    figures["reward_models"] = {
        seat: interval(trial["rm"][seat] for trial in people) for seat in ("gold", "best")
    }
    figures["no_human_reward_model"] = interval(trial["rm"]["best"] for trial in without)
    figures["claims"] = claims(people, without)
    figures["votes"] = people[0]["votes"]
    return figures


def curve(trials: Sequence[Result], name: str, figure: str = "accuracy") -> list[list[Any]]:
    """[stage, mean, low, high] of each stage."""
    points = []
    for place, stage in enumerate(trials[0]["stages"]):
        values = [trial["stages"][place][name][figure] for trial in trials]
        points.append([stage["stage"], *interval(values)])
    return points


def precisions(trials: Sequence[Result], action: str) -> dict[str, Interval]:
    """Audited precision of an action in Stage 2, by the reward models that decide."""
    return {decider: interval(_precision(trials, decider, action)) for decider in arm.AUDITED}


def _precision(trials: Sequence[Result], decider: str, action: str) -> list[float | None]:
    return [trial["precision"][decider][action]["precision"] for trial in trials]


def bars(
    trials: Iterable[Result], labeled: Callable[[Mapping[str, Any]], str]
) -> dict[str, Interval]:
    """Accuracy after the last stage by kind of trial and set of labels, in the sweep's order."""
    values: dict[str, list[float]] = {}
    for trial in trials:
        last = trial["stages"][-1]
        for name in SETS:
            if name in last:
                label = f"{labeled(trial['overrides'])}, {name}"
                values.setdefault(label, []).append(last[name]["accuracy"])
    return {label: interval(of_label) for label, of_label in values.items()}


# ------------------------------------------------------------------ what a trial is called


def protocol_label(overrides: Mapping[str, Any]) -> str:
    """Who labels in a trial."""
    if not overrides["people"]:
        return "judges"
    if overrides.get("loop.stage1.human_share") == 1.0:
        return "people"
    if overrides["loop.stage1.select"] == "retrieval":
        return "people and judges and retrieval"
    return "people and judges"


def selection_label(overrides: Mapping[str, Any]) -> str:
    """How a trial picks pairs."""
    return overrides["loop.stage1.select"]


def filter_label(overrides: Mapping[str, Any]) -> str:
    """By which table a trial decides in Stage 2."""
    return overrides["loop.stage2.table"]


def quantity_label(overrides: Mapping[str, Any]) -> str:
    """How many pairs of which quality a trial has."""
    return f"{overrides['unverified.labels']} x {overrides['unverified.num']}"


BARS = {
    "protocol": protocol_label,
    "selection": selection_label,
    "filters": filter_label,
    "quantity": quantity_label,
}


# ------------------------------------------------------------------ claims


def claims(people: Sequence[Result], without: Sequence[Result]) -> dict[str, dict[str, Any]]:
    """The paper's claims as differences within seeds: [mean, low, high], and what they say."""
    last = {name: _accuracy(people, -1, name) for name in SETS}
    without_filtered = _accuracy(without, -1, "filtered")
    without_flipped = _accuracy(without, -1, "flipped")
    # Claims that something is better hold where the whole interval is above zero...
    better = {
        "filtered beats original": _minus(last["filtered"], last["original"]),
        "flipped beats filtered, with people": _minus(last["flipped"], last["filtered"]),
        "filtered with people beats filtered without": _minus(last["filtered"], without_filtered),
    }
    for action in ("keep", "flip"):
        both = _precision(people, "both", action)
        for alone in ("gold RM", "best RM"):
            claim = f"{action}: both RMs more precise than the {alone}"
            better[claim] = _minus(both, _precision(people, alone, action))
    # ... and claims that something adds nothing unless it is.
    no_better = {
        "uncurated: Stage 2 adds nothing over the last iteration": _minus(
            last["original"], _accuracy(people, -2, "original")
        ),
        "flipped adds nothing over filtered, without people": _minus(
            without_flipped, without_filtered
        ),
    }
    verdicts = {}
    for claim, differences in better.items():
        verdicts[claim] = _verdict(differences, lambda low: low > 0)
    for claim, differences in no_better.items():
        verdicts[claim] = _verdict(differences, lambda low: low <= 0)
    return verdicts


def _accuracy(trials: Sequence[Result], place: int, name: str) -> list[float | None]:
    return [trial["stages"][place][name]["accuracy"] for trial in trials]


def _minus(first: Sequence[float | None], second: Sequence[float | None]) -> list[float | None]:
    """The difference in each seed; None where it has no such figure."""
    differences: list[float | None] = []
    for a, b in zip(first, second, strict=True):
        if a is None or b is None:
            differences.append(None)
        else:
            differences.append(a - b)
    return differences


def _verdict(differences: Sequence[float | None], holds: Callable[[float], bool]) -> dict[str, Any]:
    mean, low, high = interval(differences)
    verdict = None
    # One seed, or seeds that do not differ, say nothing about other seeds.
    if low is not None and high is not None and low < high:
        verdict = holds(low)
    return {"difference": [mean, low, high], "holds": verdict}


# ------------------------------------------------------------------ for people


def draw(figures: Mapping[str, Any], workdir: pathlib.Path) -> None:
    """Plots in the form of the paper's figures 7 and 8, of what was measured."""
    folder = workdir / "plots"
    if "original" in figures:
        by_label = {label: figures[name] for name, label in CURVES.items()}
        plots.stages(by_label, folder / "curves.png", "Held-out accuracy")
    for name in BARS:
        if name in figures:
            title = f"{name.capitalize()}: held-out accuracy"
            plots.bars(figures[name], folder / f"{name}.png", title)


def show(figures: Mapping[str, Any]) -> None:
    """Print everything as text."""
    for name in CURVES:
        if name in figures:
            print(f"{name:18}", _points(figures[name]))
    for figure in ("labels_right", "against_style"):
        for name, points in figures.get(figure, {}).items():
            print(f"{figure:14} {name:9}", _points(points))
    for name in ("kept_precision", "flipped_precision", "reward_models", *BARS):
        if name in figures:
            print(f"\n{name}")
            for label, values in figures[name].items():
                print(f"  {label:44} {_number(values)}")
    for name, claim in figures.get("claims", {}).items():
        print(f"{VERDICTS[claim['holds']]:10} {name}: {_number(claim['difference'])}")
    if "votes" in figures:
        print("\nStage 2 votes, first seed\n" + text_table.table(figures["votes"]))


def _points(points: Sequence[Sequence[Any]]) -> str:
    return "   ".join(f"{stage}: {_number(values)}" for stage, *values in points)


def _number(values: Sequence[float | None]) -> str:
    mean, low, high = values
    if mean is None:
        return "-"
    return f"{mean:.3f} ({low:.3f} to {high:.3f})"


if __name__ == "__main__":
    main()
