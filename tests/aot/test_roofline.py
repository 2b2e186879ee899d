import dataclasses
import types

import numpy as np
import pytest

from rewardjax.aot import assumed_lengths, roofline
from rewardjax.aot.between_slices import Transfer
from rewardjax.aot.hlo import Collective
from rewardjax.aot.topology import CHIPS, Topology
from rewardjax.data import pack
from rewardjax.models import flops, variants
from rewardjax.models.decoder import REMAT

DECODER = variants.get("qwen3-8b")
PACKING = assumed_lengths.Packing(
    rows=0.0625, tokens=1000.0, entries=400_000.0, tile_entries=1e6, fill=0.98, live_to_causal=0.2
)


def slice_of(kind, sides):
    device_kind = {"v5p": "TPU v5", "v5e": "TPU v5 lite"}[kind]
    count = 1
    for side in sides:
        count *= side
    return Topology(
        f"{kind}:{sides}",
        sides,
        CHIPS[kind],
        [types.SimpleNamespace(device_kind=device_kind)] * count,
    )


def predict(pairs=1024, rows=64, remat="full", exchanges=(), mode="train", topology=None, sent=()):
    named = (
        {"accumulate": list(exchanges), "update": []}
        if mode == "train"
        else {"score": list(exchanges)}
    )
    return roofline.predict(
        DECODER,
        topology or slice_of("v5p", (4, 4, 4)),
        mode=mode,
        remat=remat,
        pairs=pairs,
        rows=rows,
        row_length=16_384,
        packing=PACKING,
        exchanges=named,
        between_slices={"update": list(sent)},
        state_gib=7.0,
    )


def gather(gib, in_loop, times=1):
    return Collective("all-gather", "bf16", ((1,),), int(gib * 2**30), 16, times, in_loop, "")


def test_a_step_takes_as_many_micro_batches_as_its_rows_fill():
    assert [predict(pairs=pairs).micro_batches for pairs in (1024, 1025, 10_240)] == [1, 2, 10]


def test_useful_flops_are_those_that_a_run_reports():
    assert predict().useful_flops == flops.train_flops(DECODER, 1024 * 1000, 1024 * 400_000)
    one_call = predict(mode="score")
    assert one_call.pairs == 64 / PACKING.rows
    assert one_call.useful_flops == flops.forward_flops(DECODER, 1024 * 1000, 1024 * 400_000)


def test_mfu_is_useful_work_over_time_and_peak():
    found = predict()
    assert found.mfu == pytest.approx(found.useful_flops / (found.seconds * 64 * 459e12))
    assert 0.2 < found.mfu < roofline.MATMUL


def test_policies_that_save_more_compute_less_but_not_less_than_three_forward_passes():
    assert set(roofline.SAVES) == set(REMAT)
    saved = [roofline.saved_gib(DECODER, remat, 16_384) for remat in roofline.SAVES]
    assert saved == sorted(set(saved))
    times = [predict(remat=remat).compute_seconds for remat in reversed(roofline.SAVES)]
    assert (
        times == sorted(times) and len(set(times)) == len(times) - 1
    )  # offloading computes what full does
    assert predict(remat="none").executed_flops > predict(remat="none").useful_flops
    again, attention = roofline.recomputed(DECODER, "full")
    assert (
        attention == 1.0 and 0.7 < again < 0.8
    )  # everything but the last of the mlp's three matrices


def test_exchanges_in_the_loop_hide_behind_computing_and_others_do_not():
    quiet = predict()
    assert predict(exchanges=[gather(1, in_loop=True)]).seconds == quiet.seconds
    outside = predict(exchanges=[gather(1, in_loop=False)])
    assert outside.seconds == pytest.approx(quiet.seconds + outside.other_exchange_seconds)
    slow = predict(exchanges=[gather(1, in_loop=True, times=10_000)])
    assert slow.seconds == pytest.approx(slow.loop_exchange_seconds + slow.update_seconds)


def test_what_slices_exchange_is_waited_for_once_per_step():
    two = dataclasses.replace(slice_of("v5p", (4, 4, 4)), slices=2)
    sums = Transfer("ALL_REDUCE", "f32", 6_250_000_000, times=1, in_loop=False)
    quiet = predict(pairs=10_240, topology=two)
    waiting = predict(pairs=10_240, topology=two, sent=[sums])
    assert quiet.micro_batches == 10
    assert waiting.network_seconds == pytest.approx(1.0)
    assert waiting.seconds == pytest.approx(quiet.seconds + 1.0)


def test_links_of_a_dimension_that_does_not_wrap_are_half_as_fast():
    one = gather(1, in_loop=False)
    sent = one.wire_bytes
    assert roofline.exchange_seconds(one, slice_of("v5p", (4, 4, 4))) == pytest.approx(
        sent / (600e9 * 2 / 3)
    )
    assert roofline.exchange_seconds(one, slice_of("v5e", (16, 16))) == pytest.approx(
        sent / (200e9 / 2)
    )
    assert roofline.exchange_seconds(one, slice_of("v5e", (8, 16))) == pytest.approx(
        sent / (200e9 / 2 / 2)
    )


def test_days_for_a_number_of_pairs():
    found = predict()
    assert found.days(found.pairs * 86_400 / found.seconds) == pytest.approx(1.0)


@pytest.mark.parametrize("kind, tokens, live", [("short", 960, 0.20), ("long", 1690, 0.30)])
def test_packed_rows_leave_few_tiles(kind, tokens, live):
    """At most 0.20 and 0.30 of the causal tiles hold anything, at 16,384 tokens a row."""
    packing = assumed_lengths.packing(kind, 16_384, 64, 512)
    assert packing.tokens == pytest.approx(tokens, rel=0.03)
    assert packing.fill > 0.98 and packing.live_to_causal <= live
    assert packing.entries < packing.tile_entries < 4 * packing.entries


def test_statistics_of_rows_agree_with_their_arrays():
    drawn = assumed_lengths.draw("short", 40)
    rows = pack.plan_rows(pack.bundle_lengths(drawn), 4096, 16)
    see_from, see_to = assumed_lengths.intervals(drawn, rows, 4096, 16)
    # A padding token sees itself alone, so each of them counts one that is taken off.
    padding = see_from.size - drawn.sum()
    assert np.sum(see_to - see_from + 1) - padding == pack.attention_entries(drawn)
    assert (
        assumed_lengths.packing("short", 4096, 16, 256, pairs=40).entries
        == pack.attention_entries(drawn) / 40
    )


def test_an_unknown_kind_of_data_is_named():
    with pytest.raises(ValueError, match="'medium'.*short, long"):
        assumed_lengths.draw("medium", 3)
