"""Rows and files that go wrong, made by code: the same bytes every time.

A row stands in the middle of eight good ones. What it costs is itself; a file that is no data at
all is refused in one line.
"""

import bz2
import gzip
import io
import json
import lzma
import pathlib
import tarfile
import zipfile
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

GOOD = 8
# Characters that every tokenizer knows how to mark control strings with, and a control string.
PRIVATE_USE = (*range(0xE000, 0xF900), *range(0xF0000, 0xFFFFE), *range(0x100000, 0x10FFFE))
CONTROL = "<|im_end|>"
TEXT_OF_2_MB = 2_000_000


def good(number: int) -> dict[str, Any]:
    """A pair that nothing is wrong with."""
    prompt = f"What is {number} + 1?"
    return {
        "id": f"good{number}",
        "prompt": prompt,
        "chosen": f"It is {number + 1}.",
        "rejected": "I cannot say.",
    }


def _pair(**changes: Any) -> dict[str, Any]:
    row = good(77) | {"id": "bad"} | changes
    return {name: value for name, value in row.items() if value is not ...}


def _group(**changes: Any) -> dict[str, Any]:
    row = {"id": "bad", "prompt": "What is 5 + 6?", "responses": ["11", "twelve"]}
    return row | changes


def _turns(*contents: Any, roles: Sequence[Any] = ("user", "assistant")) -> list[dict[str, Any]]:
    """A conversation in which the roles take turns."""
    turns = []
    for index, content in enumerate(contents):
        turns.append({"role": roles[index % len(roles)], "content": content})
    return turns


def _nested(depth: int) -> bytes:
    """A list in a list in a list, as text: no value of Python's could be printed."""
    row = json.dumps(_pair(extra="HERE"))
    return row.replace('"HERE"', "[" * depth + "]" * depth).encode()


def _with_calls(calls: Any) -> dict[str, Any]:
    """A pair whose better response has these calls of tools."""
    answer = {"role": "assistant", "content": "Let me see.", "tool_calls": calls}
    return _pair(chosen=[answer], rejected=_turns("no", roles=("assistant",)))


# ------------------------------------------------------------------ rows, by what is wrong

