"""Files of people's answers, in every shape that people and tools give them: what is read.

    python -m benchmarks.answer_storm [--smoke] [--only prodigy utf32]

Sixteen tasks, whose right answers are known, are answered by files in each of
`answer_shapes.SHAPES` through `curate answers`, first as a preview, then with --commit. Each answer
must be stored as it was meant or be named on the screen by file and place; what was stored wrongly,
had a file said so, is put right by a plain file, and by --retract. Prints one JSON line last:
`crashes`, `votes_wrong`, `lost_uncounted` and what else must be 0.
"""

import argparse
import contextlib
import io
import json
import pathlib
import re
import shutil
import tempfile
import traceback
from collections.abc import Sequence
from typing import Any

from benchmarks.answer_shapes import SHAPES, Shape
from benchmarks.answer_writers import OTHER_SIDE, Content, Queue, lines
from benchmarks.storm_counts import counts
from rewardjax import curate
from rewardjax.curation import people, people_files
from rewardjax.curation.annotation.desk import FILE, open_desk
from rewardjax.curation.intake.intake import take_in
from rewardjax.curation.ledger.store import Store
from rewardjax.curation.people import Answer
from rewardjax.data.sources import open_source

NAMES = ("ann", "bob")
CLOSED, STEP = "people-0", "people-1"
# Five of each side, three ties, three undecided.
MEANT = (
    *("left", "right", "no_preference", "left", "right", "cannot_decide", "left", "right"),
    *("no_preference", "left", "right", "cannot_decide", "left", "right"),
    *("no_preference", "cannot_decide"),
)
DESCRIBED = {
    "task_category": "Math",
    "objectivity": "Objective",
    "controversiality": "Low",
    "desired_attributes": "right, short",
    "annotation_guideline": "Prefer the right one.",
}
NOT_READ = re.compile(r"^  not read: [^:]*?(?:, (?:lines?|records?) ([\d, -]+))?: ", re.MULTILINE)


class Board:
    """A workspace whose people were given sixteen tasks, as it is before any file comes."""

    def __init__(self, folder: pathlib.Path):
        self.folder = folder
        store = Store(folder / "store")
        take_in(store, open_source("world:train?num=17&seed=3"), entry="unverified", name="world")
        ids = store.query("select pair_id from pairs order by pair_id").column(0).to_pylist()
        described = {"voter": "judge:m", "kind": "judge"} | DESCRIBED
        store.append("attributes", "tag", "0", [{"pair_id": id} | described for id in ids])
        tasks = people.queue(store, ids[:16], NAMES, overlap=0, checks=0)
        before = people.queue(store, ids[16:], NAMES, overlap=0, checks=0)
        with open_desk(folder) as desk:
            desk.deal(CLOSED, before, 1.0)
            desk.take(CLOSED, [Answer(before[0].id, "left", annotator=before[0].annotator)])
            desk.close(CLOSED)
            desk.deal(STEP, tasks, 1.0)
        # Each shape begins with this desk, and with the store, to which answers add nothing.
        shutil.copy(folder / FILE, folder / "pristine")
        meant = {task.id: choice for task, choice in zip(tasks, MEANT, strict=True)}
        sent, plain = self._sent(store, tasks)
        self.queue = Queue(tasks, meant, sent, plain, before[0].id)

    def _sent(self, store: Store, tasks: Sequence[people.Task]) -> tuple[list[Any], list[Any]]:
        people_files.write_tasks(store, tasks, self.folder / "sent", "jsonl")
        people_files.write_tasks(store, tasks, self.folder / "sent_plain", "label_studio")
        sent = (self.folder / "sent").read_text(encoding="utf-8").split("\n")
        plain = json.loads((self.folder / "sent_plain").read_text(encoding="utf-8"))
        return [json.loads(line) for line in sent if line], [row["data"] for row in plain]

    def reset(self) -> None:
        """Forget every answer."""
        shutil.copy(self.folder / "pristine", self.folder / FILE)

    def file(self, name: str, content: Content) -> pathlib.Path:
        """Write a file; the path to give: a file in a folder stands for its folder."""
        path = self.folder / "files" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, str):
            content = content.encode()
        path.write_bytes(content)
        return self.folder / "files" / name.partition("/")[0]

    def give(self, *arguments: Any) -> tuple[int, str]:
        """`curate answers`: the exit code, and what it said."""
        out, errors = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
            code = curate.main(["answers", str(self.folder), *map(str, arguments)])
        # One sentence, whatever is wrong.
        if code == 2 and errors.getvalue().strip().count("\n"):
            raise AssertionError(f"several lines: {errors.getvalue()}")
        return code, out.getvalue() + errors.getvalue()

    def stored(self) -> dict[tuple[str, str | None], str]:
        """(task, who) -> the choice that counts."""
        with open_desk(self.folder) as desk:
            return {(each.task, each.annotator): each.choice for each in desk.answers(STEP)}


