"""The command that tokenizes a config's data before a slice is rented."""

import json
import sys

import pytest
from commands import run_all
from tiny import ROOT, tiny_config

from rewardjax import prepare
from rewardjax.data.cache import building
from rewardjax.data.chat import ChatTokenizer
from rewardjax.models.build import load_tokenizer
from rewardjax.training import data_sets

TINY = f"--config={ROOT}/configs/tiny.py"


def test_mistakes_are_told_in_a_line_each(tmp_path):
    command = ["rewardjax.prepare"]
    engine = [*command, TINY, "--engine", "slurm"]
    commands = [
        command,
        [*command, TINY, "--workers", "0"],
        [*command, TINY, "--config.data.sourc=x"],
        [*command, TINY, "--workdir=x"],
        [*command, TINY, "--config.data.source=nowhere.jsonl"],
        [*command, TINY, "--engine_options", "{time: x}"],
        [*engine, "--engine_options", "{hours: 3}"],
        [*engine, "--engine_options", "[1]"],
    ]
    sentences = [
        "--model and --data missing: a run without --config FILE needs --model DIR",
        "--workers 0: at least 1",
        "override 'data.sourc': 'data' has no 'sourc' (did you mean 'source'?)",
        "unknown arguments --workdir=x",
        "data.source: nowhere.jsonl: no such file, folder or match",
        "--engine_options are an engine's: name it with --engine",
        "--engine_options: slurm does not take these fields",
        "--engine_options '[1]': names and values",
    ]
    for ended, sentence in zip(run_all(commands, tmp_path), sentences, strict=True):
        assert ended.returncode == 2 and sentence in ended.stderr, ended
        assert len(ended.stderr.splitlines()) == 1


def test_training_finds_what_was_prepared(tmp_path, monkeypatch, capsys):
    # Processes take seconds to start: another test has them.
    monkeypatch.setattr(
        "rewardjax.data.cache.local_processes.spread", lambda workers: building.here
    )
    cache = [f"--config.{where}.cache={tmp_path}" for where in ("data", "evals.heldout")]
    prepare.main([TINY, *cache, "--shards", "3"])
    made = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert {name: made[name]["pairs"] for name in made} == {"data": 160, "evals.heldout": 32}
    config = tiny_config(tmp_path)
    config.data.most_untokenized = config.evals.heldout.most_untokenized = 0
    tokenizer = load_tokenizer(model_folder=config.model.folder, **config.tokenizer)
    # Nothing is left to tokenize.
    monkeypatch.delattr(ChatTokenizer, "encode")
    train_set, held_out, _ = data_sets.read_data(config, tokenizer, "pairs")
    assert [str(train_set.folder), str(held_out[0].pairs.folder)] == [
        made[name]["folder"] for name in made
    ]


def test_training_refuses_to_tokenize_much_by_itself(tmp_path):
    config = tiny_config(tmp_path)
    config.evals.heldout.most_untokenized = 31
    tokenizer = load_tokenizer(model_folder=config.model.folder, **config.tokenizer)
    with pytest.raises(ValueError, match="more than evals.heldout.most_untokenized = 31; token"):
        data_sets.read_data(config, tokenizer, "pairs")


@pytest.mark.slow
def test_the_command_with_processes_leaves_what_one_process_leaves(tmp_path):
    folders = []
    for name, workers in (("one", "1"), ("three", "3")):
        cache = [f"--config.{where}.cache={name}" for where in ("data", "evals.heldout")]
        arguments = ["--workers", workers, "--shards", "8", "--config.data.max_length=200"]
        (ended,) = run_all([["rewardjax.prepare", TINY, *cache, *arguments]], tmp_path)
        assert ended.returncode == 0, ended.stderr
        assert "tokens per second and core" in ended.stderr
        folders.append(tmp_path / json.loads(ended.stdout)["data"]["folder"])
    one, three = ({p.name: p.read_bytes() for p in f.glob("*-of-*")} for f in folders)
    assert one == three and len(one) == 3 * 8
    assert sys.platform != "linux" or not list(tmp_path.rglob("*.part"))
