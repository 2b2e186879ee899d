"""How far a run is and how fast: a live line with an ETA, and speed against the hardware's peak."""

import contextlib
import math
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple, TextIO

from tqdm import tqdm

from rewardjax.command import terminal
from rewardjax.command.running import clock_text
from rewardjax.training import console

# Parts of the line in the order in which a narrow terminal does without them.
LEAST_NEEDED = ("tokens", "elapsed", "mfu", "pairs", "eta")


# What must have been measured before an expected time is told.
MEASURED_STEPS, MEASURED_SECONDS = 3, 5.0


class Counts(NamedTuple):
    """What was done, over all hosts."""

    pairs: int = 0
    unique_tokens: int = 0  # real tokens, a shared prefix once
    padded_tokens: int = 0  # row slots
    flops: float = 0.0  # `flops.train_flops`: useful ones only

    def plus(self, other: "Counts") -> "Counts":
        """Both together."""
        return Counts(
            self.pairs + other.pairs,
            self.unique_tokens + other.unique_tokens,
            self.padded_tokens + other.padded_tokens,
            self.flops + other.flops,
        )

    def rates(self, seconds: float, peak: float | None) -> dict[str, float]:
        """Each per second, by the name of its metric; {} where nothing was done or no time passed.

        MFU, model FLOPs utilization (arXiv 2204.02311, appendix B), is useful FLOPs per second over
        `peak`.
        """
        if seconds <= 0 or not self.pairs:
            return {}
        rates = {
            "pairs_per_second": self.pairs / seconds,
            "useful_tokens_per_second": self.unique_tokens / seconds,
            "padded_tokens_per_second": self.padded_tokens / seconds,
        }
        if peak and self.flops:
            rates["mfu"] = self.flops / seconds / peak
        return rates


