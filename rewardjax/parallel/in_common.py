"""What all hosts of a job must have in common, compared before they do anything together.

Hosts that differ would wait for each other in collectives that never match, or go on to a result
that nobody can explain. Each process reports what it has; the first one compares, and all of them
are refused with one message that holds everything, also what only one host has to complain of.
"""

import contextlib
import importlib.metadata
import itertools
import json
import pathlib
import platform
import secrets
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import jax

from rewardjax import config as config_lib
from rewardjax import fingerprint
from rewardjax.command import errors
from rewardjax.command.exit_codes import ExitCode
from rewardjax.config import Config
from rewardjax.io import files, storage
from rewardjax.parallel import distributed

# Whatever of these computes, stores or reads the data must be of one version.
LIBRARIES = (
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "orbax-checkpoint",
    "grain",
    "numpy",
    "tokenizers",
)
# Seconds in which a host sees what another one has written, where they share the storage. Orbax,
# which waits for the same, takes 20 minutes to give up.
SEEN_WITHIN = 1.5
# Seconds for a host to come this far: it may have to read all data once.
REPORTS_WITHIN = 1800.0
_COMPARISONS = itertools.count()  # what is published has another key in each


class Report(NamedTuple):
    """What one process has found on its host."""

    host: str
    complaints: list[str]
    values: dict[str, str]  # what must be the same everywhere, by its name
    unseen: list[str]  # names of the shared folders that are not those of the first process


def refuse(
    complaints: errors.Complaints,
    values: Mapping[str, str],
    shared: Mapping[str, str | pathlib.Path],
    of_files: Callable[[], Mapping[str, str]],
) -> None:
    """Raise Refusal for `complaints`, and in a job for those of all hosts and what differs.

    Args:
        complaints: of this process alone.
        values: what must be the same, by its name.
        shared: folders that must be the same, by the name of the flag or field that names them.
        of_files: more values, which take long to find out; left out where there are complaints.
    """
    if distributed.alone():
        complaints.refuse()
        return
    sentences = _exchange(complaints.sentences(), values, shared, of_files)
    if sentences:
        raise errors.Refusal(sentences)


def fields_of(config: Config) -> dict[str, str]:
    """Every field of a config, as `values` of `refuse`."""
    # One that JSON cannot hold has its complaint.
    plain = errors.Complaints().of(config_lib.resolve, config) or {}
    return {f"config.{name}": str(value) for name, value in config_lib.fields(plain).items()}


def compare(reports: Sequence[Report]) -> list[str]:
    """A sentence for each complaint, each difference, and each folder that is not shared."""
    sentences = [*_complaints(reports), *_differences(reports)]
    for name in _in_any(report.unseen for report in reports):
        unseen = [process for process, report in enumerate(reports) if name in report.unseen]
        sentences.append(
            f"{name}: what process 0 writes there is not seen by {_who(unseen, reports)}; name a "
            "folder on storage that all hosts share"
        )
    return sentences


def _complaints(reports: Sequence[Report]) -> Iterator[str]:
    """What hosts complain of, with who does, unless all do."""
    processes_with: dict[str, list[int]] = {}
    for process, report in enumerate(reports):
        for sentence in report.complaints:
            processes_with.setdefault(sentence, []).append(process)
    for sentence, processes in processes_with.items():
        if len(processes) == len(reports):
            yield sentence
        else:
            yield f"{_who(processes, reports)}: {sentence}"


def _differences(reports: Sequence[Report]) -> Iterator[str]:
    for name in _in_any(report.values for report in reports):
        processes_with: dict[str, list[int]] = {}
        for process, report in enumerate(reports):
            # A host with complaints has not looked at everything.
            if name in report.values:
                processes_with.setdefault(report.values[name], []).append(process)
        if len(processes_with) > 1:
            sides = [f"{text} on {_who(who, reports)}" for text, who in processes_with.items()]
            yield (
                f"the hosts differ in {name}: {', '.join(sides)}; start all of them from the same "
                "code, files and flags"
            )


def _in_any(names: Iterable[Iterable[str]]) -> list[str]:
    """Names in the order in which they first occur."""
    return list(dict.fromkeys(itertools.chain.from_iterable(names)))


