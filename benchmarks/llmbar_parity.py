"""RewardBench's Chat Hard numbers (LLMBar part) of an exported model: ours against transformers
alone, in float32.

    python -m benchmarks.llmbar_parity --model runs/quickstart/hf --data ../shared/data/llmbar

The transformers side shares nothing with ours: it reads the files, renders the tokenizer's chat
template, tokenizes, pads, and scores each response singly and, for a few, in a padded batch.
Nothing is truncated on either side. Prints one JSON line last: both sides' subset accuracies,
whether they are equal, and the largest difference of rewards in units of the rewards' standard
deviation. Needs torch.
"""

import argparse
import json
import pathlib

import numpy as np
from tqdm import tqdm

from rewardjax import evaluators
from rewardjax.evaluators import stored_rewards
from rewardjax.evaluators.benchmarks import llmbar
from rewardjax.scoring import model as scorer

BATCH = 8  # responses of the padded check


def by_transformers(
    model: str, conversations: list[list[dict[str, str]]]
) -> tuple[np.ndarray, float]:
    """Rewards [n] of conversations, each scored alone;

    and how far a padded batch of the first ones moves them.
    """
    import torch
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(model)
    network = transformers.AutoModelForSequenceClassification.from_pretrained(
        model, dtype=torch.float32
    ).eval()

    def rewards(batch: list[list[dict[str, str]]]) -> np.ndarray:
        texts = [tokenizer.apply_chat_template(messages, tokenize=False) for messages in batch]
        starts_with_bos = bool(tokenizer.bos_token) and texts[0].startswith(tokenizer.bos_token)
        inputs = tokenizer(
            texts, return_tensors="pt", padding=True, add_special_tokens=not starts_with_bos
        )
        with torch.no_grad():
            return network(**inputs).logits[:, 0].numpy()

    alone = np.concatenate(
        [rewards([messages]) for messages in tqdm(conversations, "transformers")]
    )
    padded = rewards(conversations[:BATCH])
    return alone, float(np.abs(padded - alone[:BATCH]).max() / alone.std())


def read(data: pathlib.Path) -> list[tuple[str, list[list[dict[str, str]]]]]:
    """(subset, [conversation with the better output, with the worse one]) of every pair,
    straight from the files.
    """
    turn = lambda row, output: [
        {"role": "user", "content": row["input"]},
        {"role": "assistant", "content": row[output]},
    ]
    pairs = []
    # In the order of the files' names, in which ours are read.
    for name, subset in sorted(llmbar.SUBSETS.items()):
        for row in json.loads((data / f"{name}.json").read_text()):
            better, worse = (
                ("output_1", "output_2") if row["label"] == 1 else ("output_2", "output_1")
            )
            pairs.append((subset, [turn(row, better), turn(row, worse)]))
    return pairs


def compare(model: str, data: pathlib.Path) -> dict[str, object]:
    """The record that is printed."""
    loaded = scorer.load(model, dtype="float32")
    examples = evaluators.load("llmbar", path=data)
    found = stored_rewards.compute(
        examples,
        loaded.tokenizer,
        lambda groups: scorer.token_groups(loaded, groups),
        max_length=2**31 - 1,
        over_long="drop",
        meta={},
    )
    result = llmbar.summarize(found.items, found.rewards)
    ours = {name: part.value for name, part in result.parts.items()}

    pairs = read(data)
    rewards, padding = by_transformers(
        model, [conversation for _, pair in pairs for conversation in pair]
    )
    chosen, rejected = rewards.reshape(-1, 2).T
    subsets = np.array([subset for subset, _ in pairs])
    theirs = {
        subset: float(np.mean((chosen > rejected)[subsets == subset]))
        for subset in llmbar.SUBSETS.values()
    }
    return {
        "model": model,
        "pairs": len(pairs),
        "ours": ours,
        "transformers": theirs,
        "equal": ours == theirs,
        "chat_hard_llmbar_part": result.headline,
        "max_difference": float(
            np.abs(np.concatenate(found.rewards) - rewards).max() / rewards.std()
        ),
        "transformers_padding_difference": padding,
        "smallest_margin": float(np.abs(chosen - rejected).min() / rewards.std()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.llmbar_parity", description="LLMBar by us and by transformers."
    )
    parser.add_argument("--model", required=True, help="a Hugging Face folder of a reward model")
    parser.add_argument("--data", type=pathlib.Path, default=pathlib.Path("../shared/data/llmbar"))
    args = parser.parse_args()
    print(json.dumps(compare(args.model, args.data)))


if __name__ == "__main__":
    main()