TEXTS = {
    "empty": _pair(chosen=""),
    "blank": _pair(rejected=" \n\t\u3000"),
    "zero_width": _pair(chosen="\u200b"),
    "byte_order_mark_alone": _pair(chosen="\ufeff"),
    "hangul_filler": _pair(chosen="\u3164"),
    "braille_blank_and_selector": _pair(rejected="\u2800\ufe0f"),
    "blank_prompt": _pair(prompt="  "),
    "empty_both": _pair(chosen="", rejected=""),
    "equal": _pair(rejected=good(77)["chosen"]),
    "nul": _pair(chosen="a\0b"),
    "nul_in_id": _pair(id="a\0"),
    "lone_surrogate": _pair(chosen="a\ud800b"),
    "lone_surrogate_in_id": _pair(id="\udfff"),
    "all_private_use": _pair(prompt="".join(map(chr, PRIVATE_USE)) + CONTROL),
    "control_string": _pair(chosen=f"yes{CONTROL}\n<|im_start|>assistant\nno"),
    "over_long": _pair(chosen="word " * 20_000),
    "over_long_prompt": _pair(prompt="word " * 20_000),
    "no_spaces": _pair(chosen="x" * TEXT_OF_2_MB),
    "many_turns": _pair(prompt=_turns(*(["hello"] * 5001))),
    "right_to_left": _pair(chosen="\u202eabc\u202c"),
    "terminal_codes": _pair(id="\x1b]0;owned\x07", chosen="\x1b[2J\x1b[31mred"),
}
FIELDS = {
    "no_keys": {},
    "other_keys": {"foo": 1, "bar": [2]},
    "prompt_missing": _pair(prompt=...),
    "prompt_null": _pair(prompt=None),
    "chosen_null": _pair(chosen=None),
    "chosen_number": _pair(chosen=5),
    "chosen_true": _pair(chosen=True),
    "chosen_list_of_numbers": _pair(chosen=[1, 2]),
    "chosen_object": _pair(chosen={"a": 1}),
    "prompt_empty_list": _pair(prompt=[]),
    "prompt_list_of_texts": _pair(prompt=["a", "b"]),
    "responses_text": _group(responses="11", ranks=[0, 1]),
    "responses_object": _group(responses={"a": "11"}, ranks=[0]),
    "responses_empty": _group(responses=[], ranks=[]),
    "responses_null": _group(responses=[None, "x"], ranks=[0, 1]),
    "responses_nested": _group(responses=[["11"], ["12"]], ranks=[0, 1]),
    "extra_nested": _pair(meta={"a": [{"b": [1, {"c": None}]}]}),
    "key_empty": _pair(**{"": "x"}),
    "key_nul": _pair(**{"a\0b": "x"}),
}
ROLES = {
    "role_missing": _pair(prompt=[{"content": "hello"}]),
    "role_number": _pair(prompt=[{"role": 7, "content": "hello"}]),
    "role_unknown": _pair(prompt=_turns("hello", roles=("narrator",))),
    "role_list": _pair(prompt=[{"role": ["user"], "content": "hello"}]),
    "two_systems": _pair(prompt=_turns("a", "b", "c", roles=("system", "system", "user"))),
    "response_of_user": _pair(chosen=_turns("yes", roles=("user",)), rejected=_turns("n")),
    "content_missing": _pair(prompt=[{"role": "user"}]),
    "content_null": _pair(prompt=_turns(None)),
    "content_number": _pair(prompt=_turns(3)),
    "content_parts": _pair(prompt=_turns([{"type": "text", "text": "hello"}])),
    "content_image": _pair(prompt=_turns([{"type": "image", "url": "x.png"}])),
    "message_text": _pair(prompt=[{"role": "user", "content": "a"}, "b"]),
    "message_null": _pair(prompt=[None]),
    "calls_text": _with_calls("x"),
    "calls_number": _with_calls(5),
    "calls_null": _with_calls([None]),
    "calls_empty_object": _with_calls([{"x": 1}]),
    "calls_nan": _with_calls([{"function": {"name": "f", "arguments": {"x": float("nan")}}}]),
    "calls_huge": _with_calls([{"function": {"name": "f", "arguments": {"x": 10**400}}}]),
    "calls_nul_key": _with_calls([{"function": {"name": "f", "arguments": {"a\0": 1}}}]),
    "reasoning_number": _pair(
        chosen=[{"role": "assistant", "content": "a", "reasoning_content": 5}],
        rejected=_turns("b", roles=("assistant",)),
    ),
    "reasoning_object": _pair(
        chosen=[{"role": "assistant", "content": "a", "reasoning_content": {}}],
        rejected=_turns("b", roles=("assistant",)),
    ),
    "tools_text": _pair(tools="[{"),
    "tools_number": _pair(tools=5),
    "tools_nan": _pair(tools=[{"type": "function", "function": {"name": float("inf")}}]),
}
LABELS = {
    "margin_nan": _pair(margin=float("nan")),
    "margin_infinite": _pair(margin=float("inf")),
    "margin_over_float32": _pair(margin=1e39),
    "margin_under_float32": _pair(margin=1e-320),
    "margin_huge": _pair(margin=10**400),
    "margin_below_zero": _pair(margin=-1),
    "margin_text": _pair(margin="much"),
    "margin_list": _pair(margin=[1]),
    "margin_object": _pair(margin={"x": 1}),
    "target_two": _pair(target=2),
    "target_nan": _pair(target=float("nan")),
    "scores_over_float32": _pair(score_chosen=3e38, score_rejected=-3e38),
    "ranks_huge": _group(ranks=[10**400, 0]),
    "ranks_nan": _group(ranks=[float("nan"), 0]),
    "ranks_text": _group(ranks="01"),
    "ranks_short": _group(ranks=[0]),
    "scores_number": _group(scores=5),
    "scores_object": _group(scores={"a": 1}),
    "scores_null": _group(scores=[None, None]),
    "scores_of_1500_responses": _group(
        responses=[str(n) for n in range(1500)], scores=list(range(1500))
    ),
    "scores_infinite": _group(scores=[float("inf"), float("-inf")]),
    "correct_text": _group(correct="yes"),
    "correct_numbers": _group(correct=[2, 3]),
}
IDS = {
    "id_repeated": _pair(id="good0"),
    "id_true": _pair(id=True),
    "id_nan": _pair(id=float("nan")),
    "id_object": _pair(id={"a": 1}),
    "id_list": _pair(id=[1]),
    "id_huge": _pair(id=10**4000),
    "id_path": _pair(id="../../etc/passwd"),
    "id_long": _pair(id="i" * 100_000),
    "id_new_line": _pair(id="a\nb"),
}
# Lines that are no JSON object.
LINES: dict[str, bytes] = {
    "line_torn": json.dumps(good(5)).encode()[:30],
    "line_two_objects": b'{"a": 1} {"b": 2}',
    "line_trailing_comma": json.dumps(_pair()).encode() + b",",
    "line_single_quotes": str(_pair()).encode(),
    "line_array": b"[1, 2]",
    "line_number": b"17",
    "line_text": b'"a"',
    "line_null": b"null",
    "line_nan": b"NaN",
    "line_words": b"Traceback (most recent call last):",
    "line_bad_utf8": json.dumps(_pair(chosen="HERE")).encode().replace(b"HERE", b"\xff\xfe\xe9"),
    "line_latin_1": json.dumps(_pair(chosen="caf\xe9"), ensure_ascii=False).encode("latin-1"),
    "line_zeros": b"\0" * 100,
    "line_utf16": json.dumps(_pair()).encode("utf-16-le"),
    "line_of_5000_digits": b'{"id": ' + b"9" * 5000 + b"}",
    "line_of_a_name_twice": b'{"prompt": "a", "chosen": "b", "chosen": "c", "rejected": "d"}',
    "line_deep_900": _nested(900),
    "line_deep_100000": _nested(100_000),
    "line_deep_and_open": b'{"x": ' + b"[" * 100_000,
}


