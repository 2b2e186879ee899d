"""A config on a slice, measured and predicted, as plain values and as text."""

import math
from collections.abc import Iterator
from typing import Any

from rewardjax import config as config_lib
from rewardjax.aot import assumed_lengths, hlo, roofline
from rewardjax.aot.program import MODES, Compiled
from rewardjax.aot.topology import Topology, mesh_shapes
from rewardjax.models.build import decoder_config
from rewardjax.models.config import DecoderConfig

CURATED_PAIRS = 26_000_000  # of the paper's curated subset


def measure(
    config: config_lib.Config, topology: Topology, mode: str = "train", kind: str = "short"
) -> dict[str, Any]:
    """Compile `mode`'s programs and say what they need and, where they fit, how long they should take. Plain JSON values; `fits` is the
    verdict."""
    compiled = MODES[mode](config, topology)
    decoder = decoder_config(**config.model)
    limit, state = topology.chip.limit_gib, sum(compiled.state_gib.values())
    largest = max(compiled.programs, key=lambda program: program.needed_gib)
    result: dict[str, Any] = {
        "topology": topology.name,
        "chips": topology.chips,
        "mode": mode,
        "mesh": compiled.mesh,
        "rows_per_device": config.batch.rows // (compiled.mesh["data"] * compiled.mesh["fsdp"]),
        "row_length": config.batch.row_length,
        "remat": config.compute.remat if mode == "train" else "none",
        "fits": compiled.fits,
        "state_gib": state,
        "state": compiled.state_gib,
        "temp_gib": max(program.temp_gib for program in compiled.programs),
        "needed_gib": largest.needed_gib,
        "limit_gib": limit,
        "host_offload_gib": max(program.host_gib for program in compiled.programs)
        * topology.chip.devices_per_host,
        "compile": {
            "seconds": sum(program.seconds for program in compiled.programs),
            "host_gib": compiled.host_peak_gib,
        },
    }
    if not compiled.fits:
        over = largest.needed_gib - limit
        return result | {
            "over_gib": over,
            "what_helps": list(what_helps(config, topology, compiled, decoder, over)),
            "collectives": {},
            "mfu": None,
        }
    exchanges = {
        program.name: hlo.collectives(program.text or "", len(topology.devices))
        for program in compiled.programs
    }
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
        state_gib=state,
    )
    days = predicted.days(CURATED_PAIRS)
    return result | {
        "collectives": per_step(exchanges, predicted.micro_batches),
        "exchanges": checks(exchanges, decoder),
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
            "seconds_updating": predicted.update_seconds,
        },
        "mfu": predicted.mfu,
        "pairs_per_second": predicted.pairs / predicted.seconds,
        "run": {"pairs": CURATED_PAIRS, "days": days, "chip_hours": days * 24 * topology.chips},
        "assumptions": list(roofline.ASSUMPTIONS),
    }


def per_step(
    exchanges: dict[str, list[hlo.Collective]], micro_batches: int
) -> dict[str, dict[str, float]]:
    """By kind, over a whole step: how many collectives run, and GiB that each device sends."""
    total: dict[str, dict[str, float]] = {}
    for program, found in exchanges.items():
        times = 1 if program == "update" else micro_batches
        for kind, row in hlo.summary(found).items():
            sum_of = total.setdefault(kind, {"count": 0, "gib": 0.0})
            sum_of["count"] += times * row["count"]
            sum_of["gib"] += times * row["gib"]
    return total


def checks(exchanges: dict[str, list[hlo.Collective]], decoder: DecoderConfig) -> dict[str, int]:
    """Counts of what a good layout has none of: collectives as large as the embedding table, weights gathered in float32, and gradients of
    whole weights that are all-reduced in the layer loop rather than scattered."""
    found = [one for program in exchanges.values() for one in program]
    table = decoder.vocab_size * decoder.width
    smallest = decoder.width * decoder.kv_heads * decoder.head_dim  # a layer's k or v
    reduced = [one for one in found if one.kind == "all-reduce" and one.in_loop]
    return {
        "of_table_size": sum(one.elements >= table for one in found),
        "float32_weight_gathers": sum(
            one.kind == "all-gather" and one.dtype == "f32" and one.elements >= smallest
            for one in found
        ),
        "full_weight_all_reduces_in_loop": sum(
            any(is_weight(shape, decoder) for shape in one.shapes) for one in reduced
        ),
    }


def is_weight(shape: tuple[int, ...], decoder: DecoderConfig) -> bool:
    """Whether an array has the shape of a whole matrix of a layer, axes in any order and perhaps padded, rather than of a part of one."""
    D, F, N, K, H = (
        decoder.width,
        decoder.mlp_width,
        decoder.heads,
        decoder.kv_heads,
        decoder.head_dim,
    )
    found = sorted(side for side in shape if side > 1)
    whole = (sorted(matrix) for matrix in ((D, F), (D, N, H), (D, K, H), (D, N * H), (D, K * H)))
    covers = lambda matrix: (
        len(matrix) == len(found)
        and all(side <= ours < 2 * side for side, ours in zip(matrix, found, strict=True))
    )
    return any(map(covers, whole))


