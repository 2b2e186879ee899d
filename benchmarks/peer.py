"""The other side of the comparisons: a step of TRL's RewardTrainer, from token ids to updated
weights, re-created on transformers.

TRL 1.16: right padding to the longest of a batch's 2B sequences, chosen ones first; a transformers
*ForSequenceClassification with SDPA; the mean of -log sigmoid(chosen - rejected); fused AdamW
without weight decay, gradients clipped to norm 1. Its defaults: 8 pairs a batch, checkpointing,
bfloat16 autocast over float32 weights, pairs with more than 1024 tokens left out.
`benchmarks.trl_step` compares this file with the real one.
"""

import gc
import pathlib
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch.nn.functional import logsigmoid
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedModel

from benchmarks.lengths import PAD
from rewardjax.data.pack import TokenGroup

LEARNING_RATE, CLIP_NORM = 1e-4, 1.0


def draw(folder: pathlib.Path, seed: int) -> None:
    """Adds weights to a folder with a config.json, as transformers draws them:

    of standard deviation 0.02, those of the head too.
    """
    torch.manual_seed(seed)
    AutoModelForSequenceClassification.from_config(
        AutoConfig.from_pretrained(folder), dtype=torch.float32
    ).save_pretrained(folder)


def load(folder: pathlib.Path, platform: str, checkpointing: bool = False) -> PreTrainedModel:
    """The model of a Hugging Face folder, float32, ready to train."""
    model = AutoModelForSequenceClassification.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="sdpa"
    )
    if checkpointing:
        model.gradient_checkpointing_enable()
    return model.train().to("cuda" if platform == "gpu" else "cpu")


def free_memory() -> None:
    """Gives the memory of models that nobody holds any more back to the GPU, where there is one."""
    gc.collect()  # a model and its hooks refer to each other
    torch.cuda.empty_cache()


def collate(pairs: Sequence[TokenGroup]) -> dict[str, torch.Tensor]:
    """TRL's DataCollatorForPreference:

    input_ids and attention_mask [2 * pairs, longest], chosen first, padded on the right.
    """
    ids = [
        torch.tensor(np.concatenate([pair.prefix, pair.suffixes[side]]), dtype=torch.int64)
        for side in (0, 1)
        for pair in pairs
    ]
    pad = lambda sequences, value: pad_sequence(sequences, batch_first=True, padding_value=value)
    return {
        "input_ids": pad(ids, PAD),
        "attention_mask": pad([torch.ones_like(one) for one in ids], 0),
    }


def rewards(model: PreTrainedModel, batch: dict[str, torch.Tensor], dtype: str) -> torch.Tensor:
    """[sequences] float32, in order; bfloat16 is autocast, as TRL does it."""
    batch = {name: tensor.to(model.device) for name, tensor in batch.items()}
    with torch.autocast(model.device.type, torch.bfloat16, enabled=dtype == "bfloat16"):
        return model(**batch, use_cache=False).logits.squeeze(-1).float()


def loss(model: PreTrainedModel, pairs: Sequence[TokenGroup], dtype: str) -> torch.Tensor:
    """RewardTrainer.compute_loss."""
    chosen, rejected = torch.chunk(rewards(model, collate(pairs), dtype), 2)
    return -logsigmoid(chosen - rejected).mean()


def trainer(
    model: PreTrainedModel, batch: int, dtype: str
) -> Callable[[Sequence[TokenGroup]], float]:
    """A function that takes an optimizer step over some pairs, `batch` pairs at a time, and
    returns their loss.
    """
    optimizer = torch.optim.AdamW(model.parameters(), LEARNING_RATE, weight_decay=0.0, fused=True)

    def step(pairs: Sequence[TokenGroup]) -> float:
        total = accumulate(model, pairs, batch, dtype)
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP_NORM)
        optimizer.step()
        optimizer.zero_grad()
        return total.item()  # waits for a GPU to be done

    return step


def accumulate(
    model: PreTrainedModel, pairs: Sequence[TokenGroup], batch: int, dtype: str
) -> torch.Tensor:
    """Leaves the gradient of the mean loss over `pairs` in the model's parameters;

    returns that loss.
    """
    if len(pairs) % batch:
        raise ValueError(f"{len(pairs)} pairs are not a whole number of batches of {batch}")
    total = torch.zeros((), device=model.device)
    for first in range(0, len(pairs), batch):
        part = loss(model, pairs[first : first + batch], dtype) * (batch / len(pairs))
        part.backward()
        total += part.detach()
    return total


def gradients(
    model: PreTrainedModel, pairs: Sequence[TokenGroup], batch: int, dtype: str
) -> dict[str, np.ndarray]:
    """Gradients of the mean loss by name; the model is left without any."""
    accumulate(model, pairs, batch, dtype)
    found = {
        name: param.grad.cpu().numpy()
        for name, param in model.named_parameters()
        if param.grad is not None
    }
    model.zero_grad()
    return found


def scorer(
    model: PreTrainedModel, batch: int, dtype: str
) -> Callable[[Sequence[TokenGroup]], list[np.ndarray]]:
    """A function from token groups to the rewards [K] of each: `batch` conversations at a time in
    their order, padded to the longest, as evaluation loops and reward-bench do it.
    """
    model.eval()

    @torch.inference_mode()
    def score(groups: Sequence[TokenGroup]) -> list[np.ndarray]:
        conversations = [
            np.concatenate([group.prefix, suffix]) for group in groups for suffix in group.suffixes
        ]
        found = []
        for first in range(0, len(conversations), batch):
            ids = [
                torch.tensor(one, dtype=torch.int64) for one in conversations[first : first + batch]
            ]
            padded = pad_sequence(ids, batch_first=True, padding_value=PAD)
            mask = pad_sequence([torch.ones_like(one) for one in ids], batch_first=True)
            found.append(
                rewards(model, {"input_ids": padded, "attention_mask": mask}, dtype).cpu().numpy()
            )
        ends = np.cumsum([len(group.suffixes) for group in groups])[:-1]
        return np.split(np.concatenate(found), ends)

    return score
