"""The package from Python."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest
from tiny import ROOT

import rewardjax
from rewardjax import config as config_lib
from rewardjax import own_data, train
from rewardjax.command import errors
from rewardjax.data import sources
from rewardjax.data.groups import BadRecord
from rewardjax.scoring.passes import scored_file
from rewardjax.training import loop


def test_importing_the_package_does_not_start_jax():
    code = "import sys, rewardjax; assert 'jax' not in sys.modules, 'jax'"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_rewards_are_those_that_the_command_writes_and_mistakes_are_sentences(exported, tmp_path):
    prompt, texts = "What is 2 + 3?", ["5", "Of course! It is 5.", "6"]
    path, output = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    path.write_text(json.dumps({"prompt": prompt, "responses": texts}) + "\n")
    model = rewardjax.load(exported)
    scored_file.score_file(model, sources.open_source(path), output)
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


SETTINGS = {
    "compute.dtype": "float32",
    "data.max_length": 256,
    "data.max_pair_length": 256,
    "batch.pairs": 8,
    "batch.row_length": 256,
    "batch.pairs_per_row": 8,
    "steps": 2,
    "log.writers.tensorboard": False,
}


def pairs(number: int) -> list[dict[str, str]]:
    return [
        {"prompt": f"What is {n} + 3?", "chosen": f"{n + 3}", "rejected": f"{n + 4}"}
        for n in range(number)
    ]


def test_fit_trains_on_dicts_as_the_command_does_and_continues(exported, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = {"model": exported, "output": "run", "held_out": "25%", **SETTINGS}
    fitted = rewardjax.fit(pairs(64), **settings)
    assert 0 <= fitted.accuracy <= 1 and fitted.summary["steps"] == 2
    lines = (tmp_path / "run" / "records.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == pairs(64)
    # The command finds the run of its own config and data, and so has nothing left to do.
    words = {name: f"--set={name}={value}" for name, value in SETTINGS.items()}
    typed = [f"--model={exported}", "--data=run/records.jsonl", "--held-out=25%", *words.values()]
    config, *fields = own_data.with_config(typed, train.WORDS)
    overrides = [field.removeprefix("--config.") for field in fields]
    same = config_lib.load(config.removeprefix("--config="), overrides)
    again = loop.run(same, "run")
    assert again["heldout/accuracy"] == fitted.accuracy
    assert rewardjax.fit(pairs(64), **settings).accuracy == fitted.accuracy
    model = rewardjax.load(fitted.folder)
    assert len(model.rewards("What is 2 + 3?", ["5", "6"])) == 2
    with pytest.raises(errors.Refusal, match="run holds a run on other records; name another"):
        rewardjax.fit(pairs(63), **settings)
    assert (tmp_path / "run" / "records.jsonl").read_text().splitlines() == lines


@pytest.mark.parametrize(
    "records, settings, sentence",
    [
        ([], {}, "records: there are none"),
        ("pairs.jsonl", {}, "records: a list of dicts, not one str"),
        ({"prompt": ["a"]}, {}, "records: a list of dicts, not one dict"),
        ([*pairs(2), "third"], {}, r"records\[2\] is a str, not a dict"),
        ([{"prompt": np.int64(3)}], {}, r"records\[0\] holds what JSON cannot \(Object of type"),
        ([{"prompt": float("nan")}], {}, r"records\[0\] holds what JSON cannot"),
        (pairs(2), {"held_out": "some"}, "--held-out some: a share of the prompts"),
        (pairs(2), {"held_out": 1.5}, "held_out = 1.5: a share"),
        (pairs(2), {"schedule.peek": 1e-5}, r"schedule' has no 'peek' \(did you mean 'peak'"),
        (pairs(2), {"schedule.peak": "high"}, "'schedule.peak': expected float, got str 'high'"),
        (pairs(2), {"data.source": "x.jsonl"}, "data.source is what the argument records says"),
        (pairs(2), {"model": "nowhere"}, "nowhere"),
    ],
)
def test_what_fit_cannot_train_on_is_one_sentence(records, settings, sentence, tmp_path):
    arguments = {"model": "assets:world", "output": tmp_path / "run", **settings}
    with pytest.raises(errors.Refusal, match=sentence) as refused:
        rewardjax.fit(records, **arguments)
    assert "\n" not in str(refused.value)


def test_what_the_page_shows_runs_as_it_stands(exported, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs/python.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 3
    names: dict[str, object] = {}
    for block in blocks:
        # A smaller model, which compiles in seconds.
        exec(block.replace("assets:world", str(exported)), names)
    assert 0 <= float(capsys.readouterr().out) <= 1
    assert (tmp_path / "runs/second/DONE").exists()
