"""Mistakes that newcomers make: each is one line that names the field or file and the fix, code 2."""

import json

import pytest
from commands import run_all
from tiny import ROOT

TINY = str(ROOT / "configs/tiny.py")
QUICKSTART = str(ROOT / "configs/quickstart.py")
OUTPUT = "--output=out"
OWN = ("train", "--model", "assets:world", OUTPUT)
# What is typed after `rewardjax` -> words of the sentence.
MISTAKES = {
    # The table of the cases, in its order.
    ("train", "--config", TINY, OUTPUT, "--set", "schedule.peek=1"): "did you mean 'peak'",
    ("train", "--config", TINY, OUTPUT, "--set", "batch.pairs=ten"): "'ten' is not an int",
    ("train", "--config", f"{QUICKSTART}:tinny", OUTPUT): "did you mean 'tiny'",
    ("train", "--config", "configs/nope.py", OUTPUT): "no config file at configs/nope.py",
    (*OWN, "--data", "missing.jsonl"): "missing.jsonl: no such file",
    (*OWN, "--data", "Anthropic/hh-rlhf"): "Anthropic/hh-rlhf",
    ("train", "--model", "Qwen/Qwen3-0.6B", "--data", "pairs.jsonl", OUTPUT): "Qwen/Qwen3-0.6B",
    ("train", "--config", TINY, "--output=s3://bucket/run"): "s3://bucket/run",
    ("train", "--config", TINY, OUTPUT, "--set", "model.variant="): "model",
    ("train", "--config", TINY, OUTPUT, "--set", "loss.name=bt"): "choose one of bradley_terry",
    ("train", "--config", TINY, OUTPUT, "--set", "loss.label_smothing=0.1"): "label_smoothing",
    ("train", "--config", TINY, OUTPUT, "--set", "loss.label_smoothing=0.7"): "[0, 0.5)",
    ("train", "--config", TINY, OUTPUT, "--set", "schedule.warmup_steps=3"): "warmup_fraction = 0",
    ("train", "--config", TINY, OUTPUT, "--set", "evals.mine.source=x"): "'evals' has no 'mine'",
    ("train", "--config", TINY, OUTPUT, "--set", "benchmarks.x.benchmark=y"): "has no 'x'",
    ("score", "--model", "headless", "--data", "pairs.jsonl", "--output=s.jsonl"): "headless",
    ("score", "--model", "empty", "--data", "pairs.jsonl", "--output=s.jsonl"): "empty",
    ("score", "--model", "assets:world", "--data", "pairs.jsonl", "--output=s.xlsx"): "s.xlsx",
    ("export", "--model", "empty", "--output", "new"): "empty/config.json",
    ("evaluate", "--config", str(ROOT / "configs/eval/mini.py")): "model",
    ("sweep", "--config", TINY, "--plan"): "it has: sweep_lr",
    ("check", "torn.jsonl"): "torn.jsonl",
    ("check", "nothing.jsonl"): "nothing.jsonl",
    (*OWN, "--data", "columns.jsonl"): "columns.jsonl",
    # The two that passed in silence: a model with the toy world's tokenizer is refused by its
    # folder; data of one's own with the quickstart's config are told by name (console.py).
    # 30 more.
    ("trian",): "did you mean 'train'",
    ("train",): "--model and --data missing",
    ("train", "--model", "assets:world"): "--data missing",
    ("train", "--data", "pairs.jsonl"): "--model missing",
    (*OWN[:3], "--data", "pairs.jsonl"): "--output FOLDER",
    (*OWN, "--data"): "--data needs a value",
    (*OWN, "--data", "pairs.jsonl", "--held-out", "lots"): "5% or 0.05",
    (*OWN, "--data", "pairs.jsonl", "--held-out", "100%"): "held_out = 1.0",
    ("train", "--config", TINY, OUTPUT, "--held-out", "5%"): "evals",
    (*OWN, "--data", "pairs.jsonl", "--sed", "3"): "sed",
    (*OWN, "--data", "pairs.jsonl", "--set", "seed"): "--set seed=1",
    (*OWN, "--data", "pairs.jsonl", "extra"): "extra",
    (*OWN, "--data", ""): "empty",
    (*OWN, "--data", "pairs.jsonl", "--set", "batch.pairs=0"): "batch.pairs = 0",
    (*OWN, "--data", "pairs.jsonl", "--set", "epochs=0"): "epochs = 0",
    (*OWN, "--data", "pairs.jsonl", "--set", "schedule.name=cosinus"): "cosine",
    (*OWN, "--data", "pairs.jsonl", "--set", "mesh.fsdp=3"): "mesh",
    (*OWN, "--data", "pairs.jsonl", "--set", "compute.dtype=fp16"): "compute.dtype",
    (*OWN, "--data", "pairs.jsonl", "--set", "compute.remat=some"): "remat",
    (*OWN, "--data", "pairs.jsonl", "--set", "data.over_long=cut"): "over_long",
    (*OWN, "--data", "pairs.jsonl", "--set", "checkpoint.keep.best=heldout/acuracy"): "accuracy",
    (*OWN, "--data", "pairs.jsonl", "--set", "data.split=train"): "split",
    ("train", "--config", "pairs.jsonl", OUTPUT): "pairs.jsonl",
    ("train", "--config", "broken.py", OUTPUT): "broken.py:1",
    ("evaluate",): "--config or --data",
    ("evaluate", "--model", "empty", "--data", "pairs.jsonl", "--config", TINY): "--data is for",
    ("evaluate", "--model", "empty", "--data", "pairs.jsonl", "--output=e"): "empty",
    ("score", "--model", "empty", "--input", "pairs.jsonl"): "--output",
    ("score", "verify", "nothing.parquet"): "nothing.parquet",
    ("export", "--output", "x"): "--checkpoint",
    ("check",): "source",
    ("prepare", "--model", "assets:world", "--data", "pairs.jsonl", "--workers", "0"): "--workers",
    ("sweep", "--config", TINY, "--sweep", "lr", "--run", "local"): "--workdir",
    ("sweep", "--config", TINY, "--sweep", "rate", "--plan"): "sweep_rate()",
    ("curate", "status", "empty"): "is not a workspace",
    ("curate", "export", "empty", "--output", "x.parquet"): "is not a workspace",
    ("compile", "--config", TINY, "--topology", "v9:4x4"): "v9",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the files of the mistakes."""
    here = tmp_path_factory.mktemp("first_day")
    pair = {"prompt": "What?", "chosen": "This.", "rejected": "That."}
    (here / "pairs.jsonl").write_text(json.dumps(pair) + "\n")
    (here / "torn.jsonl").write_text('{"prompt": "What?", "chosen"\n')
    (here / "nothing.jsonl").write_text("")
    (here / "columns.jsonl").write_text('{"text": "no pair"}\n')
    (here / "broken.py").write_text("def get_config(\n")
    (here / "empty").mkdir()
    (here / "headless").mkdir()
    (here / "headless/config.json").write_text('{"model_type": "qwen3", "hidden_size": 8}')
    return here


@pytest.fixture(scope="module")
def ended(folder):
    """What each mistake ended with."""
    commands = [["rewardjax", *mistake] for mistake in MISTAKES]
    return dict(zip(MISTAKES, run_all(commands, folder), strict=True))


@pytest.mark.parametrize("mistake", list(MISTAKES), ids=" ".join)
def test_a_mistake_is_one_line_with_the_fix_and_code_2(ended, mistake):
    end = ended[mistake]
    # What was read before the mistake was met is told above it.
    said = [line for line in end.stderr.splitlines() if line.startswith(("rewardjax", "python -m"))]
    assert end.returncode == 2, end.stderr
    assert len(said) == 1 and MISTAKES[mistake] in said[0], end.stderr
    assert said[0] == end.stderr.strip().splitlines()[-1]
    assert "Traceback" not in end.stderr
