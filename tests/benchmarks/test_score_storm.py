"""Killed scorers: each response is scored once."""

from benchmarks import score_storm


def test_killed_workers_leave_each_response_once(exported):
    result = score_storm.main(["--smoke", "--model", str(exported)])
    assert result["kills"] >= 4
    assert result["duplicates"] == result["missing"] == result["extra"] == 0
    for place in ("hashes", "bucket"):
        assert result[place]["results"] == 1, "whoever was killed, the file is the same"
