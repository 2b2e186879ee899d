"""A config on a slice, measured and predicted, as plain values and as text."""

import math
from collections.abc import Iterator
from typing import Any

from rewardjax import config as config_lib
from rewardjax.aot import assumed_lengths, between_slices, hlo, roofline
from rewardjax.aot.program import MODES, Compiled
from rewardjax.aot.topology import Topology, mesh_shapes
from rewardjax.models.build import decoder_config
from rewardjax.models.config import DecoderConfig

CURATED_PAIRS = 26_000_000  # of the paper's curated subset


def measure(
    config: config_lib.Config, topology: Topology, mode: str = "train", kind: str = "short"
) -> dict[str, Any]:
    """Compile `mode`'s programs: what they need, and where they fit, how long they should take.

    Returns plain JSON values; `fits` is the verdict. Sizes are GiB of one device.
    """
    compiled = MODES[mode](config, topology)
    decoder = decoder_config(**config.model)
    result = _memory(config, topology, mode, compiled)
    if not compiled.fits:
        over = result["needed_gib"] - result["limit_gib"]
        return result | {
            "over_gib": over,
            "what_helps": list(what_helps(config, topology, compiled, decoder, over)),
            "collectives": {},
            "mfu": None,
        }
    exchanges: dict[str, list[hlo.Collective]] = {}
    network: dict[str, list[between_slices.Transfer]] = {}
    for program in compiled.programs:
        text = program.text or ""
        exchanges[program.name] = hlo.collectives(text, len(topology.devices))
        network[program.name] = between_slices.transfers(text)
    packing = assumed_lengths.packing(
        kind, config.batch.row_length, config.batch.pairs_per_row, roofline.BLOCK
    )
    predicted = roofline.predict(
        decoder,
        topology,
        mode=mode,
        remat=config.compute.remat,
        pairs=config.batch.pairs,
        rows=config.batch.rows,
        row_length=config.batch.row_length,
        packing=packing,
        exchanges=exchanges,
        between_slices=network,
        state_gib=result["state_gib"],
    )
    days = predicted.days(CURATED_PAIRS)
    return result | {
        "collectives": per_step(exchanges, predicted.micro_batches),
        "exchanges": checks(exchanges, decoder),
        "between_slices": between(network, predicted.micro_batches, topology.slices),
        "lengths": {"kind": kind, **packing._asdict()},
        "step": {
            "pairs": predicted.pairs,
            "tokens": predicted.tokens,
            "micro_batches": predicted.micro_batches,
            "useful_flops": predicted.useful_flops,
            "executed_flops": predicted.executed_flops,
            "seconds": predicted.seconds,
            "seconds_computing": predicted.compute_seconds,
            "seconds_exchanging_in_loops": predicted.loop_exchange_seconds,
            "seconds_exchanging_elsewhere": predicted.other_exchange_seconds,
            "seconds_between_slices": predicted.network_seconds,
            "seconds_updating": predicted.update_seconds,
        },
        "mfu": predicted.mfu,
        "pairs_per_second": predicted.pairs / predicted.seconds,
        "run": {"pairs": CURATED_PAIRS, "days": days, "chip_hours": days * 24 * topology.chips},
        "assumptions": list(roofline.ASSUMPTIONS),
    }


def _memory(
    config: config_lib.Config, topology: Topology, mode: str, compiled: Compiled
) -> dict[str, Any]:
    """What was compiled and what it needs, before any prediction."""
    programs = compiled.programs
    remat = config.compute.remat
    if mode != "train":  # nothing is kept for a backward pass
        remat = "none"
    return {
        "topology": topology.name,
        "slices": topology.slices,
        "chips": topology.chips,
        "mode": mode,
        "mesh": compiled.mesh,
        "rows_per_device": config.batch.rows // (compiled.mesh["data"] * compiled.mesh["fsdp"]),
        "row_length": config.batch.row_length,
        "remat": remat,
        "fits": compiled.fits,
        "state_gib": sum(compiled.state_gib.values()),
        "state": compiled.state_gib,
        # Programs run one after another, so the largest decides, not the sum.
        "temp_gib": max(program.temp_gib for program in programs),
        "needed_gib": max(program.needed_gib for program in programs),
        "limit_gib": topology.chip.limit_gib,
        "host_offload_gib": max(program.host_gib for program in programs)
        * topology.chip.devices_per_host,
        "compile": {
            "seconds": sum(program.seconds for program in programs),
            "host_gib": compiled.host_peak_gib,
        },
    }


