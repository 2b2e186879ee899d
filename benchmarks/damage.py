"""Damaged checkpoints, damaged token caches and full disks: nothing wrong is used, nothing is lost.

    python -m benchmarks.damage [--smoke]

Each case damages the newest of three checkpoints, or the cache of a tokenized data set: a random
bit is flipped, a file is cut, emptied, removed, closed to the reader, or a folder's place is taken
by another. Then what a run does is done: restore, save the next step, restore that. Runs of `train`
are damaged too, and one has a disk that is full for a while. Printed last, one JSON line, in which
these are 0:

    wrong_loads         restored states or tokens that are not those that were saved
    undetected          damaged steps that were gone on from although their record or state differ
    lost_last_verified  cases after which no verified step could be restored
    not_saved           cases after which the run's next save was not on disk and whole
    failures            anything else that should not be: an exception, a message without its line
"""

import argparse
import collections
import contextlib
import json
import os
import pathlib
import random
import resource
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from benchmarks.bad_row_cases import good
from benchmarks.forks import ROOT, run_all
from rewardjax import assets
from rewardjax.command.exit_codes import ExitCode
from rewardjax.data import token_cache
from rewardjax.data.chat import ChatTokenizer
from rewardjax.data.prepare import prepare
from rewardjax.data.token_cache import TokenizedPairs
from rewardjax.models.checkpoints.checkpoints import (
    SaveFailed,
    abstract,
    open_checkpoints,
    reading,
    steps_of,
)

STEPS = (1, 2, 3)
NEXT = 4  # the step that a run saves after it has gone on
NOBODY = 65534  # a user that files can be closed to, where this process is the system's
PAIRS = 40
SMOKE = 8  # cases of each kind in a smoke, evenly spread over all


class Damage(NamedTuple):
    """One way to spoil a folder."""

    name: str
    apply: Callable[[pathlib.Path], Any]


# ------------------------------------------------------------------ ways to spoil a folder


