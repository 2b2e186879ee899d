"""How a command ends: a user's mistake in one line, a bug with its traceback (exit_codes.py).

A wrong argument, a config with a misspelt field, a file that is not there: a traceback hides the
one sentence that helps. A real bug keeps its traceback and exit code 1, because there the traceback
is what helps. Mistakes that can be told together are collected (`Complaints`) and refused together.
What is neither, such as a preemption, is raised as an `Ending`, which knows its own code.
"""

import argparse
import contextlib
import dis
import errno
import os
import pathlib
import re
import sys
import traceback
import types
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, ClassVar, NoReturn, TypeVar

from absl import flags

from rewardjax.command import job
from rewardjax.command.exit_codes import ExitCode
from rewardjax.command.terminal import visible
from rewardjax.io import files

# In the environment, so that the processes which a command starts have it too.
DEBUG = "REWARDJAX_DEBUG"
DEBUG_HELP = "where the command fails, print the traceback before the sentence"
PACKAGE = pathlib.Path(__file__).parents[1]
SENTENCES = (ValueError, TypeError, AttributeError, LookupError, ImportError, OSError)
# Whose errors say that object storage did not answer for as long as its client tries
# (io/storage.py).
CLIENTS = ("aiohttp.", "gcsfs.")
# Statuses by which the JAX runtime says that a peer or the network went away. It may wrap one:
# INTERNAL: Error dispatching computation: ... DEADLINE_EXCEEDED: GetKeyValue() timed out
OUTAGE = re.compile(r"\b(UNAVAILABLE|ABORTED|CANCELLED|DEADLINE_EXCEEDED)\b")
Value = TypeVar("Value")


class Ending(Exception):
    """An end that is no bug and that the user need not mend: its message is all there is to say."""

    code: ClassVar[ExitCode]


class Refusal(ValueError):
    """All that is wrong with what a user asked for, each mistake a sentence of its own."""

    def __init__(self, complaints: Iterable[str]):
        # Two checks may come upon the same mistake, such as a folder that is not there.
        self.complaints = tuple(dict.fromkeys(complaints))
        super().__init__("\n".join(self.complaints))


class Complaints(list[Exception]):
    """A user's mistakes, collected before any work is begun so that all are told at once."""

    def of(self, function: Callable[..., Value], *args: object, **kwargs: object) -> Value | None:
        """What `function` returns, or None where it refuses; a bug in it is raised."""
        try:
            return function(*args, **kwargs)
        except Exception as error:
            if not is_mistake(error):
                raise
            self.append(error)
            return None

    def add(self, complaints: Iterable[str]) -> None:
        """Collect sentences."""
        self.extend(Refusal([complaint]) for complaint in complaints)

    def sentences(self) -> list[str]:
        """One for each mistake."""
        lines: list[str] = []
        for error in self:
            lines += sentences(error)
        return list(dict.fromkeys(lines))

    def refuse(self) -> None:
        """Raise Refusal if there are any; of a single mistake its own error."""
        if len(self) == 1:
            raise self[0]
        if self:
            raise Refusal(self.sentences())


@contextlib.contextmanager
def one_line(command: str) -> Iterator[None]:
    """Run the block, a whole command, and end it with the code that its error has.

    Mistakes of its user and endings are told in one line each. One that is for a single process is
    refused in a job of several (job.py).
    """
    try:
        job.refuse(command)
        yield
    except Exception as error:
        code = exit_code(error)
        # A bug's traceback is Python's own to print. The other processes of a job must hear of any
        # failure, and the hook that tells them sees no SystemExit.
        if code == ExitCode.BUG or _has_peers():
            raise
        tell(command, error)
        sys.exit(code)


def exit_code(error: BaseException) -> ExitCode:
    """What the process that `error` ends has to say by its exit code."""
    if isinstance(error, Ending):
        return error.code
    if _is_outage(error) or _is_of_client(error):
        return ExitCode.OUTAGE
    if is_mistake(error):
        return ExitCode.USER
    return ExitCode.BUG