def rows() -> dict[str, bytes]:
    """Every row by its name, as the line of a file."""
    found = dict(LINES)
    for kind in (TEXTS, FIELDS, ROLES, LABELS, IDS):
        for name, row in kind.items():
            found[name] = json.dumps(row).encode()
    return found


def beside_good_ones(bad: Sequence[bytes]) -> bytes:
    """A file of these lines, each after as many good ones as keep it below a fifth."""
    lines: list[bytes] = []
    for index, line in enumerate(bad):
        first = index * GOOD
        lines += [json.dumps(good(first + k)).encode() for k in range(GOOD // 2)]
        lines.append(line)
        lines += [json.dumps(good(first + k)).encode() for k in range(GOOD // 2, GOOD)]
    return b"".join(line + b"\n" for line in lines)


# ------------------------------------------------------------------ whole files


def _table(*columns: tuple[str, pa.Array]) -> bytes:
    """A Parquet file of these columns."""
    data = io.BytesIO()
    pq.write_table(pa.table(dict(columns)), data)
    return data.getvalue()


def _texts(*last: Any) -> tuple[tuple[str, pa.Array], ...]:
    """The columns of good pairs, and of one more with this prompt, chosen and rejected."""
    pairs = [good(number) for number in range(GOOD)]
    values = dict(zip(("prompt", "chosen", "rejected"), last, strict=True))
    columns = []
    for name, value in values.items():
        columns.append((name, pa.array([*(pair[name] for pair in pairs), value])))
    return tuple(columns)


def _column_twice() -> bytes:
    """A table with two columns of one name, of which a dict would keep the last."""
    columns = dict(_texts("a question", "an answer", "another"))
    names = [*columns, "chosen"]
    table = pa.Table.from_arrays([*columns.values(), columns["rejected"]], names=names)
    data = io.BytesIO()
    pq.write_table(table, data)
    return data.getvalue()


def _not_utf8() -> bytes:
    """A table one of whose texts is no UTF-8, which pyarrow reads without a word."""
    columns = dict(_texts("a question", "HERE", "an answer"))
    column = columns["chosen"]
    data = column.buffers()[2].to_pybytes().replace(b"HERE", b"\xff\xfe\xff\xfe")
    buffers = [*column.buffers()[:2], pa.py_buffer(data)]
    columns["chosen"] = pa.Array.from_buffers(column.type, len(column), buffers)
    return _table(*columns.items())


def _archive() -> tuple[bytes, bytes]:
    """A zip and a tar file whose members would land outside of where they are unpacked."""
    zipped, tarred = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as file:
        # With a date of its own, or that of today would be in the bytes.
        file.writestr(zipfile.ZipInfo("../../canary"), json.dumps(good(0)))
    with tarfile.open(fileobj=tarred, mode="w") as file:
        link = tarfile.TarInfo("data.jsonl")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        file.addfile(link)
    return zipped.getvalue(), gzip.compress(tarred.getvalue(), mtime=0)


def files() -> dict[str, bytes]:
    """Hostile files by the name under which they lie there."""
    whole = beside_good_ones([json.dumps(good(7)).encode()])
    packed = gzip.compress(whole, mtime=0)
    flipped = bytearray(packed)
    flipped[len(flipped) // 2] ^= 8
    zipped, tarred = _archive()
    table = _table(*_texts("a question", "one answer", "another"))
    csv = "prompt,chosen,rejected\n" + "".join(f"Question {i}?,yes,no\n" for i in range(GOOD))
    return {
        "empty.jsonl": b"",
        "blank.jsonl": b"\n \n",
        "zeros.jsonl": b"\0" * 4096,
        "noise.jsonl": bytes(range(256)) * 16,
        "page.json": b"<!doctype html><html>404</html>",
        "words.jsonl": b"Entry not found",
        "array_torn.json": b'[{"x": 1},',
        "array_of_numbers.json": b"[1, 2, 3]",
        "array_with_a_number.json": json.dumps([*map(good, range(GOOD)), 7]).encode(),
        "torn.jsonl": whole[:-20],
        "zeros_behind.jsonl": whole + b"\0" * 100,
        "carriage_returns.jsonl": whole.replace(b"\n", b"\r"),
        "utf16.jsonl": whole.decode().encode("utf-16"),
        "cut.jsonl.gz": packed[: len(packed) // 2],
        "damaged.jsonl.gz": bytes(flipped),
        "no_gzip.jsonl.gz": whole,
        "cut.jsonl.xz": lzma.compress(whole)[:-20],
        "cut.jsonl.bz2": bz2.compress(whole)[:-9],
        "zip.jsonl": zipped,
        "zip.zip": zipped,
        "tar.jsonl.gz": tarred,
        "pickle.jsonl": b"\x80\x04\x95\x05\x00\x00\x00\x00\x00\x00\x00\x8c\x01x\x94.",
        "short_row.csv": (csv + "only one cell\n").encode(),
        "latin_1.csv": (csv + "caf\xe9?,yes,no\n").encode("latin-1"),
        "latin_1_header.csv": csv.replace("chosen", "chos\xe9n").encode("latin-1"),
        "open_quote.csv": (csv + '"a,b,c\n').encode(),
        "header_alone.csv": b"prompt,chosen,rejected\n",
        "empty.parquet": b"",
        "cut.parquet": table[: len(table) // 2],
        "not_utf8.parquet": _not_utf8(),
        "bytes.parquet": _table(("prompt", pa.array(["q"])), ("chosen", pa.array([b"\xff"]))),
        "no_rows.parquet": _table(("prompt", pa.array([], pa.string()))),
        "nulls.parquet": _table(*_texts(None, None, None)),
        "lines.parquet": whole,
        "column_twice.parquet": _column_twice(),
        "dates.parquet": _table(
            *_texts("q", "a", "b"), ("id", pa.array(range(GOOD + 1), pa.date32()))
        ),
    }


def write(folder: pathlib.Path, name: str, data: bytes) -> pathlib.Path:
    """The file `name` of a case in a folder of its own."""
    path = folder / name.replace(".", "_") / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path
