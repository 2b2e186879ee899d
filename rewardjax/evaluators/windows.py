"""The windows of a benchmark, each scored once, whoever does it and however often they are killed.

    PARTS/00003.claim      who scores window 3, so that nobody else begins it
    PARTS/00003-3f9c.npy   the rewards of one attempt at it
    PARTS/00003.json       the window's commit: it names an attempt and exists once
    PARTS/job-00003.npy    rewards that all processes of a job have computed together

The same units as those of a pass of `rewardjax.score` (`scoring/passes`): any number of evaluations
with the same output, on hosts that share its folder, take part in the work.
"""

import pathlib
import time
from collections.abc import Callable, Iterator

import jax
import numpy as np

from rewardjax.io import files
from rewardjax.scoring.passes import parts
from rewardjax.scoring.passes.work import looks_every

# A window -> the rewards of all its responses, in a row.
ScoreWindow = Callable[[int], np.ndarray]


def scored(
    folder: pathlib.Path, windows: int, score: ScoreWindow
) -> Iterator[tuple[int, np.ndarray]]:
    """The windows 0, 1, ..., each with its rewards, as they are done.

    Raises FileNotFoundError where another evaluation, which has all of them, removes the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if jax.process_count() > 1:
        yield from _by_a_job(folder, windows, score)
        return
    undone = list(range(windows))
    while undone:
        others: list[int] = []
        for window in undone:
            rewards = _rewards(folder, window, score)
            if rewards is None:
                others.append(window)
            else:
                yield window, rewards
        # A window whose process is gone is free after a while.
        if len(others) == len(undone):
            time.sleep(looks_every(folder))
        undone = others


def _rewards(folder: pathlib.Path, window: int, score: ScoreWindow) -> np.ndarray | None:
    """What is committed for a window, or is now; None where somebody else is at it."""
    committed = _committed(folder, window)
    if committed is not None or parts.is_claimed(folder, window):
        return committed
    with parts.claimed(folder, window) as mine:
        if not mine:
            return None
        # Between the look and the claim another may have finished it.
        committed = _committed(folder, window)
        if committed is not None:
            return committed
        attempted = parts.attempt(folder, window, rewards=".npy")
        np.save(attempted.files["rewards"], score(window))
        parts.commit(folder, attempted, {})
    # Of two attempts the committed one counts, also for the one who lost.
    return _committed(folder, window)


def _committed(folder: pathlib.Path, window: int) -> np.ndarray | None:
    committed = parts.committed_files(folder, window)
    if not committed:
        return None
    return np.load(committed["rewards"])


def _by_a_job(
    folder: pathlib.Path, windows: int, score: ScoreWindow
) -> Iterator[tuple[int, np.ndarray]]:
    # The processes of a job compute each window together, so all must agree on which one is next:
    # what others commit meanwhile some of them would see and some not.
    for window in range(windows):
        file = folder / f"job-{window:05d}.npy"
        if file.exists():
            yield window, np.load(file)
            continue
        rewards = score(window)
        # On several hosts the folder is shared, and all have the same rewards.
        if jax.process_index() == 0:
            # By handle: given a name, np.save would add .npy to it.
            with files.replacing(file) as part, open(part, "wb") as opened:
                np.save(opened, rewards)
        yield window, rewards
