"""Mistakes that were once told late, one at a time or never are all told before step 1.

Each row of a table is a mistake that somebody makes: what is planted, and what the sentence says.
"""

import json
import re
import sys

import jax
import pytest
from commands import run_all
from tiny import ROOT, tiny_config

from rewardjax import config as config_lib
from rewardjax.command import errors
from rewardjax.defaults import WORLD
from rewardjax.io import files
from rewardjax.models import build
from rewardjax.models.checkpoints.checkpoints import steps_of
from rewardjax.training import loop
from rewardjax.training.preflight import fields, host_memory, machine


def only(sentences: list[str]) -> str:
    """The one sentence: a mistake is told once, whatever else it touches."""
    assert len(sentences) == 1, sentences
    return sentences[0]


# ------------------------------------------------------------------ fields

FIELDS = [
    ({"seed": -1}, "seed = -1 must be at least 0"),
    ({"seed": 10**20}, f"seed = {10**20} must be at most 9,223,372,036,854,775,807"),
    ({"steps": 10**20}, f"steps = {10**20} must be at most 2,147,483,647"),
    ({"batch.row_length": 10**9}, "batch.row_length = 1000000000 must be at most 16,777,216"),
    ({"steps": -1}, "steps = -1 must be at least 0"),
    ({"steps": 0, "epochs": 0.0}, "no step would be taken"),
    ({"eval_every": 0}, "eval_every = 0 must be at least 1"),
    ({"batch.pairs": 0}, "batch.pairs = 0 must be at least 1"),
    ({"batch.pairs_per_row": 0}, "batch.pairs_per_row = 0"),
    ({"batch.row_length": -5}, "batch.row_length = -5"),
    ({"batch.rows": 0}, "batch.rows = 0"),
    ({"batch.responses": 1}, "batch.responses = 1 must be at least 2"),
    ({"checkpoint.every": -1}, "checkpoint.every = -1"),
    ({"checkpoint.minutes": -1.0}, "checkpoint.minutes = -1"),
    ({"checkpoint.keep.keep": 0}, "checkpoint.keep.keep = 0 must be at least 1"),
    ({"checkpoint.keep.best": "heldout/acuracy"}, "did you mean 'accuracy'"),
    ({"checkpoint.keep.best": "heldot/accuracy"}, "called 'heldot' .did you mean 'heldout'"),
    ({"checkpoint.keep.best": "accuracy"}, "write SET/FIGURE, where SET is one of heldout"),
    ({"checkpoint.keep.best": "heldout/nll"}, "would keep the worst checkpoint"),
    ({"checkpoint.every": 4, "eval_every": 3}, "only the last checkpoint is evaluated"),
    ({"optimizer.b1": 1.5}, "optimizer.b1 = 1.5 must be at least 0 and below 1"),
    ({"optimizer.clip_norm": -1.0}, "optimizer.clip_norm = -1.0 must be above 0"),
    ({"optimizer.mu_dtype": "float31"}, "optimizer.mu_dtype = 'float31'.*choose one of float32"),
    ({"compute.dtype": "float16"}, "compute.dtype = 'float16'.*float32, bfloat16"),
    ({"compute.remat": "ful"}, "compute.remat = 'ful' .did you mean 'full'"),
    ({"compute.attention": "flash"}, "compute.attention = 'flash'.*choose one of auto"),
    ({"loss.name": "bradly_terry"}, "loss: unknown name 'bradly_terry'"),
    ({"loss.gamma": 2.0}, "loss bradley_terry: unknown option gamma"),
    ({"loss.temperature": -1.0}, "temperature must be positive"),
    ({"loss.rao_kupper": 2.0, "loss.davidson": 1.0}, "give rao_kupper or davidson, not both"),
    (
        {"loss.name": "plackett_luce", "data.pairs_per_group": 1},
        "data.pairs_per_group = 1 leaves out some of a group's pairs",
    ),
    (
        {"loss.name": "plackett_luce", "batch.responses": 20, "batch.pairs_per_row": 8},
        "set batch.pairs_per_row to at least 10",
    ),
    ({"schedule.name": "cosin"}, "schedule: unknown name 'cosin'"),
    ({"schedule.peak": -1.0}, "schedule: peak = -1.0"),
    ({"schedule.warmup_steps": 2}, "are both set"),
    (
        {"schedule.warmup_steps": 10, "schedule.warmup_fraction": 0.0},
        "warmup_steps = 10 must be at least 0 and below the 6 steps",
    ),
    ({"steps": 0, "schedule.warmup_fraction": 1.0}, "warmup_fraction must lie in"),
    ({"log.profile": "ab"}, "log.profile = 'ab': write two steps"),
    ({"log.profile": "10:12"}, "the run has 6 steps, so that nothing would be recorded"),
    ({"data.over_long": "rigth"}, "data.over_long = 'rigth'"),
    ({"evals.heldout.over_long": "rigth"}, "evals.heldout.over_long = 'rigth'"),
    ({"data.part": (0.9, 0.1)}, r"data.part = \(0.9, 0.1\)"),
    ({"data.max_length": 0}, "data.max_length = 0"),
    ({"data.max_dropped": 3.0}, "data.max_dropped = 3.0 must be between 0 and 1"),
    ({"evals.heldout.workers": -2}, "evals.heldout.workers = -2"),
    ({"data.labels": "{0: better}"}, "data.labels .*: a label is one of first, second, tie"),
    ({"evals.heldout.labels": "{0: better}"}, "evals.heldout.labels"),
    ({"model.variant": "qwen9"}, "model: unknown variant 'qwen9'"),
    ({"model.changes.layers": -1}, "model: layers=-1 must be positive"),
    ({"model.changes.kv_heads": 0}, "model: kv_heads=0 must be positive"),
    ({"model.changes.head_dim": 3}, "head_dim=3 must be even"),
    ({"schedule.peak": float("nan")}, "'schedule.peak' holds nan"),
]


