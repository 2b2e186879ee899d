"""The whole story in one command: train on the embedded world, measure against its oracle, export, score.

    python -m rewardjax.quickstart [--output runs/quickstart] [--config configs/quickstart.py]

`make quickstart` runs this. Everything it shows can be done with the commands it prints.
"""

import argparse
import collections
import json
import pathlib
import shutil
import time

import numpy as np

from rewardjax import config as config_lib
from rewardjax import export, scorer, train
from rewardjax.curation import agreement
from rewardjax.data import world
from rewardjax.data.formats import to_group
from rewardjax.data.groups import Group
from rewardjax.data.tokenize import tokenize_group
from rewardjax.evaluators.pairs import pair_metrics

HELD_OUT = 1000
LABEL_SOURCES = ("honest", "random:0.3", "style:0.6")


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m rewardjax.quickstart", description="Train on the embedded world, measure, export, score."
    )
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("runs/quickstart"))
    parser.add_argument("--config", default="configs/quickstart.py")
    args = parser.parse_args()
    run(args.output, args.config)


def run(output: pathlib.Path, config_path: str, held_out: int = HELD_OUT) -> dict:
    """Train, measure, export and score in a fresh `output`; returns what `summary.json` holds."""
    started = time.monotonic()
    shutil.rmtree(output, ignore_errors=True)

    say("1. The label sources of the preference world, against its oracle")
    show_label_sources()

    say(f"2. Training a reward model in {output} (python -m rewardjax.train --config={config_path} --workdir={output})")
    summary = train.run(config_lib.load(config_path), output)

    say(f"3. A Hugging Face folder, {output / 'hf'} (python -m rewardjax.export --checkpoint {output} --output {output / 'hf'})")
    exported = export.export(output, output / "hf")
    print(f"score contract {exported.fingerprint}; the golden conversations score the same when read back")

    say("4. Held-out pairs, judged by the oracle")
    model = scorer.load(output / "hf")
    accuracy = show_held_out(model, held_out)

    say("5. The reward model at work")
    show_example(model)

    summary |= {"accuracy": accuracy, "seconds": round(time.monotonic() - started, 1)}
    (output / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    say(f"Done in {summary['seconds']:.0f} s. Open {output / 'report.html'}; curves are in {output / 'plots'}.")
    return summary


def say(title: str) -> None:
    print(f"\n=== {title}", flush=True)


def show_label_sources(num: int = 2000) -> None:
    """Print how often each label source agrees with the oracle about `num` pairs, and by how much more than chance (Cohen's kappa)."""
    prefers = lambda record: "AB"[record["chosen"][0]["content"] > record["rejected"][0]["content"]]  # A: the text that sorts first
    oracle = [prefers(record) for record in world.generate(seed=0, num=num)]  # honest labels are the oracle's
    print(f"{'labels':16} {'agreement':>10} {'95% interval':>16} {'kappa':>7}")
    for source in LABEL_SOURCES:
        found = agreement.compare([prefers(record) for record in world.generate(seed=0, num=num, labels=source)], oracle)
        interval = f"{found['agreement_low']:.3f} - {found['agreement_high']:.3f}"
        print(f"{source:16} {found['agreement']:10.3f} {interval:>16} {found['kappa']:7.3f}")


def held_out_groups(num: int) -> list[tuple[dict, Group]]:
    """Held-out world records with honest labels, and their groups: response 0 is right, response 1 wrong."""
    records = list(world.generate(seed=0, num=num, split="heldout"))
    return [(record, to_group(record, row, "heldout")) for row, record in enumerate(records)]


def show_held_out(model: scorer.Scorer, num: int) -> float:
    """Print accuracy by category beside what length alone would get; returns the accuracy over all pairs."""
    pairs = held_out_groups(num)
    limits = model.contract.max_length, model.contract.over_long
    tokens = [tokenize_group(group, model.tokenizer, *limits) for _, group in pairs]
    rewards = np.stack(scorer.token_groups(model, tokens))
    lengths = np.array([[len(suffix) for suffix in group.suffixes] for group in tokens])
    members: dict[str, list[int]] = collections.defaultdict(list)
    for i, (record, _) in enumerate(pairs):
        members[record["category"]].append(i)
    print(f"{'category':24} {'pairs':>6} {'accuracy':>9} {'95% interval':>16} {'longer wins':>12}")
    figures = {}
    for name, rows in [*sorted(members.items()), ("all", list(range(len(pairs))))]:
        figures = pair_metrics(rewards[rows, 0], rewards[rows, 1], chosen_length=lengths[rows, 0], rejected_length=lengths[rows, 1])
        interval = f"{figures['wilson_low']:.3f} - {figures['wilson_high']:.3f}"
        print(f"{name:24} {len(rows):6d} {figures['accuracy']:9.3f} {interval:>16} {figures['length_accuracy']:12.3f}")
    return figures["accuracy"]


def show_example(model: scorer.Scorer) -> None:
    """Score a right and a wrong answer to a question of our own."""
    prompt, answers = "What is 27 + 45?", ("72", "62")
    found = scorer.rewards(model, prompt, answers)
    print(f"user: {prompt}")
    for answer, reward in zip(answers, found, strict=True):
        print(f"assistant: {answer:4} reward {reward:+.3f}")
    print(f"It prefers {answers[int(np.argmax(found))]!r}.")


if __name__ == "__main__":
    main()