def tell(command: str, error: BaseException) -> None:
    """Say on stderr what ended a command: a line per mistake, or a traceback where that helps."""
    if exit_code(error) in (ExitCode.BUG, ExitCode.OUTAGE) and not _is_of_client(error):
        traceback.print_exception(error)
        return
    if os.environ.get(DEBUG):
        traceback.print_exception(error)
    for line in sentences(error):
        # It may quote a file, a server or a text.
        print(f"{command}: {visible(line)}", file=sys.stderr)


def is_mistake(error: BaseException) -> bool:
    """Whether `error` tells a user what to change.

    It does where it is about a flag, about a file that the system refused, or raised by us on
    purpose. By its type alone a ValueError may be anything. One that our code or a config file
    raises by a `raise` statement was written for the user; one that comes out of a library, or out
    of an expression of ours, was foreseen by nobody.
    """
    if isinstance(error, flags.Error) or is_full_disk(error):
        return True
    if isinstance(error, OSError) and error.filename:
        return True
    if not isinstance(error, SENTENCES):
        return False
    last = _innermost(error.__traceback__)
    if last is None or not _is_ours(last.tb_frame):
        return False
    instructions = last.tb_frame.f_code.co_code
    return instructions[last.tb_lasti] == dis.opmap["RAISE_VARARGS"]


def is_full_disk(error: BaseException) -> bool:
    """Whether nothing more could be written: of that no `raise` of ours tells."""
    # Libraries in C++ have the system's words, and not its number.
    number = getattr(error, "errno", None)
    is_told = isinstance(error, Exception) and os.strerror(errno.ENOSPC) in str(error)
    return isinstance(error, OSError) and number in files.NO_ROOM or is_told


def sentences(error: BaseException) -> list[str]:
    """The message of `error`, one line for each mistake."""
    if isinstance(error, Refusal):
        return [" ".join(complaint.split()) for complaint in error.complaints]
    if isinstance(error, OSError) and error.filename and error.strerror:
        text = f"{error.filename}: {error.strerror}"
    elif is_full_disk(error):
        text = f"a disk is full ({error}); make room, and run the command again"
    elif isinstance(error, LookupError) and error.args:
        text = str(error.args[0])  # a KeyError's own text is a repr
    else:
        text = str(error)
    return [" ".join(text.split())]


def without_debug(arguments: Sequence[str]) -> list[str]:
    """The arguments without --debug, which is obeyed: for parsers that do not know of it."""
    if "--debug" in arguments:
        os.environ[DEBUG] = "1"
    return [argument for argument in arguments if argument != "--debug"]


class ArgumentParser(argparse.ArgumentParser):
    """argparse's parser, with --debug, and a wrong argument is one line without the usage."""

    def __init__(self, **settings: Any):
        super().__init__(**settings)
        self.add_argument("--debug", action=_Debug, nargs=0, help=DEBUG_HELP)

    def error(self, message: str) -> NoReturn:
        """End the command with `message`."""
        self.exit(ExitCode.USER, f"{self.prog}: {message} (--help lists the arguments)\n")


class _Debug(argparse.Action):
    """Sets the variable that `tell` reads."""

    def __call__(self, *_: object, **__: object) -> None:
        os.environ[DEBUG] = "1"


def _innermost(trace: types.TracebackType | None) -> types.TracebackType | None:
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace


def _is_ours(frame: types.FrameType) -> bool:
    """Whether a frame runs code of this package or of a config file."""
    return (
        "get_config" in frame.f_globals or PACKAGE in pathlib.Path(frame.f_code.co_filename).parents
    )


def _is_outage(error: BaseException) -> bool:
    # The runtime's status is only in the text. Our own errors may hold the same word.
    jax = sys.modules.get("jax")
    if jax is None or not isinstance(error, jax.errors.JaxRuntimeError):
        return False
    return OUTAGE.search(str(error)) is not None


def _is_of_client(error: BaseException) -> bool:
    return type(error).__module__.startswith(CLIENTS)


def _has_peers() -> bool:
    # Only a command that has joined a job has imported JAX; the others shall not pay for the import
    # here.
    jax = sys.modules.get("jax")
    return jax is not None and jax.distributed.is_initialized() and jax.process_count() > 1
