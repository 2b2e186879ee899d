"""The storm of judge servers at a small size."""

from benchmarks import judge_storm


def test_no_behavior_crashes_the_run_or_loses_an_answer_in_silence():
    result = judge_storm.main(["--smoke"])
    assert result["crashes"] == result["votes_wrong"] == result["lost_uncounted"] == 0
    assert result["unexpected"] == [] and result["over_budget"] == []
    assert result["behaviors"] == len(judge_storm.SMOKE)
