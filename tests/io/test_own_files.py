"""Files of our own that were damaged since: one sentence, whatever is in them, and no waiting."""

import os

import pytest

from launch import restarts, supervise
from rewardjax.evaluators import output_folder
from rewardjax.io import own_files
from rewardjax.models.checkpoints.record import LAST_SAVED
from rewardjax.reporting import run_record
from rewardjax.training import metrics

DAMAGED = [b"", b"{", b"[]", b"null", b"{}", b"\xff\xfe", b"[" * 100_000, b"\0\0", b"NaN"]


@pytest.mark.parametrize("data", DAMAGED)
def test_whatever_is_in_a_damaged_file_is_one_sentence(tmp_path, data):
    path = tmp_path / "record.json"
    path.write_bytes(data)
    with pytest.raises(own_files.Damaged, match="record.json is not what was written; mend it$"):
        own_files.read(path, ["step"], "mend it")


def test_a_pipe_in_the_place_of_a_record_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "record.json")
    with pytest.raises(ValueError, match="a pipe, not a file"):
        own_files.read(tmp_path / "record.json")
    with pytest.raises(FileNotFoundError):
        own_files.read(tmp_path / "nothing.json")


@pytest.mark.parametrize("data", DAMAGED)
def test_a_damaged_record_of_earlier_starts_does_not_end_a_run(tmp_path, data, capsys):
    path = tmp_path / "run.json"
    path.write_bytes(data)
    assert run_record._starts(path) == []
    assert "run.json is not what was written; it is kept as" in capsys.readouterr().err
    assert (tmp_path / "run.json.damaged").read_bytes() == data


@pytest.mark.parametrize("data", DAMAGED)
def test_damaged_counts_of_restarts_begin_anew(tmp_path, data):
    (tmp_path / supervise.FILE).write_bytes(data)
    (tmp_path / LAST_SAVED).write_bytes(data)
    assert restarts.newest_verified(tmp_path) is None
    assert supervise._read(tmp_path) == restarts.Spent(0, None)


@pytest.mark.parametrize("data", DAMAGED[:3])
def test_damaged_results_are_refused_with_what_to_do(tmp_path, data):
    (tmp_path / "results.json").write_bytes(data)
    with pytest.raises(own_files.Damaged, match="results.json .*name another folder"):
        output_folder.refuse_other_model(tmp_path, "model", "weights")
    with pytest.raises(own_files.Damaged, match="results.json .*name another folder"):
        output_folder.refuse_part_of_whole(tmp_path)


@pytest.mark.parametrize(
    "line", [b"\xff\xfe", b'{"step": "x"}', b"5", b"[" * 100_000, b"\0\0", b'{"step": null}']
)
def test_a_damaged_line_of_metrics_is_named(tmp_path, line):
    (tmp_path / metrics.METRICS_FILE).write_bytes(b'{"step": 1}\n' + line + b'\n{"step": 2}\n')
    with pytest.raises(ValueError, match="line 2: not a metric line: .*take the line out"):
        metrics.read_metrics(tmp_path)