def named_places(said: str) -> tuple[int, bool]:
    """How many places the screen names as not read, and whether it names a whole file."""
    count, is_whole = 0, False
    for places in NOT_READ.findall(said):
        is_whole = is_whole or not places
        for part in filter(None, places.split(", ")):
            first, _, last = part.partition("-")
            count += int(last or first) - int(first) + 1
    return count, is_whole


def try_shape(board: Board, name: str, shape: Shape, *, repair: bool) -> dict[str, Any]:
    """Give the files of a shape; what came of the answers in them, and whether that is undone."""
    board.reset()
    outcome: dict[str, Any] = {"shape": name, "crashed": None}
    written = shape.write(board.queue)
    paths = list(dict.fromkeys(board.file(name, content) for name, content in written.items()))
    try:
        problems: list[str] = []
        if repair:
            _, shown = board.give(*paths, *shape.flags)
            problems += [f"the preview stored {each}" for each in board.stored()]
        code, said = board.give(*paths, *shape.flags, "--commit")
        stored = board.stored()
        if repair:
            if NOT_READ.findall(shown) != NOT_READ.findall(said):
                problems.append("the preview says something else than the commit")
            problems += _repair(board, paths, shape)
    # A crash is one of the things that are counted here.
    except Exception:
        return outcome | {"crashed": traceback.format_exc()}
    owner = {task.id: task.annotator for task in board.queue.tasks}
    meant = dict(board.queue.meant)
    wrong = [key for key, choice in stored.items() if choice != _meant(key, owner, meant)]
    read = sum(who == owner[task] for task, who in stored)
    places, is_whole = named_places(said)
    named = {True: -1, False: places}[is_whole]
    expected = shape.named
    if expected is None:
        expected = 16 - shape.read
    if (code == 0) != bool(shape.read):
        problems.append(f"exit code {code}")
    if shape.says not in said:
        problems.append(f"does not say {shape.says!r}")
    return outcome | {
        "read": read,
        "named": named,
        "votes_wrong": len(wrong),
        # All that is neither stored nor named, if the shape's own count says so.
        "lost_uncounted": int(named != expected) * max(1, 16 - read),
        "as_expected": read == shape.read and named == expected and not problems,
        "problems": problems,
        "said": [line.strip() for line in said.splitlines() if "not read" in line],
    }


def _meant(key: tuple[str, str | None], owner: dict[str, str], meant: dict[str, str]) -> str | None:
    task, who = key
    if who == owner[task]:
        return meant[task]
    # The second person of a shape says the opposite.
    return OTHER_SIDE.get(meant[task], meant[task])


def _repair(board: Board, paths: Sequence[pathlib.Path], shape: Shape) -> list[str]:
    """What cannot be put right: by a plain file that corrects, or by taking the answers back."""
    problems = []
    opposite = board.file("opposite.jsonl", lines(_opposite(board.queue)))
    board.give(opposite, "--commit")
    board.give(board.file("right.jsonl", lines(board.queue.rows())), "--commit")
    owner = {task.id: task.annotator for task in board.queue.tasks}
    own = {task: choice for (task, who), choice in board.stored().items() if who == owner[task]}
    if own != board.queue.meant:
        problems.append("a plain file does not put it right")
    board.reset()
    board.give(*paths, *shape.flags, "--commit")
    if board.stored():
        board.give(*paths, *shape.flags, "--retract", "--commit")
    if board.stored():
        problems.append("--retract leaves answers")
    return problems


def _opposite(queue: Queue) -> list[dict[str, Any]]:
    rows = queue.rows()
    for row in rows:
        row["choice"] = OTHER_SIDE.get(row["choice"], "left")
    return rows


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Give every shape; returns what is printed last."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.answer_storm", description="Files of people's answers."
    )
    parser.add_argument(
        "--smoke", action="store_true", help="preview and repairs of every tenth shape only"
    )
    parser.add_argument("--only", nargs="+", choices=SHAPES, help="these shapes")
    args = parser.parse_args(argv)
    outcomes = []
    with tempfile.TemporaryDirectory() as folder:
        board = Board(pathlib.Path(folder))
        for i, name in enumerate(args.only or SHAPES):
            repair = i % 10 == 0 or not args.smoke
            outcomes.append(try_shape(board, name, SHAPES[name], repair=repair))
            print(json.dumps(outcomes[-1]), flush=True)
    result = {
        "benchmark": "answer_storm",
        "shapes": len(outcomes),
        **counts(outcomes, "shape"),
    }
    print(json.dumps(result))
    return result


if __name__ == "__main__":
    main()
