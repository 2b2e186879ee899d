"""Files of answers in every shape: read as meant, or named; never lost, never another vote."""

from benchmarks import answer_storm


def test_no_shape_crashes_the_command_or_loses_an_answer_in_silence():
    result = answer_storm.main(["--smoke"])
    assert result["crashes"] == result["votes_wrong"] == result["lost_uncounted"] == 0
    assert result["unexpected"] == []
    assert result["shapes"] == len(answer_storm.SHAPES) >= 100
