"""How far bfloat16 arithmetic moves rewards: the same weights and held-out pairs scored in float32
and in bfloat16.

    python -m benchmarks.bf16_agreement --model runs/quickstart/hf --input "world:heldout?num=500"

Prints one JSON line last: differences of rewards in units of the reward's standard deviation, and
pairs whose order changes.
"""

import argparse
import json

import numpy as np

from rewardjax.data import formats, sources
from rewardjax.data.groups import check
from rewardjax.data.tokenize import tokenize_group
from rewardjax.scoring import model as scorer


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.bf16_agreement",
        description="Rewards in bfloat16 against float32.",
    )
    parser.add_argument("--model", required=True)
    parser.add_argument("--input", default="world:heldout?num=500")
    args = parser.parse_args()
    source = sources.open_source(args.input)
    rewards = {}
    for dtype in ("float32", "bfloat16"):
        model = scorer.load(args.model, dtype=dtype)
        groups = [
            check(formats.to_group(record, row, source.name))[0]
            for row, record in enumerate(source)
        ]
        tokens = [
            tokenize_group(
                group, model.tokenizer, model.contract.max_length, model.contract.over_long
            )
            for group in groups
        ]
        rewards[dtype] = np.stack(scorer.token_groups(model, tokens)).astype(np.float64)
    exact, rounded = rewards["float32"], rewards["bfloat16"]
    difference = np.abs(exact - rounded) / exact.std()
    order = np.sign(exact[:, 0] - exact[:, 1]) != np.sign(rounded[:, 0] - rounded[:, 1])
    result = {
        "pairs": len(exact),
        "reward_std": float(exact.std()),
        "max_difference": float(difference.max()),
        "mean_difference": float(difference.mean()),
        "order_changed": int(order.sum()),
        "ties": int((rounded[:, 0] == rounded[:, 1]).sum()),
        "accuracy_float32": float(np.mean(exact[:, 0] > exact[:, 1])),
        "accuracy_bfloat16": float(np.mean(rounded[:, 0] > rounded[:, 1])),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