def name_of(value) -> str:
    """What pytest calls a case: the fields that are planted."""
    return ", ".join(value) if isinstance(value, dict) else ""


@pytest.mark.parametrize("planted, message", FIELDS, ids=name_of)
def test_a_mistake_in_a_field_is_one_sentence(planted, message, tmp_path):
    sentence = only(fields.check(tiny_config(tmp_path, **planted)).sentences())
    assert re.search(message, sentence), sentence


def test_a_sound_config_has_no_complaint(tmp_path):
    config = tiny_config(tmp_path)
    assert not fields.check(config) and not machine.check(config, tmp_path / "run")
    assert not list(tmp_path.iterdir()), "a check leaves nothing behind"


def with_section(config, name, **section):
    """The config with a benchmark more."""
    with config.unlocked():
        config.benchmarks[name] = config_lib.ConfigDict(section)
    return config


@pytest.mark.parametrize(
    "name, section, message",
    [
        ("a/b", dict(benchmark="rmb", path="x"), "benchmarks.a/b: the name is part of file names"),
        ("heldout", dict(benchmark="rmb", path="x"), "would write the same figures"),
        ("b", dict(benchmark="rmbb", path="x"), "no benchmark is called 'rmbb'"),
        ("b", dict(benchmark="rmb", pth="x"), "'pth' .did you mean 'path'.*needs a field 'path'"),
        ("b", dict(path="x"), "benchmarks.b.benchmark is not there"),
    ],
)
def test_a_benchmark_that_cannot_be_loaded_is_told(name, section, message, tmp_path):
    config = with_section(tiny_config(tmp_path), name, **section)
    sentences = fields.check(config).sentences()
    assert re.search(message, " ".join(sentences)), sentences


def test_changes_without_a_variant_are_told(tmp_path):
    config = tiny_config(tmp_path, **{"model.folder": WORLD})
    config.model.variant = None
    message = only(fields.check(config).sentences())
    assert message.startswith(
        "model.changes.mlp_width, vocab_size, width: changes of model.variant"
    )


def test_the_highest_figure_of_nothing_cannot_be_kept(tmp_path):
    config = tiny_config(tmp_path)
    with config.unlocked():
        config.evals = {}
    assert "nothing is evaluated" in only(fields.check(config).sentences())


def test_what_is_only_surprising_is_a_warning(tmp_path):
    config = tiny_config(tmp_path, **{"epochs": 3.0, "checkpoint.every": 0})
    steps, best = fields.warnings_of_length(config, 6)
    assert steps == "warning: steps = 6 decides, epochs = 3.0 is not used"
    assert "has one checkpoint to choose from" in best
    assert not list(fields.warnings_of_length(tiny_config(tmp_path), 6))


