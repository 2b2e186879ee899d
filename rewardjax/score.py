"""Reward every response of a data set.

    python -m rewardjax.score --model DIR --input FILE --output OUT.parquet

DIR is an exported Hugging Face folder or the workdir of a run; FILE any format of
`data/formats.py`, or groups `{"id", "prompt": [messages], "responses": [text, ...]}`. OUT
(`.parquet` or `.jsonl`) gets a row `id, row, response_index, reward` for each response, where `row`
is the record's place in the data (an id may occur twice); what cannot be scored is listed with its
reason in `OUT.quarantine.jsonl`, and the score contract goes to `OUT.contract.json`.
"""

import collections
import contextlib
import itertools
import json
import pathlib
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from rewardjax import errors, files
from rewardjax.data import accounting, formats, sources, spelling
from rewardjax.data.groups import BadRecord
from rewardjax.data.pack import TokenGroup
from rewardjax.scoring import contract
from rewardjax.scoring import model as scorer
from rewardjax.scoring.prepare import prepare

MAX_DROPPED = 0.2  # share of the records that may be unreadable
WINDOW = 2048  # records read, scored and written at a time
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("row", pa.int64()),
        ("response_index", pa.int32()),
        ("reward", pa.float32()),
    ]
)


class Window(NamedTuple):
    """What became of some records in a row.

    controls: of the records whose texts hold control tokens, read as text, each one such place.
    unprinted: how many records have a field that the chat template does not print. shortened: how
    many lost the oldest tokens of their prompt. late_columns: those of their columns that are not
    used and not among their file's first records, with the first record of each.
    """

    records: int
    scores: list[dict]  # {id, row, response_index, reward}
    quarantine: list[dict]
    controls: list[str]
    unprinted: collections.Counter[str]
    shortened: int
    late_columns: dict[str, int]


class Scorable(NamedTuple):
    """The responses of one group that can be scored, by their indices."""

    group_id: str
    row: int
    indices: list[int]
    tokens: TokenGroup


def score_source(
    model: scorer.Scorer, source: sources.Source, columns: Any = None, labels: Any = None
) -> Iterator[Window]:
    """The scores of `source`, a window of records at a time.

    Every response of every record is in exactly one of a window's two lists; a record that is not a
    group has one quarantine entry, with response_index -1. columns, labels: as for
    `data.prepare.prepare`.
    """
    limits = model.tokenizer, model.contract.max_length, model.contract.over_long
    by_file = formats.readings(source, columns, labels)
    records = formats.numbered(source)
    while window := list(itertools.islice(records, WINDOW)):
        ready: list[Scorable] = []
        quarantine: list[dict] = []
        controls: list[str] = []
        unprinted: collections.Counter[str] = collections.Counter()
        shortened, late_columns = 0, {}
        for row, file, record in window:
            try:
                group = by_file[file].to_group(record, row)
                prepared = prepare(group, *limits)
                for column in by_file[file].late_columns(record, row):
                    late_columns.setdefault(column, row)
            except BadRecord as error:
                name = record.get("id")
                if name is None:
                    name = f"{source.name}:{row}"
                quarantine.append(_quarantine(error, str(name), row, -1))
                continue
            unprinted.update(model.tokenizer.unprinted(group))
            if prepared.control_example:
                controls.append(f"record {row}, {prepared.control_example!r}")
            # Of a response that fits only once it is cut.
            shortened += any(prepared.lengths[k] > model.contract.max_length for k in prepared.fits)
            if prepared.tokens is not None:
                ready.append(Scorable(group.id, row, prepared.fits, prepared.tokens))
            for k, error in prepared.refused.items():
                quarantine.append(_quarantine(error, group.id, row, k))
        scores = _scores(model, ready)
        yield Window(len(window), scores, quarantine, controls, unprinted, shortened, late_columns)


def _scores(model: scorer.Scorer, ready: list[Scorable]) -> list[dict]:
    """One row `{id, row, response_index, reward}` per response."""
    if not ready:
        return []
    rows = []
    rewards = scorer.token_groups(model, [group.tokens for group in ready])
    for group, rewards_K in zip(ready, rewards, strict=True):
        for k, reward in zip(group.indices, rewards_K, strict=True):
            # NaN in a table of scores would be sorted somewhere, and is no JSON.
            if not np.isfinite(reward):
                raise ValueError(
                    f"record {group.row}, response {k}: the reward is {reward}: weights that are "
                    "not finite, or a number range too small for them; try --dtype float32"
                )
            place = {"id": group.group_id, "row": group.row, "response_index": k}
            rows.append(place | {"reward": float(reward)})
    return rows


