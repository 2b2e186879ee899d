"""`curate erase`: the text of pairs taken out of a workspace, wherever it lies.

The ledger goes last (`ledger/erasure.py`): as long as it has the text, the files with the text can
be told. What cannot be erased is said: weights that learned from a pair, and files that hold its
text in another form than those that the workspace writes.
"""

import contextlib
import json
import pathlib
import re
import shutil
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq

from rewardjax.command import owner
from rewardjax.curation.annotation.desk import FILE as DESK
from rewardjax.curation.annotation.desk import has_desk, open_desk
from rewardjax.curation.ledger import erasure
from rewardjax.curation.ledger.erasure import ERASED
from rewardjax.curation.ledger.store import Store
from rewardjax.curation.servers.paid_calls import CallLedger
from rewardjax.io import files

pc: Any = pyarrow.compute

CALLS = "calls.sqlite"
# Endings of files that people read, of models too: a training's report shows examples.
WRITTEN = (".html", ".json", ".jsonl", ".csv", ".md", ".txt", ".log")
# Bytes of a text that tell it from others: "yes" stands in many files.
TELLING = 20
# Of a longer text, so many: SQLite cuts what is longer than a page.
TOLD_BY = 200


class Texts(NamedTuple):
    """What is to be erased of a pair.

    contents: of its messages; a record that has them all is about the pair, and is then rid of what
    `attributes` say too.
    """

    pair_id: str
    contents: set[str]
    attributes: set[str]


def _texts(store: Store, pair_ids: Sequence[str]) -> list[Texts]:
    attributes: dict[str, set[str]] = {}
    sql = "select * from attributes where pair_id in (select unnest($ids))"
    for row in store.query(sql, {"ids": list(pair_ids)}).to_pylist():
        words = {row["desired_attributes"], row["annotation_guideline"]} - {""}
        attributes.setdefault(row["pair_id"], set()).update(words)
    texts = []
    for row in store.texts(pair_ids):
        messages = [*row["prompt"], *row["response_a"], *row["response_b"]]
        contents = {message["content"] for message in messages if message.get("content")}
        texts.append(Texts(row["pair_id"], contents, attributes.get(row["pair_id"], set())))
    return texts


def erase(folder: pathlib.Path, pair_ids: Sequence[str]) -> dict[str, Any]:
    """Erase the text of pairs from the workspace in `folder`.

    Returns:
        JSON values: how many `pairs`; `touched`, the files and shards that were changed or removed;
        `models` that learned from one of the pairs, whose weights are what they were; `examples`,
        how many pairs' judges were shown one, whose answers are without words now; `others`, pairs
        with the same prompt or a response of them, which stay; `still_in`, files that have a text
        all the same.

    Raises:
        owner.Owned: where a run is going on.
        KeyError: for a pair that the workspace does not have.
    """
    with owner.owning(folder):
        store = Store(folder / "store")
        texts = _texts(store, pair_ids)
        others = _with_same_text(store, pair_ids)
        erasure.refuse(store, pair_ids)
        quoting = erasure.shown_as_examples(store, pair_ids)
        touched = list(_erase_files(folder, texts))
        with contextlib.closing(CallLedger(folder / CALLS)) as calls:
            if calls.erase([*pair_ids, *quoting]):
                touched.append(CALLS)
        if has_desk(folder):
            with open_desk(folder) as desk:
                desk.erase(pair_ids)
            touched.append(DESK)
        touched += erasure.erase(store, pair_ids)
        return {
            "pairs": len(texts),
            "touched": touched,
            "models": _models(store, pair_ids),
            "examples": len(quoting),
            "others": others,
            "still_in": list(_still_in(folder, texts)),
        }


def _models(store: Store, pair_ids: Sequence[str]) -> list[str]:
    sql = "select distinct stage from training where pair_id in (select unnest($ids)) order by 1"
    return store.query(sql, {"ids": list(pair_ids)}).column("stage").to_pylist()


def _with_same_text(store: Store, pair_ids: Sequence[str]) -> list[str]:
    """The other pairs that have the prompt or a response of these."""
    sql = """
        with erased as (select * from pairs where pair_id in (select unnest($ids))),
            responses as (
                select response_a from erased union select response_b from erased
            )
        select pair_id from pairs
        where pair_id not in (select unnest($ids)) and (
            prompt in (select prompt from erased)
            or response_a in (from responses) or response_b in (from responses)
        )
        order by pair_id"""
    return store.query(sql, {"ids": list(pair_ids)}).column("pair_id").to_pylist()


# ------------------------------------------------------------------ files


