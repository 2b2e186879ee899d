"""What a report counts, on collectives made by hand."""

import pytest

from rewardjax.aot import measure
from rewardjax.aot.hlo import Collective
from rewardjax.models import variants

DECODER = variants.get("llama3.2-1b")  # width 2048, mlp 8192, 32 query and 8 kv heads of 64


def one(kind, *shapes, dtype="bf16", in_loop=True, times=3):
    return Collective(kind, dtype, shapes, 1024, 4, times, in_loop, "")


def counted(*found):
    return {
        name
        for name, count in measure.checks({"accumulate": list(found)}, DECODER).items()
        if count
    }


@pytest.mark.parametrize(
    "found, names",
    [
        (one("all-reduce", (2048, 8192)), {"full_weight_all_reduces_in_loop"}),
        (one("all-reduce", (1, 64, 32, 2048)), {"full_weight_all_reduces_in_loop"}),
        (one("all-reduce", (2048, 512)), {"full_weight_all_reduces_in_loop"}),
        (one("all-reduce", (2056, 8192)), {"full_weight_all_reduces_in_loop"}),  # padded
        (
            one("all-reduce", (512, 8192), (512, 32, 64)),
            set(),
        ),  # parts over fsdp=4, summed over data
        (one("all-reduce", (512, 8192), (2048, 8, 64)), {"full_weight_all_reduces_in_loop"}),
        (one("all-reduce", (2048, 8192), in_loop=False), set()),
        (one("reduce-scatter", (2048, 8192)), set()),
        (one("all-gather", (2048, 8192)), set()),
        (one("all-gather", (2048, 8192), dtype="f32"), {"float32_weight_gathers"}),
        (one("all-reduce", (128_256, 2048), dtype="f32", in_loop=False), {"of_table_size"}),
        (one("all-reduce", (128_256, 512), dtype="f32", in_loop=False), set()),
    ],
)
def test_what_a_good_layout_has_none_of(found, names):
    assert counted(found) == names


def test_exchanges_of_a_step_are_those_of_its_micro_batches_and_one_update():
    programs = {
        "accumulate": [one("all-gather", (8, 8), times=2)],
        "update": [one("all-reduce", (8, 8), times=1)],
    }
    total = measure.per_step(programs, micro_batches=5)
    assert total["all-gather"] == {"count": 10, "gib": 10 * 1024 * 3 / 4 / 2**30}
    assert total["all-reduce"]["count"] == 1
