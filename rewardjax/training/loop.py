"""The training loop, top to bottom.

A step consumes exactly `config.batch.pairs` pairs, in as many micro-batches of packed rows as they
fill; which pairs depends on the data, the seed and the step alone. A run that finds checkpoints in
its workdir continues where they end.
"""

import contextlib
import functools
import json
import pathlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

import jax
import numpy as np
from flax import nnx

from rewardjax import config as config_lib
from rewardjax.command import errors, owner, terminal
from rewardjax.command.exit_codes import ExitCode
from rewardjax.data import pack, pipeline
from rewardjax.data.pack import TokenGroup
from rewardjax.data.plan import steps_for
from rewardjax.data.prepare import warnings_about
from rewardjax.data.ranked import RankedGroups
from rewardjax.io import files, storage
from rewardjax.models import flops, trainable
from rewardjax.models.build import build_model, load_tokenizer
from rewardjax.models.checkpoints.checkpoints import SaveFailed, abstract, open_checkpoints
from rewardjax.models.config import Compute, DecoderConfig
from rewardjax.parallel import boundaries
from rewardjax.parallel.mesh import Layout, make_mesh, place, row_shards, row_share
from rewardjax.parallel.watchdog import watching
from rewardjax.reporting import run_record
from rewardjax.scoring import contract, rows
from rewardjax.training import (
    console,
    goodput,
    losses,
    metrics,
    optim,
    overview,
    pair_rewards,
    profiler,
)
from rewardjax.training import records as records_of
from rewardjax.training.data_sets import longest_scored, read_data, source_records, token_cache_of
from rewardjax.training.faults import silent_corruption
from rewardjax.training.faults.not_finite import SkipBudget
from rewardjax.training.held_out import HeldOut, HeldOutBenchmark
from rewardjax.training.page import report
from rewardjax.training.preflight import fields, hosts, machine, row_fit, row_memory, tokenized
from rewardjax.training.preflight.resume import refuse_if_changed
from rewardjax.training.progress import Counts, Progress
from rewardjax.training.step import Total, make_step, zeros_like


class Preempted(errors.Ending):
    """The run was asked to stop, and did so after a save that the same command goes on from."""

    code = ExitCode.PREEMPTED


class Dispatched(NamedTuple):
    """A step that the devices have been told to take, whose metrics have not been fetched yet."""

    step: int
    units: np.ndarray  # [N] of the pairs or groups it was taken on
    metrics: dict[str, jax.Array]
    counts: Counts


def run(
    config: config_lib.Config, workdir: str | pathlib.Path, began: float | None = None
) -> dict[str, Any]:
    """Train as `config` says, in `workdir`; returns the summary that `summary.json` gets too.

    began: of `time.monotonic()` when the process began, for the account of its time; default: now.

    Raises:
        errors.Refusal: before the first step, with all that can be known to be wrong
            (training/preflight).
        Preempted: after SIGTERM or SIGINT on any host, when all have saved the same step, or at
            once where no step was begun.
        NotFinite: where more steps were not finite than `config.skips` allows.
        Corrupted: where a step of `config.recheck`, computed twice, gave two results.
        SaveFailed: where the last checkpoint did not reach the disk.
    """
    if began is None:
        began = time.monotonic()
    # Before anything is read: hosts with different configs would wait for each other in collectives
    # that never match.
    hosts.refuse(config, workdir, mistakes(config, workdir))
    workdir = storage.path_of(workdir)
    files.make_folder(workdir)
    with contextlib.ExitStack() as stack:
        stack.enter_context(boundaries.leaving_on_signals(_leave))
        # The processes of a job share a workdir, and the first one owns it for all of them.
        if jax.process_index() == 0:
            stack.enter_context(owner.owning(workdir))
        stack.enter_context(jax.set_mesh(make_mesh(**config.mesh)))
        records = stack.enter_context(records_of.kept(workdir))
        ledger = stack.enter_context(goodput.keeping(records.folder, began))
        return _run(config, workdir, records, stack, ledger)


def _leave(signal_name: str) -> NoReturn:
    raise Preempted(f"{signal_name} before the first step; the same command begins again")


