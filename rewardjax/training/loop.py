"""The training loop, top to bottom.

A step consumes exactly `config.batch.pairs` pairs, in as many micro-batches of packed rows as they fill; which pairs depends on the
data, the seed and the step alone. A run that finds checkpoints in its workdir continues where they end.
"""

import functools
import json
import math
import pathlib
import sys
import time
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from flax import nnx

from rewardjax import assets, defaults
from rewardjax import config as config_lib
from rewardjax.data import pack, pipeline
from rewardjax.data.chat import ChatTokenizer
from rewardjax.data.plan import steps_for
from rewardjax.data.prepare import prepare
from rewardjax.data.ranked import RankedGroups
from rewardjax.models import checkpoint, flops
from rewardjax.models.build import build_model
from rewardjax.models.config import Compute, DecoderConfig
from rewardjax.parallel.mesh import Layout, make_mesh, place, row_share
from rewardjax.reporting import run_record
from rewardjax.scoring import contract, rows
from rewardjax.training import losses, metrics, optim, report
from rewardjax.training.held_out import HeldOut, HeldOutBenchmark
from rewardjax.training.step import make_step, zeros_like

# What a resumed run may change: how and where it is computed, saved and shown, never what is computed. Files may move: their
# contents are compared by fingerprint.
MAY_CHANGE = (
    "mesh",
    "compute",
    "evals",
    "benchmarks",
    "eval_every",
    "checkpoint",
    "log",
    "batch.row_length",
    "batch.rows",
    "batch.pairs_per_row",
    "batch.responses",
    "tokenizer.folder",
    "model.folder",
    "data.source",
    "data.cache",
    "data.workers",
)


class ResumeRefused(ValueError):
    """The workdir holds a run of other data, another tokenizer or another config; the message names each field."""


def run(config: config_lib.Config, workdir: str | pathlib.Path) -> dict[str, Any]:
    """Train as `config` says, in `workdir`; returns the summary that is also written to `summary.json`."""
    if "://" in str(workdir):
        raise ValueError(
            f"--workdir={workdir} is a URL; mount the bucket (launch/jobset.py does) and give the path of the mount"
        )
    refuse_other_fields(config)
    workdir = pathlib.Path(workdir)
    workdir.mkdir(parents=True, exist_ok=True)
    # The manager is closed whatever happens, so that a save in flight ends before the same process starts the run again.
    with (
        jax.set_mesh(make_mesh(**config.mesh)),
        checkpoint.open_manager(workdir / "checkpoints", **config.checkpoint.keep) as manager,
    ):
        return _run(config, workdir, manager)