def test_a_run_of_few_steps_by_its_data_is_warned_about(tmp_path):
    config = tiny_config(tmp_path)
    config.steps, config.batch.pairs = None, 64
    (warning,) = fields.warnings_of_length(config, 3)
    assert "3 steps of 64 pairs are few" in warning
    assert "--set batch.pairs=8 makes about 24" in warning
    assert not list(fields.warnings_of_length(config, 20))
    config.batch.pairs = 8
    assert not list(fields.warnings_of_length(config, 3))


# ------------------------------------------------------------------ machine

MACHINE = [
    ({"data.source": ""}, "data.source is empty"),
    ({"data.source": "nope.jsonl"}, "data.source: nope.jsonl: no such file, folder or match"),
    ({"evals.heldout.source": "nope.jsonl"}, "evals.heldout.source: nope.jsonl: no such file"),
    ({"tokenizer.folder": "nope"}, "nope: no such folder"),
    ({"model.folder": "nope"}, "nope: no such folder"),
    ({"model.folder": WORLD, "model.init_head": True}, "does not hold model.variant"),
    ({"model.changes.vocab_size": 64}, "embedding table 64; set model.changes.vocab_size"),
    ({"mesh.data": 3}, "the sizes must multiply to the 8 devices"),
    ({"mesh.tensor": 8}, "query heads cannot be split evenly"),
    ({"batch.rows": 6}, "batch.rows = 6 is not a multiple of the mesh's 8 row shards"),
    ({"batch.row_length": 40}, "golden conversations, .* need .* tokens"),
    ({"compute.attention": "splash"}, "'splash' runs on tpu"),
    ({"compute.attention": "pallas"}, "'pallas' runs on gpu"),
    ({"optimizer.freeze": ("decodr",)}, "optimizer.freeze: 'decodr' applies to no parameter"),
    ({"optimizer.freeze": ("(",)}, "optimizer.freeze: '\\(' is not a regular expression"),
    ({"optimizer.freeze": (".",)}, "optimizer.freeze: .* freeze every parameter"),
    ({"optimizer.lr_factors": ("head", 2.0)}, "optimizer.lr_factors: 'head' is not a pair"),
    ({"optimizer.decay_exclude": ("hed",)}, "optimizer.decay_exclude: 'hed' applies to no"),
    ({"log.writers.wandb": True}, "log.writers.wandb: the package wandb is not installed"),
]


@pytest.mark.parametrize("planted, message", MACHINE, ids=name_of)
def test_a_mistake_about_the_machine_is_one_sentence(planted, message, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)  # as where it is not installed
    real = machine.importlib.util.find_spec
    monkeypatch.setattr(
        machine.importlib.util, "find_spec", lambda name: None if name == "wandb" else real(name)
    )
    config = tiny_config(tmp_path, **planted)
    sentence = only(machine.check(config, tmp_path / "run").sentences())
    assert re.search(message, sentence), sentence
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("place", ["file", "file/run", "/proc/run", "s3://bucket/run"])
def test_a_workdir_that_cannot_be_written_is_told(place, tmp_path):
    (tmp_path / "file").touch()
    workdir = place if "://" in place else tmp_path / place
    sentence = only(machine.check(tiny_config(tmp_path), workdir).sentences())
    assert sentence.startswith("--workdir") and place in sentence


def test_a_cache_that_cannot_be_written_is_told_of_every_set(tmp_path):
    (tmp_path / "file").touch()
    sentences = machine.check(tiny_config(tmp_path / "file"), tmp_path / "run").sentences()
    assert [sentence.split(":")[0] for sentence in sentences] == [
        "data.cache",
        "evals.heldout.cache",
    ]


