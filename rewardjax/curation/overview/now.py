"""What the run of a workspace is at, in a sentence: from the file that it writes while it works."""

import pathlib
import time

from rewardjax.command import running
from rewardjax.command.running import State, clock_text

# Seconds without a word after which a run is taken for dead: it writes every few seconds.
SILENT_AFTER = 60.0


def sentence(folder: pathlib.Path, now: float | None = None) -> str:
    """The sentence; now: Unix time, that of the clock unless given."""
    state = running.read(folder)
    if state is None:
        return "no run was started yet"
    if state["ended"]:
        return "the last run came to its end"
    if state["paused"] is not None:
        return f"paused: {state['paused']}"
    if now is None:
        now = time.time()
    # The file's clock may be that of another host, a little ahead of ours.
    silent = max(0.0, now - state["at"])
    if silent > SILENT_AFTER:
        return (
            f"stopped: no word from process {state['process']} for {clock_text(silent)}; it was at "
            f"{_step(state)}; `curate run` goes on from there"
        )
    return f"running: {_step(state)} (process {state['process']}, {silent:.0f} s ago)"


def _step(state: State) -> str:
    parts = [state["step"] or "its start"]
    if state["total"] is not None:
        parts.append(f"{state['done']:,} of {state['total']:,} {state['unit']}s")
    if state["per_second"] is not None:
        parts.append(f"{state['per_second']:.3g}/s")
    parts.append(f"{clock_text(state['seconds'])} so far")
    if state["eta_seconds"] is not None:
        parts.append(f"ETA {clock_text(state['eta_seconds'])}")
    return ", ".join(parts)