def _run(
    config: config_lib.Config, workdir: pathlib.Path, manager: checkpoint.Manager
) -> dict[str, Any]:
    started = time.monotonic()

    # ------------------------------------------------------------------ data
    tokenizer = load_tokenizer(**config.tokenizer)
    train_set = prepare(tokenizer=tokenizer, **config.data)
    loss = losses.get(**config.loss)
    if loss.reads.unit == "groups":
        train_set = RankedGroups.of(train_set)
        if train_set.unranked and jax.process_index() == 0:
            print(
                f"left out {train_set.unranked} groups without a better response", file=sys.stderr
            )
    total_steps = config.steps or steps_for(len(train_set), config.batch.pairs, config.epochs)

    # ------------------------------------------------------------------ model, loss, optimizer
    layout = Layout()
    model = build_model(tokenizer, Compute(**config.compute), layout, config.seed, **config.model)
    graph, params = nnx.split(model, nnx.Param)
    decoder_config = model.decoder.config
    del model
    schedule = optim.make_schedule(total_steps=total_steps, **config.schedule)
    optimizer = optim.make_optimizer(schedule, params, **config.optimizer)
    opt = jax.jit(optimizer.init)(params)
    accumulate, update = make_step(graph, loss, optimizer, config.batch.pairs)

    # ------------------------------------------------------------------ held-out sets
    score = functools.partial(
        rows.score_groups,
        rows.make_score_rows(graph),
        row_length=config.batch.row_length,
        rows=config.batch.rows,
        pairs_per_row=config.batch.pairs_per_row,
        pad_id=tokenizer.pad_id,
        layout=layout,
    )
    held_out = [
        HeldOut(name, prepare(tokenizer=tokenizer, **kwargs), score)
        for name, kwargs in config.evals.items()
    ]
    longest = min(config.data.max_length, config.batch.row_length)
    benchmarks = [
        HeldOutBenchmark(name, tokenizer, score, longest, **kwargs)
        for name, kwargs in config.benchmarks.items()
    ]
    measured = [*held_out, *benchmarks]

    # ------------------------------------------------------------------ resume
    bound = {
        "config": config_lib.resolve(config),
        "data": train_set.fingerprint,
        **tokenizer.fingerprints(),
    }
    score_contract = contract.make(
        tokenizer,
        max_length=config.data.max_length,
        over_long=config.data.over_long,
        compute_dtype=config.compute.dtype,
    )
    first_step, elapsed = 0, 0.0
    if (saved := checkpoint.newest_meta(manager)) is not None:
        refuse_if_changed(saved["bound"], bound, workdir)
        first_step, trees, meta = checkpoint.restore(
            manager, checkpoint.abstract({"params": params, "opt": opt})
        )
        params, opt, elapsed = trees["params"], trees["opt"], meta["elapsed"]
        score_contract = contract.from_record(meta["contract"])
        print(f"continuing {workdir} at step {first_step} of {total_steps}", file=sys.stderr)
    run_record.write(workdir, config, jax.sharding.get_mesh())
    if jax.process_index() == 0:
        tokenizer.save(workdir / "tokenizer")

    # ------------------------------------------------------------------ loop
    steps = pipeline.train_steps(
        train_set,
        **config.batch,
        seed=config.seed,
        num_steps=total_steps,
        first_step=first_step,
        shard=row_share(layout),
    )
    writer = metrics.MetricWriter(workdir, start_step=first_step + 1, **config.log.writers)
    progress = metrics.Progress(
        total_steps,
        start_step=first_step,
        elapsed=elapsed,
        peak=device_peak(),
        quiet=jax.process_index() > 0,
    )

    def record(finished: list[tuple[int, dict[str, jax.Array], dict[str, Any]]]) -> None:
        """Fetch the metrics of steps that have been dispatched, check that they are finite, show and write them."""
        for step, on_device, counts in finished:
            values = {name: float(x) for name, x in jax.device_get(on_device).items()} | {
                "lr": float(schedule(step - 1))
            }
            refuse_non_finite(step, values)
            progress.update(step, loss=values["loss"], **counts)
            # Of several steps at once only the first has had its time; the others count in the next window.
            writer.write(step, values | (progress.rates() if step == finished[0][0] else {}))

    in_flight: list[tuple] = []  # the step before, whose metrics are fetched while this one runs
    results: dict[str, float] = {}
    for step, (units, arrays) in enumerate(steps, start=first_step + 1):
        micro_batches = len(arrays["tokens"])
        total = zeros_like(params)
        for m in range(micro_batches):
            total = accumulate(
                total, params, place({name: x[m] for name, x in arrays.items()}, layout)
            )
        params, opt, step_metrics = update(params, opt, total)
        del total  # or the next step's would be made beside it
        in_flight.append(
            (
                step,
                step_metrics,
                step_counts(train_set.lengths[units], config.batch, micro_batches, decoder_config),
            )
        )
        last = step == total_steps
        evaluate = bool(measured) and (last or step % config.eval_every == 0)
        save = last or (config.checkpoint.every and step % config.checkpoint.every == 0)
        compiled = (
            step == first_step + 1
        )  # the clock of the speed figures starts when this step is done
        ready = len(in_flight) if evaluate or save or compiled else len(in_flight) - 1
        record(in_flight[:ready])
        del in_flight[:ready]
        if evaluate:
            with progress.paused():
                results = evaluate_all(measured, params)
                writer.write(step, results)
        if save:
            score_contract = contract.with_golden(
                score_contract,
                functools.partial(rows.score_conversations, score, params, tokenizer),
            )
            meta = {
                "bound": bound,
                "next_step": step,
                "elapsed": progress.state(),
                "contract": contract.to_record(score_contract),
            }
            checkpoint.save(
                manager, step, {"params": params, "opt": opt}, meta, results if evaluate else None
            )
    manager.wait_until_finished()  # raises what went wrong with the save in flight
    steps.close()
    writer.close()
    progress.close()

    # ------------------------------------------------------------------ results
    results = results or evaluate_all(
        measured, params
    )  # a finished run, started again, takes no step
    summary = {
        "steps": total_steps,
        "pairs": total_steps * config.batch.pairs,
        "seconds": round(time.monotonic() - started, 1),
        **results,
    }
    if jax.process_index() == 0:
        contract.save(score_contract, workdir / contract.FILE)
        (workdir / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
        report.write(workdir, summary, held_out, tokenizer)
        (workdir / "DONE").touch()
    return summary


def evaluate_all(measured: Sequence[HeldOut | HeldOutBenchmark], params: Any) -> dict[str, Any]:
    """The figures of every held-out set and benchmark, by `set/figure`."""
    return {name: value for one in measured for name, value in one.metrics(params).items()}


def step_counts(
    lengths: np.ndarray,
    batch: config_lib.Config,
    micro_batches: int,
    decoder: DecoderConfig,
) -> dict[str, Any]:
    """What a step had to do, over all hosts: pairs, tokens counted once however they were laid out, row slots, useful FLOPs."""
    unique = int(lengths.sum())
    return {
        "pairs": batch.pairs,
        "unique_tokens": unique,
        "padded_tokens": micro_batches * batch.rows * batch.row_length,
        "flops": flops.train_flops(decoder, unique, pack.attention_entries(lengths)),
    }


def device_peak() -> float | None:
    """bf16 FLOP/s of all devices together, None where the kind of device is unknown."""
    peak = flops.peak_flops(jax.devices()[0].device_kind)
    return peak and peak * jax.device_count()


def refuse_non_finite(step: int, values: dict[str, float]) -> None:
    """Raise FloatingPointError naming what is not finite; checkpoints are only written after this check."""
    broken = [name for name, value in values.items() if not math.isfinite(value)]
    if broken:
        raise FloatingPointError(
            f"step {step}: {', '.join(broken)} is not finite; no checkpoint was written after it. Lower "
            f"schedule.peak, set optimizer.clip_norm, or look at the pairs of this step"
        )


def load_tokenizer(folder: str, **kwargs: Any) -> ChatTokenizer:
    """The tokenizer of `folder`, which may be one of the package's assets."""
    return ChatTokenizer.load(assets.resolve(folder), **kwargs)


def refuse_other_fields(config: config_lib.Config) -> None:
    """Raise ValueError naming a field of `config` that nothing here reads."""
    fields = defaults.training()
    config_lib.refuse_other_fields(config, fields)
    for name, held_out_set in config.evals.items():
        config_lib.refuse_other_fields(held_out_set, fields.data, f"evals.{name}.")


def refuse_if_changed(saved: dict[str, Any], now: dict[str, Any], workdir: pathlib.Path) -> None:
    """Raise ResumeRefused naming every field in which the run that saved and the run at hand differ, beyond MAY_CHANGE.

    A field that one of the two configs lacks, since it did not exist then, has its default.
    """
    allowed = tuple(f"config.{field}{end}" for field in MAY_CHANGE for end in ".:")
    every_field = lambda bound: {
        **bound,
        "config": config_lib.complete(bound["config"], defaults.training()),
    }
    lines = config_lib.difference(every_field(saved), every_field(now))
    changed = [line for line in lines if not line.startswith(allowed)]
    if changed:
        raise ResumeRefused(
            f"{workdir} holds a run that differs in these fields; use another --workdir, or change them back:\n  "
            + "\n  ".join(changed)
        )
