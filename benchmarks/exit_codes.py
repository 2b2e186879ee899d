"""Each exit code of the table, by a real process, and how long it takes to stop.

    python -m benchmarks.exit_codes [--smoke]

Trainers of a toy (and one curation) are given a bug, a mistake, a signal, a stopped peer, weights
that are not finite, damaged checkpoints. The time to stop is that from the cause to the end of the
last process. Printed last: one JSON line, whose `all` says whether every code was as the table of
rewardjax/command/exit_codes.py has it, and in time. --smoke takes one case of each kind of start.
"""

import argparse
import os
import pathlib
import signal
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from benchmarks import trainers
from benchmarks.kill_storm import EVERY, HOME, MOST_OUTAGES, flags
from benchmarks.trainers import ROOT, Gang, Layout
from rewardjax.command.exit_codes import ExitCode

ALONE = Layout(1, 1)
STEPS = 400  # more than are taken before anything happens
HANG_SECONDS = 12.0  # a step's compilation must fit, whatever else the machine is doing
# Seconds to stop: of a job whose process raised an error, of a job told to leave, of a process told
# so twice; and what a hang may take beyond its own limit.
CRASH, SAVE, SECOND, BEYOND_HANG = 2.0, 5.0, 1.0, 1.0


class Toy(NamedTuple):
    """Where the runs of a case lie, and the data that all of them read."""

    folder: pathlib.Path
    cache: pathlib.Path

    def workdir(self, case: str) -> pathlib.Path:
        """Of a case."""
        return self.folder / case

    def log(self, case: str) -> pathlib.Path:
        """What its processes print."""
        return self.folder / f"{case}.log"

    def start(
        self,
        case: str,
        layout: Layout = HOME,
        more: Sequence[str] = (),
        before: Callable[[int], None] | None = None,
        steps: int = STEPS,
    ) -> Gang:
        """Start trainers for a case, with `more` flags."""
        given = [*flags(self.workdir(case), self.cache, steps), *more]
        return trainers.start(layout, given, self.log(case), before)

    def until_step(self, case: str, gang: Gang, step: int = 2) -> None:
        """Wait until a step is done."""
        trainers.until(lambda: trainers.last_written(self.workdir(case)) >= step, gang)

    def until_said(self, case: str, gang: Gang, text: str) -> float:
        """Wait until a text is printed; when that was."""

        def is_said() -> bool:
            log = self.log(case)
            return log.exists() and text in log.read_text(errors="replace")

        trainers.until(is_said, gang)
        return time.monotonic()


class Ended(NamedTuple):
    """How a case went; the codes are those of its processes, in their order."""

    expected: list[int]
    codes: list[int | None]
    seconds: float
    limit: float | None = None
    soonest: float = 0.0  # before that it cannot have been what was provoked

    def is_right(self) -> bool:
        """Whether the codes are right and came in time."""
        in_time = self.limit is None or self.seconds <= self.limit
        return self.codes == self.expected and in_time and self.seconds >= self.soonest


def ended(gang: Gang, expected: Sequence[int], cause: float, limit: float | None = None) -> Ended:
    """Wait for the processes of a case that was given its cause."""
    codes = gang.wait(120.0)
    gang.kill()
    last = max(trainer.ended for trainer in gang.trainers)
    return Ended([int(code) for code in expected], codes, round(last - cause, 3), limit)


# ------------------------------------------------------------------ the cases


def done(toy: Toy) -> Ended:
    """A run to its end."""
    gang = toy.start("done", ALONE, steps=3)
    is_done = toy.workdir("done") / "DONE"
    trainers.until(is_done.exists, gang)
    return ended(gang, [ExitCode.DONE], time.monotonic())


def bug(toy: Toy) -> Ended:
    """An error that nobody foresaw, in one process of two, while the other waits for it."""
    raised = toy.folder / "raised"

    def before(index: int) -> None:
        if index == 1:
            trainers.on_step(2, lambda: (raised.write_text(str(time.monotonic())), 1 / 0))

    gang = toy.start("bug", before=before)
    trainers.until(raised.exists, gang)
    cause = time.monotonic()
    gang.wait(120.0)
    # When it was raised, and not when that was seen.
    if raised.exists():
        cause = float(raised.read_text())
    return ended(gang, [ExitCode.BUG] * 2, cause, CRASH)


