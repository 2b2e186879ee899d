"""Which files of a folder are a benchmark's examples, and which only lie beside them.

A benchmark is a clone of its repository, a folder of the hub, what `save_to_disk` wrote (one data
set or several splits) or a single file. What a file is shows in its fields, never in where its
folder happens to lie: a clone also holds the judgments of other models on the same examples.
"""

import dataclasses
import itertools
import json
import pathlib
import re
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq

from rewardjax import fingerprint
from rewardjax.data import sources
from rewardjax.data.groups import BadRecord, Group
from rewardjax.data.sources.broken import Broken
from rewardjax.data.sources.files import SUFFIXES
from rewardjax.data.sources.folders import DESCRIPTIONS, SPLIT_WORDS
from rewardjax.evaluators import reading
from rewardjax.evaluators.records import Examples, Item
from rewardjax.io.files import refuse_stand_in

if TYPE_CHECKING:  # benchmarks stand on this module
    from rewardjax.evaluators.benchmarks import Benchmark

# Fields that an evaluation adds to the examples it has judged.
OF_JUDGMENTS = frozenset(
    (
        "chosen_reward",
        "chosen_score",
        "judge_name",
        "judgments",
        "pairwise_evaluation_results",
        "results",
        "rewards",
        "score_1",
        "score_chosen",
        "score_rejected",
        "scores_chosen",
        "scores_rejected",
    )
)
# Words in the names of folders in which repositories keep what models answered.
OF_OUTPUTS = frozenset(("output", "outputs", "prediction", "predictions", "result", "results"))
# Files that are listed one by one: RMB has 98.
SHOWN = 6
# The first record may be a bad one, which is no reason to pass over its file.
PEEKED = 20


class Unit(NamedTuple):
    """Records that are stored together: a file, or one split that `save_to_disk` wrote.

    name: for a reader. place: its path below the folder `root` that was named, or the file's name.
    """

    name: str
    place: pathlib.PurePath
    root: pathlib.Path
    source: sources.Source


class Layout(NamedTuple):
    """How a benchmark's own files differ from all others.

    columns: sets of fields, of which a record has at least one whole. split: of a data set with
    several, the one that is the benchmark. prefer: the name of a file that holds all of it, beside
    which the others are parts.
    """

    columns: Sequence[Sequence[str]]
    split: str | None = None
    prefer: str | None = None


class Selection(NamedTuple):
    """What is read, and the reason for every data file that is not, by its place."""

    units: list[Unit]
    set_aside: dict[str, str]


def load(
    name: str,
    places: Sequence[str | pathlib.Path],
    layout: Layout,
    read: Callable[[dict[str, Any]], tuple[Item, Group]],
    fields: Callable[[Unit], dict[str, Any]] = lambda unit: {},
) -> Examples:
    """The examples of a benchmark in files or folders, with what was read and what was not.

    read: as for `reading.collect`. fields: what a unit's place says of each of its records, which
    the record itself overrules; a unit for which it raises BadRecord is set aside with the reason.

    Raises FileNotFoundError where there is no data file, ValueError where none is the benchmark's.
    """
    selection = find(places, layout)
    of_unit: dict[Unit, dict[str, Any]] = {}
    contents: dict[str, str] = {}
    for unit in selection.units:
        try:
            of_place = fields(unit)
        except BadRecord as error:
            selection.set_aside[unit.name] = error.detail
            continue
        # Records of two places may well be alike, a copy is what says the same of its records.
        content = fingerprint.of_json([unit.source.fingerprint(), of_place])
        if content in contents:
            selection.set_aside[unit.name] = f"a copy of {contents[content]}"
            continue
        contents[content] = unit.name
        of_unit[unit] = of_place
    if not of_unit:
        raise _none(places, selection.set_aside)
    for unit, other in _in_another_format(of_unit, read).items():
        selection.set_aside[unit.name] = f"in another format what {other} holds"
        del of_unit[unit]
    counts: dict[str, int] = {}

    def rows() -> Iterator[tuple[str, dict[str, Any]]]:
        for unit, of_place in of_unit.items():
            row = -1
            for row, record in enumerate(_records(unit, of_place)):
                yield f"{unit.name}:{row}", record
            counts[unit.name] = row + 1

    origins: list[pathlib.Path | sources.Source] = []
    for unit in of_unit:
        # Two forms, since scores that were kept long ago are known by these fingerprints.
        if layout.split is None:
            origins += unit.source.files
        else:
            origins.append(unit.source)
    examples = reading.collect(name, rows(), read, origins)
    return dataclasses.replace(examples, files=counts, set_aside=selection.set_aside)


