"""The curation ablations on the embedded world: do the paper's figures 7 and 8 have their shape here?

    python -m experiments.curation_ablation [--workdir runs/ablation] [--seeds 3] [--only curves]

Runs the sweeps of configs/curation/ablation.py on the product's own loop (`experiments/arm.py`).
Reward models and finished trials are kept in the workdir, so a second call goes on where the first
one ended. Prints tables, draws plots, and says of each claim of the paper whether it holds here. The
last line is one JSON object; intervals are 95% t intervals over seeds (which draw the pairs, the
opinions and the order of training), on one held-out set.
"""

import argparse
import json
import pathlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import numpy as np
from scipy import stats
from tqdm import tqdm

from experiments import arm, lab
from rewardjax import config as config_lib
from rewardjax import fingerprint, sweep
from rewardjax.parallel.mesh import make_mesh
from rewardjax.reporting import plots, text_table

CONFIG = pathlib.Path(__file__).parents[1] / "configs/curation/ablation.py"
SWEEPS = ("curves", "protocol", "selection", "filters", "quantity")
# A trial and what it measured: {"overrides": ..., "stages": ...}, see `arm.run`.
Result = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m experiments.curation_ablation",
        description="The ablations of the curation pipeline.",
    )
    parser.add_argument("--workdir", type=pathlib.Path, default=pathlib.Path("runs/ablation"))
    parser.add_argument("--seeds", type=int, default=3, help="how many of the config's seeds")
    parser.add_argument("--scale", type=float, default=1.0, help="of every number of pairs")
    parser.add_argument("--only", nargs="+", choices=SWEEPS, default=SWEEPS)
    args = parser.parse_args()
    results = run(args.workdir, args.only, args.seeds, args.scale)
    found = summary(results)
    draw(found, args.workdir)
    show(found)
    print(
        json.dumps(
            {"benchmark": "curation_ablation", "seeds": args.seeds, "scale": args.scale, **found}
        )
    )


def run(
    workdir: pathlib.Path, names: Sequence[str], seeds: int, scale: float
) -> dict[str, list[Result]]:
    """The results of the sweeps by name, from the workdir where they are there."""
    config = f"{CONFIG}:scale={scale}"
    chosen = config_lib.load_module(str(CONFIG)).SEEDS[:seeds]
    trials = {
        name: [trial for trial in sweep.plan(config, name) if trial.overrides["seed"] in chosen]
        for name in names
    }
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