def what_helps(
    config: config_lib.Config,
    topology: Topology,
    compiled: Compiled,
    decoder: DecoderConfig,
    over: float,
) -> Iterator[str]:
    """Changes that make a program smaller, with the GiB that each saves by arithmetic; those that suffice alone say so."""
    shards = compiled.mesh["data"] * compiled.mesh["fsdp"]
    rows = config.batch.rows // shards
    state = sum(compiled.state_gib.values())
    temp = max(program.temp_gib for program in compiled.programs)
    told = lambda change, saves: (
        f"{change}: saves about {saves:.1f} GiB" + (", enough" if saves >= over else "")
    )
    if len(compiled.state_gib) > 1:
        saved = roofline.saved_gib(decoder, config.compute.remat, rows * config.batch.row_length)
        for policy in roofline.SAVES:
            less = saved - roofline.saved_gib(decoder, policy, rows * config.batch.row_length)
            if less > 0:
                yield told(f"compute.remat={policy}", less)
        if config.optimizer.mu_dtype == "float32":
            yield told("optimizer.mu_dtype=bfloat16", compiled.state_gib["optimizer"] / 4)
    if rows > 1:
        yield told(f"batch.rows={shards}, one row a device", temp * (1 - 1 / rows))
    for data, fsdp in reversed(mesh_shapes(topology.sides, topology.chip)):
        if fsdp > compiled.mesh["fsdp"]:
            yield told(
                f"mesh.data={data} mesh.fsdp={fsdp}", state * (1 - compiled.mesh["fsdp"] / fsdp)
            )
    if temp < topology.chip.limit_gib:
        chips = topology.chips * 2 ** math.ceil(
            math.log2(max(2.0, state / (topology.chip.limit_gib - temp)))
        )
        yield f"a slice of {chips} chips with all of the added ones in mesh.fsdp"
    if rows == 1:
        yield f"batch.row_length below {config.batch.row_length} (with data.max_length), which the temporaries of {temp:.1f} GiB grow with"


def text(result: dict[str, Any]) -> str:
    """The result for a reader."""
    mesh = (
        " x ".join(f"{axis} {size}" for axis, size in result["mesh"].items() if size > 1)
        or "one device"
    )
    state = ", ".join(f"{name} {size:.2f}" for name, size in result["state"].items())
    work, here = (
        f"{result['rows_per_device']} x {result['row_length']} tokens a device, remat {result['remat']}",
        result["compile"],
    )
    lines = [
        f"{result['mode']} on {result['topology']}: {result['chips']} chips as {mesh}, {work}",
        _verdict(result),
        f"  state        {result['state_gib']:.2f} GiB ({state})",
        f"  temporary    {result['temp_gib']:.2f} GiB",
        f"  host         {result['host_offload_gib']:.2f} GiB of activations",
        f"  compiled     in {here['seconds']:.0f} s and {here['host_gib']:.1f} GiB on this machine",
    ]
    if not result["fits"]:
        return "\n".join(
            [*lines, "what would make it fit:", *(f"  {change}" for change in result["what_helps"])]
        )
    exchanged = [
        "exchanges of a step, a device:",
        *(
            f"  {kind:<18} {row['count']:>6}, together {row['gib']:.2f} GiB"
            for kind, row in sorted(result["collectives"].items())
        ),
        *(
            f"  {count} {name.replace('_', ' ')}"
            for name, count in result["exchanges"].items()
            if count
        ),
    ]
    return "\n".join(
        [
            *lines,
            *exchanged,
            *_predicted(result),
            "assuming that",
            *(f"  {line}" for line in result["assumptions"]),
        ]
    )


def _verdict(result: dict[str, Any]) -> str:
    if result["fits"]:
        return f"fits: at most {result['needed_gib']:.2f} of {result['limit_gib']:.2f} GiB a device at a time"
    over, limit = result["over_gib"], result["limit_gib"]
    return f"DOES NOT FIT: {result['needed_gib']:.2f} GiB a device, {over:.2f} GiB more than the {limit:.2f} there are"


def _predicted(result: dict[str, Any]) -> list[str]:
    step, run, packed = result["step"], result["run"], result["lengths"]
    rows = f"{packed['tokens']:.0f} tokens a pair, rows {100 * packed['fill']:.1f}% full, {packed['live_to_causal']:.2f} of causal tiles live"
    beside, after = step["seconds_exchanging_in_loops"], step["seconds_exchanging_elsewhere"]
    return [
        f"predicted for {packed['kind']} prompts ({rows}):",
        f"  {step['pairs']:.0f} pairs and {step['tokens']:,.0f} tokens a step in {step['micro_batches']} micro-batches",
        f"  {step['useful_flops']:.3g} useful FLOPs, {step['executed_flops']:.3g} executed",
        f"  {step['seconds']:.3g} s a step: computing {step['seconds_computing']:.3g} and exchanging {beside:.3g} side by side, "
        f"exchanging {after:.3g} more, updating {step['seconds_updating']:.3g}",
        f"  {result['pairs_per_second']:.4g} pairs/s, MFU {100 * result['mfu']:.1f}%",
        f"  {run['pairs']:,} pairs in {run['days']:.2f} days, {run['chip_hours']:,.0f} chip-hours",
    ]
