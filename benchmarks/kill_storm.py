"""Trainers that are killed at any time: a run goes on as if nothing had happened.

    python -m benchmarks.kill_storm [--smoke]
    python -m benchmarks.kill_storm --topologies [--smoke]

Two processes of four CPU devices train a toy, are killed (SIGKILL, a part of them inside a save) or
told to stop (SIGTERM), and are started again, until the run is done. Every loss that was ever
written, those of repeated steps too, is compared bit by bit with that of a run which nothing
interrupted, and so are the pairs of each step and the final weights.

With --topologies each start has another number of processes, devices and another mesh. The pairs
stay the same, and so does the loss of the first step after a change, but for the order of sums;
later ones may grow apart as far as runs on these layouts do that nothing interrupted.
"""

import argparse
import collections
import json
import pathlib
import random
import signal
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from benchmarks import trainers
from benchmarks.trainers import ROOT, Gang, Layout
from rewardjax.command.exit_codes import ExitCode

HOME = Layout(2, 4)
# Each start of the storm over layouts has the next one.
LAYOUTS = (
    HOME,
    Layout(1, 8, fsdp=4),
    Layout(2, 2, fsdp=2),
    Layout(1, 4, tensor=2),
    Layout(1, 1),
    Layout(4, 2, fsdp=2, tensor=2),
    Layout(2, 1),
    Layout(1, 2, fsdp=2),
    Layout(2, 4, data=1, fsdp=8),
    Layout(1, 8, tensor=2),
)
EPOCH = 6  # steps: 192 pairs, 32 at a time
EVERY = 3  # steps between two saves, so that every second one is at an epoch's boundary
FIRST_STEP_RELATIVE = 1e-6  # of the loss of the first step after a change of the layout


class Size(NamedTuple):
    """How long a storm is."""

    steps: int
    kills: int
    in_save: int
    terms: int


# Strikes: SIGTERM; SIGKILL while a save is in flight, or at any time.
TERM, IN_SAVE, ANYWHERE = "term", "in save", "anywhere"
# The data come this many steps before they are taken, so that a trace is ahead of the run.
READ_AHEAD = 1
MOST_OUTAGES = 20
FULL, SMOKE = Size(60, 40, 10, 10), Size(12, 1, 1, 1)


def flags(workdir: pathlib.Path, cache: pathlib.Path, steps: int) -> list[str]:
    """The toy's command line, but for its mesh."""
    sets = {
        "data.source": "world:train?num=192",
        "data.cache": cache,
        "evals.heldout.cache": cache,
        "steps": steps,
        # At the steps that are saved: one that a signal puts off is owed to the next start.
        "eval_every": EVERY,
        "checkpoint.every": EVERY,
        "schedule.name": "constant",
    }
    overrides = [f"--config.{name}={value}" for name, value in sets.items()]
    return [f"--config={ROOT}/configs/tiny.py", f"--workdir={workdir}", *overrides]


class Run:
    """A workdir, its trainers' log and the trace of what they were given."""

    def __init__(self, folder: pathlib.Path, name: str, cache: pathlib.Path, steps: int):
        self.workdir = folder / name
        self.trace = folder / f"{name}-trace"
        self.trace.mkdir()
        self.log = folder / f"{name}.log"
        self.outages = 0  # starts that ended with one, though nobody struck them
        self._flags = flags(self.workdir, cache, steps)

    def start(self, layout: Layout) -> Gang:
        """Start or resume it."""
        return trainers.start(layout, self._flags, self.log, trainers.tracing(self.trace))

    def finish(self, layout: Layout) -> None:
        """Run it to its end. Raises RuntimeError with the end of its log where it does not."""
        gang = self.start(layout)
        # On a machine with other jobs a peer may compile for longer than gloo waits (30 s). That
        # is an outage, after which a launcher starts again.
        while ExitCode.OUTAGE in gang.wait() and self.outages < MOST_OUTAGES:
            self.outages += 1
            gang = self.start(layout)
        self.expect(gang, [0] * layout.processes)

    def kill_when(self, condition: Callable[[], bool], layout: Layout) -> None:
        """Run it until a condition holds, and kill it then."""
        while not condition():
            gang = self.start(layout)
            trainers.until(condition, gang)
            codes = gang.codes()
            gang.kill()
            has_ended = any(code is not None for code in codes)
            if not condition() and has_ended and ExitCode.OUTAGE not in codes:
                raise RuntimeError(f"ended with {codes}, not killed:\n{self.tail()}")
            self.outages += ExitCode.OUTAGE in codes

    def tail(self) -> str:
        """The end of its log."""
        return "".join(self.log.read_text().splitlines(keepends=True)[-40:])

    def expect(self, gang: Gang, codes: Sequence[int]) -> None:
        """Wait for a gang. Raises RuntimeError where it ends otherwise, or does not end."""
        ended = gang.wait()
        gang.kill()
        if ended != list(codes):
            raise RuntimeError(f"ended with {ended}, expected {codes}:\n{self.tail()}")

    def written(self, metric: str) -> dict[int, list[float]]:
        """Every value of a metric that was ever written, by step, in the order of writing."""
        by_step: dict[int, list[float]] = {}
        for row in trainers.lines(self.workdir):
            if metric in row:
                by_step.setdefault(row["step"], []).append(row[metric])
        return by_step