def _who(processes: Sequence[int], reports: Sequence[Report]) -> str:
    """Processes by their numbers, a single one by its host too."""
    if len(processes) == 1:
        return f"process {processes[0]} ({reports[processes[0]].host})"
    return f"processes {', '.join(map(str, processes))}"


# ------------------------------------------------------------------ exchanged


def _exchange(
    complaints: list[str],
    values: Mapping[str, str],
    shared: Mapping[str, str | pathlib.Path],
    of_files: Callable[[], Mapping[str, str]],
) -> list[str]:
    """What `compare` says of the reports of all processes."""
    key = f"rewardjax/in_common/{next(_COMPARISONS)}"
    if jax.process_index() == 0:
        with _tokens_in(shared) as tokens:
            distributed.post(f"{key}/tokens", json.dumps(tokens))
            mine = _report(complaints, values, [], of_files)
            sentences = compare([mine, *_of_others(key)])
        # Not before the tokens are gone, with folders that others might write to from now on.
        distributed.post(f"{key}/verdict", json.dumps(sentences))
        return sentences
    tokens = json.loads(_wait_for(f"{key}/tokens", "process 0 has not begun"))
    mine = _report(complaints, values, list(_unseen(tokens, shared)), of_files)
    distributed.post(f"{key}/report/{jax.process_index()}", json.dumps(mine._asdict()))
    return json.loads(_wait_for(f"{key}/verdict", "process 0 has not compared the hosts"))


def _of_others(key: str) -> Iterator[Report]:
    for process in range(1, jax.process_count()):
        late = f"process {process} has not said what it has"
        yield Report(**json.loads(_wait_for(f"{key}/report/{process}", late)))


def _wait_for(key: str, late: str) -> str:
    text = distributed.wait_for(key, REPORTS_WITHIN)
    if text is None:
        distributed.end_all(ExitCode.HANG, f"{late} after {REPORTS_WITHIN:.0f} s")
    return text


def _report(
    complaints: list[str],
    values: Mapping[str, str],
    unseen: list[str],
    of_files: Callable[[], Mapping[str, str]],
) -> Report:
    values = _of_this_process() | dict(values)
    if not (complaints or unseen):
        values |= of_files()
    return Report(socket.gethostname(), complaints, values, unseen)


def _of_this_process() -> dict[str, str]:
    versions = {name: importlib.metadata.version(name) for name in LIBRARIES}
    return {
        "the code of rewardjax": fingerprint.of_code(),
        "Python": platform.python_version(),
        **versions,
        "devices": f"{jax.local_device_count()} x {jax.local_devices()[0].device_kind}",
    }


# ------------------------------------------------------------------ shared folders


@contextlib.contextmanager
def _tokens_in(shared: Mapping[str, str | pathlib.Path]) -> Iterator[dict[str, str]]:
    """File names, one in each folder while the block runs, by the folder's name in `shared`."""
    with contextlib.ExitStack() as stack:
        tokens = {}
        for name, folder in shared.items():
            # Where nothing can be written that is a complaint already.
            with contextlib.suppress(OSError):
                tokens[name] = stack.enter_context(_token_in(storage.path_of(folder)))
        yield tokens


@contextlib.contextmanager
def _token_in(folder: pathlib.Path) -> Iterator[str]:
    new = []
    if not storage.is_address(folder):
        new = [path for path in (folder, *folder.parents) if not path.exists()]
    files.make_folder(folder)
    # A name that nobody has looked for: network file systems remember for seconds what is not
    # there.
    token = folder / f"in_common.{secrets.token_hex(8)}"
    token.touch()
    try:
        yield token.name
    finally:
        files.remove(token)
        # A run that is refused leaves no folders; those that are in use stay.
        with contextlib.suppress(OSError):
            for path in new:
                path.rmdir()


def _unseen(tokens: Mapping[str, str], shared: Mapping[str, str | pathlib.Path]) -> Iterator[str]:
    """Names of the folders in which this process does not find the token of the first one."""
    end = time.monotonic() + SEEN_WITHIN
    for name, token in tokens.items():
        path = storage.path_of(shared[name]) / token
        while not path.exists() and time.monotonic() < end:
            time.sleep(0.05)
        if not path.exists():
            yield name
