"""Training settings tried on some pairs, without a step: what would fail is told beforehand."""

import pathlib
from typing import Any

import jax
from flax import nnx

from rewardjax.config import Config
from rewardjax.models import reward
from rewardjax.models.build import decoder_config, load_tokenizer
from rewardjax.models.config import Compute
from rewardjax.models.trainable import split
from rewardjax.parallel.mesh import Layout, make_mesh
from rewardjax.training import loop, losses, optim
from rewardjax.training.abstract import abstract_batch
from rewardjax.training.preflight import tokenized
from rewardjax.training.step import make_step, zeros_like


def rehearse(config: Config, workdir: str | pathlib.Path, total_steps: int) -> None:
    """Do what `loop.run` does before its first step, and trace the step on shapes alone.

    Args:
        config: of a training, its data filled in.
        workdir: in which it would run; nothing is written there.
        total_steps: that it would take.

    Raises:
        errors.Refusal: with what training would refuse.
    """
    loop.mistakes(config, workdir).refuse()
    with jax.set_mesh(make_mesh(**config.mesh)):
        tokenizer = load_tokenizer(model_folder=config.model.folder, **config.tokenizer)
        loss = losses.get(**config.loss)
        train_set, held_out_sets, benchmarks = loop.read_data(config, tokenizer, loss.reads.unit)
        tokenized.check(config, train_set, [*held_out_sets, *benchmarks], total_steps).refuse()
        _trace_step(config, loss, total_steps)


def _trace_step(config: Config, loss: Any, total_steps: int) -> None:
    """Trace both functions of a step over abstract arrays: no memory, no compilation."""
    layout = Layout()
    model = reward.abstract(decoder_config(**config.model), Compute(**config.compute), layout)
    graph, params = nnx.split(model, nnx.Param)
    schedule = optim.make_schedule(total_steps=total_steps, **config.schedule)
    optimizer = optim.make_optimizer(schedule, params, **config.optimizer)
    trained, frozen = split(params, optim.is_trainable(params, config.optimizer.freeze))
    accumulate, update = make_step(graph, loss, optimizer, config.batch.pairs)
    total = jax.eval_shape(zeros_like, trained)
    batch = abstract_batch(config.batch, layout, loss.reads.unit)
    total = jax.eval_shape(accumulate, total, trained, batch, frozen)
    jax.eval_shape(update, trained, jax.eval_shape(optimizer.init, trained), total)
