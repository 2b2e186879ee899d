"""The pretraining loop: steps on the world's corpus, a log, and a state to go on from."""

import dataclasses
import functools
import json
import pathlib
import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from tokenizers import Tokenizer

from rewardjax.data.world import VERSION
from rewardjax.models.decoder import Decoder
from rewardjax.parallel.mesh import make_mesh, place
from rewardjax.tools.pretrain_world.batches import make_batch
from rewardjax.tools.pretrain_world.state import STATE, load_state, save_state
from rewardjax.tools.pretrain_world.step import (
    COMPUTE,
    LAYOUT,
    config_of,
    make_loss,
    make_optimizer,
)

LOG = "log.jsonl"
# Steps whose metrics one line of the log averages.
LOG_EVERY = 50


def train(
    output: str,
    *,
    steps: int,
    seed: int,
    width: int,
    layers: int,
    heads: int,
    kv_heads: int,
    mlp_width: int,
    rows: int,
    length: int,
    learning_rate: float,
    wrong_weight: float,
    repeat: float,
    tasks: str,
    warmup: int,
    decay: int,
    save_every: int,
) -> None:
    """Pretrain up to `steps` steps in `output`, going on from its newest state.

    Appends one JSON line every LOG_EVERY steps to log.jsonl. Raises ValueError when the state in
    `output` has other sizes, FloatingPointError when the loss is no longer finite.
    """
    # All of them go into the log, from which `export` writes how the model was made.
    settings = {name: value for name, value in locals().items() if name != "output"}
    folder = pathlib.Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    config = config_of(width, layers, heads, kv_heads, mlp_width)
    (folder / "decoder.json").write_text(json.dumps(dataclasses.asdict(config)) + "\n")
    with jax.set_mesh(make_mesh()):
        decoder = jax.jit(lambda: Decoder(config, COMPUTE, LAYOUT, rngs=nnx.Rngs(params=seed)))()
        graph, weights = nnx.split(decoder, nnx.Param)
        # At zero, the probe says nothing until it has learned something.
        params = {"decoder": weights, "probe": {"w": jnp.zeros(width), "b": jnp.zeros(())}}
        tx = make_optimizer(learning_rate, steps, warmup, decay)
        update = _make_update(make_loss(graph, wrong_weight), tx)
        state, first = (params, jax.jit(tx.init)(params)), 0
        if (folder / STATE).exists():
            state, first = load_state(folder, state)
        _append(
            folder / LOG,
            {
                "start": first,
                "settings": settings,
                "world_version": VERSION,
                "jax": jax.__version__,
            },
        )
        size = sum(leaf.size for leaf in jax.tree.leaves(params))
        print(f"{size:,} parameters, step {first} of {steps}", flush=True)

        clock = _Clock(time.time(), first, steps, tokens_per_step=rows * length)
        recent: list[dict[str, jax.Array]] = []
        for step in range(first, steps):
            batch = make_batch(tokenizer, seed, step, rows, length, repeat, tuple(tasks.split("+")))
            state, metrics = update(state, place(batch, LAYOUT))
            # Left on the device: reading each one would make the loop wait for every step.
            recent.append(metrics)
            done = step + 1
            if done % LOG_EVERY == 0 or done == steps:
                _report(folder / LOG, done, recent, clock)
                recent = []
            if done % save_every == 0 or done == steps:
                save_state(folder, state, done)


def _make_update(loss: Any, tx: optax.GradientTransformation) -> Any:
    # The old state is given away: two of them need not be in memory.
    @functools.partial(jax.jit, donate_argnums=0)
    def update(state, batch):
        params, opt_state = state
        gradient = jax.value_and_grad(loss, has_aux=True)
        (value, parts), grads = gradient(params, batch)
        updates, opt_state = tx.update(grads, opt_state, params)
        return (optax.apply_updates(params, updates), opt_state), {"loss": value, **parts}

    return update


class _Clock(NamedTuple):
    """When this start of the run began, and between which steps it runs."""

    started: float
    first: int
    steps: int
    tokens_per_step: int


def _report(
    log: pathlib.Path, done: int, recent: list[dict[str, jax.Array]], clock: _Clock
) -> None:
    """Write the means of the recent steps to the log, and a line for people to the screen."""
    means = {}
    for name in recent[0]:
        means[name] = float(np.mean([metrics[name] for metrics in recent]))
    # Checked before the next save, so that the newest state is one that can go on.
    if not np.isfinite(means["loss"]):
        raise FloatingPointError(
            f"the loss is {means['loss']} near step {done}; lower --learning_rate"
        )
    seconds = time.time() - clock.started
    steps_per_second = (done - clock.first) / seconds
    tokens_per_second = round(steps_per_second * clock.tokens_per_step)
    _append(
        log,
        {
            "step": done,
            "tokens": done * clock.tokens_per_step,
            **means,
            "seconds": round(seconds, 1),
            "tokens_per_second": tokens_per_second,
        },
    )
    losses = "  ".join(f"{name} {means[name]:.4f}" for name in ("text", "verdict", "wrong"))
    minutes_left = (clock.steps - done) / steps_per_second / 60
    print(
        f"step {done}/{clock.steps}  {losses}  {tokens_per_second:,} tokens/s  "
        f"{minutes_left:.1f} min left",
        flush=True,
    )


def _append(log: pathlib.Path, record: dict[str, Any]) -> None:
    # Opened for each line: a run that is killed has all lines but the one being written.
    with open(log, "a") as file:
        file.write(json.dumps(record) + "\n")