def test_a_disk_without_room_for_two_checkpoints_is_told(tiny_run, tmp_path, monkeypatch):
    """What is asked for is what a checkpoint holds: parameters and two moments, all float32."""
    config = tiny_config(tmp_path)
    decoder = build.decoder_config(**config.model)
    with jax.set_mesh(machine.make_mesh(**config.mesh)):
        sizes = machine.checkpoint_sizes(config, machine._parameters(decoder))
    step = max(steps_of(tiny_run[0] / "checkpoints"))
    written = sum(
        path.stat().st_size
        for name in ("params", "opt")
        for path in (tiny_run[0] / "checkpoints" / str(step) / name).rglob("*")
        if path.is_file()
    )
    # Beside the arrays a checkpoint has indices, whose size differs from save to save: up to as
    # much again in one as small as this.
    assert 0.4 * written < sizes.total < 1.5 * written
    monkeypatch.setattr(files, "free_bytes", lambda path: 2 * sizes.total - 1)
    assert "one checkpoint takes" in only(machine.check(config, tmp_path / "run").sentences())
    monkeypatch.setattr(files, "free_bytes", lambda path: 2 * sizes.total)
    assert not machine.check(config, tmp_path / "run")
    # A run that goes on has one of the two already.
    (tmp_path / "run" / "checkpoints" / "2").mkdir(parents=True)
    monkeypatch.setattr(files, "free_bytes", lambda path: sizes.total)
    assert not machine.check(config, tmp_path / "run")


def test_a_host_without_memory_for_its_part_of_a_save_is_told(monkeypatch):
    sizes = machine.Sizes(parameters=30, moments=60)
    assert list(machine.memory_for_save(sizes, None)) == []
    assert list(machine.memory_for_save(sizes, 90)) == []
    assert "a save copies" in only(list(machine.memory_for_save(sizes, 89)))
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    assert list(machine.memory_for_save(sizes, 45)) == []


def test_the_memory_of_a_container_is_less_than_its_hosts(tmp_path):
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:  8000 kB\nMemFree:  1000 kB\nMemAvailable:  4000 kB\n")
    assert host_memory.available(tmp_path / "none", tmp_path) is None
    assert host_memory.available(meminfo, tmp_path) == 4000 * 1024
    (tmp_path / "memory.max").write_text("max\n")
    assert host_memory.available(meminfo, tmp_path) == 4000 * 1024
    (tmp_path / "memory.max").write_text("2000\n")
    (tmp_path / "memory.current").write_text("1500\n")
    (tmp_path / "memory.stat").write_text("active_file 10\ninactive_file 300\n")
    assert host_memory.available(meminfo, tmp_path) == 800


def test_the_run_of_another_config_is_told_before_its_data_are_read(tiny_run):
    config = tiny_config(tiny_run[2], **{"schedule.peak": 2e-2, "data.source": "nope.jsonl"})
    other, missing = machine.check(config, tiny_run[0]).sentences()
    assert "config.schedule.peak: 0.01 -> 0.02" in other and "nope.jsonl" in missing


# ------------------------------------------------------------------ tokenized data


