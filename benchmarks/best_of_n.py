"""Best of N over verifiable groups: what picking by reward gains over chance, majority and brevity,
and what sharing the prompt saves.

    python -m benchmarks.best_of_n --model runs/gsm --from 0.85 \\
        --input ../shared/data/zeroeval/gsm_responses.jsonl.gz

Groups whose prompt hash lies in [--from, --to) are scored, the same fractions as a training
config's `part`, so that held-out problems stay held out. Leaves an evaluation with its report in
--output. With --compare N, a Hugging Face folder's scores of N prompts are timed against
transformers on padded batches, one prompt's responses a batch, in turns. Prints one JSON line last;
times are CPU seconds.
"""

import argparse
import json
import pathlib
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from rewardjax import config as config_lib
from rewardjax import defaults, evaluate, evaluators
from rewardjax.data import pack
from rewardjax.data.pack import TokenGroup
from rewardjax.evaluators import stored_rewards
from rewardjax.evaluators.benchmarks.best_of_n import baselines
from rewardjax.evaluators.records import Examples
from rewardjax.scoring import model as scorer

ROW = 4096  # for counting, long enough for any bundle of these data
CHUNKS = 4  # turns of the comparison
REPEATS = 3


def settings(args: argparse.Namespace) -> config_lib.Config:
    """The evaluation config of these groups alone."""
    config = defaults.evaluation()
    config.model, config.output = (
        args.model,
        str(
            args.output
            or pathlib.Path("runs/eval") / f"best_of_n-{pathlib.Path(args.model).resolve().name}"
        ),
    )
    config.scorer.dtype = args.dtype
    config.benchmarks.groups = dict(
        benchmark="best_of_n", path=args.input, part=(args.start, args.end), least=args.responses
    )
    config.max_length = args.max_length
    return config


def tokens_of(examples: Examples, model: scorer.Scorer, max_length: int) -> list[TokenGroup]:
    """The examples as the evaluation scores them."""
    found = [
        stored_rewards.tokenize(
            group, model.tokenizer, max_length or model.contract.max_length, "left"
        )
        for group in examples.groups
    ]
    return [one.tokens for one in found if one.tokens is not None]


