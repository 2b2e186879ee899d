"""Real pairs for `curation_walk`: data sets in the formats they come in, with planted wrong labels.

HH-RLHF's harmless pairs, PandaLM's with three annotators each, and LLMBar's. A share of the records
says the opposite of what its data set says; what the data set says is the truth of judges, people
and figures, and the curation never sees it.
"""

import gzip
import json
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from rewardjax.curation import people
from rewardjax.curation.judges import truth_labels
from rewardjax.curation.ledger.rows import Value, canonical
from rewardjax.data import groups
from rewardjax.data.sources import open_source
from rewardjax.data.world.draw import Draw

Record = dict[str, Any]
# The share of labels that are turned, and of people's answers that are right.
PLANTED, PEOPLE_RIGHT = 0.3, 0.92
# Where the records of a data set go, and their shares: to the two pools, and kept back to be
# imported later. Records of one prompt stay together in none of these: PandaLM has each many times.
PARTS = {"unverified": 0.4, "wild": 0.4, "later": 0.2}


class DataSet(NamedTuple):
    """A public data set: its files in the data folder, what its labels mean, how one is turned."""

    files: tuple[str, ...]
    turned: Callable[[Record], Record]
    labels: Mapping[str, str] | None = None


def _exchanged(record: Record) -> Record:
    return record | {"chosen": record["rejected"], "rejected": record["chosen"]}


def _relabeled(record: Record) -> Record:
    return record | {"label": 3 - record["label"]}


def _outvoted(record: Record) -> Record:
    """Every annotator says the other response; a tie (0) stays one."""
    opposite = {0: 0, 1: 2, 2: 1}
    votes = {}
    for name in ("annotator1", "annotator2", "annotator3"):
        votes[name] = opposite[record[name]]
    return record | votes


LLMBAR = ("natural", "neighbor", "gptinst", "gptout", "manual")
SETS = {
    "hh": DataSet(("hh_harmless/test.jsonl.gz",), _exchanged),
    "pandalm": DataSet(
        ("pandalm/testset-v1.json.gz",), _outvoted, {"0": "tie", "1": "first", "2": "second"}
    ),
    "llmbar": DataSet(tuple(f"llmbar/{name}.json" for name in LLMBAR), _relabeled),
}


def missing(data: pathlib.Path) -> str | None:
    """Why the data sets cannot be prepared; None where all are there."""
    for name, of_set in SETS.items():
        for file in of_set.files:
            if not (data / file).exists():
                return f"{data / file} is not there, so {name} cannot be prepared"
    return None


def prepare(data: pathlib.Path, folder: pathlib.Path, pairs: int) -> dict[str, Value]:
    """Write FOLDER/SET-PART.jsonl and FOLDER/truth/SET.jsonl; returns the truth by pair_id.

    pairs: records of each data set, or as many as it has.
    """
    (folder / "truth").mkdir(parents=True, exist_ok=True)
    tables = {}
    for name, of_set in SETS.items():
        records = Draw("records", name).shuffled(list(_read(data, of_set)))[:pairs]
        path = folder / "truth" / f"{name}.jsonl"
        _write(path, records)
        first = 0
        for part, share in PARTS.items():
            last = first + round(share * len(records))
            entering = []
            for place in range(first, min(last, len(records))):
                record = records[place]
                if Draw("planted", name, place).chance(PLANTED):
                    record = of_set.turned(record)
                entering.append(record)
            _write(folder / f"{name}-{part}.jsonl", entering)
            first = last
        tables[name] = truth_labels.labels_of(open_source(path), labels=of_set.labels)
    return truth_labels.merged(tables)


def _read(data: pathlib.Path, of_set: DataSet) -> Iterator[Record]:
    for file in of_set.files:
        content = (data / file).read_bytes()
        if file.endswith(".gz"):
            content = gzip.decompress(content)
        if ".jsonl" in file:
            yield from map(json.loads, content.splitlines())
        else:
            yield from json.loads(content)


def _write(path: pathlib.Path, records: Sequence[Record]) -> None:
    lines = [json.dumps(record, ensure_ascii=False) + "\n" for record in records]
    path.write_text("".join(lines), encoding="utf-8")


# ------------------------------------------------------------------ people


def answers(queue: pathlib.Path, truth: Mapping[str, Value]) -> list[Record]:
    """What simulated people send back for the tasks of a queue's file, in the file's order.

    They see what the file shows and know the truth of most pairs: of the others they say that they
    cannot decide.
    """
    records = []
    for line in queue.read_text(encoding="utf-8").splitlines():
        shown = json.loads(line)
        task = _task(shown)
        choice = "cannot_decide"
        if task.pair_id in truth:
            (answer,) = people.simulate([task], truth.__getitem__, accuracy=PEOPLE_RIGHT)
            choice = answer.choice
        records.append({"task": task.id, "annotator": task.annotator, "choice": choice})
    return records


def _task(shown: Mapping[str, Any]) -> people.Task:
    """The task that a line of a queue's file shows."""
    a, b, left_is_a = canonical(shown["left"], shown["right"])
    pair_id = groups.pair_id(shown["prompt"], a, b, shown.get("tools"))
    order = "ba"
    if left_is_a:
        order = "ab"
    # Which tasks are checks, the file does not tell.
    return people.Task(shown["task"], pair_id, shown["annotator"], order, check=False)
