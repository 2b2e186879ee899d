"""Best of N over verifiable groups: what picking by reward gains over chance, over the shortest response, and short of the oracle.

    python -m benchmarks.best_of_n --model runs/gsm --input ../shared/data/zeroeval/gsm_responses.jsonl.gz --from 0.85

Groups whose prompt hash lies in [--from, --to) are scored, the same fractions as a training config's `split`, so that held-out problems
stay held out. Prints one JSON line last; writes `best_of_n.png` into --output.
"""

import argparse
import json
import pathlib

import numpy as np

from rewardjax import plots, scorer
from rewardjax.data import formats, sources
from rewardjax.data.groups import BadRow, Group, check
from rewardjax.data.tokenize import in_split, tokenize_group
from rewardjax.evaluators import best_of_n


def held_out_groups(source: sources.Source, split: tuple[float, float]) -> tuple[list[Group], int]:
    """The groups of `source` in `split` that have both right and wrong responses, and how many had only one kind or were unusable."""
    groups, left_out = [], 0
    for row, record in enumerate(source):
        try:
            group, _ = check(formats.to_group(record, row, source.name))
        except BadRow:
            left_out += 1
            continue
        if in_split(group, split):
            if group.correct is not None and 0 < sum(group.correct) < len(group.correct):
                groups.append(group)
            else:
                left_out += 1
    return groups, left_out


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.best_of_n", description="Best of N over verifiable groups.")
    parser.add_argument("--model", required=True, help="a run's workdir or a Hugging Face folder")
    parser.add_argument("--input", required=True, help="groups with correctness")
    parser.add_argument("--from", dest="start", type=float, default=0.0)
    parser.add_argument("--to", dest="end", type=float, default=1.0)
    parser.add_argument("--output", type=pathlib.Path, help="folder for the plot; default: the model's")
    args = parser.parse_args()

    model = scorer.load(args.model)
    groups, left_out = held_out_groups(sources.open_source(args.input), (args.start, args.end))
    tokens, kept = [], []
    for group in groups:
        try:
            tokens.append(tokenize_group(group, model.tokenizer, model.contract.max_length, model.contract.over_long))
            kept.append(group)
        except BadRow:
            left_out += 1
    rewards = scorer.token_groups(model, tokens)
    correct = [np.array(group.correct) for group in kept]
    shorter = [-np.array([len(suffix) for suffix in one.suffixes], np.float64) for one in tokens]
    curves = {
        "reward model": best_of_n.curve(rewards, correct),
        "shortest response": best_of_n.curve(shorter, correct),
        "longest response": best_of_n.curve([-lengths for lengths in shorter], correct),
    }
    output = args.output or pathlib.Path(args.model)
    plots.best_of_n(curves, output / "best_of_n.png")
    rounded = lambda values: np.asarray(values).round(4).tolist()
    shown = {name: {key: rounded(curve[key]) for key in ("ks", "score", "low", "high")} for name, curve in curves.items()}
    first = curves["reward model"]
    result = {
        "prompts": len(kept),
        "left_out": left_out,
        "oracle": rounded(first["oracle"]),
        "random": float(np.mean([values.mean() for values in correct])),
        **shown,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