def whole(folder: pathlib.Path, cache: pathlib.Path, steps: int, layout: Layout, name: str) -> Run:
    """A run that nothing interrupts."""
    run = Run(folder, name, cache, steps)
    run.finish(layout)
    # An outage before the first step is no interruption.
    assert all(len(values) == 1 for values in run.written("loss").values()), "it was interrupted"
    return run


# ------------------------------------------------------------------ one layout, killed at any time


def storm(folder: pathlib.Path, cache: pathlib.Path, size: Size, seed: int) -> dict[str, Any]:
    """Strike until the plan is spent, run to the end, and compare."""
    reference = whole(folder, cache, size.steps, HOME, "whole")
    rng = random.Random(seed)
    plan = [TERM] * size.terms + [IN_SAVE] * size.in_save
    plan += [ANYWHERE] * (size.kills - size.in_save)
    rng.shuffle(plan)
    done: collections.Counter[str] = collections.Counter()
    runs = [Run(folder, "killed-0", cache, size.steps)]
    starts = 0
    while plan:
        if (runs[-1].workdir / "DONE").exists():
            # The strikes outlast the steps: the same run once more, from its beginning.
            runs.append(Run(folder, f"killed-{len(runs)}", cache, size.steps))
        gang = runs[-1].start(HOME)
        starts += 1
        try:
            struck = strike(plan[-1], gang, runs[-1], rng)
        finally:
            gang.kill()
        if struck is not None:
            done[struck] += 1
            # One that was meant for a save and missed it is taken for one of the others.
            plan.remove(struck if struck in plan else plan[-1])
    runs[-1].finish(HOME)
    sums = [compare(reference, run) for run in runs]
    return {
        "bitwise": all(one.bitwise for one in sums),
        "ids_equal": all(one.ids_equal for one in sums),
        "kills": done[ANYWHERE] + done[IN_SAVE],
        "kills_in_save": done[IN_SAVE],
        "terms": done[TERM],
        "starts": starts + 1,
        "runs": len(runs),
        "outages": reference.outages + sum(run.outages for run in runs),
        "steps": size.steps,
        "losses_compared": sum(one.losses for one in sums),
        "repeated_steps": sum(one.repeated for one in sums),
        "repeated_steps_by_goodput": sum(one.repeated_by_goodput for one in sums),
    }


def strike(kind: str, gang: Gang, run: Run, rng: random.Random) -> str | None:
    """Strike a gang once, as `kind` says; what it turned out to be, None where it was over."""
    first = trainers.last_written(run.workdir)
    if kind == TERM:
        return _terminate(gang, run, rng)
    if kind == IN_SAVE:
        # What an earlier kill left is cleaned away before the first step.
        trainers.until(lambda: _has_begun(run, first), gang)
        trainers.until(lambda: trainers.is_saving(run.workdir), gang)
    elif rng.random() < 0.2:
        # In the start-up, where files are read, cleaned and restored.
        time.sleep(rng.uniform(0.0, 4.0))
    else:
        target = first + rng.randint(0, EVERY + 1)
        trainers.until(lambda: trainers.last_written(run.workdir) >= target, gang)
        time.sleep(rng.uniform(0.0, 0.2))
    victims = rng.choice([gang.trainers[:1], gang.trainers[1:], gang.trainers])
    for victim in victims:
        victim.send(signal.SIGKILL)
    time.sleep(0.1)
    # The survivor could wait for the runtime to miss its peer; a launcher would not.
    gang.kill()
    codes = [victim.poll() for victim in victims]
    run.outages += ExitCode.OUTAGE in codes
    if 128 + signal.SIGKILL not in codes:
        return None
    if trainers.is_saving(run.workdir):
        return IN_SAVE
    return ANYWHERE


def _has_begun(run: Run, first: int) -> bool:
    return trainers.last_written(run.workdir) != first or not trainers.is_saving(run.workdir)


def _terminate(gang: Gang, run: Run, rng: random.Random) -> str | None:
    """SIGTERM to one of them: all save the same step, which the next start goes on from."""
    # Steps, not lines: a signal before the first one ends a run that has nothing to save.
    before = trainers.steps_written(run.workdir)
    trainers.until(lambda: trainers.steps_written(run.workdir) > before, gang)
    time.sleep(rng.uniform(0.0, 0.2))
    rng.choice(gang.trainers).send(signal.SIGTERM)
    codes = gang.wait()
    run.outages += ExitCode.OUTAGE in codes
    if codes == [ExitCode.DONE] * len(codes) or ExitCode.OUTAGE in codes:
        return None
    run.expect(gang, [ExitCode.PREEMPTED] * len(codes))
    # The last step that anybody took is the one that was saved.
    taken = max(trainers.units(run.trace))
    newest = trainers.saved_steps(run.workdir)[-1]
    if not newest <= taken <= newest + READ_AHEAD:
        raise RuntimeError(f"step {newest} was saved, and step {taken} was taken")
    return TERM


