"""One command for all verbs."""

import pathlib
import subprocess
import sys

import pytest
from commands import run_all
from tiny import ROOT

from rewardjax import __main__ as command


def test_help_names_every_verb_with_a_sentence(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["rewardjax"])
    command.main()
    lines = capsys.readouterr().out.splitlines()
    for verb in command.VERBS:
        (line,) = [line for line in lines if line.startswith(f"    {verb} ")]
        assert line.rstrip().endswith((".", "?")) and len(line.split()) > 4


def test_there_is_a_verb_for_each_module_that_is_a_command():
    # Modules that every file may import, what training from Python is, and this one.
    others = {"__init__", "__main__", "config", "defaults", "fingerprint", "fitting", "own_data"}
    modules = {path.stem for path in pathlib.Path(command.__file__).parent.glob("*.py")}
    assert modules - others == set(command.VERBS)


def test_a_reader_who_has_seen_enough_is_no_mistake():
    head = f"{sys.executable} -m rewardjax | head -1; exit ${{PIPESTATUS[0]}}"
    ended = subprocess.run(["bash", "-c", head], cwd=ROOT, capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (0, "") and ended.stdout.startswith("rewardjax VERB")


def test_an_unknown_verb_names_its_neighbor(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["rewardjax", "trian"])
    with pytest.raises(SystemExit) as ended:
        command.main()
    assert ended.value.code == 2
    assert "rewardjax: no verb 'trian' (did you mean 'train'?)" in capsys.readouterr().err


def test_verbs_speak_one_dialect(tmp_path):
    tiny = str(ROOT / "configs/tiny.py")
    show = ["rewardjax", "train", "--config", tiny, "--set", "seed=3", "--show"]
    mistaken = ["rewardjax", "train", "--config", tiny, "--output", "x", "--set", "sed=3"]
    no_model = ["rewardjax", "evaluate", "--data", "pairs.jsonl"]
    no_output = ["rewardjax", "train", "--model", "assets:world", "--data", "pairs.jsonl"]
    no_data = ["rewardjax", "check"]
    debugged = ["rewardjax", "score", "--debug", "--model", "m", "--data", "d", "--output", "o.csv"]
    commands = [show, mistaken, no_model, no_output, no_data, debugged]
    ended = run_all([["rewardjax", *each[1:]] for each in commands], tmp_path)
    shown, *refused = ended
    assert shown.returncode == 0 and "seed = 3   (int, command line)" in shown.stdout
    assert [each.returncode for each in refused] == [2] * len(refused)
    *one_line, with_traceback = [each.stderr for each in refused]
    for text, words in zip(one_line, ("seed", "model", "--output FOLDER", "source"), strict=True):
        assert len(text.strip().splitlines()) == 1 and words in text, text
    assert "Traceback" in with_traceback
    assert with_traceback.strip().splitlines()[-1].startswith("rewardjax.score: ")
