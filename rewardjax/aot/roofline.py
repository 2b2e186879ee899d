"""How long a step should take, from a formula: nothing here has run on the slice.

A device computes and exchanges at the same time inside the layers' loops, so there the slower of the two counts; what is exchanged outside
the loops and the optimizer's pass over its state are added.
"""

import dataclasses
import math

from rewardjax.aot.assumed_lengths import Packing
from rewardjax.aot.hlo import Collective
from rewardjax.aot.topology import GIB, Topology, torus_dimensions
from rewardjax.models import flops
from rewardjax.models.config import DecoderConfig

MATMUL = 0.7  # of peak that large bf16 products reach: published runs of long dense training come to 0.65 of peak in all
ATTENTION = 0.4  # of peak inside a live tile, whose softmax runs on slower units
BLOCK = 512  # queries and keys of a tile
ATTENTION_BACKWARD = 3.5  # matmuls of the kernel's backward pass over those of its forward pass: 7 to 2, scores being made twice

# What the remat policies of models/decoder.py keep of a layer for its backward pass, on the device. "none": everything.
SAVES = {
    "offload": (),
    "full": ("layer_input",),
    "attn_out": ("layer_input", "attn_out"),
    "qkv": ("layer_input", "attn_out", "qkv"),
    "gate_up": ("layer_input", "attn_out", "qkv", "gate_up"),
    "none": ("layer_input", "attn_out", "qkv", "gate_up", "rest"),
}

ASSUMPTIONS = (
    f"matmuls reach {MATMUL} of the peak and attention tiles of {BLOCK} x {BLOCK} reach {ATTENTION}",
    "exchanges inside the layer loop overlap with computing, all others do not",
    "an exchange uses the links of the torus dimensions that its mesh axis lies along, half of them where a dimension does not wrap around",
    "input and host never make a device wait",
)


@dataclasses.dataclass(frozen=True)
class Prediction:
    """Of one optimizer step (in score mode: one call). Times in seconds, FLOPs of all devices together; useful ones as metrics.train_flops
    has them."""

    micro_batches: int
    pairs: float
    tokens: float
    useful_flops: float
    executed_flops: float
    compute_seconds: float
    loop_exchange_seconds: float
    other_exchange_seconds: float
    update_seconds: float
    seconds: float
    mfu: float

    def days(self, pairs: float) -> float:
        """Days for so many pairs."""
        return pairs / self.pairs * self.seconds / 86_400


def predict(
    decoder: DecoderConfig,
    topology: Topology,
    *,
    mode: str,
    remat: str,
    pairs: int,
    rows: int,
    row_length: int,
    packing: Packing,
    exchanges: dict[str, list[Collective]],
    state_gib: float,
) -> Prediction:
    """`pairs` of a step (training), `rows` of a micro-batch; `exchanges` of each program by its name, `state_gib` of a device."""
    devices = len(topology.devices)
    peak = peak_flops(topology)
    training = mode == "train"
    micro_batches = math.ceil(pairs * packing.rows / rows) if training else 1
    done = pairs if training else rows / packing.rows
    slots = micro_batches * rows * row_length
    tiles = (
        packing.tile_entries / packing.rows * micro_batches * rows
    )  # an empty row still has its diagonal: less than this

    matmul = 2.0 * flops.layer_params(decoder) * slots
    attention = 4.0 * decoder.layers * decoder.heads * decoder.head_dim * tiles
    again, attention_again = recomputed(decoder, remat) if training else (0.0, 0.0)
    matmul *= 3 + again if training else 1
    attention *= 1 + ATTENTION_BACKWARD + attention_again if training else 1
    compute = (matmul / MATMUL + attention / ATTENTION) / (devices * peak)

    times = {name: 1 if name == "update" else micro_batches for name in exchanges}
    seconds = lambda looped: sum(
        times[name] * exchange_seconds(one, topology)
        for name, found in exchanges.items()
        for one in found
        if one.in_loop == looped
    )
    loop, other = seconds(True), seconds(False)
    update = 2 * state_gib * GIB / topology.chip.hbm_bytes_per_s if training else 0.0
    total = max(compute, loop) + other + update
    useful = (flops.train_flops if training else flops.forward_flops)(
        decoder, round(done * packing.tokens), round(done * packing.entries)
    )
    return Prediction(
        micro_batches,
        done,
        done * packing.tokens,
        useful,
        matmul + attention,
        compute,
        loop,
        other,
        update,
        total,
        useful / (total * devices * peak),
    )


def peak_flops(topology: Topology) -> float:
    """bf16 FLOP/s of one device."""
    peak = flops.peak_flops(topology.device_kind)
    assert peak is not None, topology.device_kind
    return peak


def recomputed(decoder: DecoderConfig, remat: str) -> tuple[float, float]:
    """What a backward pass runs again: the share of a layer's matmuls, and whether (1 or 0) the attention kernel."""
    saved = SAVES[remat]
    if "rest" in saved:
        return 0.0, 0.0
    D, F, N, K, H = (
        decoder.width,
        decoder.mlp_width,
        decoder.heads,
        decoder.kv_heads,
        decoder.head_dim,
    )
    again = (
        D * N * H
    )  # the output projection, for the mlp's input; the mlp's output is never needed again
    again += 0 if "gate_up" in saved else 2 * D * F
    again += 0 if "qkv" in saved else D * (N + 2 * K) * H
    return again * decoder.layers / flops.layer_params(decoder), float("attn_out" not in saved)


def saved_gib(decoder: DecoderConfig, remat: str, tokens: int) -> float:
    """GiB of a device that a remat policy keeps of `tokens` bf16 tokens for the backward pass."""
    D, F, N, K, H = (
        decoder.width,
        decoder.mlp_width,
        decoder.heads,
        decoder.kv_heads,
        decoder.head_dim,
    )
    widths = {
        "layer_input": D,
        "attn_out": N * H,
        "qkv": (N + 2 * K) * H,
        "gate_up": 2 * F,
        "rest": 4 * D + F,
    }
    return 2 * sum(widths[name] for name in SAVES[remat]) * decoder.layers * tokens / GIB


def exchange_seconds(one: Collective, topology: Topology) -> float:
    """Seconds that the links need for a collective, all its turns."""
    lies_along = max(1, torus_dimensions(topology.sides, one.group))
    wraps = (
        4 if topology.chip.dimensions == 3 else 16
    )  # sides from which on the last device is linked to the first
    share = lies_along / topology.chip.dimensions * (1.0 if min(topology.sides) >= wraps else 0.5)
    return one.wire_bytes / (topology.chip.link_bytes_per_s * share)