class Compared(NamedTuple):
    """How a run compares with one that nothing interrupted."""

    bitwise: bool
    ids_equal: bool
    losses: int
    repeated: int
    repeated_by_goodput: int


def compare(reference: Run, run: Run) -> Compared:
    """All losses and figures ever written, the final weights, and the units of every step."""
    same = trainers.weights(run.workdir) == trainers.weights(reference.workdir)
    for metric in ("loss", "grad_norm", "heldout/nll"):
        same &= _values(run, metric) == _values(reference, metric)
    losses = run.written("loss")
    written = sum(len(values) for values in losses.values())
    account = json.loads((run.workdir / "goodput.json").read_text())
    return Compared(
        bitwise=same,
        ids_equal=trainers.units(run.trace) == trainers.units(reference.trace),
        losses=written,
        repeated=written - len(losses),
        repeated_by_goodput=account["repeated_steps"],
    )


def _values(run: Run, metric: str) -> dict[int, set[float]]:
    """The different values of a metric at each step: one, where a repeated step is the same."""
    return {step: set(values) for step, values in run.written(metric).items()}


# ------------------------------------------------------------------ another layout at each start


def topologies(
    folder: pathlib.Path, cache: pathlib.Path, layouts: Sequence[Layout]
) -> dict[str, Any]:
    """Start on one layout after another, killed after each save, and compare."""
    # A start may come to a second save before it is killed, and each shall have steps left to take.
    steps = 2 * EVERY * len(layouts)
    alone = []
    for number, layout in enumerate(layouts):
        alone.append(whole(folder, cache, steps, layout, f"whole-{number}"))
    run = Run(folder, "changed", cache, steps)
    for layout in layouts:
        before = max(trainers.saved_steps(run.workdir), default=0)
        run.kill_when(lambda before=before: can_be_compared(run, before), layout)
    run.finish(layouts[0])

    first_steps = changes(run)
    spread, apart = band([one.written("loss") for one in alone], run.written("loss"))
    units = [trainers.units(one.trace) for one in (*alone, run)]
    return {
        "layouts": len(layouts),
        "ids_equal": all(one == units[0] for one in units) and all(map(_agreed, units)),
        "first_steps": len(first_steps),
        "first_step_max_relative": max(first_steps, default=None),
        "first_step_within": all(x <= FIRST_STEP_RELATIVE for x in first_steps),
        "band": max(spread.values()),
        "apart": max(apart.values()),
        "within_band": all(apart[step] <= spread[step] for step in apart),
        "steps": steps,
        "outages": sum(one.outages for one in (*alone, run)),
        "done": (run.workdir / "DONE").exists(),
    }


def can_be_compared(run: Run, before: int) -> bool:
    """Whether a run has saved a step after `before`, and the next step's loss is written."""
    # The next layout's first step is the one after the newest save. A save that ends between this
    # look and the kill makes it another one: whoever kills looks again.
    saved = max(trainers.saved_steps(run.workdir), default=0)
    return saved > before and trainers.last_written(run.workdir) > saved


def _agreed(units: dict[int, set[tuple[int, ...]]]) -> bool:
    return all(len(taken) == 1 for taken in units.values())


def changes(run: Run) -> list[float]:
    """How far, relatively, the first loss of each start is from that step's loss before it."""
    latest: dict[int, float] = {}
    relative = []
    begins = False
    for row in trainers.lines(run.workdir):
        begins |= "start_step" in row
        if "loss" not in row:
            continue
        step, loss = row["step"], row["loss"]
        if begins and step in latest:
            relative.append(abs(loss - latest[step]) / abs(latest[step]))
        begins = False
        latest[step] = loss
    return relative


def band(
    alone: Sequence[dict[int, list[float]]], losses: dict[int, list[float]]
) -> tuple[dict[int, float], dict[int, float]]:
    """By step: how far uninterrupted runs are apart, up to it; how far the run is from all."""
    spread: dict[int, float] = {}
    apart: dict[int, float] = {}
    widest = 0.0
    for step in sorted(losses):
        values = [one[step][0] for one in alone]
        widest = max(widest, max(values) - min(values))
        spread[step] = widest
        nearest = [min(abs(loss - value) for value in values) for loss in losses[step]]
        apart[step] = max(nearest)
    return spread, apart


# ------------------------------------------------------------------ the command


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Run a storm; prints the result as the last line, and returns it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kill_storm")
    parser.add_argument("--smoke", action="store_true", help="a few strikes, under a minute")
    parser.add_argument("--topologies", action="store_true", help="another layout at each start")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    began = time.monotonic()
    trainers.prepare()
    size, layouts = FULL, LAYOUTS
    if args.smoke:
        size, layouts = SMOKE, LAYOUTS[1:5:3]
    with trainers.scratch() as folder:
        if args.topologies:
            outcome = topologies(folder, folder / "cache", layouts)
        else:
            outcome = storm(folder, folder / "cache", size, args.seed)
    figures = {"smoke": args.smoke, "topologies": args.topologies, **outcome}
    return trainers.told("kill_storm", figures, began)


if __name__ == "__main__":
    main()
