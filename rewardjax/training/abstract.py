"""A step's functions and the shapes of what they take, for whoever compiles one without data."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from flax import nnx
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from rewardjax import config as config_lib
from rewardjax.data import pack
from rewardjax.models import reward
from rewardjax.models.build import decoder_config
from rewardjax.models.config import Compute
from rewardjax.models.trainable import split
from rewardjax.parallel.mesh import Layout, refuse_uneven_rows
from rewardjax.training import losses, optim
from rewardjax.training.preflight import row_fit
from rewardjax.training.step import make_step, zeros_like


class AbstractStep(NamedTuple):
    """The functions of `step.make_step` for a config, and shapes of all that a run has then."""

    accumulate: Callable
    update: Callable
    params: Any
    trainable: Any
    frozen: Any
    opt: Any
    total: Any
    batch: dict[str, jax.ShapeDtypeStruct]

    def accumulate_beside_opt(self) -> tuple[Callable, tuple[Any, ...]]:
        """`accumulate` as a run calls it, and its arguments.

        The optimizer's state is passed along unused: it is held while gradients are accumulated,
        and without it fitting would not mean what it means in a run.
        """
        function = jax.jit(
            lambda opt, *args: self.accumulate(*args), donate_argnums=1, keep_unused=True
        )
        return function, (self.opt, self.total, self.trainable, self.batch, self.frozen)


def abstract_step(config: config_lib.Config) -> AbstractStep:
    """The step of a config on the current mesh.

    Raises ValueError where the rows do not divide over it.
    """
    layout = Layout()
    graph, params = abstract_model(config, Compute(**config.compute), layout)
    # Of any length: it is a constant in the program, whatever its value.
    schedule = optim.make_schedule(**config.schedule, total_steps=config.steps or 1000)
    optimizer = optim.make_optimizer(schedule, params, **config.optimizer)
    trainable, frozen = split(params, optim.is_trainable(params, config.optimizer.freeze))
    loss = losses.get(**config.loss)
    accumulate, update = make_step(graph, loss, optimizer, config.batch.pairs)
    return AbstractStep(
        accumulate,
        update,
        params,
        trainable,
        frozen,
        opt=_placed(jax.eval_shape(optimizer.init, trainable)),
        total=_placed(jax.eval_shape(zeros_like, trainable)),
        batch=abstract_batch(config.batch, layout, loss.reads.unit),
    )


def abstract_model(
    config: config_lib.Config, compute: Compute, layout: Layout
) -> tuple[nnx.GraphDef, Any]:
    """The model's description and the shapes of its parameters."""
    return nnx.split(reward.abstract(decoder_config(**config.model), compute, layout), nnx.Param)


def _placed(tree: Any) -> Any:
    """Abstract arrays whose shardings name the devices of the current mesh."""
    mesh = jax.sharding.get_mesh()

    def place(x: Any) -> jax.ShapeDtypeStruct:
        spec = P()
        if x.sharding is not None:  # a counter has none
            spec = x.sharding.spec
        return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=NamedSharding(mesh, spec))

    return jax.tree.map(place, tree)


def abstract_batch(
    batch: config_lib.Config, layout: Layout, unit: str | None = None
) -> dict[str, jax.ShapeDtypeStruct]:
    """What `mesh.place` makes of a micro-batch: the arrays that a model reads, [B, width].

    unit: "pairs" or "groups", what a loss reads; their labels come with it. Raises ValueError where
    the rows do not divide over the current mesh.
    """
    left_to_data = [f"batch.{name}" for name in row_fit.FIELDS if batch[name] is None]
    if left_to_data:
        raise ValueError(
            f"{', '.join(left_to_data)}: training takes them from the data, and there are none "
            "here; set them"
        )
    refuse_uneven_rows(batch.rows)
    widths = pack.row_widths(batch.row_length, batch.pairs_per_row)
    if unit is not None:
        widths |= pack.label_widths(unit, batch.pairs_per_row, batch.responses)
    sharding = NamedSharding(jax.sharding.get_mesh(), layout.row_BT)
    return {
        name: jax.ShapeDtypeStruct((batch.rows, width), dtype, sharding=sharding)
        for name, (width, dtype) in widths.items()
    }
