"""Pretrain the world's language model: the backbone that reward models of the quickstart and the ablations start from.

    python -m rewardjax.pretrain tokenizer --output DIR              train the tokenizer on the corpus and write its files
    python -m rewardjax.pretrain train --output DIR --steps N        train the backbone; killed and started again, it goes on where it was
    python -m rewardjax.pretrain export --output DIR --to DIR        write the newest state as a Hugging Face folder in bfloat16

What it learns from: data/world/corpus.py. Step k reads the conversations k * n .. (k + 1) * n - 1 of the seed's corpus, so the batches are a pure function
of (seed, step). The learning rate is constant after a warmup and falls to zero over the last steps (warmup-stable-decay): a run can be cut short, or
prolonged, by changing --steps before the decay begins.

rewardjax/assets/world/pretraining.json records how the shipped backbone was made.
"""
import argparse
import functools
import json
import os
import pathlib
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from safetensors.numpy import load_file, save_file
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from rewardjax.data.world.corpus import Turn, documents
from rewardjax.mesh import Layout, make_mesh
from rewardjax.models.config import Compute, DecoderConfig
from rewardjax.models.decoder import Decoder

ASSETS = pathlib.Path(__file__).parent / "assets" / "world"
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>"]
ADDED = ["<think>", "</think>"]
VOCAB_SIZE = 1024
# Words with the space before them, single digits, runs of signs, line breaks, blanks: numbers are read digit by digit, spelled words letter by letter.
PIECES = r" ?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+|\s*[\r\n]+|\s+(?!\S)|\s+"
CHAT_TEMPLATE = (
    "{%- for message in messages %}{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)
DOCUMENTS_PER_ROW = 4.4  # of 256 tokens: a little more than fit, so that rows are full


# --- tokenizer -----------------------------------------------------------------------------------------------------------------------------


def train_tokenizer(seed: int, num: int) -> Tokenizer:
    """A byte-level BPE of VOCAB_SIZE tokens, special ones included, learnt from `num` conversations of the corpus."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(PIECES), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=VOCAB_SIZE - len(ADDED), special_tokens=SPECIAL, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    tokenizer.train_from_iterator((f"{turn.role}\n{turn.content}" for turns in documents(seed, num) for turn in turns), trainer)
    tokenizer.add_tokens([AddedToken(token, special=False, normalized=False) for token in ADDED])
    return tokenizer


def write_tokenizer(tokenizer: Tokenizer, folder: pathlib.Path) -> None:
    """tokenizer.json and the tokenizer_config.json that transformers reads."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 4096, "bos_token": None, "eos_token": "<|im_end|>", "pad_token": "<|pad|>",
        "unk_token": None, "add_bos_token": False, "clean_up_tokenization_spaces": False, "chat_template": CHAT_TEMPLATE,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")


# --- data ----------------------------------------------------------------------------------------------------------------------------------


def encode(tokenizer: Tokenizer, turns: list[Turn]) -> tuple[list[int], list[float]]:
    """Token ids of a conversation in the chat format, and the loss weight of each: `verdict` for the first token of a message, `weight` for the rest."""
    start, end, newline = tokenizer.token_to_id("<|im_start|>"), tokenizer.token_to_id("<|im_end|>"), tokenizer.encode("\n").ids
    ids, weights = [], []
    for turn in turns:
        role, content = tokenizer.encode(turn.role).ids + newline, tokenizer.encode(turn.content).ids
        ids += [start, *role, *content, end, *newline]
        weights += [0.1] * (1 + len(role)) + [turn.verdict] + [turn.weight] * len(content) + [0.1] * len(newline)
    return ids, weights


def make_batch(tokenizer: Tokenizer, seed: int, step: int, rows: int, length: int) -> dict[str, np.ndarray]:
    """Step `step`'s arrays [rows, length]: conversations packed longest first into the first row with room, each seeing only itself.
    Those that fit nowhere are left out."""
    num = int(rows * length / 256 * DOCUMENTS_PER_ROW)
    encoded = sorted((encode(tokenizer, turns) for turns in documents(seed, num, start=step * num)), key=lambda item: -len(item[0]))
    batch = {name: np.zeros((rows, length), np.int32) for name in ("tokens", "positions")}
    batch |= {name: np.tile(np.arange(length, dtype=np.int32), (rows, 1)) for name in ("see_from", "see_to")}
    batch["weights"] = np.zeros((rows, length), np.float32)
    used = np.zeros(rows, int)
    for ids, weights in encoded:
        fits = np.flatnonzero(used + len(ids) <= length)
        if fits.size:
            row, at = fits[0], slice(used[fits[0]], used[fits[0]] + len(ids))
            batch["tokens"][row, at], batch["positions"][row, at], batch["weights"][row, at] = ids, np.arange(len(ids)), weights
            batch["see_from"][row, at] = used[row]
            used[row] += len(ids)
    batch["weights"][batch["positions"] == 0] = 0.0  # nothing comes before a conversation's first token
    return batch


# --- training ------------------------------------------------------------------------------------------------------------------------------


def config_of(width: int, layers: int, heads: int, kv_heads: int, mlp_width: int) -> DecoderConfig:
    return DecoderConfig(family="qwen3", vocab_size=VOCAB_SIZE, width=width, mlp_width=mlp_width, layers=layers, heads=heads, kv_heads=kv_heads, head_dim=32,
                         rope_theta=10_000.0, norm_eps=1e-6, qk_norm=True, tied=True, max_positions=4096)


def make_loss(graph):
    """loss(params, batch): weighted mean cross-entropy of the next token through the tied embedding, and the mean over verdicts alone."""

    def loss(params, batch):
        model = nnx.merge(graph, params)
        x_BTD = model(batch["tokens"], batch["positions"], batch["see_from"], batch["see_to"])
        logits_BTV = jnp.einsum("BTD,VD->BTV", x_BTD, model.embed[...].astype(x_BTD.dtype), preferred_element_type=jnp.float32)[:, :-1]
        nll_BT = optax.softmax_cross_entropy_with_integer_labels(logits_BTV, batch["tokens"][:, 1:])
        weights_BT = batch["weights"][:, 1:]
        verdict_BT = weights_BT > 1
        mean = lambda w: jnp.sum(nll_BT * w) / jnp.maximum(jnp.sum(w), 1)
        return mean(weights_BT), {"verdict_nll": mean(verdict_BT)}

    return loss


def make_optimizer(learning_rate: float, steps: int, warmup: int, decay: int) -> optax.GradientTransformation:
    schedule = optax.join_schedules([optax.linear_schedule(0.0, learning_rate, warmup), optax.constant_schedule(learning_rate),
                                     optax.linear_schedule(learning_rate, 0.0, decay)], [warmup, steps - decay])
    matrices = lambda params: jax.tree.map(lambda leaf: leaf.ndim > 1, params)
    return optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(schedule, b1=0.9, b2=0.98, weight_decay=0.05, mask=matrices))