def pairs_file(path, records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return str(path)


def pair(number, **fields):
    words = {"prompt": f"What is {number} + 1?", "chosen": f"{number + 1}", "rejected": "0 or so"}
    return words | fields


def tie(number):
    return {
        "prompt": f"What is {number} + 1?",
        "response_a": f"{number + 1}",
        "response_b": f"{number + 2}",
        "winner": "tie",
    }


LONG = {"chosen": "good " * 150, "rejected": "bad " * 150}
# Held-out responses may lie in two rows, each with the whole prompt.
TWO_ROWS = {"chosen": "good " * 50, "rejected": "bad " * 50}
LONG_PROMPT = {"prompt": "word " * 300}
DATA = [
    (
        "evals.heldout",
        [pair(0, **TWO_ROWS), pair(1, **LONG_PROMPT)],
        {},
        "evals.heldout: 1 of 2 pairs have a convers",
    ),
    ("evals.heldout", [tie(n) for n in range(5)], {}, "evals.heldout: all 5 pairs are ties"),
    ("evals.heldout", [pair(0, rejected="1")], {}, "no usable pair; .*1 equal"),
    ("evals.heldout", [], {}, "no usable pair"),
    ("data", [pair(0), pair(1, **LONG)], {}, "row_length = 256: 1 of 2 do not fit a row"),
    ("data", [tie(n) for n in range(5)], {}, "data: all 5 pairs are ties"),
    ("data", [pair(0)], {"loss.margin_scale": 1.0}, "loss.margin_scale = 1.0 reads margins"),
    (
        "data",
        [{"prompt": "2?", "responses": ["a", "b", "c"], "ranks": [0, 1, 2]}],
        {"loss.name": "plackett_luce"},
        "ranks 3 responses, batch.responses = 2: set batch.responses = 3",
    ),
    ("data", [tie(0)], {"loss.name": "plackett_luce"}, "no group has a response that is better"),
    ("data", [pair(0)], {"steps": 0, "log.profile": "10:12"}, "the run has 1 steps"),
]


@pytest.mark.parametrize("where, records, planted, message", DATA)
def test_a_mistake_in_the_data_is_told_before_the_model(
    where, records, planted, message, tmp_path, monkeypatch
):
    monkeypatch.setattr(loop, "build_model", None)
    source = pairs_file(tmp_path / "planted.jsonl", records)
    changes = {f"{where}.source": source, f"{where}.max_length": 1024, **planted}
    with pytest.raises(ValueError) as refused:
        loop.run(tiny_config(tmp_path / "cache", **changes), tmp_path / "run")
    assert re.search(message, only(errors.sentences(refused.value)))


def test_a_figure_that_a_benchmark_does_not_have_is_told_with_those_it_has(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "build_model", None)
    config = tiny_config(tmp_path / "cache", **{"checkpoint.keep.best": "own/headlin"})
    source = pairs_file(tmp_path / "own.jsonl", [pair(number) for number in range(4)])
    with_section(config, "own", benchmark="pairs", path=source)
    with pytest.raises(ValueError, match="did you mean 'own/headline'.*own/unscored"):
        loop.run(config, tmp_path / "run")


def test_few_pairs_are_a_warning(tmp_path, monkeypatch, capsys):
    """One pair trains (it is repeated), which may be meant: for a test, or to see it learned."""
    monkeypatch.setattr(loop, "build_model", None)
    source = pairs_file(tmp_path / "one.jsonl", [pair(0)])
    with pytest.raises(TypeError, match="NoneType"):
        loop.run(tiny_config(tmp_path / "cache", **{"data.source": source}), tmp_path / "run")
    assert "warning: batch.pairs = 32, and there are 1 to train on" in capsys.readouterr().err


# ------------------------------------------------------------------ all at once


def test_all_mistakes_are_told_at_once(tmp_path):
    planted = {
        "eval_every": 0,
        "loss.temperature": -1.0,
        "loss.label_smoothing": 2.0,
        "checkpoint.keep.best": "heldout/acuracy",
        "data.source": "nope.jsonl",
        "optimizer.freeze": ("decodr",),
        "mesh.data": 4,
        "mesh.fsdp": 2,
        "batch.rows": 6,
    }
    with pytest.raises(errors.Refusal) as refused:
        loop.run(tiny_config(tmp_path, **planted), tmp_path / "run")
    text = "\n".join(refused.value.complaints)
    for name in (
        "eval_every",
        "temperature",
        "label_smoothing",
        "acuracy",
        "nope",
        "decodr",
        "rows",
    ):
        assert name in text
    assert len(refused.value.complaints) == 7


def test_mistakes_of_several_data_sets_are_told_at_once(tmp_path):
    empty = pairs_file(tmp_path / "empty.jsonl", [])
    changes = {"data.source": empty, "evals.heldout.source": pairs_file(tmp_path / "no.jsonl", [])}
    with pytest.raises(errors.Refusal) as refused:
        loop.run(tiny_config(tmp_path, **changes), tmp_path / "run")
    assert [text.split(":")[0] for text in refused.value.complaints] == ["empty", "no"]


def test_the_command_says_each_mistake_in_a_line(tmp_path):
    mistakes = {
        "stps=3 sed=2": ["has no 'stps'", "has no 'sed'"],
        "checkpoint.keep.best=heldout/acuracy eval_every=0 evals.heldout.source=nope": [
            "eval_every = 0",
            "'acuracy'",
            "nope",
        ],
    }
    command = ["rewardjax.train", f"--config={ROOT}/configs/tiny.py", f"--workdir={tmp_path}/run"]
    commands = [command + [f"--config.{flag}" for flag in flags.split()] for flags in mistakes]
    for ended, messages in zip(run_all(commands, ROOT), mistakes.values(), strict=True):
        assert ended.returncode == 2, ended.stderr
        lines = ended.stderr.splitlines()
        assert len(lines) == len(messages)
        for line, message in zip(lines, messages, strict=True):
            assert line.startswith("rewardjax.train: ") and message in line
