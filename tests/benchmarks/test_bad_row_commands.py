"""What `benchmarks.bad_rows` calls wrong, and the commands on a few of its cases."""

import json

import pytest

from benchmarks import bad_row_cases, bad_rows
from benchmarks.bad_rows import Case
from benchmarks.forks import Ended, run_all
from rewardjax.command.exit_codes import ExitCode


def faults(case, verb, ended, out):
    return [verdict.fault for verdict in bad_rows.judge(case, verb, ended, out)]


def test_a_traceback_a_crash_and_a_refused_file_are_told_apart(tmp_path):
    case = Case("a", tmp_path / "a.jsonl", readable=True)
    refused = Ended(ExitCode.USER, "", "a line\nrewardjax.score: a sentence\n")
    crashed = Ended(ExitCode.BUG, "", "Traceback (most recent call last):\n  x\nKeyError: 'a'\n")
    killed = Ended(-9, "", "")
    assert faults(case, "score", refused, tmp_path) == ["stopped"]
    assert faults(case._replace(readable=False), "score", refused, tmp_path) == []
    assert faults(case, "score", crashed, tmp_path) == ["tracebacks", "crashes"]
    assert faults(case, "score", killed, tmp_path) == ["crashes"]


def test_a_row_that_no_file_names_is_seen(tmp_path):
    (tmp_path / "score").mkdir()
    (tmp_path / "a.jsonl").write_text("{}\n{}\n")
    place = {"row": 0, "response_index": 0}
    (tmp_path / "score" / "out.jsonl").write_text(json.dumps(place) + "\n")
    (tmp_path / "score" / "out.jsonl.quarantine.jsonl").write_text("")
    counts = {"account": {"counts": {"records": 2}}}
    (tmp_path / "score" / "out.jsonl.record.json").write_text(json.dumps(counts))
    case = Case("a", tmp_path / "a.jsonl", readable=True)
    assert faults(case, "score", Ended(0, "", ""), tmp_path) == ["uncounted"]


def test_a_number_that_is_not_finite_is_seen(tmp_path):
    (tmp_path / "good.jsonl").write_text('{"reward": 1.5}\n{"text": "NaN"}\n')
    (tmp_path / "bad.jsonl").write_text('{"reward": 1.5}\n{"reward": NaN}\n')
    assert [path.name for path in bad_rows.not_finite_below(tmp_path)] == ["bad.jsonl"]


def test_imports_of_bad_rows_are_counted(tmp_path):
    """The quickest of the four commands, on all rows at once and on a file that is no data."""
    rows = bad_row_cases.beside_good_ones(list(bad_row_cases.rows().values()))
    cases = [
        Case("rows", bad_row_cases.write(tmp_path, "rows.jsonl", rows), readable=True),
        Case("zip", bad_row_cases.write(tmp_path, "zip.jsonl", b"PK\x03\x04"), readable=False),
    ]
    commands = []
    for case in cases:
        out = tmp_path / case.name
        out.mkdir()
        commands.append(bad_rows.commands(case, out, tmp_path)["import"])
    for case, ended in zip(cases, run_all(commands, tmp_path), strict=True):
        assert faults(case, "import", ended, tmp_path / case.name) == [], ended.stderr


@pytest.mark.slow
def test_every_bad_row_and_file_through_the_four_commands():
    result = bad_rows.main(["--smoke"])
    for fault in ("crashes", "tracebacks", "uncounted", "stopped", "nan_outputs"):
        assert result[fault] == 0