def _run(
    config: config_lib.Config,
    workdir: pathlib.Path,
    records: records_of.Records,
    stack: contextlib.ExitStack,
    ledger: goodput.Ledger,
) -> dict[str, Any]:
    started = time.monotonic()
    is_first_process = jax.process_index() == 0
    note = lambda text: is_first_process and console.tell(text)

    # ------------------------------------------------------------------ data
    tokenizer = load_tokenizer(model_folder=config.model.folder, **config.tokenizer)
    loss = losses.get(**config.loss)
    train_set, held_out_sets, benchmarks = read_data(config, tokenizer, loss.reads.unit)
    if isinstance(train_set, RankedGroups) and train_set.unranked:
        note(f"left out {train_set.unranked} groups without a better response")
    total_steps = config.steps or steps_for(len(train_set), config.batch.pairs, config.epochs)
    measured, names = [*held_out_sets, *benchmarks], console.names_of(config)
    fit = functools.partial(
        row_fit.fitted,
        config,
        train_set,
        longest_scored(config, tokenizer, held_out_sets),
        total_steps,
        row_shards(),
    )
    config, too_large = row_memory.fitted(config, fit)
    tokenized.check(config, train_set, measured, total_steps).refuse()

    tokenized_sets = {"data": token_cache_of(train_set)}
    for held_out in held_out_sets:
        tokenized_sets[f"evals.{held_out.name}"] = held_out.pairs
    read = {name: pairs.manifest["files"] for name, pairs in tokenized_sets.items()}
    warnings = [
        *filter(None, [overview.idle_accelerator(), too_large]),
        *fields.warnings_of_length(config, total_steps),
        *tokenized.warnings(config, train_set),
    ]
    for warning in warnings:
        note(warning)
    # `prepare` has told these.
    for pairs in tokenized_sets.values():
        warnings += warnings_about(pairs)

    # ------------------------------------------------------------------ model, loss, optimizer
    layout = Layout()
    model = build_model(Compute(**config.compute), layout, config.seed, **config.model)
    graph, params = nnx.split(model, nnx.Param)
    decoder_config = model.decoder.config
    schedule = optim.make_schedule(total_steps=total_steps, **config.schedule)
    optimizer = optim.make_optimizer(schedule, params, **config.optimizer)
    # From here on two parts: neither gradients nor optimizer state are made for what is frozen.
    trained, frozen = trainable.split(params, optim.is_trainable(params, config.optimizer.freeze))
    opt = jax.jit(optimizer.init)(trained)
    accumulate, update = make_step(graph, loss, optimizer, config.batch.pairs)
    # A step donates `trained`; other names for these arrays would be names of deleted ones.
    del model, params

    score = functools.partial(
        rows.score_groups,
        rows.make_score_rows(graph),
        row_length=config.batch.row_length,
        rows=config.batch.rows,
        pairs_per_row=config.batch.pairs_per_row,
        pad_id=tokenizer.pad_id,
        layout=layout,
    )

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
    # Closed whatever happens, so that a save in flight ends before the same process starts the run
    # again. Not opened earlier: Orbax cleans the folder in the background, which must not be cut
    # off by the end of a process that has refused its config.
    checkpoints = stack.enter_context(
        open_checkpoints(workdir / "checkpoints", **config.checkpoint.keep)
    )
    first_step, elapsed, skipped = 0, 0.0, 0
    # A learning curve begins with the model that has learned nothing: without that figure nobody
    # can tell what training added. Nothing else is written about step 0, and an earlier start that
    # saved nothing may have had other held-out sets: its row 0 is superseded too.
    owes_figures, first_row = bool(measured), 0
    if (saved := checkpoints.newest_meta()) is not None:
        refuse_if_changed(saved["bound"], bound, workdir)
        first_step, trees, meta = checkpoints.restore(abstract(state_of(trained, frozen, opt)))
        first_row = first_step + 1
        opt, elapsed = trees["opt"], meta["elapsed"]
        skipped, owes_figures = meta["skipped"], meta["owes_figures"]
        trained, frozen = trainable.split(
            trees["params"], optim.is_trainable(trees["params"], config.optimizer.freeze)
        )
        score_contract = contract.from_record(meta["contract"])
        note(f"continuing {workdir} at step {first_step} of {total_steps}")
    run_record.write(records.folder, config, jax.sharding.get_mesh(), read)
    if is_first_process:
        tokenizer.save(records.folder / "tokenizer")
    note(overview.text(workdir, config, train_set, trained, frozen, total_steps))
    for name, pairs in tokenized_sets.items():
        note(overview.kept(name, pairs))

    # ------------------------------------------------------------------ loop
    steps = pipeline.train_steps(
        train_set,
        **config.batch,
        seed=config.seed,
        num_steps=total_steps,
        first_step=first_step,
        shard=row_share(layout),
    )
    ledger.begin(first_step)
    writer = metrics.MetricWriter(
        records.folder,
        run=workdir,
        start_step=first_row,
        config=bound["config"],
        **config.log.writers,
    )
    progress = Progress(
        total_steps,
        start_step=first_step,
        elapsed=elapsed,
        peak=device_peak(),
        quiet=not is_first_process,
    )
    skips = SkipBudget(total_steps, skipped=skipped, **config.skips)
    profiled = profiler.parse_window(config.log.profile, first_step + 1, total_steps)

    def record(finished: Sequence[Dispatched]) -> None:
        """Fetch the metrics of steps, check that they are finite, show and write them."""
        for index, (step, units, on_device, counts) in enumerate(finished):
            values = {name: float(x) for name, x in jax.device_get(on_device).items()}
            ledger.reached(step)
            values["lr"] = np.asarray(schedule(step - 1)).item()
            if skips.counts(values):
                skipped_records = source_records(train_set, units)
                note(skips.explain(step, values, skipped_records))
                writer.write(step, {"skipped_records": " ".join(map(str, skipped_records))})
            progress.update(step, counts, loss=values["loss"])
            # Of several steps at once only the first has had its time; the others count in the next
            # window.
            if index == 0:
                values |= progress.rates()
            writer.write(step, values)

    @contextlib.contextmanager
    def going_on(unless: bool) -> Iterator[None]:
        """A save that fails in the block is told and the next one tried, `unless` there is none."""
        try:
            yield
        except SaveFailed as error:
            if unless:
                raise
            note(f"{error}; the run goes on, and saves again when the next save is due")

    def settle() -> None:
        """Have the save in flight verified."""
        if (step := checkpoints.settle()) is not None:
            note(f"saved step {step} of {total_steps}")

    def evaluate(step: int) -> dict[str, Any]:
        """The figures of all sets after `step` steps, written and told."""
        # What is measured is not trained: neither speed nor elapsed time may count it.
        with progress.paused():
            figures = evaluate_all(measured, score, trainable.join(trained, frozen))
            writer.write(step, figures)
        for line in console.lines(step, total_steps, figures, names):
            progress.say(line)
        ledger.spent(goodput.EVALUATION)
        return figures

    # The step before, whose metrics are fetched while the devices take this one: fetching those of
    # this one would leave the devices idle until the next is dispatched.
    in_flight: list[Dispatched] = []
    results: dict[str, float] = {}
    if owes_figures:
        results = evaluate(first_step)
    stopping = stack.enter_context(boundaries.stopping_on_signals())
    watchdog = stack.enter_context(watching(**config.hang))
    last_save = time.monotonic()
    preempted = False
    for step, (units, arrays) in enumerate(steps, start=first_step + 1):
        ledger.spent(goodput.waiting_for([one.metrics for one in in_flight]))
        # Before the step: the process that does not come this far is the one that hangs.
        watchdog.beat(step)
        profiler.start(profiled, step, records.folder / "profile")
        micro_batches = len(arrays["tokens"])
        # Only `place` may move data to the devices: an array that slips in from the host would be
        # sent again at every step, and nothing but the speed would tell.
        with (
            jax.profiler.StepTraceAnnotation("train", step_num=step),
            jax.transfer_guard("disallow"),
        ):
            compute = functools.partial(total_of, accumulate, trained, frozen, arrays, layout)
            if silent_corruption.is_due(step, **config.recheck):
                total = silent_corruption.computed_twice(compute, step)
            else:
                total = compute()
            trained, opt, step_metrics = update(trained, opt, total)
        # Or the next step's total would be made beside it.
        del total, compute
        profiler.stop(profiled, step, step_metrics)
        counts = step_counts(train_set.lengths[units], config.batch, micro_batches, decoder_config)
        in_flight.append(Dispatched(step, units, step_metrics, counts))

        is_last = step == total_steps
        every, minutes = config.checkpoint.every, config.checkpoint.minutes
        if minutes > 0 and time.monotonic() - last_save > 60 * minutes:
            stopping.request(boundaries.SAVE)
        # The last step ends the run with all that a stop would save.
        preempted = stopping.due(boundaries.STOP, step) and not is_last
        is_time = stopping.due(boundaries.SAVE, step)
        saves = is_last or preempted or is_time or (every > 0 and step % every == 0)
        has_figures = bool(measured) and (is_last or step % config.eval_every == 0)
        # Whoever is to be stopped has no time to measure anything: it is owed.
        evaluates = has_figures and not preempted
        # The first step compiles: the clock of the speed figures starts when it is done.
        compiles = step == first_step + 1
        waits_for_this_step = evaluates or saves or compiles
        ready = len(in_flight) if waits_for_this_step else len(in_flight) - 1
        # Do not change this order. The metrics come before the checkpoint, because weights after a
        # loss that is not finite must not be saved; the figures come before it too, because the
        # checkpoint that is best by them is kept.
        record(in_flight[:ready])
        del in_flight[:ready]
        ledger.spent(goodput.PRODUCTIVE)
        if evaluates:
            results = evaluate(step)
        if saves:
            state = state_of(trained, frozen, opt)
            score_contract = contract.with_golden(
                score_contract,
                tokenizer,
                functools.partial(rows.score_conversations, score, state["params"], tokenizer),
            )
            meta = {
                "bound": bound,
                "next_step": step,
                "elapsed": progress.state(),
                "contract": contract.to_record(score_contract),
                "skipped": skips.skipped,
                "owes_figures": has_figures and not evaluates,
            }
            # Figures of this step or none: those of an earlier one would make a worse checkpoint
            # best.
            figures = None
            if evaluates:
                figures = results
            # Before there is a step to go on from: a start that does finds what led to it.
            records.try_to_copy()
            with going_on(unless=False):
                settle()
            with going_on(unless=is_last or preempted):
                checkpoints.save(step, state, meta, figures)
            del state
            last_save = time.monotonic()
            ledger.spent(goodput.CHECKPOINT)
            ledger.saved(step)
        checkpoints.tell_failure()
        if preempted:
            break
    settle()  # raises what went wrong with the last save
    ledger.spent(goodput.CHECKPOINT)
    steps.close()
    writer.close()
    progress.close()

    if preempted:
        raise Preempted(f"saved step {step} of {total_steps}; the same command goes on from there")

    # ------------------------------------------------------------------ results
    if not results:  # a finished run, started again, takes no step
        results = evaluate_all(measured, score, trainable.join(trained, frozen))
        ledger.spent(goodput.EVALUATION)
    summary = {
        "steps": total_steps,
        "pairs": total_steps * config.batch.pairs,
        "seconds": round(time.monotonic() - started, 1),
        **results,
    }
    if is_first_process:
        contract.save(score_contract, records.folder / contract.FILE)
        # Before the summary, by which other commands see that a run has ended.
        pair_rewards.write(records.folder, held_out_sets)
        (records.folder / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
        ledger.spent(goodput.ENDING)
        where_time_went = goodput.account(ledger.starts())
        report.write(
            records.folder,
            summary,
            held_out_sets,
            tokenized_sets,
            tokenizer,
            where_time_went,
            names,
        )
        note(where_time_went.sentence())
        note(console.ending(workdir, results, names, terminal.columns(sys.stderr)))
        (records.folder / "DONE").touch()  # last: whoever sees it finds everything else
    # Told before training too, but hours of progress have scrolled that away.
    for warning in warnings:
        note(warning)
    return summary


def total_of(
    accumulate: Callable,
    trained: nnx.State,
    frozen: nnx.State,
    arrays: Mapping[str, np.ndarray],
    layout: Layout,
) -> Total:
    """Gradients and sums of a step over its M micro-batches; `arrays` are [M, B, ...]."""
    total = zeros_like(trained)
    for m in range(len(arrays["tokens"])):
        micro_batch = place({name: x[m] for name, x in arrays.items()}, layout)
        total = accumulate(total, trained, micro_batch, frozen)
    return total


def state_of(trained: nnx.State, frozen: nnx.State, opt: Any) -> dict[str, Any]:
    """What a checkpoint holds: the whole model, so that a reader need not know what was frozen."""
    return {"params": trainable.join(trained, frozen), "opt": opt}


def evaluate_all(
    measured: Sequence[HeldOut | HeldOutBenchmark],
    score: Callable[[Any, list[TokenGroup]], list[np.ndarray]],
    params: Any,
) -> dict[str, Any]:
    """The figures of every held-out set and benchmark, by `set/figure`."""
    figures = {}
    for held_out in measured:
        figures |= held_out.metrics(functools.partial(score, params))
    return figures


def step_counts(
    lengths: np.ndarray, batch: config_lib.Config, micro_batches: int, decoder: DecoderConfig
) -> Counts:
    """What a step had to do, over all hosts.

    `lengths` [N, 1 + K] are tokens of the prefix and of the responses of its units.
    """
    unique = int(lengths.sum())
    return Counts(
        pairs=batch.pairs,
        unique_tokens=unique,
        padded_tokens=micro_batches * batch.rows * batch.row_length,
        flops=flops.train_flops(decoder, unique, pack.attention_entries(lengths)),
    )


def device_peak() -> float | None:
    """bf16 FLOP/s of all devices together, None where the kind of device is unknown."""
    peak = flops.peak_flops(jax.devices()[0].device_kind)
    return peak and peak * jax.device_count()


def mistakes(config: config_lib.Config, workdir: str | pathlib.Path) -> errors.Complaints:
    """All that is wrong and can be known before any data is read."""
    complaints = fields.check(config)
    # A section with fields of its own could not be passed on to whatever reads it.
    if not any(fields.other_fields(config)):
        complaints += machine.check(config, workdir)
    return fields.without_echoes(config, complaints)
