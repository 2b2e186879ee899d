"""A new user's way from nothing to a scored file of data of their own: ours beside TRL's.

    python -m benchmarks.first_day --data PAIRS.jsonl --tokenizer FOLDER [--pairs 400]

Both begin in an empty folder with the same small Qwen3-shaped backbone, which a hub would give them
(random weights, the tokenizer of FOLDER), and the same pairs. Every command is run as it is typed,
by the clock. TRL 1.16 trains by its own command line; it has none that scores, so its user writes
the script below. Prints one JSON line last: seconds of each command, the number of commands and of
lines of code.
"""

import argparse
import itertools
import json
import os
import pathlib
import subprocess
import tempfile
import time
from typing import Any, NamedTuple

import torch
from transformers import AutoTokenizer, Qwen3Config, Qwen3ForCausalLM

from rewardjax.data import formats, sources
from rewardjax.data.groups import Group

ROOT = pathlib.Path(__file__).parent.parent
# Of the config.json that transformers draws weights for: small, as this is about the way there.
BACKBONE: dict[str, Any] = {
    "hidden_size": 256,
    "intermediate_size": 768,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 32,
    "max_position_embeddings": 4096,
}
# What somebody writes who knows transformers: the pairs' conversations, one after another.
SCORE = """\
import csv, json, torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained("run")
model = AutoModelForSequenceClassification.from_pretrained("run", dtype="float32").eval()
right, pairs = 0, [json.loads(line) for line in open("pairs/train.jsonl")]
with open("scores.csv", "w", newline="") as file:
    writer = csv.writer(file)
    writer.writerow(["row", "response_index", "reward"])
    for row, pair in enumerate(pairs):
        rewards = []
        for k, side in enumerate(("chosen", "rejected")):
            text = tokenizer.apply_chat_template(pair["prompt"] + pair[side], tokenize=False)
            with torch.inference_mode():
                rewards.append(model(**tokenizer(text, return_tensors="pt")).logits.item())
            writer.writerow([row, k, rewards[k]])
        right += rewards[0] > rewards[1]
print("accuracy", right / len(pairs))
"""


class Command(NamedTuple):
    """What is typed, under a name."""

    name: str
    line: str


OURS = (
    Command("clone", f"git clone -q {ROOT} rewardjax"),
    Command("environment", "python3 -m venv .venv"),
    Command("install", ".venv/bin/pip install -q ./rewardjax"),
    Command(
        "train",
        ".venv/bin/rewardjax train --model backbone --data pairs/train.jsonl --held-out 5% "
        "--output run",
    ),
    Command(
        "score",
        ".venv/bin/rewardjax score --model run --data pairs/train.jsonl --output scores.csv",
    ),
)
# Full precision and no GPU, which its defaults take for granted; one pass, as ours.
TRL = (
    Command("environment", "python3 -m venv .venv"),
    Command("install", ".venv/bin/pip install -q torch trl"),
    Command(
        "train",
        ".venv/bin/trl reward --model_name_or_path backbone --dataset_name pairs "
        "--num_train_epochs 1 --bf16 False --use_cpu --report_to none --output_dir run",
    ),
    Command("score", ".venv/bin/python score.py"),
)


def walk(commands: tuple[Command, ...], folder: pathlib.Path) -> dict[str, float]:
    """Wall seconds of each command, run in `folder` one after another."""
    seconds = {}
    # A new user's shell knows nothing of where this benchmark runs.
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    for command in commands:
        print(f"$ {command.line}", flush=True)
        began = time.monotonic()
        subprocess.run(command.line, shell=True, cwd=folder, env=env, check=True)
        seconds[command.name] = round(time.monotonic() - began, 1)
    lines = sum(1 for _ in open(folder / "scores.csv"))
    assert lines > 1, f"{folder / 'scores.csv'} holds no scores"
    return seconds


def prepare(folder: pathlib.Path, data: pathlib.Path, tokenizer: pathlib.Path, pairs: int) -> None:
    """A user's folder: a backbone, and the first pairs of the data as conversations."""
    backbone = folder / "backbone"
    words = AutoTokenizer.from_pretrained(tokenizer)
    words.save_pretrained(backbone)
    torch.manual_seed(0)
    shape = Qwen3Config(vocab_size=len(words), tie_word_embeddings=True, **BACKBONE)
    Qwen3ForCausalLM(shape).save_pretrained(backbone)
    (folder / "pairs").mkdir()
    groups = formats.groups_of(sources.open_source(str(data)))
    with open(folder / "pairs" / "train.jsonl", "w") as file:
        for _, _, group in itertools.islice(groups, pairs):
            # A file with a record that cannot be read is for another benchmark.
            assert isinstance(group, Group), group
            chosen, rejected = group.responses
            row = {"prompt": group.prompt, "chosen": chosen, "rejected": rejected}
            file.write(json.dumps(row) + "\n")
    (folder / "score.py").write_text(SCORE)


def main() -> None:
    """Run both, and print what they took."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.first_day")
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--tokenizer", type=pathlib.Path, required=True)
    parser.add_argument("--pairs", type=int, default=400)
    args = parser.parse_args()
    result: dict[str, Any] = {"benchmark": "first_day", "pairs": args.pairs}
    sides = {"ours": (OURS, ""), "trl": (TRL, SCORE)}
    with tempfile.TemporaryDirectory() as scratch:
        for name, (commands, code) in sides.items():
            folder = pathlib.Path(scratch) / name
            folder.mkdir()
            prepare(folder, args.data, args.tokenizer, args.pairs)
            seconds = walk(commands, folder)
            result[name] = {
                "seconds": seconds,
                "total_s": round(sum(seconds.values()), 1),
                "commands": len(commands),
                "lines_of_code": len(code.splitlines()),
            }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