def per_step(
    exchanges: dict[str, list[hlo.Collective]], micro_batches: int
) -> dict[str, dict[str, float]]:
    """By kind, over a whole step: how many collectives run, and GiB that each device sends."""
    total: dict[str, dict[str, float]] = {}
    for program, collectives in exchanges.items():
        times = roofline.calls(program, micro_batches)
        for kind, row in hlo.summary(collectives).items():
            sum_of = total.setdefault(kind, {"count": 0, "gib": 0.0})
            sum_of["count"] += times * row["count"]
            sum_of["gib"] += times * row["gib"]
    return total


def between(
    network: dict[str, list[between_slices.Transfer]], micro_batches: int, slices: int
) -> dict[str, float]:
    """What each device sends to other slices in a step: how many arrays, how many in loops, GiB."""
    counts = {"count": 0, "in_loops": 0}
    for program, transfers in network.items():
        for transfer in transfers:
            times = roofline.calls(program, micro_batches) * transfer.times
            counts["count"] += times
            counts["in_loops"] += times * transfer.in_loop
    sent = roofline.network_bytes(network, micro_batches, slices)
    return {**counts, "gib": sent / 2**30}


def checks(exchanges: dict[str, list[hlo.Collective]], decoder: DecoderConfig) -> dict[str, int]:
    """Counts of what a good layout has none of.

    Collectives as large as the embedding table, weights gathered in float32, and gradients of whole
    weights that are all-reduced in the layer loop rather than scattered.
    """
    table = decoder.vocab_size * decoder.width
    smallest = decoder.width * decoder.kv_heads * decoder.head_dim  # a layer's k or v
    counts = dict(of_table_size=0, float32_weight_gathers=0, full_weight_all_reduces_in_loop=0)
    for collectives in exchanges.values():
        for collective in collectives:
            counts["of_table_size"] += collective.elements >= table
            counts["float32_weight_gathers"] += (
                collective.kind == "all-gather"
                and collective.dtype == "f32"
                and collective.elements >= smallest
            )
            counts["full_weight_all_reduces_in_loop"] += (
                collective.kind == "all-reduce"
                and collective.in_loop
                and any(is_weight(shape, decoder) for shape in collective.shapes)
            )
    return counts


def is_weight(shape: tuple[int, ...], decoder: DecoderConfig) -> bool:
    """Whether an array has the shape of a whole matrix of a layer, rather than of a part of one.

    Its axes may be in any order and perhaps padded.
    """
    D, F, H = decoder.width, decoder.mlp_width, decoder.head_dim
    N, K = decoder.heads, decoder.kv_heads
    sides = sorted(side for side in shape if side > 1)

    def covers(matrix: tuple[int, ...]) -> bool:
        # Padding to the compiler's tiles adds less than as much again; half a side is a part of it.
        return len(matrix) == len(sides) and all(
            whole <= side < 2 * whole for whole, side in zip(sorted(matrix), sides, strict=True)
        )

    return any(map(covers, ((D, F), (D, N, H), (D, K, H), (D, N * H), (D, K * H))))


def what_helps(
    config: config_lib.Config,
    topology: Topology,
    compiled: Compiled,
    decoder: DecoderConfig,
    over: float,
) -> Iterator[str]:
    """Changes that make a program smaller, with the GiB that each saves by arithmetic.

    Those that suffice alone say so.
    """
    shards = compiled.mesh["data"] * compiled.mesh["fsdp"]
    rows = config.batch.rows // shards
    state = sum(compiled.state_gib.values())
    temp = max(program.temp_gib for program in compiled.programs)

    def advice(change: str, saves: float) -> str:
        enough = ", enough" * (saves >= over)
        return f"{change}: saves about {saves:.1f} GiB{enough}"

    # A training program holds more than its parameters.
    if len(compiled.state_gib) > 1:
        tokens = rows * config.batch.row_length
        saved = roofline.saved_gib(decoder, config.compute.remat, tokens)
        for policy in roofline.SAVES:
            less = saved - roofline.saved_gib(decoder, policy, tokens)
            if less > 0:
                yield advice(f"compute.remat={policy}", less)
        # The first moment is half of the optimizer's state, and takes half of that in bfloat16.
        if config.optimizer.mu_dtype == "float32":
            yield advice("optimizer.mu_dtype=bfloat16", compiled.state_gib["optimizer"] / 4)
    if rows > 1:
        yield advice(f"batch.rows={shards}, one row per device", temp * (1 - 1 / rows))
    for data, fsdp in reversed(mesh_shapes(topology.sides, topology.chip, topology.slices)):
        if fsdp > compiled.mesh["fsdp"]:
            less = state * (1 - compiled.mesh["fsdp"] / fsdp)
            yield advice(f"mesh.data={data} mesh.fsdp={fsdp}", less)
    # More chips split the state, never the temporaries of a row.
    if temp < topology.chip.limit_gib:
        parts = max(2.0, state / (topology.chip.limit_gib - temp))
        chips = topology.chips * 2 ** math.ceil(math.log2(parts))
        yield f"a slice of {chips} chips with all of the added ones in mesh.fsdp"
    if rows == 1:
        yield (
            f"batch.row_length below {config.batch.row_length} (with data.max_length), which the "
            f"temporaries of {temp:.1f} GiB grow with"
        )


