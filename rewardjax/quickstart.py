"""The whole story in one command: curate noisy pairs, train on what comes out, measure, export.

    python -m rewardjax.quickstart [--output runs/quickstart] [--tiny]

`make quickstart` runs this. Everything it shows can be done with the commands it prints. People are
simulated and judges are scripted (`curation/judges/scripted_server.py`, over real HTTP); both know
the world's oracle and err as often as they are told to. `--tiny` goes through the same motions in a
minute and learns nothing.
"""

import collections
import json
import pathlib
import shutil
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from rewardjax import config as config_lib
from rewardjax import curate, export
from rewardjax.command import errors
from rewardjax.command.running import Parts
from rewardjax.config import Config
from rewardjax.curation.judges.scripted_judge import Behavior, truth_of
from rewardjax.curation.judges.scripted_server import serve
from rewardjax.curation.overview import quickstart_page
from rewardjax.data import world
from rewardjax.data.formats import to_group
from rewardjax.data.groups import Group
from rewardjax.data.pack import TokenGroup
from rewardjax.data.sources import open_source
from rewardjax.data.tokenize import tokenize_group
from rewardjax.evaluators.benchmarks.pairs import pair_metrics
from rewardjax.reporting import plots, text_table
from rewardjax.scoring import model as scorer
from rewardjax.stats import agreement
from rewardjax.training import loop

CURATION, TRAINING = "configs/curation/world.py", "configs/quickstart.py"
HELD_OUT = 1000
# Of the time of the six parts, on two CPU cores: curation and three trainings are nearly all of it.
PART_SHARES = (0.01, 0.61, 0.36, 0.01, 0.005, 0.005)
JUDGES = {
    "sharp": Behavior(accuracy=0.8),
    "longwinded": Behavior(accuracy=0.75, length_bias=0.3),
    "lopsided": Behavior(accuracy=0.75, position_bias=0.3),
}
ARMS = {
    "original": "all pairs that were looked at, labels as they came",
    "filtered": "those whose label was confirmed",
    "flipped": "and those whose label was turned",
}


@errors.one_line("rewardjax.quickstart")
def main() -> None:
    """Run the command."""
    parser = errors.ArgumentParser(
        prog="python -m rewardjax.quickstart", description="Curate, train, measure, export."
    )
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("runs/quickstart"))
    parser.add_argument(
        "--tiny", action="store_true", help="small numbers, a model that learns nothing"
    )
    args = parser.parse_args()
    run(args.output, tiny=args.tiny)


