"""The response with the highest reward of each group, and how often it is the right one.

What rejection sampling trains on, from a finished file of scores and the data that were scored.
"""

import pathlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rewardjax.command.running import Running
from rewardjax.data import formats, sources
from rewardjax.data.groups import Group
from rewardjax.io import files, storage
from rewardjax.reporting import text_table
from rewardjax.scoring.passes import tables
from rewardjax.scoring.passes.tables import WRITERS, with_texts
from rewardjax.scoring.units import text_of
from rewardjax.stats.best_of_n import curve

# A row of scores, how many responses of the group have a reward, and the mean of these.
SCHEMA = with_texts(
    tables.SCHEMA.append(pa.field("responses", pa.int32())).append(
        pa.field("mean_reward", pa.float32())
    )
)
AT_ONCE = 1024  # rows in memory


class Best(NamedTuple):
    """What was chosen.

    groups: of the data; chosen: those with a response that has a reward; alone: of these, groups
    in which only one has; ties: groups in which several share the highest reward, of which the
    first was chosen. curve: of `stats.best_of_n.curve` over the groups that say which
    responses are right and of which all have a reward; None without any.
    """

    groups: int
    chosen: int
    alone: int
    ties: int
    curve: dict[str, Any] | None


def write_best(
    source: sources.Source,
    readings: Sequence[formats.Reading],
    scores: pathlib.Path,
    output: pathlib.Path,
) -> Best:
    """Write the best response of each record of `source` to `output`, with its texts.

    scores: the Parquet file of a finished pass over the same data.
    """
    counts = dict.fromkeys(("groups", "chosen", "alone", "ties"), 0)
    rewards_of: list[np.ndarray] = []
    correct_of: list[np.ndarray] = []
    rewards_by_row = _by_row(scores)
    waiting: list[dict[str, Any]] = []
    running = Running().step("choose the best", len(source), unit="record")
    with (
        running as step,
        files.replacing(output) as part,
        WRITERS[output.suffix](part, SCHEMA) as write,
    ):
        for row, file, record in formats.numbered(source):
            step.advance()
            counts["groups"] += 1
            if row not in rewards_by_row:
                continue
            indices, rewards = rewards_by_row[row]
            group = readings[file].to_group(record, row)
            counts["chosen"] += 1
            counts["alone"] += len(rewards) == 1
            counts["ties"] += int(np.sum(rewards == rewards.max()) > 1)
            waiting.append(_best(group, row, indices, rewards))
            # A curve over some of the responses would be one of another group.
            if group.correct is not None and len(rewards) == len(group.responses):
                rewards_of.append(rewards)
                correct_of.append(np.array(group.correct, np.float64))
            if len(waiting) == AT_ONCE:
                write(waiting)
                waiting = []
        write(waiting)
    measured = None
    if rewards_of:
        measured = curve(rewards_of, correct_of)
    return Best(**counts, curve=measured)


def _by_row(scores: pathlib.Path) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Places and rewards, both [K], of the responses of each record, in the order of the data."""
    with storage.opened(scores) as file:
        table = pq.read_table(file, columns=["row", "response_index", "reward"])
    rows, places, rewards = (column.to_numpy() for column in table.columns)
    starts = np.flatnonzero(np.r_[True, np.diff(rows) != 0])
    if not len(rows):
        return {}
    by_row = zip(np.split(places, starts[1:]), np.split(rewards, starts[1:]), strict=True)
    return dict(zip(rows[starts].tolist(), by_row, strict=True))


def _best(group: Group, row: int, places: np.ndarray, rewards: np.ndarray) -> dict[str, Any]:
    # The first of equal ones, so that the same scores choose the same responses.
    best = int(places[np.argmax(rewards)])
    return {
        "id": group.id,
        "row": row,
        "response_index": best,
        "reward": float(rewards.max()),
        "responses": len(rewards),
        "mean_reward": float(rewards.mean(dtype=np.float64)),
        "prompt": text_of(group.prompt),
        "response": text_of(group.responses[best]),
    }


def sentences(best: Best) -> Iterator[str]:
    """What was chosen, what had no choice, and how often a pick of K responses is right."""
    lost = ""
    if best.chosen < best.groups:
        lost = f"; the other {best.groups - best.chosen:,} have no response with a reward"
    yield f"the best response of {best.chosen:,} of {best.groups:,} groups is written{lost}"
    if best.ties:
        yield (
            f"groups in which several responses share the highest reward, of which the first is "
            f"taken: {best.ties:,}"
        )
    if best.alone:
        yield f"groups in which only one response has a reward, and none to choose: {best.alone:,}"
    if best.curve is None:
        return
    yield (
        f"best of K over the {best.curve['prompts']:,} groups whose responses are marked right or "
        "wrong and all have a reward, exact over all draws of K:"
    )
    columns = ("ks", "score", "low", "high", "random", "oracle")
    table = []
    for K, score, low, high, random, oracle in zip(
        *(best.curve[name] for name in columns), strict=True
    ):
        interval = f"{score:.3f} ({low:.3f}-{high:.3f})"
        row = {"K": K, "picked right": interval, "random": f"{random:.3f}"}
        table.append(row | {"best possible": f"{oracle:.3f}"})
    yield text_table.table(table)