def files_below(folder: pathlib.Path) -> list[pathlib.Path]:
    """All files, in order."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def flips(folder: pathlib.Path, count: int, seed: int) -> Iterator[Damage]:
    """Random bits: half of them drawn over all bytes, half over all files.

    Drawn over bytes alone they would all hit the arrays.
    """
    rng = random.Random(seed)
    paths = [path for path in files_below(folder) if path.stat().st_size]
    sizes = [path.stat().st_size for path in paths]
    for number in range(count):
        weights = sizes
        if number % 2:
            weights = [1] * len(paths)
        (path,) = rng.choices(paths, weights)
        bit = rng.randrange(8 * path.stat().st_size)
        name = path.relative_to(folder)
        yield Damage(f"flip {name} {bit}", lambda root, name=name, bit=bit: flip(root / name, bit))


def flip(path: pathlib.Path, bit: int) -> None:
    """Flip one bit of a file."""
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(bytes(data))


def of_each_file(folder: pathlib.Path) -> Iterator[Damage]:
    """What may become of a whole file."""
    changes: dict[str, Callable[[pathlib.Path], Any]] = {
        "cut": lambda path: os.truncate(path, path.stat().st_size // 2),
        "empty": lambda path: os.truncate(path, 0),
        "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
        "remove": lambda path: path.unlink(),
        "close": lambda path: path.chmod(0),
        "folder": _replace_by_folder,
        "pipe": _replace_by_pipe,
        "longer": lambda path: path.write_bytes(path.read_bytes() + b"\0"),
    }
    for path in files_below(folder):
        name = path.relative_to(folder)
        for change, apply in changes.items():
            yield Damage(
                f"{change} {name}", lambda root, name=name, apply=apply: apply(root / name)
            )


def _replace_by_folder(path: pathlib.Path) -> None:
    path.unlink()
    path.mkdir()


def _replace_by_pipe(path: pathlib.Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _inside(name: str, damage: Damage) -> Damage:
    """A damage of the folder `name` in the one that is given."""
    return Damage(f"{name}: {damage.name}", lambda root: damage.apply(root / name))


def of_steps() -> Iterator[Damage]:
    """What may become of the folders of steps; each is given the folder that holds them."""
    newest, before = str(STEPS[-1]), str(STEPS[-2])

    def swap(root: pathlib.Path) -> None:
        (root / newest).rename(root / "aside")
        (root / before).rename(root / newest)
        (root / "aside").rename(root / before)

    def copy(root: pathlib.Path, name: str) -> None:
        shutil.rmtree(root / name, ignore_errors=True)
        shutil.copytree(root / before, root / name)

    def take(root: pathlib.Path, item: str) -> None:
        shutil.rmtree(root / newest / item)
        shutil.copytree(root / before / item, root / newest / item)

    yield Damage("swap two steps", swap)
    yield Damage("a copy in its place", lambda root: copy(root, newest))
    yield Damage("a copy under a later name", lambda root: copy(root, "99"))
    for item in ("params", "opt", "meta"):
        yield Damage(f"{item} of the one before", lambda root, item=item: take(root, item))
    yield Damage("remove the step", lambda root: shutil.rmtree(root / newest))
    yield Damage("close the step", lambda root: (root / newest).chmod(0))
    yield Damage("a stray empty step", lambda root: (root / "99").mkdir())
    yield Damage("a stray folder", lambda root: (root / "notes").mkdir())
    yield Damage("a stray file", lambda root: (root / "98").write_text("hello"))
    yield Damage("a stray link", lambda root: (root / "97").symlink_to(root / before))
    yield Damage("a dangling link", lambda root: (root / "96").symlink_to(root / "nowhere"))
    yield Damage("a save cut off", lambda root: (root / "98.orbax-checkpoint-tmp").mkdir())


# ------------------------------------------------------------------ checkpoints


def state_of(step: int) -> dict[str, Any]:
    """A state that no other step has."""
    rng = np.random.default_rng(step)
    draw = lambda *shape: jax.numpy.asarray(rng.normal(size=shape).astype(np.float32))
    params = {"embed": draw(128, 32), "layers": {"w": draw(2, 32, 32), "b": draw(2, 32)}}
    return {"params": params, "opt": {"mu": draw(128, 32), "count": jax.numpy.asarray(step)}}


def save_steps(folder: pathlib.Path) -> None:
    """STEPS, each verified."""
    with open_checkpoints(folder, keep=len(STEPS)) as saving:
        for step in STEPS:
            saving.save(step, state_of(step), {"bound": step})
        saving.settle()


def is_state_of(step: int, trees: dict[str, Any]) -> bool:
    """Whether restored trees are, bit for bit, what was saved as `step`."""
    equal = jax.tree.map(lambda a, b: bool(np.array_equal(a, b)), state_of(step), trees)
    return all(jax.tree.leaves(equal))


def go_on(folder: pathlib.Path) -> Iterator[str]:
    """What a run does with a folder of checkpoints; yields the name of each fault."""
    shapes = abstract(state_of(STEPS[0]))
    with open_checkpoints(folder, keep=1) as run:
        run.newest_meta()
        step, trees, meta = run.restore(shapes)
        if not is_state_of(step, trees):
            yield "wrong_loads"
        if meta.get("bound") != step or meta.get("step") != step:
            yield "undetected"
        run.save(NEXT, state_of(NEXT), {"bound": NEXT})
        if run.settle() != NEXT or NEXT not in steps_of(folder):
            yield "not_saved"
    with reading(folder) as saved:
        step, trees, _ = saved.restore(shapes)
    if step != NEXT or not is_state_of(NEXT, trees):
        yield "lost_last_verified"


@contextlib.contextmanager
def as_somebody(folder: pathlib.Path) -> Iterator[None]:
    """The block as a user to whom `folder` belongs and closed files are closed.

    The system's own user may read everything, whatever the permissions say.
    """
    if os.geteuid() != 0:
        yield
        return
    for path in (folder, *folder.rglob("*")):
        os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """The block without what it says on stderr."""
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere):
        yield


def damaged_checkpoints(scratch: pathlib.Path, smoke: bool) -> Iterator[tuple[str, str]]:
    """(case, fault) of every fault that damage of the newest step leads to, and (case, "")."""
    whole = scratch / "whole"
    save_steps(whole / "checkpoints")
    newest = whole / "checkpoints" / str(STEPS[-1])
    in_step = [*flips(newest, 100, seed=0), *of_each_file(newest)]
    cases = list(of_steps())
    for damage in in_step:
        cases.append(_inside(str(STEPS[-1]), damage))
    for damage in flips(newest / "meta", 30, seed=1):
        cases.append(_inside(f"{STEPS[-1]}/meta", damage))
    if smoke:
        cases = cases[:: len(cases) // SMOKE]
    for case in cases:
        work = scratch / "work"
        shutil.copytree(whole, work, symlinks=True)
        case.apply(work / "checkpoints")
        with as_somebody(work), silence():
            try:
                for fault in go_on(work / "checkpoints"):
                    yield case.name, fault
            except Exception as error:
                yield case.name, f"failures: {type(error).__name__}: {str(error)[:200]}"
        yield case.name, ""
        _remove(work)


def _remove(folder: pathlib.Path) -> None:
    """A folder with files that may be closed."""
    for path in folder.rglob("*"):
        if path.is_dir() and not path.is_symlink():
            path.chmod(stat.S_IRWXU)
    shutil.rmtree(folder)


def full_disk(scratch: pathlib.Path) -> Iterator[tuple[str, str]]:
    """A save for which there is no room, and the one after it; as `damaged_checkpoints`."""
    folder = scratch / "full" / "checkpoints"
    save_steps(folder)
    shapes = abstract(state_of(STEPS[0]))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with open_checkpoints(folder, keep=1) as run:
        run.restore(shapes)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
        told = ""
        try:
            run.save(NEXT, state_of(NEXT), {"bound": NEXT})
            run.settle()
        except SaveFailed as error:
            told = str(error)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        if str(folder) not in told or "\n" in told or "free" not in told:
            yield "full disk", f"failures: told as {told!r:.200}"
        with reading(folder) as saved:
            step, trees, _ = saved.restore(shapes)
        if not is_state_of(step, trees):
            yield "full disk", "lost_last_verified"
        run.save(NEXT + 1, state_of(NEXT + 1), {"bound": NEXT + 1})
        if run.settle() != NEXT + 1:
            yield "full disk", "not_saved"
    with reading(folder) as saved:
        step, trees, _ = saved.restore(shapes)
    if step != NEXT + 1 or not is_state_of(step, trees):
        yield "full disk", "lost_last_verified"
    yield "full disk", ""


# ------------------------------------------------------------------ token caches


def damaged_caches(scratch: pathlib.Path, smoke: bool) -> Iterator[tuple[str, str]]:
    """(case, fault) of every fault that damage of a cache leads to, and (case, "")."""
    source = scratch / "pairs.jsonl"
    source.write_text("".join(json.dumps(good(n)) + "\n" for n in range(PAIRS)))
    tokenizer = ChatTokenizer.load(assets.resolve("assets:world", weights=False))
    settings = {"source": str(source), "tokenizer": tokenizer, "max_length": 256}
    with silence():
        made = prepare(cache=scratch / "cache", **settings)
    whole, tokens = made.folder, tokens_of(made)
    cases = [*flips(whole, 100, seed=2), *of_each_file(whole)]
    cases.append(Damage("a stray file", lambda root: (root / "notes").write_text("x")))
    cases.append(Damage("a stray folder", lambda root: (root / "notes").mkdir()))
    if smoke:
        cases = cases[:: len(cases) // SMOKE]
    read_whole = token_cache.READ_WHOLE
    for case in cases:
        # A cache that is too large to be read at every start is checked as it is read.
        for limit in (read_whole, 0):
            token_cache.READ_WHOLE = limit
            work = scratch / "work"
            shutil.copytree(scratch / "cache", work)
            case.apply(work / whole.name)
            with as_somebody(work), silence():
                yield from _use_cache(case.name, work, settings, tokens, limit)
            token_cache.READ_WHOLE = read_whole
            yield case.name, ""
            _remove(work)


def _use_cache(
    name: str, cache: pathlib.Path, settings: dict[str, Any], tokens: list[bytes], limit: int
) -> Iterator[tuple[str, str]]:
    # A second start after one that met the damage, which must have been mended.
    for _ in range(2):
        try:
            found = tokens_of(prepare(cache=cache, **settings))
        except token_cache.Damaged:
            if limit:
                yield name, "failures: a small cache was not rebuilt"
            continue
        except Exception as error:
            yield name, f"failures: {type(error).__name__}: {str(error)[:200]}"
            return
        if found != tokens:
            yield name, "wrong_loads"
        return
    yield name, "failures: damaged at every start"


def tokens_of(pairs: TokenizedPairs) -> list[bytes]:
    """All pairs with their labels, as bytes."""
    found = []
    for number, group in enumerate(pairs.load(np.arange(len(pairs)))):
        labels = np.array([pairs.target[number], pairs.margin[number], pairs.tie[number]])
        arrays = [group.prefix, *group.suffixes, labels]
        found.append(b"|".join(array.tobytes() for array in arrays))
    return found


# ------------------------------------------------------------------ whole runs


def damaged_runs(scratch: pathlib.Path) -> Iterator[tuple[str, str]]:
    """Runs of `train` whose newest step is damaged, and one whose disk is full for a while."""
    cache = scratch / "cache"

    def command(workdir: pathlib.Path, *more: str) -> list[str]:
        config = f"--config={ROOT / 'configs/tiny.py'}"
        caches = [f"--config.data.cache={cache}", f"--config.evals.heldout.cache={cache}"]
        return ["rewardjax.train", config, f"--workdir={workdir}", *caches, *more]

    whole = scratch / "run"
    (ended,) = run_all([command(whole)], scratch)
    if ended.returncode:
        raise RuntimeError(ended.stderr)
    expected = weights_of(whole)
    for name in ("flip", "remove", "copy"):
        run = scratch / name
        shutil.copytree(whole, run)
        (run / "DONE").unlink()
        newest = str(steps_of(run / "checkpoints")[-1])
        step = run / "checkpoints" / newest
        if name == "flip":
            largest = max(files_below(step / "params"), key=lambda path: path.stat().st_size)
            flip(largest, 4 * largest.stat().st_size)
        elif name == "remove":
            shutil.rmtree(step)
        else:
            shutil.copytree(step, run / "checkpoints" / "99")
        export = ["rewardjax.export", "--from", str(run), "--output", str(scratch / f"{name}-hf")]
        for ended in run_all([command(run), export], scratch):
            if ended.returncode:
                yield f"run: {name}", f"failures: {ended.stderr.strip().splitlines()[-1]:.200}"
        if newest not in map(str, steps_of(run / "checkpoints")):
            yield f"run: {name}", "not_saved"
        if weights_of(run) != expected:
            yield f"run: {name}", "wrong_loads"
        yield f"run: {name}", ""
    yield from _full_disk_of_a_run(command(scratch / "full-run", "--config.steps=60"), scratch)


def weights_of(workdir: pathlib.Path) -> str:
    """The fingerprint of the weights that a finished run has left."""
    with reading(workdir / "checkpoints") as saved:
        meta = saved.newest_meta()
    assert meta is not None
    return meta["fingerprints"]["params"]


def _full_disk_of_a_run(command: Sequence[str], scratch: pathlib.Path) -> Iterator[tuple[str, str]]:
    """No file may grow until the run has told of a failed save; then the run must end well."""
    workdir = scratch / "full-run"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    process = subprocess.Popen(
        [sys.executable, "-m", *command],
        env=environment,
        cwd=scratch,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    lines: list[tuple[float, str]] = []

    def listen() -> None:
        assert process.stderr is not None
        for line in process.stderr:
            lines.append((time.time(), line))

    listener = threading.Thread(target=listen)
    listener.start()
    # The first save must have been possible, so that there is something to be lost.
    while process.poll() is None and not steps_of(workdir / "checkpoints"):
        time.sleep(0.05)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
    failed = lambda: [at for at, line in lines if "could not be saved" in line]
    while process.poll() is None and not failed():
        time.sleep(0.05)
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    if process.poll() is None:
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, unlimited)
    process.wait()
    listener.join()
    name = "run: full disk"
    if not failed():
        yield name, "failures: no failed save was told"
    if process.returncode != ExitCode.DONE:
        yield name, f"failures: exit code {process.returncode}: {lines[-1][1]:.200}"
    elif 60 not in steps_of(workdir / "checkpoints"):
        yield name, "not_saved"
    yield name, ""


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Damage everything; prints the result as the last line, and returns it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.damage")
    parser.add_argument("--smoke", action="store_true", help="a few cases of each kind, no runs")
    args = parser.parse_args(argv)
    counts: collections.Counter[str] = collections.Counter()
    with tempfile.TemporaryDirectory() as name:
        scratch = pathlib.Path(name)
        # Another user works in it for a while.
        scratch.chmod(0o755)
        kinds = {
            "checkpoints": damaged_checkpoints(scratch / "a", args.smoke),
            "caches": damaged_caches(scratch / "b", args.smoke),
            "full_disk": full_disk(scratch / "c"),
        }
        if not args.smoke:
            kinds["runs"] = damaged_runs(scratch / "d")
        for folder in "abcd":
            (scratch / folder).mkdir()
        for kind, cases in kinds.items():
            for case, fault in cases:
                if not fault:
                    counts[kind] += 1
                    continue
                counts[fault.partition(":")[0]] += 1
                print(f"{kind}, {case}: {fault}", flush=True)
    result: dict[str, Any] = {"benchmark": "damage", "smoke": args.smoke}
    faults = ("wrong_loads", "undetected", "lost_last_verified", "not_saved", "failures")
    result |= {fault: counts[fault] for fault in faults}
    result["cases"] = {kind: counts[kind] for kind in kinds}
    print(json.dumps(result))
    return result


if __name__ == "__main__":
    main()
