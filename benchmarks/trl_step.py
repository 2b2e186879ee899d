"""Whether `benchmarks.peer` is what TRL's RewardTrainer does: both train on the same weights and
pairs, with TRL's defaults in float32.

    python -m benchmarks.trl_step [--smoke]

Needs TRL (pip install 'rewardjax[peer]'). Prints one JSON line last: the largest difference of
losses and of weights after some steps, whether all batches were the same, and the CPU seconds of a
step of each on one core.
"""

import argparse
import importlib.metadata
import json
import pathlib
import statistics
import tempfile
import time
from typing import Any

import jax
import numpy as np
import torch
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast, TrainerCallback

from benchmarks import lengths, ours, peer
from benchmarks.lengths import PAD
from benchmarks.sizes import SIZES, SMOKE, Size, cost, pin
from rewardjax.data.pack import TokenGroup, take_pair
from rewardjax.parallel.mesh import make_mesh


class Clock(TrainerCallback):
    """CPU seconds of each optimizer step."""

    def __init__(self):
        self.seconds: list[float] = []

    def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
        self.start = time.process_time()

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        self.seconds.append(time.process_time() - self.start)


def train_with_trl(
    size: Size, model: Any, pairs: list[TokenGroup], folder: pathlib.Path
) -> dict[str, Any]:
    """Runs the real trainer;

    returns its batches, in order, the loss and the CPU seconds of each step. `model` is changed in
    place.
    """
    import datasets  # pyright: ignore[reportMissingImports]
    from trl import RewardConfig, RewardTrainer  # pyright: ignore[reportMissingImports]
    from trl.trainer.reward_trainer import DataCollatorForPreference  # pyright: ignore[reportMissingImports]

    collator, batches = DataCollatorForPreference(pad_token_id=PAD), []

    def recording(examples: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        batch = collator(examples)
        batches.append({name: tensor.clone() for name, tensor in batch.items()})
        return batch

    ids = lambda side: [
        np.concatenate([pair.prefix, pair.suffixes[side]]).tolist() for pair in pairs
    ]
    clock = Clock()
    trainer = RewardTrainer(
        model=model,
        args=RewardConfig(
            output_dir=str(folder),
            per_device_train_batch_size=size.default_batch,
            gradient_accumulation_steps=size.pairs // size.default_batch,
            max_steps=len(pairs) // size.pairs,
            learning_rate=peer.LEARNING_RATE,
            lr_scheduler_type="constant",
            bf16=False,
            use_cpu=True,
            logging_steps=1,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
        ),
        data_collator=recording,
        train_dataset=datasets.Dataset.from_dict({"chosen_ids": ids(0), "rejected_ids": ids(1)}),
        processing_class=PreTrainedTokenizerFast(
            tokenizer_object=Tokenizer(models.WordLevel({"[PAD]": PAD}, "[PAD]")), pad_token="[PAD]"
        ),
        callbacks=[clock],
    )
    trainer.train()
    losses = [line["loss"] for line in trainer.state.log_history if "loss" in line]
    return {"batches": batches, "losses": losses, "seconds": clock.seconds}


def pairs_of(batch: dict[str, torch.Tensor]) -> list[TokenGroup]:
    """The pairs that a padded batch holds."""
    rows = [
        row[mask.bool()].numpy().astype(np.int32)
        for row, mask in zip(batch["input_ids"], batch["attention_mask"], strict=True)
    ]
    half = len(rows) // 2
    return [
        take_pair(TokenGroup(rows[i][:0], [rows[i], rows[half + i]]), 0, 1) for i in range(half)
    ]


def compare(size: Size, folder: pathlib.Path) -> dict[str, Any]:
    """The differences between TRL and its re-creation over `size.steps + 1` steps."""
    ours.init(size, folder / "hf")
    lengths_n3 = lengths.draw("short", size.pairs * (size.steps + 1), 2, size.max_length, seed=0)
    pairs = lengths.random_groups(lengths_n3, size.model.vocab_size, seed=0)
    theirs, recreated = (
        peer.load(folder / "hf", "cpu"),
        peer.load(folder / "hf", "cpu", checkpointing=True),
    )
    found = train_with_trl(size, theirs, pairs, folder / "trl")
    step = peer.trainer(recreated, size.default_batch, "float32")
    losses, seconds, same = [], [], True
    per_step = size.pairs // size.default_batch
    for first in range(0, len(found["batches"]), per_step):
        batches = found["batches"][first : first + per_step]
        same &= all(
            torch.equal(batch[name], tensor)
            for batch in batches
            for name, tensor in peer.collate(pairs_of(batch)).items()
        )
        step_pairs = [pair for batch in batches for pair in pairs_of(batch)]
        seconds.append(cost(lambda step_pairs=step_pairs: losses.append(step(step_pairs)), "cpu"))
    weights = dict(recreated.named_parameters())
    return {
        "trl": importlib.metadata.version("trl"),
        "transformers": importlib.metadata.version("transformers"),
        "steps": len(losses),
        "same_batches": bool(same),
        "max_loss_diff": float(np.max(np.abs(np.subtract(losses, found["losses"])))),
        "max_weight_diff": max(
            float((param - weights[name]).detach().abs().max())
            for name, param in theirs.named_parameters()
        ),
        "trl_step_cpu_s": round(statistics.median(found["seconds"][1:] or found["seconds"]), 4),
        "peer_step_cpu_s": round(statistics.median(seconds[1:] or seconds), 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.trl_step", description="TRL's trainer against its re-creation."
    )
    parser.add_argument(
        "--smoke", action="store_true", help="a tiny size: differences count, times do not"
    )
    args = parser.parse_args()
    pin()
    torch.set_num_threads(1)
    with jax.set_mesh(make_mesh()), tempfile.TemporaryDirectory() as folder:
        result = compare(SMOKE if args.smoke else SIZES["cpu"]["small"], pathlib.Path(folder))
    print(json.dumps({"benchmark": "trl_step"} | result))


if __name__ == "__main__":
    main()