class Progress:
    """Progress of a run: a tqdm line on a terminal, else a plain line every `interval` seconds.

    Evaluation and other interruptions go into `with progress.paused():` and count neither in speed
    nor in elapsed time. The first update only starts the clock of speed and ETA, so that
    compilation is not in them.

    Args:
        total_steps: of the whole run.
        start_step: where a resumed run continues.
        elapsed: the `state()` that was saved with it, in seconds.
        peak: FLOP/s of all devices together, None where unknown.
        interval: seconds between plain lines.
        stream: where the line goes; default: standard error.
        quiet: show nothing, as processes other than 0 do.
        clock: seconds from any origin.
    """

    def __init__(
        self,
        total_steps: int,
        *,
        start_step: int = 0,
        elapsed: float = 0.0,
        peak: float | None = None,
        interval: float = 10.0,
        stream: TextIO | None = None,
        quiet: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._total, self._step = total_steps, start_step
        self._peak, self._interval, self._clock = peak, interval, clock
        self._elapsed_before, self._start, self._pause = elapsed, clock(), 0.0
        # Running time and step at the first update, and what was done since: the mean pace, for the
        # line and the ETA.
        self._first: tuple[float, int] | None = None
        self._done = Counts()
        # The same since the last call of `rates`, for the log.
        self._window_start = 0.0
        self._window = Counts()

        self._expected = False
        self._stream = stream or sys.stderr
        self._quiet = quiet
        self._shown: dict[str, float] = {}
        self._last_line = -math.inf
        self._bar: tqdm | None = None
        if not quiet and self._stream.isatty():
            self._bar = tqdm(
                total=total_steps,
                initial=start_step,
                file=self._stream,
                ncols=terminal.columns(self._stream) or None,
                nrows=terminal.ROWS,
                bar_format="{desc}{bar}{postfix}",
            )

    def _running(self) -> float:
        """Seconds since this object was made, without pauses."""
        return self._clock() - self._start - self._pause

    def state(self) -> float:
        """Seconds spent on the run, over all restarts, without pauses: saved with checkpoints."""
        return self._elapsed_before + self._running()

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Time in this block does not count."""
        begin = self._clock()
        try:
            yield
        finally:
            self._pause += self._clock() - begin

    def update(self, step: int, counts: Counts, **shown: float) -> None:
        """`step` steps are done, with `counts` since the last update.

        `shown` are numbers for the line, such as the loss.
        """
        self._step, self._shown = step, shown
        now = self._running()
        if self._first is None:
            self._first, self._window_start = (now, step), now
        else:
            self._done, self._window = self._done.plus(counts), self._window.plus(counts)
        if not self._quiet:
            self._show(now)
            if expected := self.expected():
                self.say(expected)

    def rates(self) -> dict[str, float]:
        """Speed since the last call, for the log; {} without data. See `Counts.rates`."""
        rates = self._window.rates(self._running() - self._window_start, self._peak)
        if rates:
            self._window_start, self._window = self._running(), Counts()
        return rates

    def eta(self) -> float | None:
        """Seconds left at the mean pace since the first update; None before the second."""
        if self._first is None or self._step == self._first[1]:
            return None
        begin, step = self._first
        return (self._total - self._step) * (self._running() - begin) / (self._step - step)

    def line(self, columns: int = 0) -> str:
        """The progress line as text, of at most `columns` where that is not 0.

        Its speed is the mean one: that of a window may be of a moment, as when the last two steps
        are reported together. On a narrow terminal what is needed least goes first.
        """
        parts = self._parts()
        for name in LEAST_NEEDED:
            if not columns or len(", ".join(parts.values())) <= columns:
                break
            parts.pop(name, None)
        return ", ".join(parts.values())

    def _parts(self) -> dict[str, str]:
        """What the line may say, by name."""
        share = 100 * self._step / max(self._total, 1)
        parts = {"step": f"step {self._step}/{self._total} ({share:.0f}%)"}
        parts["elapsed"] = f"elapsed {clock_text(self.state())}"
        if (eta := self.eta()) is not None:
            parts["eta"] = f"ETA {clock_text(eta)}"
        if self._first is not None:
            rates = self._done.rates(self._running() - self._first[0], self._peak)
            if rates:
                parts["pairs"] = f"{rates['pairs_per_second']:.3g} pairs/s"
                parts["tokens"] = f"{rates['useful_tokens_per_second']:.3g} tokens/s"
            if "mfu" in rates:
                parts["mfu"] = f"MFU {100 * rates['mfu']:.1f}%"
        for name, value in self._shown.items():
            parts[f"shown {name}"] = f"{name} {value:.4g}"
        return parts

    def say(self, text: str) -> None:
        """A line that stays, above the live one where there is one."""
        if not self._quiet:
            console.tell(text, self._stream)

    def expected(self) -> str:
        """How long the steps that are left will take, and what that was measured on.

        "" before a few steps were measured, and ever after it was asked for with success.
        """
        if self._first is None or self._expected:
            return ""
        begin, first = self._first
        seconds, steps = self._running() - begin, self._step - first
        # The first steps after the compilation still warm caches up: one of them says little.
        if steps < MEASURED_STEPS or seconds < MEASURED_SECONDS or self._step >= self._total:
            return ""
        self._expected = True
        left = self._total - self._step
        return (
            f"about {roughly(left * seconds / steps)} for the {left:,} steps that are left, by the "
            f"{steps} steps so far ({seconds / steps:.2g} s each); evaluations and saves are not "
            "counted"
        )

    def _show(self, now: float) -> None:
        if self._bar is not None:
            self._bar.n = self._step
            # Again each time: windows change their width.
            width = terminal.columns(self._stream) or shutil.get_terminal_size().columns
            self._bar.ncols = width
            # One column for the blank, one for a bar.
            self._bar.set_description_str(self.line(max(0, width - 2)) + " ")
        elif now - self._last_line >= self._interval or self._step >= self._total:
            self._last_line = now
            print(self.line(), file=self._stream, flush=True)

    def close(self) -> None:
        """Leave the terminal tidy."""
        if self._bar is not None:
            self._bar.close()


def roughly(seconds: float) -> str:
    """A time to plan with: `"40 s"`, `"12 min"`, `"3.5 h"`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