def run(output: pathlib.Path, tiny: bool = False) -> dict:
    """Tell the story in a fresh `output`; returns what `summary.json` holds."""
    started = time.monotonic()
    shutil.rmtree(output, ignore_errors=True)
    size, held_out = "", HELD_OUT
    if tiny:
        size, held_out = ":tiny", 64
    curation = output / "curation"

    part = Parts(6, PART_SHARES).next
    say(part("Two pools of noisy pairs, against the oracle of the preference world"))
    sources: Config = config_lib.load(CURATION + size).sources
    labels = show_labels(sources)

    say(
        part(
            f"Curation in {curation} "
            f"(python -m rewardjax.curate run {curation} --config {CURATION})"
        )
    )
    truth = truth_of(*(open_source(source.source) for source in sources.values()))
    with serve(JUDGES, truth) as server:
        arguments = f"url={server.url}"
        if tiny:
            arguments += ",tiny"
        code = curate.main(["run", str(curation), "--config", f"{CURATION}:{arguments}"])
        if code:
            raise SystemExit(code)

    say(
        part(
            f"A reward model on each of {len(ARMS)} data sets that came out "
            f"(python -m rewardjax.train --config={TRAINING} --config.data.source=FILE)"
        )
    )
    arms = {name: train_arm(name, output, size) for name in ARMS}
    show_arms(arms, output / "plots" / "curation.png")

    say(
        part(
            f"A Hugging Face folder, {output / 'hf'} "
            f"(python -m rewardjax.export --checkpoint {output} --output {output / 'hf'})"
        )
    )
    exported = export.export(output, output / "hf")
    print(
        f"score contract {exported.fingerprint}; "
        f"the golden conversations score the same when read back"
    )

    say(part("The last model on held-out pairs, judged by the oracle"))
    model = scorer.load(output / "hf")
    pairs = held_out_groups(held_out)
    categories = [record["category"] for record, _ in pairs]
    rewards, lengths = held_out_rewards(model, pairs)
    accuracy = show_held_out(rewards, lengths, categories)

    say(part("The reward model at work"))
    show_example(model)

    correct = {}
    for name in ARMS:
        of_arm = rewards
        if name != list(ARMS)[-1]:
            of_arm, _ = held_out_rewards(scorer.load(output / name), pairs)
        correct[name] = of_arm[:, 0] > of_arm[:, 1]
    seconds = round(time.monotonic() - started, 1)
    story = quickstart_page.write(output, labels, ARMS, correct, categories, seconds)
    summary = arms["flipped"] | {"accuracy": accuracy, "seconds": seconds, "arms": arms}
    (output / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    say(
        f"Done in {seconds:.0f} s. Open {story}; the last model's run is in "
        f"{output / 'report.html'}, what curation did in {curation / 'reports'}."
    )
    return summary


def say(title: str) -> None:
    """Print a heading."""
    print(f"\n=== {title}", flush=True)


def show_labels(sources: Config) -> list[dict[str, Any]]:
    """Print how often each source's labels agree with the oracle, and beyond chance (kappa).

    Returns a row for each source.
    """
    rows = []
    for name, source in sources.items():
        records = list(open_source(source.source))
        texts = [
            (record["chosen"][0]["content"], record["rejected"][0]["content"]) for record in records
        ]
        # A: the text that sorts first, so that the label says nothing about which was chosen.
        labels = ["AB"[chosen != min(chosen, rejected)] for chosen, rejected in texts]
        oracle = [
            "AB"[world.oracle(record["id"]) != min(pair)]
            for record, pair in zip(records, texts, strict=True)
        ]
        figures = agreement.compare(labels, oracle)
        low, high = figures["agreement_low"], figures["agreement_high"]
        rows.append(
            {
                "pool": name,
                "pairs": len(records),
                "right": f"{figures['agreement']:.3f}",
                "95% interval": f"{low:.3f} to {high:.3f}",
                "kappa": f"{figures['kappa']:.3f}",
                "labels": source.source.partition("labels=")[2].partition("&")[0],
            }
        )
    print(text_table.table(rows))
    return rows


def train_arm(name: str, output: pathlib.Path, size: str) -> dict:
    """Train on one of curation's data sets; returns the run's summary."""
    data = output / "curation" / "data" / f"{name}.parquet"
    number = list(ARMS).index(name) + 1
    print(
        f"data set {number} of {len(ARMS)}, {name}: {ARMS[name]} ({len(open_source(data))} pairs)",
        flush=True,
    )
    config = config_lib.load(TRAINING + size, {"data.source": str(data)})
    workdir = output / name
    # The last one is the story's model, whose report is the one to open.
    if name == list(ARMS)[-1]:
        workdir = output
    return loop.run(config, workdir)


def show_arms(arms: dict[str, dict], plot: pathlib.Path) -> None:
    """Print and plot held-out accuracy by training data."""
    held_out, rows = {}, []
    for name, arm in arms.items():
        mean = arm["heldout/accuracy"]
        low, high = arm["heldout/wilson_low"], arm["heldout/wilson_high"]
        held_out[name] = [mean, low, high]
        row = {"data": name, "accuracy": f"{mean:.3f}", "95% interval": f"{low:.3f} - {high:.3f}"}
        rows.append(row | {"what": ARMS[name]})
    print(text_table.table(rows))
    plots.bars(held_out, plot, "Held-out accuracy by training data")


def held_out_groups(num: int) -> list[tuple[dict, Group]]:
    """Held-out world records with honest labels, and their groups: response 0 is right."""
    records = list(world.generate(seed=0, num=num, split="heldout"))
    return [(record, to_group(record, row, "heldout")) for row, record in enumerate(records)]


def held_out_rewards(
    model: scorer.Scorer, pairs: list[tuple[dict, Group]]
) -> tuple[np.ndarray, np.ndarray]:
    """Rewards of both responses, float [pairs, 2], and their lengths in tokens, int [pairs, 2]."""
    limits = model.contract.max_length, model.contract.over_long
    tokens = [tokenize_group(group, model.tokenizer, *limits) for _, group in pairs]
    rewards = np.stack(scorer.token_groups(model, tokens))
    return rewards, np.array([_lengths(group) for group in tokens])


def show_held_out(rewards: np.ndarray, lengths: np.ndarray, categories: Sequence[str]) -> float:
    """Print accuracy by category beside what length alone would get; returns that of all pairs."""
    members: dict[str, list[int]] = collections.defaultdict(list)
    for i, category in enumerate(categories):
        members[category].append(i)
    print(f"{'category':24} {'pairs':>6} {'accuracy':>9} {'95% interval':>16} {'longer wins':>12}")
    figures = {}
    for name, rows in [*sorted(members.items()), ("all", list(range(len(categories))))]:
        figures = pair_metrics(
            rewards[rows, 0],
            rewards[rows, 1],
            chosen_length=lengths[rows, 0],
            rejected_length=lengths[rows, 1],
        )
        interval = f"{figures['wilson_low']:.3f} - {figures['wilson_high']:.3f}"
        print(
            f"{name:24} {len(rows):6d} {figures['accuracy']:9.3f} {interval:>16} "
            f"{figures['length_accuracy']:12.3f}"
        )
    return figures["accuracy"]


def _lengths(group: TokenGroup) -> list[int]:
    """Tokens of each response."""
    return [len(suffix) for suffix in group.suffixes]


def show_example(model: scorer.Scorer) -> None:
    """Score a right and a wrong answer to a question of our own."""
    prompt, answers = "What is 27 + 45?", ("72", "62")
    rewards = scorer.rewards(model, prompt, answers)
    print(f"user: {prompt}")
    for answer, reward in zip(answers, rewards, strict=True):
        print(f"assistant: {answer:4} reward {reward:+.3f}")
    print(f"It prefers {answers[int(np.argmax(rewards))]!r}.")


if __name__ == "__main__":
    main()
