"""The shapes of a step's input, for whoever compiles or traces a step without data."""

import jax
from jax.sharding import NamedSharding

from rewardjax import config as config_lib
from rewardjax.data import pack
from rewardjax.parallel.mesh import Layout, refuse_uneven_rows
from rewardjax.training.preflight import row_fit


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
