"""What surface statistics can learn of the preference world: baselines that a reward model has to
beat, and that a fair world keeps low.

    python -m benchmarks.world_baselines [--num 20000] [--heldout 4000]

Pairwise logistic regression on differences of word counts, trained on honest labels and tested on
the held-out split: of the responses alone; of responses and all products of a prompt word and a
response word, which memorize what a table could. And the best rule on length alone. The last line
is one JSON object: held-out accuracy of each, overall and by task.
"""

import argparse
import json
import re
import zlib
from collections import Counter
from typing import Any

import numpy as np
import scipy.optimize
import scipy.sparse
from scipy.special import expit

from rewardjax.data.world import TASKS, open_world

BUCKETS = 2**18


def words(text: str) -> list[str]:
    return re.findall(r"[a-z]+|\d+|[^\sa-z\d]", text.lower())


def response_features(prompt: str, response: str) -> Counter:
    """Counts of words and of neighboring words."""
    found = words(response)
    return Counter(found) + Counter(f"{a} {b}" for a, b in zip(found, found[1:], strict=False))


def crossed_features(prompt: str, response: str) -> Counter:
    """The same, and every (prompt word, response word) that occurs."""
    pairs = Counter({f"{a}|{b}": 1 for a in set(words(prompt)) for b in set(words(response))})
    return response_features(prompt, response) + pairs


def length_features(prompt: str, response: str) -> Counter:
    return Counter({"characters": len(response) / 100, "words": len(words(response)) / 20})


def differences(records: list[dict], features) -> scipy.sparse.csr_matrix:
    """[pairs, BUCKETS] features of the chosen response minus those of the rejected one, hashed."""
    rows, columns, values = [], [], []
    for row, record in enumerate(records):
        prompt = record["prompt"][0]["content"]
        for side, sign in (("chosen", 1.0), ("rejected", -1.0)):
            for name, count in features(prompt, record[side][0]["content"]).items():
                rows.append(row)
                columns.append(zlib.crc32(name.encode()) % BUCKETS)
                values.append(sign * count)
    return scipy.sparse.csr_matrix((values, (rows, columns)), shape=(len(records), BUCKETS))


def fit(x: Any, l2: float) -> np.ndarray:
    """The weights that minimize mean softplus(-x w) + l2 / 2 |w|^2, for a sparse x (whose stubs
    do not know its shape).
    """

    def objective(w: np.ndarray) -> tuple:
        margin = x @ w
        rows = x.shape[0]
        return np.mean(np.logaddexp(0, -margin)) + l2 / 2 * w @ w, -(
            x.T @ expit(-margin)
        ) / rows + l2 * w

    return scipy.optimize.minimize(
        objective, np.zeros(x.shape[1]), jac=True, method="L-BFGS-B", options={"maxiter": 200}
    ).x


def accuracies(margin: np.ndarray, tasks: list[str]) -> dict[str, float]:
    """Share of positive margins, ties half, overall and by task."""
    won = (margin > 0) + 0.5 * (margin == 0)
    by_task = {task: round(float(won[np.array(tasks) == task].mean()), 3) for task in TASKS}
    return {"all": round(float(won.mean()), 4), **by_task}


def main() -> None:
    parser = argparse.ArgumentParser(description="Baselines of the preference world.")
    parser.add_argument("--num", type=int, default=20_000)
    parser.add_argument("--heldout", type=int, default=4_000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    train = list(open_world(f"world:train?num={args.num}&seed={args.seed}"))
    heldout = list(open_world(f"world:heldout?num={args.heldout}&seed={args.seed}"))
    tasks = [record["task"] for record in heldout]
    result = {}
    for name, features in (
        ("length", length_features),
        ("response_words", response_features),
        ("crossed_words", crossed_features),
    ):
        x, x_heldout = differences(train, features), differences(heldout, features)
        # the penalty that is best on the held-out pairs themselves: the baseline gets the benefit
        # of the doubt
        result[name] = max(
            (accuracies(x_heldout @ fit(x, l2), tasks) for l2 in (1e-2, 1e-3, 1e-4)),
            key=lambda found: found["all"],
        )
        print(
            f"{name:16}",
            "  ".join(f"{task} {value}" for task, value in result[name].items()),
            flush=True,
        )
    print(
        json.dumps(
            {
                "benchmark": "world_baselines",
                "pairs": args.num,
                "heldout": args.heldout,
                "accuracy": result,
            }
        )
    )


if __name__ == "__main__":
    main()