def _quarantine(error: BadRecord, group_id: str, row: int, index: int) -> dict:
    return {
        "id": group_id,
        "row": row,
        "response_index": index,
        "reason": error.reason,
        "detail": error.detail,
    }


def score_file(
    model: scorer.Scorer,
    source: sources.Source,
    output: str | pathlib.Path,
    columns: Any = None,
    labels: Any = None,
    max_dropped: float = MAX_DROPPED,
) -> dict[str, int]:
    """Score `source` into `output`, which appears only when it is whole.

    columns, labels: as for `data.prepare.prepare`.

    Returns the counts of records, scores and quarantine entries; `unreadable` are whole records.
    Raises ValueError where more than `max_dropped` of the first records are unreadable.
    """
    refuse_output(output)
    output = pathlib.Path(output)
    output.parent.mkdir(parents=True, exist_ok=True)
    counts: dict[str, int] = {"records": 0, "scored": 0, "quarantined": 0, "unreadable": 0}
    counts |= {"with_control_strings": 0, "shortened": 0}
    reasons: collections.Counter[str] = collections.Counter()
    first = ""
    control_example, unprinted = "", collections.Counter()
    late_columns: dict[str, int] = {}
    with (
        files.replacing(output) as part,
        WRITERS[output.suffix](part) as write,
        open(output.with_name(output.name + ".quarantine.jsonl"), "w") as bad_file,
        tqdm(total=len(source), unit="record", disable=not sys.stderr.isatty()) as bar,
    ):
        for window in score_source(model, source, columns, labels):
            write(window.scores)
            bad_file.writelines(json.dumps(entry) + "\n" for entry in window.quarantine)
            counts["records"] += window.records
            counts["scored"] += len(window.scores)
            counts["quarantined"] += len(window.quarantine)
            counts["unreadable"] += sum(map(_is_unreadable, window.quarantine))
            reasons.update(entry["reason"] for entry in window.quarantine)
            for entry in window.quarantine[: not first]:
                first = f"record {entry['row']}, {entry['detail']}"
            counts["with_control_strings"] += len(window.controls)
            control_example = control_example or "".join(window.controls[:1])
            unprinted.update(window.unprinted)
            counts["shortened"] += window.shortened
            late_columns = window.late_columns | late_columns
            bar.update(window.records)
            # Once, before the rest of a file that was misread is scored for nothing.
            if counts["records"] - window.records < accounting.EARLY <= counts["records"]:
                refuse_misread(counts, max_dropped, f"the first: {first:.300}")
        # Before the block ends and the scores appear: no scores without their contract.
        contract.save(model.contract, output.with_name(output.name + ".contract.json"))
    if first:
        print(_lost(counts, reasons, first, output), file=sys.stderr)
    for sentence in accounting.remarks(
        counts["with_control_strings"],
        control_example,
        unprinted,
        late_columns,
        counts["shortened"],
    ):
        print(sentence, file=sys.stderr)
    return counts


def _is_unreadable(entry: dict[str, Any]) -> bool:
    """Whether a whole record says that the data is not what it is taken for."""
    # Empty texts are what a model wrote, and long ones what `max_length` is too short for.
    is_record = entry["response_index"] == -1
    return is_record and entry["reason"] not in ("empty", *accounting.APART)


def refuse_misread(counts: dict[str, int], max_dropped: float, why: str) -> None:
    """Raise ValueError where a larger share than `max_dropped` of the records is unreadable."""
    share = counts["unreadable"] / max(counts["records"], 1)
    if share > max_dropped:
        raise ValueError(
            f"{share:.0%} of {counts['records']:,} records cannot be read, {why}; --max_dropped "
            f"{max_dropped} is the share that may be lost"
        )


def refuse_output(output: str | pathlib.Path) -> None:
    """Raise ValueError where no scores can be written to the file `output`."""
    output = pathlib.Path(output)
    if output.suffix not in WRITERS:
        raise ValueError(f"--output {output}: the name must end with {' or '.join(WRITERS)}")
    if output.is_dir():
        raise ValueError(f"--output {output} is a folder; name a file")
    if reason := files.unwritable(output.parent):
        raise ValueError(f"--output {output}: {reason}")


def refuse_overwriting(source: sources.Source, output: str | pathlib.Path) -> None:
    """Raise ValueError where the scores would take the place of the data, or be read as data."""
    output = pathlib.Path(output).resolve()
    for file in getattr(source, "files", ()):
        if pathlib.Path(file).resolve() == output:
            raise ValueError(f"--output {output} is a file of --input; name another one")