def result_of(opened: lab.Lab, config: str, trial: sweep.Trial, workdir: pathlib.Path) -> Result:
    """What a trial measured; it is run where the workdir does not have it for this backbone."""
    path = workdir / "trials" / f"{fingerprint.of_json([trial.id, opened.backbone])}.json"
    if not path.exists():
        measured = arm.run(
            opened, config_lib.load(config, trial.overrides), workdir / "workspaces" / path.stem
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        config_lib.write_json(path, measured)
    return json.loads(path.read_text())


# ------------------------------------------------------------------ figures over seeds


def interval(
    found: Iterable[float | None], level: float = 0.95
) -> tuple[float | None, float | None, float | None]:
    """Mean, and the t interval of it, of the values that are there; of one value that value three times, of none None."""
    values = [value for value in found if value is not None]
    if not values:
        return None, None, None
    mean = float(np.mean(values))
    if len(values) < 2:
        return mean, mean, mean
    half = float(
        stats.t.ppf((1 + level) / 2, len(values) - 1)
        * np.std(values, ddof=1)
        / np.sqrt(len(values))
    )
    return mean, mean - half, mean + half


def summary(results: dict[str, list[Result]]) -> dict[str, Any]:
    """Everything that the JSON line holds, of the sweeps that ran."""
    found: dict[str, Any] = {}
    if "curves" in results:
        people = [r for r in results["curves"] if r["overrides"]["people"]]
        without = [r for r in results["curves"] if not r["overrides"]["people"]]
        found |= {name: curve(people, name) for name in ("original", "filtered", "flipped")}
        found |= {
            f"no_human{end}": curve(without, name)
            for end, name in (("", "filtered"), ("_flipped", "flipped"))
        }
        found |= {
            f"{end}_precision": precisions(people, action)
            for end, action in (("kept", "keep"), ("flipped", "flip"))
        }
        for figure in ("labels_right", "against_style"):
            found[figure] = {
                name: curve(people, name, figure) for name in ("original", "filtered", "flipped")
            }
            found[f"no_human_{figure}"] = {
                name: curve(without, name, figure) for name in ("filtered", "flipped")
            }
        found["reward_models"] = {
            seat: interval([r["rm"][seat] for r in people]) for seat in ("gold", "best")
        }
        found["no_human_reward_model"] = interval([r["rm"]["best"] for r in without])
        found["claims"] = claims(people, without)
        found["votes"] = people[0]["votes"]
    for name, key in (
        ("protocol", protocol_bar),
        ("selection", _select),
        ("filters", _table),
        ("quantity", _quantity),
    ):
        if name in results:
            found[name] = bars(results[name], key)
    return found


def _stages(trials: Sequence[Result]) -> list[str]:
    return [stage["stage"] for stage in trials[0]["stages"]]


def curve(trials: Sequence[Result], name: str, figure: str = "accuracy") -> list[list[Any]]:
    """[stage, mean, low, high] for each stage."""
    return [
        [stage, *interval([trial["stages"][i][name][figure] for trial in trials])]
        for i, stage in enumerate(_stages(trials))
    ]


def precisions(trials: Sequence[Result], action: str) -> dict[str, tuple]:
    """Audited precision of an action in Stage 2, by the reward models that decide."""
    return {
        name: interval([trial["precision"][name][action]["precision"] for trial in trials])
        for name in arm.AUDITED
    }


def bars(trials: Iterable[Result], key: Callable[[dict[str, Any]], str]) -> dict[str, tuple]:
    """Mean and interval of the last stage of every kind of trial and set of pairs, in the order of the sweep."""
    values: dict[str, list[float]] = {}
    for trial in trials:
        last = trial["stages"][-1]
        for name in (name for name in ("original", "filtered", "flipped") if name in last):
            values.setdefault(f"{key(trial['overrides'])}, {name}", []).append(
                last[name]["accuracy"]
            )
    return {name: interval(of_name) for name, of_name in values.items()}


def protocol_bar(overrides: dict[str, Any]) -> str:
    if not overrides["people"]:
        return "judges"
    if overrides.get("loop.stage1.human_share") == 1.0:
        return "people"
    if overrides["loop.stage1.select"] == "retrieval":
        return "people and judges and retrieval"
    return "people and judges"


def _select(overrides: dict[str, Any]) -> str:
    return overrides["loop.stage1.select"]


def _table(overrides: dict[str, Any]) -> str:
    return overrides["loop.stage2.table"]


def _quantity(overrides: dict[str, Any]) -> str:
    return f"{overrides['unverified.labels']} x {overrides['unverified.num']}"


# ------------------------------------------------------------------ claims


def claims(people: Sequence[Result], without: Sequence[Result]) -> dict[str, dict[str, Any]]:
    """The paper's claims as differences within seeds: [mean, low, high], and whether the interval says so."""
    at = lambda trials, stage, name: [trial["stages"][stage][name]["accuracy"] for trial in trials]
    precision = lambda who, action: [
        trial["precision"][who][action]["precision"] for trial in people
    ]
    minus = lambda a, b: [
        None if x is None or y is None else x - y for x, y in zip(a, b, strict=True)
    ]
    better = {
        "filtered beats original": minus(at(people, -1, "filtered"), at(people, -1, "original")),
        "flipped beats filtered, with people": minus(
            at(people, -1, "flipped"), at(people, -1, "filtered")
        ),
        "filtered with people beats filtered without": minus(
            at(people, -1, "filtered"), at(without, -1, "filtered")
        ),
    }
    for action in ("keep", "flip"):
        for alone in ("gold RM", "best RM"):
            better[f"{action}: both RMs more precise than the {alone}"] = minus(
                precision("both", action), precision(alone, action)
            )
    same = {
        "uncurated: Stage 2 adds nothing over the last iteration": minus(
            at(people, -1, "original"), at(people, -2, "original")
        ),
        "flipped adds nothing over filtered, without people": minus(
            at(without, -1, "flipped"), at(without, -1, "filtered")
        ),
    }
    verdicts = {
        name: _verdict(values, lambda low, high: low > 0) for name, values in better.items()
    }
    return verdicts | {
        name: _verdict(values, lambda low, high: low <= 0) for name, values in same.items()
    }


def _verdict(
    values: Sequence[float | None], holds: Callable[[float, float], bool]
) -> dict[str, Any]:
    mean, low, high = interval(values)
    spread = low is not None and high is not None and low < high  # several seeds, and they differ
    return {
        "difference": [mean, low, high],
        "holds": holds(float(low or 0), float(high or 0)) if spread else None,
    }


# ------------------------------------------------------------------ for people


def draw(found: dict[str, Any], workdir: pathlib.Path) -> None:
    """Plots in the form of the paper's figures 7 and 8, of what was measured."""
    names = {
        "original": "original labels",
        "filtered": "filtered",
        "flipped": "filtered + flipped",
        "no_human": "no people: filtered",
        "no_human_flipped": "no people: filtered + flipped",
    }
    if "original" in found:
        plots.stages(
            {label: found[name] for name, label in names.items()},
            workdir / "plots" / "curves.png",
            "Held-out accuracy",
        )
    for name in ("protocol", "selection", "filters", "quantity"):
        if name in found:
            plots.bars(
                found[name],
                workdir / "plots" / f"{name}.png",
                f"{name.capitalize()}: held-out accuracy",
            )


def show(found: dict[str, Any]) -> None:
    """Everything as text."""
    number = lambda value: (
        "-" if value[0] is None else f"{value[0]:.3f} ({value[1]:.3f} to {value[2]:.3f})"
    )
    for name in ("original", "filtered", "flipped", "no_human", "no_human_flipped"):
        if name in found:
            print(
                f"{name:18}",
                "   ".join(f"{stage}: {number(values)}" for stage, *values in found[name]),
            )
    for figure in ("labels_right", "against_style"):
        for name, stages in found.get(figure, {}).items():
            print(
                f"{figure:14} {name:9}",
                "   ".join(f"{stage}: {number(values)}" for stage, *values in stages),
            )
    for name in (
        "kept_precision",
        "flipped_precision",
        "reward_models",
        "protocol",
        "selection",
        "filters",
        "quantity",
    ):
        if name in found:
            print(f"\n{name}")
            for label, values in found[name].items():
                print(f"  {label:44} {number(values)}")
    for name, claim in found.get("claims", {}).items():
        verdict = {True: "holds", False: "not shown", None: "unknown"}[claim["holds"]]
        print(f"{verdict:10} {name}: {number(claim['difference'])}")
    if "votes" in found:
        print("\nStage 2 votes, first seed\n" + text_table.table(found["votes"]))


if __name__ == "__main__":
    main()
