"""What a finished training run leaves for the eye: PNG plots and one static report.html."""

import json
import pathlib
from typing import Any

import numpy as np

from rewardjax.data.chat import ChatTokenizer
from rewardjax.evaluators.benchmarks import pairs as pair_evaluator
from rewardjax.reporting import page, plots
from rewardjax.training import metrics
from rewardjax.training.held_out import HeldOut

EXAMPLES = 6
SHOWN = (
    "pairs",
    "accuracy",
    "wilson_low",
    "wilson_high",
    "ties",
    "nll",
    "brier",
    "ece",
    "margin_mean",
    "length_slope",
    "length_accuracy",
)


def write(
    workdir: pathlib.Path,
    summary: dict[str, Any],
    held_out: list[HeldOut],
    tokenizer: ChatTokenizer,
) -> None:
    """Plots into `workdir/plots`, and `workdir/report.html` with all of them."""
    folder = workdir / "plots"
    figures = {"Training": folder / "curves.png"}
    plots.curves(metrics.read_metrics(workdir), figures["Training"])
    for one in held_out:
        chosen, rejected = one.last_rewards().T
        drawn = {
            f"{one.name}: rewards": "rewards",
            f"{one.name}: calibration": "calibration",
            f"{one.name}: reward against length": "length",
        }
        drawn = {caption: folder / f"{one.name}_{what}.png" for caption, what in drawn.items()}
        histogram, calibration, length = drawn.values()
        plots.reward_histogram(chosen, rejected, histogram)
        decided = one.pairs.tie == 0  # a tie has no side to agree with
        plots.reliability_diagram(
            pair_evaluator.reliability(
                chosen[decided], rejected[decided], target=one.pairs.target[decided]
            ),
            calibration,
        )
        plots.reward_against_length(chosen, rejected, one.lengths[:, 0], one.lengths[:, 1], length)
        figures |= drawn
    table = [
        {"set": one.name} | {name: summary.get(f"{one.name}/{name}") for name in SHOWN}
        for one in held_out
    ]
    examples = [example for one in held_out[:1] for example in hardest_and_easiest(one, tokenizer)]
    facts = json.loads((workdir / "run.json").read_text()) | {
        name: summary[name] for name in ("steps", "pairs", "seconds")
    }
    config = json.loads((workdir / "config.json").read_text())
    page.write_report(
        workdir / "report.html",
        f"Reward model: {workdir.name}",
        facts,
        {"Held-out sets": table},
        figures,
        examples,
        config,
    )


def hardest_and_easiest(one: HeldOut, tokenizer: ChatTokenizer) -> list[dict[str, Any]]:
    """The pairs of a set with the lowest and the highest margins, as text."""
    chosen, rejected = one.last_rewards().T
    order = np.argsort(chosen - rejected)
    picked = dict.fromkeys([*order[: EXAMPLES // 2].tolist(), *order[-(EXAMPLES // 2) :].tolist()])
    return [
        {
            "prompt": tokenizer.decode(one.groups[i].prefix),
            "chosen": tokenizer.decode(one.groups[i].suffixes[0]),
            "rejected": tokenizer.decode(one.groups[i].suffixes[1]),
            "chosen_reward": float(chosen[i]),
            "rejected_reward": float(rejected[i]),
        }
        for i in picked
    ]