def prompt_work(groups: list[TokenGroup], pad_id: int) -> dict[str, Any]:
    """How often prompts are computed in the packed rows, counted in the rows themselves, against
    once for each response.
    """
    responses = sum(len(group.suffixes) for group in groups)
    computed = prompts = 0
    for first in range(0, len(groups), 64):
        window = groups[first : first + 64]
        rows = pack.pack_for_scoring(window, ROW, ROW // 32, pad_id)
        prompts += int(np.sum((rows["positions"] == 0) & (rows["tokens"] != pad_id)))
        computed += int(np.sum(rows["tokens"] != pad_id))
    padded = sum(
        len(group.suffixes) * max(len(group.prefix) + len(suffix) for suffix in group.suffixes)
        for group in groups
    )
    least = sum(len(group.prefix) + len(suffix) for group in groups for suffix in group.suffixes)
    return {
        "responses": responses,
        "prompts_computed": prompts,
        "responses_per_prompt_computed": responses / prompts,
        "prompt_tokens_once_per_response": sum(
            len(group.prefix) * len(group.suffixes) for group in groups
        ),
        "tokens_computed": computed,
        "tokens_one_sequence_per_response": least,
        "tokens_padded_to_longest_of_prompt": padded,
    }


def transformers_scorer(folder: str, pad_id: int) -> Callable[[list[TokenGroup]], list[np.ndarray]]:
    """Rewards by transformers, float32:

    the responses of one prompt are a batch, padded on the right to the longest of them.
    """
    import torch
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()

    def score(groups: list[TokenGroup]) -> list[np.ndarray]:
        rewards = []
        for group in groups:
            rows = [np.concatenate([group.prefix, suffix]) for suffix in group.suffixes]
            ids = np.full((len(rows), max(map(len, rows))), pad_id, np.int64)
            for row, whole in zip(ids, rows, strict=True):
                row[: len(whole)] = whole
            mask = np.arange(ids.shape[1]) < np.array([len(row) for row in rows])[:, None]
            with torch.no_grad():
                rewards.append(
                    model(
                        torch.from_numpy(ids),
                        attention_mask=torch.from_numpy(mask.astype(np.int64)),
                    )
                    .logits[:, 0]
                    .numpy()
                )
        return rewards

    return score


def comparison(model: scorer.Scorer, folder: str, groups: list[TokenGroup]) -> dict[str, Any]:
    """CPU seconds of packed rows that share the prompt and of padded batches on the same groups,
    in turns, after one unmeasured round.
    """
    padded = transformers_scorer(folder, model.tokenizer.pad_id)
    sides = {"shared": lambda part: scorer.token_groups(model, part), "padded": padded}
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    chunks = [groups[i::CHUNKS] for i in range(min(CHUNKS, len(groups)))]
    difference = 0.0
    for chunk in chunks:  # compiles, and compares
        ours, theirs = (np.concatenate(score(chunk)) for score in sides.values())
        difference = max(difference, float(np.abs(ours - theirs).max()))
    for _ in range(REPEATS):
        spent = dict.fromkeys(sides, 0.0)
        for chunk in chunks:
            for name, score in sides.items():
                begin = time.process_time()
                score(chunk)
                spent[name] += time.process_time() - begin
        for name in sides:
            seconds[name].append(spent[name])
    pairs = sum(len(group.suffixes) for group in groups) / 2
    best = {name: min(values) for name, values in seconds.items()}
    return {
        "compared_prompts": len(groups),
        "max_difference": difference,
        **{f"pairs_per_cpu_second_{name}": pairs / value for name, value in best.items()},
        "speedup": best["padded"] / best["shared"],
        "speedups_of_repeats": [
            p / s for p, s in zip(seconds["padded"], seconds["shared"], strict=True)
        ],
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.best_of_n", description="Best of N over verifiable groups."
    )
    parser.add_argument("--model", required=True, help="a run's workdir or a Hugging Face folder")
    parser.add_argument("--input", required=True, help="groups with correctness")
    parser.add_argument("--from", dest="start", type=float, default=0.0)
    parser.add_argument("--to", dest="end", type=float, default=1.0)
    parser.add_argument("--responses", type=int, default=1, help="leave out prompts with fewer")
    parser.add_argument(
        "--max-length",
        type=int,
        default=0,
        help="tokens of one conversation; default: the model's contract",
    )
    parser.add_argument(
        "--output",
        type=pathlib.Path,
        help="folder of the evaluation; default: runs/eval/best_of_n-NAME",
    )
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], help="default: the model's")
    parser.add_argument(
        "--compare",
        type=int,
        default=0,
        help="prompts to time against transformers, float32; needs a Hugging Face folder",
    )
    args = parser.parse_args()

    config = settings(args)
    record = evaluate.run(config)
    kept = stored_rewards.read(pathlib.Path(config.output) / "scores" / "groups.parquet")
    found = record["results"]["groups"]
    if "curve" not in found["other"]:
        raise SystemExit(
            "no prompt has right and wrong responses that are all scored: "
            f"{found['denominators']}; is --max-length too short?"
        )
    curve = found["other"]["curve"]
    curves = {"reward model": curve, **baselines(kept, curve["ks"])}
    rounded = lambda values: np.asarray(values).round(4).tolist()
    result = {
        "prompts": curve["prompts"],
        "unused": found["parts"]["prompts"]["unused"],
        "left_out": len(record["left_out"].get("groups", [])),
        "responses_a_prompt": [int(min(map(len, kept.rewards))), int(max(map(len, kept.rewards)))],
        "ks": curve["ks"],
        **{
            name: {key: rounded(one[key]) for key in ("score", "low", "high")}
            for name, one in curves.items()
        },
        "oracle": rounded(curve["oracle"]),
        "random": round(curve["random"][0], 4),
        "report": str(pathlib.Path(config.output) / "report.html"),
    }
    model = scorer.load(args.model, dtype="float32" if args.compare else args.dtype)
    tokens = tokens_of(
        evaluators.load(**config.benchmarks.groups.to_dict()), model, args.max_length
    )
    result |= prompt_work(tokens, model.tokenizer.pad_id)
    if args.compare:
        result |= comparison(model, args.model, tokens[: args.compare])
    print(json.dumps(result))


if __name__ == "__main__":
    main()