# ------------------------------------------------------------------ for a reader


def text(result: dict[str, Any]) -> str:
    """The result for a reader."""
    split = [f"{axis} {size}" for axis, size in result["mesh"].items() if size > 1]
    mesh = " x ".join(split) or "one device"
    state = ", ".join(f"{name} {size:.2f}" for name, size in result["state"].items())
    rows = f"{result['rows_per_device']} x {result['row_length']} tokens per device"
    compiled = result["compile"]
    where = result["topology"]
    if result["slices"] > 1:
        where = f"{result['slices']} slices of {where}"
    lines = [
        f"{result['mode']} on {where}: {result['chips']} chips as {mesh}, {rows}, "
        f"remat {result['remat']}",
        _verdict(result),
        f"  state        {result['state_gib']:.2f} GiB ({state})",
        f"  temporary    {result['temp_gib']:.2f} GiB",
        f"  host         {result['host_offload_gib']:.2f} GiB of activations",
        f"  compiled     in {compiled['seconds']:.0f} s and {compiled['host_gib']:.1f} GiB on this "
        "machine",
    ]
    if not result["fits"]:
        lines.append("what would make it fit:")
        lines += [f"  {change}" for change in result["what_helps"]]
        return "\n".join(lines)
    lines.append("exchanges of a step, per device:")
    lines += exchange_lines(result["collectives"])
    between = result["between_slices"]
    if result["slices"] > 1:
        lines.append(
            f"  {'between slices':<18} {between['count']:>6}, together {between['gib']:.2f} GiB, "
            f"{between['in_loops']} of them in loops"
        )
    for name, count in result["exchanges"].items():
        if count:
            lines.append(f"  {count} {name.replace('_', ' ')}")
    lines += _predicted(result)
    lines.append("assuming that")
    lines += [f"  {assumption}" for assumption in result["assumptions"]]
    return "\n".join(lines)


def exchange_lines(collectives: dict[str, dict[str, float]]) -> list[str]:
    """One line per kind of collective: how many, and GiB together."""
    return [
        f"  {kind:<18} {row['count']:>6}, together {row['gib']:.2f} GiB"
        for kind, row in sorted(collectives.items())
    ]


def _verdict(result: dict[str, Any]) -> str:
    needed, limit = result["needed_gib"], result["limit_gib"]
    if result["fits"]:
        return f"fits: at most {needed:.2f} of {limit:.2f} GiB per device at a time"
    return (
        f"DOES NOT FIT: {needed:.2f} GiB per device, {result['over_gib']:.2f} GiB more than the "
        f"{limit:.2f} there are"
    )


def _predicted(result: dict[str, Any]) -> list[str]:
    step, run, packed = result["step"], result["run"], result["lengths"]
    rows = (
        f"{packed['tokens']:.0f} tokens per pair, rows {100 * packed['fill']:.1f}% full, "
        f"{packed['live_to_causal']:.2f} of causal tiles live"
    )
    beside, after = step["seconds_exchanging_in_loops"], step["seconds_exchanging_elsewhere"]
    network = ""
    if result["slices"] > 1:
        network = f", waiting for other slices {step['seconds_between_slices']:.3g}"
    return [
        f"predicted for {packed['kind']} prompts ({rows}):",
        f"  {step['pairs']:.0f} pairs and {step['tokens']:,.0f} tokens per step in "
        f"{step['micro_batches']} micro-batches",
        f"  {step['useful_flops']:.3g} useful FLOPs, {step['executed_flops']:.3g} executed",
        f"  {step['seconds']:.3g} s per step: computing {step['seconds_computing']:.3g} and "
        f"exchanging {beside:.3g} side by side, exchanging {after:.3g} more, updating "
        f"{step['seconds_updating']:.3g}{network}",
        f"  {result['pairs_per_second']:.4g} pairs/s, MFU {100 * result['mfu']:.1f}%",
        f"  {run['pairs']:,} pairs in {run['days']:.2f} days, {run['chip_hours']:,.0f} chip-hours",
    ]
