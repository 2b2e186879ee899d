"""The package from Python."""

import json
import subprocess
import sys

import numpy as np
import pytest

import rewardjax
from rewardjax import score
from rewardjax.data import sources
from rewardjax.data.groups import BadRecord


def test_importing_the_package_does_not_start_jax():
    code = "import sys, rewardjax; assert 'jax' not in sys.modules, 'jax'"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_rewards_are_those_that_the_command_writes_and_mistakes_are_sentences(exported, tmp_path):
    prompt, texts = "What is 2 + 3?", ["5", "Of course! It is 5.", "6"]
    path, output = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    path.write_text(json.dumps({"prompt": prompt, "responses": texts}) + "\n")
    model = rewardjax.load(exported)
    score.score_file(model, sources.open_source(path), output)
    # Written with the fewest digits of a float32, so compared as the float32 that they name.
    written = [json.loads(line)["reward"] for line in output.read_text().splitlines()]
    rewards = model.rewards(prompt, texts)
    assert all(type(reward) is float for reward in rewards)
    np.testing.assert_array_equal(np.float32(written), np.float32(rewards))
    messages = [[{"role": "assistant", "content": text}] for text in texts]
    assert model.rewards([{"role": "user", "content": prompt}], messages) == rewards
    with pytest.raises(ValueError, match="responses: the list is empty"):
        model.rewards(prompt, [])
    with pytest.raises(TypeError, match=r"write \[response\]"):
        model.rewards(prompt, "5")
    with pytest.raises(BadRecord, match="empty"):
        model.rewards(prompt, [" "])
    with pytest.raises(BadRecord, match="over_long"):
        model.rewards(prompt, ["word " * 400])
