"""How long a step should take, from a formula: nothing here has run on the slice.

A device computes and exchanges at the same time inside the layers' loops, so there the slower of
the two counts; what is exchanged outside the loops and the optimizer's pass over its state are
added.
"""

import dataclasses
import math

from rewardjax.aot.assumed_lengths import Packing
from rewardjax.aot.between_slices import Transfer
from rewardjax.aot.hlo import Collective
from rewardjax.aot.topology import GIB, Topology, torus_dimensions
from rewardjax.models import flops
from rewardjax.models.config import DecoderConfig

# Of peak that large bf16 products reach: published runs of long dense training come to 0.65 of peak
# in all.
MATMUL = 0.7
ATTENTION = 0.4  # of peak inside a live tile, whose softmax runs on slower units
BLOCK = 512  # queries and keys of a tile
# Dimensions of the torus -> the side from which on its last device is linked to the first.
WRAPS = {2: 16, 3: 4}
# Matmuls of the kernel's backward pass over those of its forward pass: 7 to 2, as dq and dk/dv each
# make the scores again.
ATTENTION_BACKWARD = 3.5

# What the remat policies of models/decoder.py keep of a layer for its backward pass, on the device.
# "none" keeps everything.
SAVES = {
    "offload": (),
    "full": ("layer_input",),
    "attn_out": ("layer_input", "attn_out"),
    "qkv": ("layer_input", "attn_out", "qkv"),
    "gate_up": ("layer_input", "attn_out", "qkv", "gate_up"),
    "none": ("layer_input", "attn_out", "qkv", "gate_up", "rest"),
}

ASSUMPTIONS = (
    f"matmuls reach {MATMUL} of the peak, attention tiles of {BLOCK} x {BLOCK} reach {ATTENTION}",
    "exchanges inside the layer loop overlap with computing, all others do not",
    "an exchange uses the links of the torus dimensions that its mesh axis lies along, half of "
    "them where a dimension does not wrap around",
    "what slices exchange overlaps with nothing, and a device has its share of its host's network",
    "input and host never make a device wait",
)


@dataclasses.dataclass(frozen=True)
class Prediction:
    """Of one optimizer step (in score mode: one call).

    Times in seconds, FLOPs of all devices together; useful ones as flops.train_flops has them.
    """

    micro_batches: int
    pairs: float
    tokens: float
    useful_flops: float
    executed_flops: float
    compute_seconds: float
    loop_exchange_seconds: float
    other_exchange_seconds: float
    network_seconds: float  # between slices
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
    between_slices: dict[str, list[Transfer]],
    state_gib: float,
) -> Prediction:
    """Predict a step from what was compiled and how data packs.

    `pairs` are those of a step (training), `rows` those of a micro-batch; `exchanges` are the
    collectives of each program by its name, within slices, and `between_slices` what goes over the
    network; `state_gib` is what a device holds.
    """
    devices = len(topology.devices)
    peak = peak_flops(topology)
    training = mode == "train"
    # A step fills as many micro-batches as its pairs need; a scoring call is one batch of rows.
    if training:
        micro_batches, done = math.ceil(pairs * packing.rows / rows), pairs
    else:
        micro_batches, done = 1, rows / packing.rows
    slots = micro_batches * rows * row_length
    # An upper bound: an empty row has its diagonal only.
    tiles = packing.tile_entries / packing.rows * micro_batches * rows

    # Padding is computed like any token, so slots count here, not tokens.
    matmul = 2.0 * flops.layer_params(decoder) * slots
    attention = 4.0 * decoder.layers * decoder.heads * decoder.head_dim * tiles
    useful_flops, update = flops.forward_flops, 0.0
    if training:
        again, attention_again = recomputed(decoder, remat)
        matmul *= 3 + again
        attention *= 1 + ATTENTION_BACKWARD + attention_again
        useful_flops = flops.train_flops
        # The state is read and written once, which takes longer than the arithmetic on it.
        update = 2 * state_gib * GIB / topology.chip.hbm_bytes_per_s
    compute = (matmul / MATMUL + attention / ATTENTION) / (devices * peak)

    loop = other = 0.0
    for name, collectives in exchanges.items():
        times = calls(name, micro_batches)
        for collective in collectives:
            seconds = times * exchange_seconds(collective, topology)
            if collective.in_loop:
                loop += seconds
            else:
                other += seconds
    network = (
        network_bytes(between_slices, micro_batches, topology.slices)
        / topology.chip.network_bytes_per_s
    )
    total = max(compute, loop) + other + network + update
    useful = useful_flops(decoder, round(done * packing.tokens), round(done * packing.entries))
    return Prediction(
        micro_batches=micro_batches,
        pairs=done,
        tokens=done * packing.tokens,
        useful_flops=useful,
        executed_flops=matmul + attention,
        compute_seconds=compute,
        loop_exchange_seconds=loop,
        other_exchange_seconds=other,
        network_seconds=network,
        update_seconds=update,
        seconds=total,
        mfu=useful / (total * devices * peak),
    )


def calls(program: str, micro_batches: int) -> int:
    """How often a program runs in a step."""
    # The parameters are updated once per step, everything else runs once per micro-batch.
    if program == "update":
        return 1
    return micro_batches


def network_bytes(
    between_slices: dict[str, list[Transfer]], micro_batches: int, slices: int
) -> float:
    """Bytes that each device sends to other slices in a step."""
    total = 0.0
    for program, transfers in between_slices.items():
        sent = sum(transfer.wire_bytes(slices) for transfer in transfers)
        total += calls(program, micro_batches) * sent
    return total


def peak_flops(topology: Topology) -> float:
    """bf16 FLOP/s of one device."""
    peak = flops.peak_flops(topology.device_kind)
    assert peak is not None, topology.device_kind
    return peak


def recomputed(decoder: DecoderConfig, remat: str) -> tuple[float, float]:
    """What a backward pass runs again.

    The share of a layer's matmuls, and whether (1 or 0) the attention kernel.
    """
    saved = SAVES[remat]
    if "rest" in saved:
        return 0.0, 0.0
    weights = flops.layer_weights(decoder)
    # The output projection runs again for the mlp's input. The mlp's output is never needed again.
    again = weights["o"]
    for name in ("qkv", "gate_up"):
        if name not in saved:
            again += weights[name]
    return again / sum(weights.values()), float("attn_out" not in saved)


def saved_gib(decoder: DecoderConfig, remat: str, tokens: int) -> float:
    """GiB of a device that a remat policy keeps of `tokens` bf16 tokens for the backward pass."""
    D, F, H = decoder.width, decoder.mlp_width, decoder.head_dim
    N, K = decoder.heads, decoder.kv_heads
    # Numbers per token. The rest: what the norms and sums make, and the gated product.
    widths = {
        "layer_input": D,
        "attn_out": N * H,
        "qkv": (N + 2 * K) * H,
        "gate_up": 2 * F,
        "rest": 4 * D + F,
    }
    return 2 * sum(widths[name] for name in SAVES[remat]) * decoder.layers * tokens / GIB


def exchange_seconds(collective: Collective, topology: Topology) -> float:
    """Seconds that the links need for a collective, all its turns."""
    lies_along = max(1, torus_dimensions(topology.sides, collective.group))
    share = lies_along / topology.chip.dimensions
    # Without the link from the last device to the first a ring becomes a line, which sends one way.
    if min(topology.sides) < WRAPS[topology.chip.dimensions]:
        share *= 0.5
    return collective.wire_bytes / (topology.chip.link_bytes_per_s * share)