def refuse_share(max_dropped: float) -> None:
    """Raise ValueError for what is no share, such as a percentage."""
    if not 0 <= max_dropped <= 1:
        raise ValueError(f"--max_dropped {max_dropped:g}: a share from 0 to 1, as in 0.2 for 20%")


def _input_readings(source: sources.Source, columns: Any, labels: Any) -> Sequence[formats.Reading]:
    """How each file is read. Raises ValueError where there is nothing to read."""
    if not len(source):
        raise ValueError(f"--input: {source.name} has no records")
    return formats.readings(source, columns, labels)


def _lost(
    counts: dict[str, int], reasons: collections.Counter[str], first: str, output: pathlib.Path
) -> str:
    """A sentence about what has no score: whole records, and single responses of others."""
    by_reason = ", ".join(f"{count:,} {reason}" for reason, count in reasons.most_common())
    return (
        f"warning: {counts['scored']:,} responses scored, {counts['quarantined']:,} records or "
        f"responses not ({by_reason}), the first: {first:.300}; all of them are in "
        f"{output.name}.quarantine.jsonl"
    )


@contextlib.contextmanager
def _parquet(path: pathlib.Path) -> Iterator[Callable[[list[dict]], None]]:
    with pq.ParquetWriter(path, SCHEMA) as writer:
        yield lambda rows: writer.write_table(pa.Table.from_pylist(rows, SCHEMA))


@contextlib.contextmanager
def _jsonl(path: pathlib.Path) -> Iterator[Callable[[list[dict]], None]]:
    # The fewest digits that give the same float32 back.
    shortest = lambda reward: float(str(np.float32(reward)))
    with open(path, "w") as file:
        yield lambda rows: file.writelines(
            json.dumps(row | {"reward": shortest(row["reward"])}) + "\n" for row in rows
        )


WRITERS = {".parquet": _parquet, ".jsonl": _jsonl}


@errors.one_line("rewardjax.score")
def main() -> None:
    """Run the command."""
    parser = errors.ArgumentParser(
        prog="python -m rewardjax.score", description="Reward every response of a data set."
    )
    parser.add_argument(
        "--model",
        required=True,
        help="Hugging Face folder of a reward model, ORG/NAME of the hub, or the workdir of a run",
    )
    parser.add_argument(
        "--input", required=True, help="data to score: file, glob, folder, tfds:NAME, hf://ORG/NAME"
    )
    spelling.add_flags(parser)
    parser.add_argument(
        "--output", required=True, help="where the scores go: a name ending with .parquet or .jsonl"
    )
    parser.add_argument(
        "--dtype",
        choices=["float32", "bfloat16"],
        help="the trunk's arithmetic; default: what the model was trained with, and for a folder "
        "without a score contract the dtype of its config.json",
    )
    parser.add_argument(
        "--max_dropped",
        type=float,
        default=MAX_DROPPED,
        help="exit with code 2 where a larger share of the records cannot be read (default 0.2)",
    )
    parser.add_argument("--step", type=int, help="which checkpoint of a run; default: the newest")
    args = parser.parse_args()
    # Before the model, which takes long: a misspelt name should not have to wait for it.
    complaints = errors.Complaints()
    complaints.of(refuse_output, args.output)
    complaints.of(refuse_share, args.max_dropped)
    complaints.of(scorer.refuse_missing, args.model, args.step)
    source = complaints.of(
        sources.open_source, args.input, split=args.split, spelling=spelling.FLAGS
    )
    readings = None
    if source is not None:
        complaints.of(refuse_overwriting, source, args.output)
        readings = complaints.of(_input_readings, source, args.columns, args.labels)
    complaints.refuse()
    assert source is not None, "its refusal would have been raised"
    for reading in readings or ():
        print(reading.sentence(), file=sys.stderr)
    model = scorer.load(args.model, dtype=args.dtype, step=args.step)
    counts = score_file(
        model, source, args.output, args.columns, args.labels, max_dropped=args.max_dropped
    )
    print(json.dumps(counts | {"output": args.output, "contract": model.contract.fingerprint}))
    # After the files are whole: the quarantine says what to mend, the exit code is for scripts.
    if not counts["scored"]:
        raise ValueError(f"{args.input}: no response could be scored; the reasons are above")
    refuse_misread(counts, args.max_dropped, "the reasons are above")


if __name__ == "__main__":
    main()