def _records(unit: Unit, of_place: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for row, record in enumerate(unit.source.rows()):
        if isinstance(record, Broken):
            yield record
            continue
        # Some files number nothing: their records are known by their place alone.
        yield {"row": row, **of_place, **record}


def _in_another_format(
    of_unit: dict[Unit, dict[str, Any]], read: Callable[[dict[str, Any]], tuple[Item, Group]]
) -> dict[Unit, str]:
    """Units all of whose examples earlier units of other formats hold, with the name of one."""
    formats = {_format(unit) for unit in of_unit}
    # The usual folder is of one format, and need not be read twice.
    if len(formats) == 1:
        return {}
    kept: dict[str, dict[str, str]] = {format: {} for format in formats}
    repeated = {}
    for unit, of_place in of_unit.items():
        contents = set()
        for record in _records(unit, of_place):
            try:
                contents.add(reading.content(*reading.read_by(read, record)))
            except BadRecord:
                continue
        others: dict[str, str] = {}
        for format in formats - {_format(unit)}:
            others |= kept[format]
        if contents and contents <= others.keys():
            repeated[unit] = others[min(contents)]
        else:
            kept[_format(unit)] |= dict.fromkeys(contents, unit.name)
    return repeated


def _format(unit: Unit) -> str:
    """The ending of a unit's files: .jsonl, .parquet, .arrow, ..., whether compressed or not."""
    name = unit.source.files[0].name
    return pathlib.PurePath(name.removesuffix(".gz").removesuffix(".zst")).suffix


def find(places: Sequence[str | pathlib.Path], layout: Layout) -> Selection:
    """The units of files or folders that hold a benchmark, by its layout.

    Raises FileNotFoundError where there is no data file, ValueError where none is the benchmark's.
    """
    candidates: list[Unit] = []
    for place in places:
        for unit in _units(reading.local(place)):
            # Repositories of the hub have files of the same names.
            if len(places) > 1:
                unit = unit._replace(name=f"{place}/{unit.name}")
            candidates.append(unit)
    if not candidates:
        shown = ", ".join(map(str, places))
        raise FileNotFoundError(
            f"{shown}: no {', '.join(SUFFIXES)} file and no saved data set there"
        )
    units: list[Unit] = []
    set_aside: dict[str, str] = {}
    for unit in candidates:
        reason = _misfit(unit, layout.columns)
        if reason is None:
            units.append(unit)
        else:
            set_aside[unit.name] = reason
    chosen = _of_split(_preferred(units, layout.prefer), layout.split)
    for unit in units:
        if unit not in chosen:
            set_aside[unit.name] = "another split, or a part of what is read"
    if not chosen:
        raise _none(places, set_aside)
    return Selection(chosen, set_aside)


def _none(places: Sequence[str | pathlib.Path], set_aside: dict[str, str]) -> ValueError:
    first = list(set_aside.items())[:3]
    reasons = "; ".join(f"{place}: {reason}" for place, reason in first)
    shown = ", ".join(map(str, places))
    return ValueError(
        f"{shown}: none of {len(set_aside)} data files there is one of this benchmark: {reasons}"
    )


def describe(name: str, examples: Examples, module: "Benchmark") -> list[str]:
    """Lines about what was read for a benchmark, beside what was published, and what was not."""
    # Without a single reward a benchmark's own rule still says how many examples are in each part.
    unscored = [np.full(len(group.responses), np.nan) for group in examples.groups]
    result = module.summarize(examples.items, unscored)
    first_line = f"{name}: {module.TITLE}, {len(examples.items):,} examples"
    if examples.part_of is not None:
        first_line += f" selected of {examples.part_of:,}"
    lines = [first_line]
    for part_name, part in result.parts.items():
        read = f"  {part_name}: {part.unscored + part.unused:,}"
        if part.expected is not None:
            read += f" of {part.expected:,} published"
        lines.append(read)
    for file, count in list(examples.files.items())[:SHOWN]:
        lines.append(f"  read {file}: {count:,} records")
    lines += _more(len(examples.files), "files read")
    for file, reason in list(examples.set_aside.items())[:SHOWN]:
        lines.append(f"  not read {file}: {reason}")
    lines += _more(len(examples.set_aside), "files not read")
    if examples.left_out:
        lines.append(f"  {reading.unread(examples.left_out)}")
    if examples.repeated:
        lines.append(f"  {examples.repeated:,} examples are repeated, with the same responses")
    return lines


def _more(count: int, of: str) -> list[str]:
    if count > SHOWN:
        return [f"  and {count - SHOWN:,} more {of}"]
    return []


# ------------------------------------------------------------------ what lies there


def _units(root: pathlib.Path) -> list[Unit]:
    """Everything below `root` that could be data, in order."""
    if root.is_file():
        return [Unit(root.name, pathlib.PurePath(root.name), root, sources.open_source(root))]
    units = []
    # Both files, since other tools also leave a state.json.
    states = root.rglob("state.json")
    saved = {file.parent for file in states if (file.parent / "dataset_info.json").is_file()}
    for folder in sorted(saved):
        place = folder.relative_to(root)
        # One data set without splits is the folder itself.
        name = root.name
        if folder != root:
            name = place.as_posix()
        units.append(Unit(name, place, root, sources.open_source(folder)))
    for file in sorted(root.rglob("*")):
        place = file.relative_to(root)
        # Hidden below the root only: the root itself may lie in a cache such as ~/.cache.
        hidden = any(part.startswith(".") for part in place.parts)
        is_data = file.name.endswith(SUFFIXES) and file.name not in DESCRIPTIONS
        if is_data and not hidden and file.parent not in saved:
            units.append(Unit(place.as_posix(), place, root, sources.open_source(file)))
    return units


def _misfit(unit: Unit, columns: Sequence[Sequence[str]]) -> str | None:
    """Why a unit is not the benchmark's own data, None where it is."""
    if _is_old_revision(unit):
        return "another revision in the hub's cache than the one of refs/main"
    for part in unit.place.parts[:-1]:
        if OF_OUTPUTS.intersection(re.split(r"[^a-z]+", part.lower())):
            return f"in {part}/, where the outputs of models are"
    names = _fields(unit)
    judged = sorted(OF_JUDGMENTS & names)
    if judged:
        return f"has {judged[0]}: judgments of a model, not the examples alone"
    # A file that somebody names is meant, and its bad records are listed one by one.
    if unit.root.is_file() or any(names.issuperset(required) for required in columns):
        return None
    if not names:
        return "holds no records"
    fields = " or ".join(", ".join(required) for required in columns)
    return f"has no {fields}"


def _is_old_revision(unit: Unit) -> bool:
    """Whether a file is in REPOSITORY/snapshots/REVISION, and refs/main is another revision."""
    parts = unit.place.parts
    if "snapshots" not in parts[:-2]:
        return False
    at = parts.index("snapshots")
    main = unit.root.joinpath(*parts[:at], "refs", "main")
    return main.is_file() and main.read_text().strip() != parts[at + 1]


def _fields(unit: Unit) -> set[str]:
    """The names of the fields of a unit's first records."""
    file = unit.source.files[0]
    refuse_stand_in(file)
    if file.name.endswith(".parquet"):
        return set(pq.read_schema(file).names)
    names: set[str] = set()
    try:
        rows = list(itertools.islice(unit.source.rows(), PEEKED))
        broken = [row for row in rows if isinstance(row, Broken)]
        # A torn line costs itself, but a file of nothing else is no data.
        if broken and len(broken) == len(rows):
            raise ValueError(broken[0].detail)
        for record in rows:
            names |= set(record)
    except ValueError:
        # Settings of a tool are JSON without records; a broken file is a fault worth a stop.
        if not _is_json(file):
            raise
    return names


def _is_json(file: pathlib.Path) -> bool:
    try:
        json.loads(file.read_bytes())
    except ValueError:
        return False
    return True


# ------------------------------------------------------------------ which of it


def _preferred(units: list[Unit], name: str | None) -> list[Unit]:
    return [unit for unit in units if unit.place.name == name] or units


def _of_split(units: list[Unit], split: str | None) -> list[Unit]:
    """The units of a split, all of them where no place names one."""
    # Whoever downloads one split alone may call its file anything.
    if split is None or len(units) <= 1:
        return units
    by_split: dict[str | None, list[Unit]] = {}
    for unit in units:
        by_split.setdefault(_split_of(unit.place, split), []).append(unit)
    if split in by_split:
        return by_split[split]
    names = sorted(unit.name for unit in units)
    raise ValueError(f"split = {split!r}: none of {', '.join(names)} is named after it")


def _split_of(place: pathlib.PurePath, split: str) -> str | None:
    """The split that the end of a path names: the file's own name first, then its folders'."""
    splits = {split, "raw", *SPLIT_WORDS}
    for part in reversed(place.parts):
        for word in re.split(r"[^a-z]+", part.lower()):
            if word in splits:
                return SPLIT_WORDS.get(word, word)
    return None
