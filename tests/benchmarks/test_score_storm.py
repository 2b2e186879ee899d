"""Killed scorers: each response is scored once."""

from benchmarks import score_storm


def test_killed_workers_leave_each_response_once(exported):
    result = score_storm.main(["--smoke", "--model", str(exported)])
    assert result["kills"] >= 2
    assert result["duplicates"] == result["missing"] == result["extra"] == 0
    assert result["hashes"]["results"] == 1, "whoever was killed, the file is the same"