def mistake(toy: Toy) -> Ended:
    """A mistake that one host of two makes: its command line has another value."""

    def before(index: int) -> None:
        if index == 1:
            sys.argv.append("--config.batch.rows=0")

    gang = toy.start("mistake", before=before)
    cause = toy.until_said("mistake", gang, "batch.rows = 0 must be at least 1")
    return ended(gang, [ExitCode.USER] * 2, cause, CRASH)


def waits(toy: Toy) -> Ended:
    """A curation whose judges are to be asked through files."""
    argv = ["rewardjax.curate", "batch", "write", str(toy.workdir("waits"))]
    argv += ["--config", f"{ROOT}/configs/curation/world.py:tiny,batches=True", "--judge", "sharp"]
    gang = trainers.command(argv, toy.log("waits"))
    cause = toy.until_said("waits", gang, "paused: ")
    return ended(gang, [ExitCode.WAITS], cause)


def told_to_leave(number: int) -> Callable[[Toy], Ended]:
    """A signal to one host of two."""

    def case(toy: Toy) -> Ended:
        name = signal.Signals(number).name
        gang = toy.start(name)
        # After its first evaluation and its first save, whose compilations are no part of leaving.
        toy.until_step(name, gang, EVERY + 2)
        gang.trainers[1].send(number)
        cause = time.monotonic()
        outcome = ended(gang, [ExitCode.PREEMPTED] * 2, cause, SAVE)
        if not trainers.saved_steps(toy.workdir(name)):
            return outcome._replace(limit=0.0)  # it left, and saved nothing
        return outcome

    return case


def told_in_start_up(toy: Toy) -> Ended:
    """A signal to one host of two that are still at their first exchange."""

    def before(index: int) -> None:
        from rewardjax.training import loop

        if index == 1:
            loop.load_tokenizer = lambda **kwargs: (print("started", flush=True), time.sleep(60))

    gang = toy.start("start-up", before=before)
    cause = toy.until_said("start-up", gang, "started")
    gang.trainers[1].send(signal.SIGTERM)
    return ended(gang, [ExitCode.PREEMPTED] * 2, cause, CRASH)


def told_twice(number: int) -> Callable[[Toy], Ended]:
    """A second signal while the first one is being heeded."""

    def case(toy: Toy) -> Ended:
        name = f"{signal.Signals(number).name}-twice"
        # What it does at its next step takes longer than the second signal needs to come.
        slow = lambda index: trainers.on_step(4, lambda: time.sleep(5.0))
        gang = toy.start(name, ALONE, before=slow)
        toy.until_step(name, gang)
        gang.trainers[0].send(number)
        cause = toy.until_said(name, gang, "again to stop at once")
        gang.trainers[0].send(number)
        return ended(gang, [128 + number], cause, SECOND)

    return case


def hang(stopped: int) -> Callable[[Toy], Ended]:
    """A host that is stopped; the other one says so and ends."""

    def case(toy: Toy) -> Ended:
        name = f"hang-{stopped}"
        gang = toy.start(name, more=[f"--config.hang.minutes={HANG_SECONDS / 60}"])
        toy.until_step(name, gang)
        gang.trainers[stopped].send(signal.SIGSTOP)
        cause = time.monotonic()
        # What a launcher would do with the stopped one comes after.
        alive = Gang([gang.trainers[1 - stopped]])
        outcome = ended(alive, [ExitCode.HANG], cause, HANG_SECONDS + BEYOND_HANG)
        gang.kill()
        # A machine with other jobs may be slower than the limit, and a hang for that reason.
        return outcome._replace(soonest=HANG_SECONDS - BEYOND_HANG)

    return case


def not_finite(toy: Toy) -> Ended:
    """A learning rate at which nothing stays finite."""
    more = ["--config.schedule.peak=1e30", "--config.schedule.warmup_fraction=0.0"]
    gang = toy.start("not-finite", ALONE, more)
    cause = toy.until_said("not-finite", gang, "skips.in_a_row")
    return ended(gang, [ExitCode.NOT_FINITE], cause)


