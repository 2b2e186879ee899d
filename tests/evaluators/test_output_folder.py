"""Two models never share an output folder."""

import json

import pytest

from rewardjax.evaluators import output_folder


@pytest.mark.parametrize(
    "path, name",
    [
        ("runs/quickstart/hf", "quickstart-hf"),
        ("/models/Skywork-Reward-V2", "Skywork-Reward-V2"),
        ("runs/a/checkpoints/step_200", "a-checkpoints-step_200"),
        ("runs/a/checkpoint-500", "a-checkpoint-500"),
        (
            "/cache/models--org--name/snapshots/" + "0a" * 20,
            f"models--org--name-snapshots-{'0a' * 20}",
        ),
    ],
)
def test_a_name_goes_up_to_the_first_part_that_tells_runs_apart(path, name):
    assert output_folder.model_name(path) == name


def test_results_of_another_model_are_not_written_over(tmp_path):
    (tmp_path / "results.json").write_text(json.dumps({"path": "runs/a/hf", "weights": "0"}))
    output_folder.refuse_other_model(tmp_path, "runs/a/hf", "1")  # the run has gone on
    output_folder.refuse_other_model(tmp_path, "moved/hf", "0")
    with pytest.raises(ValueError, match=r"another model, runs/a/hf.*--config\.output=DIR"):
        output_folder.refuse_other_model(tmp_path, "runs/b/hf", "1")
