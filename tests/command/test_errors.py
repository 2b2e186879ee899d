"""Mistakes of a user end in one line and exit code 2; bugs keep their traceback."""

import errno
import json
import re

import jax
import pytest
from commands import run_all
from tiny import ROOT

from rewardjax import config as config_lib
from rewardjax.command import errors
from rewardjax.command.exit_codes import ExitCode

CONFIG = f"--config={ROOT}/configs/tiny.py"


MISTAKES = {
    "train --workdir=W": "config",
    f"train --workdir=W {CONFIG} --wrokdir=X": "wrokdir",
    "train --workdir=W --config=configs/nothing.py": "no config file at configs/nothing.py",
    f"train --workdir=W {CONFIG}:stps=3": "did you mean 'steps'",
    f"train --workdir=W {CONFIG} --config.optimizer.b3=1": "did you mean 'b1'|it has: b1, b2",
    f"train --workdir=W {CONFIG} --config.steps=many": "'many' is not an int",
    f"train --workdir=W {CONFIG} extra": "extra",
    f"sweep {CONFIG} --sweep nothing --plan": r"no sweep_nothing\(\); it has: sweep_lr",
    f"sweep {CONFIG} --sweep lr": "--plan --run --results is required",
}


@pytest.fixture(scope="module")
def refused():
    """How each command ended."""
    commands = [f"rewardjax.{command}".split() for command in MISTAKES]
    return dict(zip(MISTAKES, run_all(commands, ROOT), strict=True))


@pytest.mark.parametrize("command", MISTAKES)
def test_a_mistake_on_the_command_line_is_one_line(command, refused):
    ended = refused[command]
    assert ended.returncode == 2, ended.stderr
    assert ended.stderr.count("\n") == 1
    assert f"rewardjax.{command.split()[0]}: " in ended.stderr
    assert re.search(MISTAKES[command], ended.stderr)


def mistake_in(function, *arguments) -> bool:
    with pytest.raises(Exception) as caught:
        function(*arguments)
    return errors.is_mistake(caught.value)


def test_what_our_code_refuses_is_a_mistake():
    assert mistake_in(config_lib.parse_arg, "stps=3")
    assert mistake_in(config_lib.load, "configs/nothing.py")
    assert mistake_in(open, "a/file/that/is/not/there")


def test_a_refusal_of_a_config_file_is_a_mistake(tmp_path):
    path = tmp_path / "picky.py"
    path.write_text("def get_config(arg=None):\n    raise ValueError('choose a model')\n")
    assert mistake_in(config_lib.load, path)
    path.write_text("def get_config(arg=None):\n    return int('a bug')\n")
    # Its owner is the user, who is told the line.
    assert mistake_in(config_lib.load, path)
    with pytest.raises(ValueError, match="picky.py:2: ValueError: invalid literal for int"):
        config_lib.load(path)


def test_what_a_library_or_an_expression_of_ours_refuses_is_a_bug():
    assert not mistake_in(json.loads, "{")
    assert not mistake_in(config_lib.product, 3)  # not iterable: the TypeError comes from `list`
    assert not mistake_in(config_lib.resolve, None)


def test_a_mistake_is_told_in_one_line(capsys):
    with pytest.raises(SystemExit) as ended, errors.one_line("rewardjax.train"):
        config_lib.override(config_lib.ConfigDict(dict(a=1)), {"b": 1})
    assert ended.value.code == 2
    assert capsys.readouterr().err == (
        "rewardjax.train: override 'b': the config has no 'b'; it has: a\n"
    )


def test_a_bug_passes_through():
    with pytest.raises(ZeroDivisionError), errors.one_line("rewardjax.train"):
        raise ZeroDivisionError


def test_several_mistakes_are_a_line_each(capsys):
    complaints = errors.Complaints()
    complaints.add(["steps = 0", "seed = -1", "a sentence\nof two lines"])
    complaints.of(config_lib.parse_arg, "stps=3")
    complaints.add(["seed = -1"])
    with pytest.raises(SystemExit), errors.one_line("rewardjax.train"):
        complaints.refuse()
    assert capsys.readouterr().err.splitlines() == [
        "rewardjax.train: steps = 0",
        "rewardjax.train: seed = -1",
        "rewardjax.train: a sentence of two lines",
        "rewardjax.train: config argument 'stps' is unknown; known: none",
    ]


def test_a_single_mistake_keeps_its_own_error():
    complaints = errors.Complaints()
    assert complaints.of(len, "four") == 4 and complaints.refuse() is None
    assert complaints.of(config_lib.load, "configs/nothing.py") is None
    with pytest.raises(FileNotFoundError):
        complaints.refuse()


def test_a_bug_is_no_complaint():
    with pytest.raises(ZeroDivisionError):
        errors.Complaints().of(lambda: 1 / 0)


class Left(errors.Ending):
    code = ExitCode.PREEMPTED


def from_our_code(kind, text):
    """An error as a `raise` of the package makes it, which is what tells a mistake from a bug."""
    code = compile("raise error", str(errors.PACKAGE / "any.py"), "exec")
    with pytest.raises(kind) as caught:
        exec(code, {"error": kind(text)})
    return caught.value


@pytest.mark.parametrize(
    "error, code",
    [
        (ValueError("boom"), ExitCode.BUG),
        (KeyboardInterrupt(), ExitCode.BUG),
        (from_our_code(ValueError, "steps = 0"), ExitCode.USER),
        (ConnectionError("UNAVAILABLE: not from the runtime"), ExitCode.BUG),
        (Left("saved step 3"), ExitCode.PREEMPTED),
        (jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory"), ExitCode.BUG),
        (jax.errors.JaxRuntimeError("UNAVAILABLE: connection closed by peer"), ExitCode.OUTAGE),
        (
            jax.errors.JaxRuntimeError(
                "INTERNAL: Error dispatching computation: DEADLINE_EXCEEDED: GetKeyValue() timed out"
            ),
            ExitCode.OUTAGE,
        ),
    ],
)
def test_an_error_has_the_code_of_what_it_says(error, code):
    assert errors.exit_code(error) == code


def test_an_ending_is_told_in_one_line_and_has_its_own_code(capsys):
    with pytest.raises(SystemExit) as ended, errors.one_line("rewardjax.train"):
        raise Left("saved step 3;\nthe same command goes on")
    assert ended.value.code == 42
    assert capsys.readouterr().err == "rewardjax.train: saved step 3; the same command goes on\n"


def test_an_outage_keeps_its_traceback(capsys):
    with pytest.raises(SystemExit) as ended, errors.one_line("rewardjax.train"):
        raise jax.errors.JaxRuntimeError("UNAVAILABLE: peer")
    assert ended.value.code == 134
    assert "Traceback" in capsys.readouterr().err


def test_an_outage_of_object_storage_is_one_line(capsys):
    gcsfs = pytest.importorskip("gcsfs.retry")
    error = gcsfs.HttpError({"code": 503, "message": "backendError"})
    with pytest.raises(SystemExit) as ended, errors.one_line("rewardjax.score"):
        raise error
    assert ended.value.code == ExitCode.OUTAGE
    assert capsys.readouterr().err == "rewardjax.score: backendError, 503\n"


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EFBIG, "File too large"),
        RuntimeError("IO Error: could not write: No space left on device"),
    ],
)
def test_a_full_disk_is_one_sentence_whoever_meets_it(error):
    assert errors.exit_code(error) == ExitCode.USER
    (sentence,) = errors.sentences(error)
    assert sentence.startswith("a disk is full (") and "make room" in sentence
