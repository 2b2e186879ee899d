"""Judges that are asked through batch files instead of a server: what `curate batch` does.

    write     goes on with the run as far as it comes without asking anybody, and writes the next
              requests to FOLDER/batches/STAGE.JUDGE.NUMBER.jsonl
    read      puts the answers of results files into the ledger of calls
    release   gives up files whose results will never come

`write` and `read` again until the run passes the stage: answers that cannot be read are asked
again, as they are over HTTP. The votes are those that a server would have led to.
"""

import contextlib
import dataclasses
import pathlib
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from rewardjax.curation.judges import protocol
from rewardjax.curation.judges.client import Judge, judges_of
from rewardjax.curation.judges.prompts import Item
from rewardjax.curation.judges.requests import batch_files
from rewardjax.curation.ledger.stage_names import Stage
from rewardjax.curation.servers.paid_calls import CallLedger
from rewardjax.curation.stages import panels, quorum
from rewardjax.curation.workspace import Plugins, Row, Waiting, Workspace
from rewardjax.io import own_files


class Writer:
    """Plug-ins for judges that write what they would ask to files, and what they have written.

    judges: names of those whose requests are written, all where there are none; the others are left
    to `curate run`. discount: what the batch API charges of the price. files: written so far.
    counts: of requests by what became of them.
    """

    def __init__(self, judges: Sequence[str] = (), discount: float = 1.0):
        self.judges, self.discount = judges, discount
        self.files: list[pathlib.Path] = []
        self.counts = Counter(requests=0, out=0, unaffordable=0, left_to_run=0)

    def plugins(self, base: Plugins) -> Plugins:
        """`base` with this writer for its judges."""
        return dataclasses.replace(base, judge=self.judge, describe=self.describe)

    def judge(self, ws: Workspace, items: Sequence[Item], stage: Stage) -> Iterable[Row]:
        """Votes about `items` if all are answered. Raises Waiting otherwise."""
        self._write(ws, items, stage, "judge")
        judges = panels.members(ws, stage, "judge")
        rows = list(protocol.votes(items, judges, ws.calls, stage.name))
        quorum.pause_if_short(ws, stage, "judge")
        return rows

    def describe(self, ws: Workspace, items: Sequence[Item], stage: Stage) -> Iterable[Row]:
        """Attributes of `items` if all are answered. Raises Waiting otherwise."""
        self._write(ws, items, stage, "tag")
        taggers = panels.members(ws, stage, "tag")
        rows = list(protocol.tags(items, taggers, ws.calls, stage.name))
        quorum.pause_if_short(ws, stage, "tag")
        return rows

    def report(self) -> dict[str, Any]:
        """The files and counts, as JSON can hold them."""
        return {"files": list(map(str, self.files)), **self.counts}

    def _write(self, ws: Workspace, items: Sequence[Item], stage: Stage, task: str) -> None:
        everyone = [judge.name for judge in panels.everyone(ws)]
        if unknown := set(self.judges) - set(everyone):
            names = ", ".join(everyone)
            raise ValueError(f"judge {min(unknown)!r} is not one of the config's: {names}")
        counts: Counter[str] = Counter()
        for judge in panels.members(ws, stage, task):
            if self.judges and judge.name not in self.judges:
                counts["left_to_run"] += batch_files.open_questions(items, judge, ws.calls, task)
            else:
                counts.update(self._write_of(ws, items, judge, stage, task))
        self.counts.update(counts)
        # Whatever is open, votes of half a panel are not stored: the panel would be another one.
        if counts.total():
            raise Waiting(f"{stage.name} waits for answers: give results to `curate batch read`")

    def _write_of(
        self, ws: Workspace, items: Sequence[Item], judge: Judge, stage: Stage, task: str
    ) -> dict[str, int]:
        """Write one judge's open requests; counts of them."""
        path = _free_path(ws.folder / "batches", f"{stage.name}.{judge.name}")
        written = batch_files.write(
            path,
            items,
            judge,
            ws.calls,
            task=task,
            purpose=stage.name,
            discount=self.discount,
        )
        # A round in which nothing is left to ask leaves no file behind that somebody might upload.
        if written["requests"]:
            self.files.append(path)
        else:
            path.unlink()
        return written


def _free_path(folder: pathlib.Path, stem: str) -> pathlib.Path:
    # Files are never written over: results of an earlier round are matched with the file as it was.
    number = 0
    while (path := folder / f"{stem}.{number:03d}.jsonl").exists():
        number += 1
    return path


def read(folder: pathlib.Path, results: Sequence[pathlib.Path]) -> dict[str, int]:
    """Put the answers of results files into a workspace's ledger of calls; counts of them."""
    config = own_files.read(folder / "config.json")
    # A workspace does not keep where a judge's server is, and booking an answer does not need it.
    # Workspaces of earlier releases have no list of taggers.
    judges = []
    for field in ("judges", "taggers"):
        judges += judges_of(config.get(field, ()), field, base_url="")
    counts: Counter[str] = Counter()
    with contextlib.closing(CallLedger(folder / "calls.sqlite")) as calls:
        for path in results:
            counts.update(batch_files.read(path, judges, calls))
    return dict(counts)


def release(folder: pathlib.Path, written: Sequence[pathlib.Path]) -> dict[str, int]:
    """Give up files whose results will never come; how many requests are to be asked again."""
    with contextlib.closing(CallLedger(folder / "calls.sqlite")) as calls:
        return {"released": sum(calls.release(str(path.resolve())) for path in written)}