def no_checkpoint(toy: Toy) -> Ended:
    """The checkpoints of a run that was done, all of them damaged."""
    done(toy)
    for meta in (toy.workdir("done") / "checkpoints").glob("*/meta/metadata"):
        meta.write_text(meta.read_text().replace("0", "1"))
    (toy.log("done")).unlink()
    gang = toy.start("done", ALONE, steps=3)
    cause = toy.until_said("done", gang, "checksum")
    return ended(gang, [ExitCode.NO_CHECKPOINT], cause)


def killed(toy: Toy) -> Ended:
    """The process that holds the job together is killed, and the runtime ends the other one."""
    gang = toy.start("killed")
    toy.until_step("killed", gang)
    gang.trainers[0].send(signal.SIGKILL)
    return ended(gang, [128 + signal.SIGKILL, ExitCode.OUTAGE], time.monotonic(), CRASH)


def outage(toy: Toy) -> Ended:
    """A peer that joined and is heard of no more: the runtime wraps what it says about that."""

    def before(index: int) -> None:
        from rewardjax.training.preflight import hosts

        compare = hosts.refuse

        def compare_and_stop(*arguments: Any) -> None:
            compare(*arguments)
            # Before the first collective, for which gloo has a limit of its own (30 s).
            os.kill(os.getpid(), signal.SIGSTOP)

        if index == 1:
            hosts.refuse = compare_and_stop

    gang = toy.start("outage", before=before)
    first = Gang([gang.trainers[0]])
    cause = toy.until_said("outage", first, "DEADLINE_EXCEEDED")
    outcome = ended(first, [ExitCode.OUTAGE], cause)
    gang.kill()
    return outcome


QUICK: dict[str, Callable[[Toy], Ended]] = {
    "0 done": done,
    "1 a bug in one of two processes": bug,
    "2 a mistake of one of two hosts": mistake,
    "3 a curation that waits for answers": waits,
    "42 SIGTERM to one of two": told_to_leave(signal.SIGTERM),
    "45 every checkpoint damaged": no_checkpoint,
}
THOROUGH: dict[str, Callable[[Toy], Ended]] = {
    "44 not finite": not_finite,
    "43 the first process stopped": hang(0),
    "143 SIGTERM twice": told_twice(signal.SIGTERM),
    "137 and 134 the first of two killed": killed,
    "42 SIGTERM to one of two that start": told_in_start_up,
    "42 SIGINT to one of two": told_to_leave(signal.SIGINT),
    "43 the second process stopped": hang(1),
    "130 SIGINT twice": told_twice(signal.SIGINT),
    "134 a wrapped outage at the start": outage,
}


def without_outage(
    provoke: Callable[[Toy], Ended], folder: pathlib.Path, number: int
) -> tuple[Ended, int]:
    """How a case went, and how often it met an outage that nobody had provoked before that."""
    # On a machine with other jobs a peer may compile for longer than gloo waits (30 s).
    for outages in range(MOST_OUTAGES):
        own = folder / f"{number}-{outages}"
        own.mkdir()
        outcome = provoke(Toy(own, folder / "cache"))
        expected = ExitCode.OUTAGE in outcome.expected
        if expected or ExitCode.OUTAGE not in outcome.codes:
            return outcome, outages
    return outcome, MOST_OUTAGES


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Go through the cases; prints the result as the last line, and returns it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.exit_codes")
    parser.add_argument("--smoke", action="store_true", help="under a minute")
    args = parser.parse_args(argv)
    began = time.monotonic()
    trainers.prepare()
    cases = QUICK
    if not args.smoke:
        cases = QUICK | THOROUGH
    outcomes: dict[str, Ended] = {}
    outages = 0
    with trainers.scratch() as folder:
        for number, (case, provoke) in enumerate(cases.items()):
            outcomes[case], more = without_outage(provoke, folder, number)
            outages += more
            print(case, outcomes[case], flush=True)
    figures = {
        "smoke": args.smoke,
        "all": all(outcome.is_right() for outcome in outcomes.values()),
        "codes": {case: outcome._asdict() for case, outcome in outcomes.items()},
        "outages": outages,
    }
    return trainers.told("exit_codes", figures, began)


if __name__ == "__main__":
    main()