def _written(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """The files of a workspace but for its ledgers and the weights of models."""
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if path.is_file() and parts[0] != "store" and "checkpoints" not in parts:
            yield path


def _erase_files(folder: pathlib.Path, texts: Sequence[Texts]) -> Iterator[str]:
    """Erase from the files that the workspace writes; yields the names of those it changed."""
    # Token ids are text, and are made again where they are needed.
    if (folder / "cache").exists():
        shutil.rmtree(folder / "cache")
        yield "cache"
    ids = pa.array([text.pair_id for text in texts])
    for path in _written(folder):
        if path.suffix == ".parquet":
            is_changed = _drop_rows(path, ids)
        elif path.suffix == ".part":
            # Half a file, of a run that was killed: nobody writes now.
            path.unlink()
            is_changed = True
        else:
            is_changed = path.suffix in WRITTEN and _erase_from_text(path, texts)
        if is_changed:
            yield str(path.relative_to(folder))


def _drop_rows(path: pathlib.Path, ids: pa.Array) -> bool:
    """Write a data set anew without the rows of pairs; whether it had any."""
    table = pq.ParquetFile(path).read()
    if "pair_id" not in table.column_names:
        return False
    mask = pc.is_in(table.column("pair_id"), ids)
    if not pc.any(mask).as_py():
        return False
    with files.replacing(path) as part:
        pq.write_table(table.filter(pc.invert(mask)), part, compression="zstd")
    return True


def _erase_from_text(path: pathlib.Path, texts: Sequence[Texts]) -> bool:
    """Write a page, a queue or a batch file anew without texts; whether it had any."""
    try:
        before = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return False
    after = before
    for text in texts:
        if path.suffix == ".html":
            after = _erase_table_rows(after, text.pair_id)
        elif path.suffix == ".jsonl":
            lines = after.split("\n")
            after = "\n".join(_erase_from_record(line, text) for line in lines)
        elif path.suffix == ".json":
            after = _erase_from_array(after, text)
        after = _erase_from_value(after, text)
    if after == before:
        return False
    with files.replacing(path) as part:
        part.write_text(after, encoding="utf-8")
    return True


def _erase_table_rows(page: str, pair_id: str) -> str:
    """A page of HTML whose rows about a pair have its id alone."""
    row = rf"<tr>(?:(?!</tr>).)*{re.escape(pair_id)}(?:(?!</tr>).)*</tr>"
    return re.sub(row, f"<tr><td>{pair_id}</td><td>{ERASED}</td></tr>", page, flags=re.DOTALL)


def _erase_from_array(file: str, text: Texts) -> str:
    """A JSON file, item by item where it is an array."""
    with contextlib.suppress(json.JSONDecodeError):
        value = json.loads(file)
        if isinstance(value, list):
            items = [_erase_from_value(item, text) for item in value]
            if items != value:
                return json.dumps(items, ensure_ascii=False)
    return file


def _erase_from_record(line: str, text: Texts) -> str:
    with contextlib.suppress(json.JSONDecodeError):
        value = json.loads(line)
        erased = _erase_from_value(value, text)
        if erased != value:
            return json.dumps(erased, ensure_ascii=False)
    return line


def _erase_from_value(value: Any, text: Texts) -> Any:
    """A record without the pair's messages, if it has them all.

    A task shows them, and so does a request about the pair, or about one whose example it is. A
    record that has only some of them, such as a short answer, is about something else.
    """
    strings = "\n".join(_strings(value))
    if not all(content in strings for content in text.contents):
        return value
    # The longest first: a shorter one may be a part of it.
    return _replaced(value, sorted(text.contents | text.attributes, key=len, reverse=True))


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)


def _replaced(value: Any, contents: Sequence[str]) -> Any:
    if isinstance(value, str):
        for content in contents:
            # A word such as "2" is part of ids and numbers too: only where it stands alone.
            if value == content:
                value = ERASED
            elif " " in content or len(content.encode()) >= TELLING:
                value = value.replace(content, ERASED)
        return value
    if isinstance(value, dict):
        return {name: _replaced(item, contents) for name, item in value.items()}
    if isinstance(value, list):
        return [_replaced(item, contents) for item in value]
    return value


def _still_in(folder: pathlib.Path, texts: Sequence[Texts]) -> Iterator[str]:
    """Files outside of the ledgers that have one of the texts, as it is or as JSON has it."""
    needles = set()
    for text in texts:
        for content in text.contents | text.attributes:
            if len(content.encode()) >= TELLING and content != ERASED:
                told_by = content[:TOLD_BY]
                needles |= {told_by.encode(), json.dumps(told_by)[1:-1].encode()}
    for path in _written(folder):
        data = path.read_bytes()
        # Of one with ids the rows are gone; what is left of another is compressed.
        if path.suffix == ".parquet":
            data = json.dumps(_rows_without_id(path), default=str).encode()
        if any(needle in data for needle in needles):
            yield str(path.relative_to(folder))


def _rows_without_id(path: pathlib.Path) -> list[dict[str, Any]]:
    table = pq.ParquetFile(path).read()
    if "pair_id" in table.column_names:
        return []
    return table.to_pylist()
