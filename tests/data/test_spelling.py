"""Whatever command reads a source, its messages name the flag or the field that this command has."""

import json
import sys

import pytest
from ml_collections import ConfigDict

from rewardjax import check, curate, evaluate, score
from rewardjax.curation.judges import scripted_server
from rewardjax.data import formats, spelling
from rewardjax.data.prepare import prepare
from rewardjax.data.sources import open_named, open_source
from rewardjax.evaluators.audits import overlap
from rewardjax.training.data_sets import load_pairs

UNKNOWN = {"ask": "1 + 1?", "chosen": "2", "rejected": "3"}
NUMBERED = {"prompt": "1 + 1?", "response_a": "2", "response_b": "3", "label": 0}


def command_check(source, *flags):
    check.main([source, *flags])


def command_score(source, *flags):
    sys.argv = ["score", "--model", "nowhere", "--output", "x.jsonl", "--input", source, *flags]
    score.main()


def command_import(source, *flags):
    folder = source + "-workspace"
    say = ["--source", source, "--name", "mine", "--entry", "wild"]
    sys.exit(curate.main(["import", folder, *say, *flags]))


def command_build_tfds(source, *flags):
    pytest.importorskip("tensorflow_datasets")
    from rewardjax.tools import build_tfds

    sys.argv = ["build_tfds", "--output", source + "-tfds", "--input", source, *flags]
    build_tfds.main()


def command_judge_server(source, *flags):
    sys.argv = ["scripted_server", "--judge", "good", "--source", source, *flags]
    scripted_server.main()


COMMANDS = [
    command_check,
    command_score,
    command_import,
    command_build_tfds,
    command_judge_server,
]


@pytest.fixture
def folder(tmp_path):
    """Two splits: one with an unknown column, one whose labels are numbers."""
    for name, record in (("train", UNKNOWN), ("test", NUMBERED)):
        (tmp_path / "two").mkdir(exist_ok=True)
        (tmp_path / "two" / f"{name}.jsonl").write_text(json.dumps(record) + "\n")
    return str(tmp_path / "two")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_names_its_own_flags(command, folder, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [])
    cases = {
        (): "has the splits test, train; choose one, as in --split train",
        ("--split", "train"): '--columns "{prompt: ask}"',
        ("--split", "test"): '--labels "{0: first, OTHER: second}"',
        ("--split", "train", "--columns", "prompt"): "--columns = 'prompt': must be a mapping",
        ("--split", "test", "--labels", "{0: left}"): "--labels = {0: left}: a label is one of",
        ("--split", "test", "--labels", "{1: first}"): "which --labels does not explain",
        ("--split", "train", "--columns", "{promt: ask}"): "--columns",
    }
    for flags, sentence in cases.items():
        with pytest.raises(SystemExit) as ended:
            command(folder, *flags)
        line = capsys.readouterr().err.strip().splitlines()[-1]
        assert ended.value.code == 2 and sentence in line and "data." not in line, flags


def test_check_reads_as_its_flags_say(folder, capsys):
    check.main([folder, "--split", "train", "--columns", "{prompt: ask}"])
    assert "prompt from `ask`" in capsys.readouterr().out


def test_the_data_set_builder_reads_as_its_flags_say(folder, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [])
    command_build_tfds(folder, "--split", "test", "--labels", "{0: second, 1: first}")
    (record,) = open_source(folder + "-tfds/preference_pairs/1.0.0")
    assert [message["content"] for message in record["chosen"]] == ["3"]


def test_the_judges_know_what_their_flags_say(tmp_path, capsys):
    group = {"ask": "1 + 1?", "responses": ["2", "3"], "right": [True, False]}
    (tmp_path / "a.jsonl").write_text(json.dumps(group) + "\n")
    flags = ["--columns", "{prompt: ask, correct: right}", "--judge", "good", "--source"]
    args = scripted_server.parser().parse_args([*flags, str(tmp_path / "a.jsonl")])
    (facts,) = scripted_server.read_truth(args).facts.values()
    assert list(facts.correct.values()) == [True, False]
    assert "prompt from `ask`" in capsys.readouterr().err


def test_fields_of_a_config_are_named_by_their_section(folder, tmp_path):
    entry = {"source": folder, "split": "train"}
    source = open_named(entry, spelling.of_entry("sources.hard"))
    with pytest.raises(ValueError, match=r"sources\.hard\.columns=\{prompt: ask\}"):
        formats.readings(source)
    training = overlap.open_training("mine", folder, "train", columns="{prompt: ask}")
    assert formats.readings(*training)[0].prompt == ("ask",)
    with pytest.raises(ValueError, match=r"as in overlap\.mine\.split=train"):
        overlap.open_training("mine", folder)
    with pytest.raises(ValueError, match=r"overlap\.mine\.columns=\{prompt: ask\}"):
        formats.readings(overlap.open_training("mine", folder, "train").source)
    benchmark = {"benchmark": "pairs", "path": folder, "split": "test"}
    with pytest.raises(ValueError, match=r"benchmarks\.NAME\.labels=\{0: first, OTHER: second\}"):
        evaluate.load_all(ConfigDict({"mine": benchmark}))


def test_training_names_the_fields_of_its_config(folder, tmp_path):
    from tiny_chat import make_tokenizer

    how = {"tokenizer": make_tokenizer(), "cache": tmp_path / "cache", "max_length": 100}
    with pytest.raises(ValueError, match=r"choose one, as in data\.split=train"):
        prepare(source=folder, **how)
    with pytest.raises(ValueError, match=r"data\.columns=\{prompt: ask\}"):
        prepare(source=folder, split="train", **how)


def test_training_names_the_held_out_set_s_fields(folder, tmp_path):
    from tiny_chat import make_tokenizer

    how = {"cache": tmp_path / "cache", "max_length": 100}
    for split, sentence in (("train", r"columns=\{prompt: ask\}"), (None, "split=train")):
        with pytest.raises(ValueError, match=rf"evals\.mine\.{sentence}"):
            load_pairs(make_tokenizer(), "evals.mine", folder, split, **how)
    bad = [NUMBERED | {"label": "a"}, NUMBERED | {"label": "a", "response_a": ""}]
    (tmp_path / "bad.jsonl").write_text("".join(json.dumps(record) + "\n" for record in bad))
    with pytest.raises(ValueError, match=r"evals\.mine\.max_dropped=0\.2 is the share"):
        load_pairs(
            make_tokenizer(), "evals.mine", str(tmp_path / "bad.jsonl"), max_dropped=0.2, **how
        )


def test_a_sentence_without_fields_is_left_as_it_is():
    sentence = "metadata.columns, data.source and data.part=(0, 1) are other fields"
    assert spelling.FLAGS.of(sentence) == sentence
    sentence = "data.columns={prompt: a}, or data.columns={b: ''} if it is not"
    assert spelling.FLAGS.of(sentence) == (
        '--columns "{prompt: a}", or --columns "{b: \'\'}" if it is not'
    )
    assert open_source("world:train?num=4").spelling == spelling.CONFIG
