"""The checkpoints of one run: everything Orbax is in this file.

A step on disk holds trees of arrays by name (`params`, `opt`) and `meta`, a JSON record with the
data position, what the run is bound to, and a fingerprint of each tree. Orbax restores a flipped
bit without a word, skips a save of a step that is not above its latest, and tells of a failed one
when it is asked; so here every answer is checked. A step is read back before it counts as saved,
and one that is damaged is passed over and renamed, so that nothing is built on it again.
"""

import contextlib
import json
import pathlib
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils

from rewardjax.command import errors
from rewardjax.command.exit_codes import ExitCode
from rewardjax.io import files, foreign_files, own_files, storage
from rewardjax.models.checkpoints import record, tree_fingerprint
from rewardjax.models.checkpoints.record import LAST_SAVED
from rewardjax.models.checkpoints.retention import Saved, superseded
from rewardjax.models.checkpoints.told_once import told_once
from rewardjax.parallel import distributed

# Bytes that are read back at a time to verify a save. They lie on the devices beside the state.
READ_BACK_BYTES = 1 << 30
# Orbax's own files: what it says of a step, and that it has written one to a bucket to the end.
ORBAX_RECORD, COMMITTED = "_CHECKPOINT_METADATA", "commit_success.txt"


class NoUsableCheckpoint(errors.Ending):
    """No step of a checkpoint folder could be restored and verified."""

    code = ExitCode.NO_CHECKPOINT


class SaveFailed(ValueError):
    """A save did not reach the disk, or not as it was; the message says why."""


class _InFlight(NamedTuple):
    """A save that has been started and not been verified."""

    step: int
    trees: dict[str, Any]  # shapes, dtypes and shardings
    fingerprints: dict[str, str]


@contextlib.contextmanager
def open_checkpoints(
    folder: str | pathlib.Path, *, keep: int = 2, best: str | None = None
) -> Iterator["Checkpoints"]:
    """The checkpoints of `folder`, to be written by this process, or by all of a job.

    A save in flight when the block ends is waited for.

    Args:
        folder: of the checkpoints.
        keep: the latest verified steps that stay.
        best: a metric, such as heldout/accuracy, whose best step stays too.
    """
    with told_once(), contextlib.closing(Checkpoints(folder, keep, best)) as checkpoints:
        yield checkpoints


@contextlib.contextmanager
def reading(folder: str | pathlib.Path) -> Iterator["Checkpoints"]:
    """The checkpoints of `folder`, in which nothing is changed: a run may be writing there."""
    opened = Checkpoints(folder, keep=1, best=None, read_only=True)
    with told_once(), contextlib.closing(opened) as checkpoints:
        yield checkpoints


def steps_of(folder: str | pathlib.Path) -> list[int]:
    """The steps that `folder` has finished checkpoints of, in order, without opening it."""
    folder = storage.path_of(folder)
    # A checkpoint that is being written, was cut off or is damaged has another name than its step.
    names = [name for name in storage.names_in(folder) if name.isdecimal()]
    # In a bucket it has the same name from the start, and this object in the end.
    if storage.is_address(folder):
        names = [name for name in names if (folder / name / COMMITTED).exists()]
    return sorted(map(int, names))


class Checkpoints:
    """An open checkpoint folder; all processes of a job call the same methods at the same step."""

    def __init__(
        self,
        folder: str | pathlib.Path,
        keep: int,
        best: str | None,
        read_only: bool = False,
    ):
        self.folder = storage.path_of(folder)
        if not storage.is_address(folder):
            self.folder = self.folder.absolute()
        self.keep = keep
        self.best = best
        self.read_only = read_only
        self._verified: set[int] = set()
        self._in_flight: _InFlight | None = None
        self._told = False  # that the save in flight has failed
        self._set_unopenable_aside()
        # Without a policy Orbax keeps every step: it would count damaged ones as the latest.
        # Not its own `read_only`, of which it warns: what it would clean may be a save in flight.
        options = ocp.CheckpointManagerOptions(
            create=not read_only, cleanup_tmp_directories=not read_only
        )
        self._manager = ocp.CheckpointManager(self.folder, options=options)

    def close(self) -> None:
        """Wait for a save in flight, whatever comes of it."""
        self._manager.close()

    # ------------------------------------------------------------------ writing

    def save(
        self,
        step: int,
        trees: dict[str, Any],
        meta: dict[str, Any],
        figures: dict[str, float] | None = None,
    ) -> None:
        """Start an asynchronous save of `trees` and `meta` as `step`.

        It counts as saved when `settle` has verified it. One that is in flight is settled first.
        `figures` are those of an evaluation at this step, None where there was none.

        Raises:
            SaveFailed: where the step could not be taken, or the save before it failed.
        """
        # One save at a time: two would hold two copies of the state on the host.
        self.settle()
        fingerprints = {name: tree_fingerprint.of_tree(tree) for name, tree in trees.items()}
        meta = meta | {"fingerprints": fingerprints, record.DTYPES: record.dtypes_of(trees)}
        meta = record.seal(meta | {"figures": figures}, step)
        items = {name: ocp.args.StandardSave(tree) for name, tree in trees.items()}
        args = ocp.args.Composite(**items, meta=ocp.args.JsonSave(meta))
        taken = self._everywhere(step, lambda: self._manager.save(step, args=args))
        if not taken:
            raise SaveFailed(f"{self.folder}: step {step} is there already; move it away")
        shapes = {name: abstract(tree) for name, tree in trees.items()}
        self._in_flight, self._told = _InFlight(step, shapes, fingerprints), False

    def settle(self) -> int | None:
        """Wait for the save in flight, read it back, and delete the steps that it replaces.

        Returns the step that is on disk now, None where no save was in flight.

        Raises:
            SaveFailed: where it is not, and the steps before it are as they were.
        """
        if self._in_flight is None:
            return None
        # Whatever becomes of it: a save that failed must not be waited for again.
        saving, self._in_flight = self._in_flight, None
        self._everywhere(saving.step, self._manager.wait_until_finished)
        damaged = self._everywhere(saving.step, lambda: self._read_back(saving))
        if damaged:
            self._set_aside([saving.step])
            raise SaveFailed(
                f"{self.folder / str(saving.step)}: `{damaged}` was read back other than it was "
                "saved; look at the disk"
            )
        self._verified.add(saving.step)
        self._remember(saving.step)
        for step in superseded(self._saved(), self.keep):
            self._manager.delete(step)
        return saving.step

    def tell_failure(self) -> None:
        """Say so where the save in flight is known to have failed; costs next to nothing.

        `settle` will raise it in all processes of a job; this one may know hours before.
        """
        if self._in_flight is None or self._told or self._manager.is_saving_in_progress():
            return
        try:
            self._manager.wait_until_finished()
        except Exception as error:
            self._told = True
            print(self._failed(self._in_flight.step, error), file=sys.stderr, flush=True)

    def _read_back(self, saving: _InFlight) -> str | None:
        """The first tree that is not on disk as it was in memory; None where all are."""
        for name, tree in saving.trees.items():
            folder = self.folder / str(saving.step) / name
            if _fingerprint_on_disk(folder, tree) != saving.fingerprints[name]:
                return name
        return None

    def _everywhere(self, step: int, act: Callable[[], Any]) -> Any:
        """The outcome of `act`. Raises SaveFailed in every process if it raised in one of them."""
        outcome, failure = None, None
        # Orbax and TensorStore raise many kinds of error for a disk that is full or away.
        try:
            outcome = act()
        except Exception as error:
            failure = error
        if distributed.all_agree(failure is None):
            return outcome
        if failure is None:
            raise SaveFailed(f"{self.folder / str(step)}: another host could not save its part")
        raise self._failed(step, failure) from failure

    def _failed(self, step: int, error: Exception) -> SaveFailed:
        reason = f"{self.folder / str(step)} could not be saved: {_first_line(error)}"
        if not storage.is_address(self.folder):
            reason += f"; its disk has {files.free_bytes(self.folder) / 1e9:.1f} GB free"
        return SaveFailed(reason)

    def _saved(self) -> list[Saved]:
        saved = []
        for step in self._manager.all_steps():
            saved.append(Saved(step, step in self._verified, self._figure(step)))
        return saved

    def _figure(self, step: int) -> float | None:
        if self.best is None:
            return None
        # A record that is broken has no figure to be kept for.
        try:
            figures = self.read_meta(step)["figures"]
        except Exception:
            return None
        return (figures or {}).get(self.best)

    def _remember(self, step: int) -> None:
        if jax.process_index() == 0:
            with files.replacing(self.folder.with_name(LAST_SAVED)) as part:
                part.write_text(json.dumps({"step": step}) + "\n")

    # ------------------------------------------------------------------ reading

    def read_meta(self, step: int) -> dict[str, Any]:
        """The JSON record of `step`, without its arrays. Raises ValueError where it is broken."""
        foreign_files.refuse_pipes(self.folder / str(step))
        args = ocp.args.Composite(meta=ocp.args.JsonRestore())
        meta = self._manager.restore(step, args=args)["meta"]
        record.refuse_broken(meta, step)
        return meta

    def newest_meta(self) -> dict[str, Any] | None:
        """The JSON record of the newest step whose record is whole; None for a new run.

        Raises:
            NoUsableCheckpoint: with the reason for each step, or where a run was saved here and
                nothing is left of it.
        """
        reasons = []
        for step in self._newest_first():
            # Any error, as in `restore`, which will not use such a step either.
            try:
                return self.read_meta(step)
            except Exception as error:
                reasons.append(f"step {step}: {_first_line(error)}")
        if reasons:
            raise NoUsableCheckpoint(f"{self.folder}: {'; '.join(reasons)}")
        self._refuse_emptied()
        return None

    def restore(
        self, abstract_trees: dict[str, Any], step: int | None = None
    ) -> tuple[int, dict[str, Any], dict[str, Any]]:
        """Restore and verify the named trees of `step`, or of the newest step that verifies.

        Arrays are laid out as `abstract_trees` says. Newer steps that are damaged are told, and
        set aside by whoever writes here. Returns (step, trees, meta).

        Raises:
            NoUsableCheckpoint: with the reason for each step that was tried.
            OtherDtype: where an array was saved in another dtype than it is asked for.
        """
        candidates = self._newest_first()
        if step is not None:
            candidates = [step]
        damaged: dict[int, str] = {}
        for candidate in candidates:
            trees, meta, reason = self._try(candidate, abstract_trees)
            if reason is None:
                self._verified.add(candidate)
                if jax.process_index() == 0:
                    _tell_damaged(self.folder, damaged, candidate)
                self._set_aside(list(damaged))
                return candidate, trees, meta
            damaged[candidate] = reason
        reasons = [f"step {number}: {why}" for number, why in damaged.items()]
        explanation = "; ".join(reasons) or "there is no finished checkpoint here"
        raise NoUsableCheckpoint(f"{self.folder}: {explanation}")

    def _try(
        self, step: int, abstract_trees: dict[str, Any]
    ) -> tuple[dict[str, Any], dict[str, Any], str | None]:
        """(trees, meta, None) of a step, or why it cannot be used, the same in every process."""
        items = {name: ocp.args.StandardRestore(tree) for name, tree in abstract_trees.items()}
        trees: dict[str, Any] = {}
        meta: dict[str, Any] = {}
        reason = None
        # Orbax and TensorStore raise many kinds of error for a file that is truncated, missing or
        # half copied, and each of them means the same here; but for a want of memory.
        try:
            meta = self.read_meta(step)
            record.refuse_other_dtypes(meta, abstract_trees, step)
            restored = self._manager.restore(step, args=ocp.args.Composite(**items))
            trees = {name: restored[name] for name in items}
        except record.OtherDtype:
            # The same in every process, and in every step: no older one would help.
            raise
        except Exception as error:
            if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED: Out of memory" in str(error):
                raise
            reason = _first_line(error)
        # Processes that read another part of the files may see no damage, and would wait for this
        # one in the collective below.
        if not distributed.all_agree(reason is None):
            return {}, {}, reason or "another host could not read its part"
        for name, tree in trees.items():
            if tree_fingerprint.of_tree(tree) != meta["fingerprints"][name]:
                return {}, {}, f"`{name}` is not what was saved"
        return trees, meta, None

    def _newest_first(self) -> list[int]:
        self._manager.reload()
        return sorted(self._manager.all_steps(), reverse=True)

    def _refuse_emptied(self) -> None:
        path = self.folder.with_name(LAST_SAVED)
        if path.exists():
            step = own_files.read(path, ["step"], "put the checkpoints back")["step"]
            raise NoUsableCheckpoint(
                f"{self.folder}: step {step} was saved here and no checkpoint is left; put them "
                f"back, or remove {path} to begin anew"
            )

    def _set_unopenable_aside(self) -> None:
        """Rename steps that Orbax could not open. Raises ValueError where nothing may be changed.

        It opens the records of all steps when it begins: at a pipe it would wait for ever, and one
        damaged record would be the end of all steps.
        """
        damaged = []
        for step in steps_of(self.folder):
            try:
                foreign_files.refuse_pipes(self.folder / str(step))
                _refuse_other_record(self.folder / str(step) / ORBAX_RECORD)
            except ValueError:
                if self.read_only:
                    raise
                damaged.append(step)
        self._rename(damaged)

    def _set_aside(self, steps: Sequence[int]) -> None:
        """Rename damaged steps, so that no later one is compared with them or deleted for them."""
        if self.read_only or not steps:
            return
        self._rename(steps)
        self._manager.reload()

    def _rename(self, steps: Sequence[int]) -> None:
        if not steps:
            return
        if jax.process_index() == 0:
            for step in steps:
                path = self.folder / str(step)
                if storage.is_address(path):
                    storage.move(path, _free_name(path))
                else:
                    path.rename(_free_name(path))
        if not distributed.alone():
            multihost_utils.sync_global_devices("rewardjax: damaged checkpoints set aside")


def abstract(tree: Any) -> Any:
    """Shapes, dtypes and shardings of `tree`, to restore onto."""
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), tree)


def _fingerprint_on_disk(folder: pathlib.Path, shapes: Any) -> str:
    """The fingerprint of a saved tree, a part at a time: a whole second one may not fit."""
    leaves = jax.tree_util.tree_leaves_with_path(shapes)
    sums = []
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as reader:
        for part in _parts(leaves):
            paths = {path for path, _ in part}
            wanted = jax.tree_util.tree_map_with_path(
                lambda path, leaf, paths=paths: leaf if path in paths else ocp.PLACEHOLDER, shapes
            )
            restored = reader.restore(
                folder,
                args=ocp.args.PyTreeRestore(
                    item=wanted, restore_args=ocp.checkpoint_utils.construct_restore_args(wanted)
                ),
            )
            for path, leaf in jax.tree_util.tree_leaves_with_path(restored):
                if path in paths:
                    sums.append(tree_fingerprint.leaf_sums(path, leaf))
    return tree_fingerprint.combine(sums)


def _parts(leaves: Sequence[tuple[Any, Any]]) -> Iterator[list[tuple[Any, Any]]]:
    """Consecutive leaves of READ_BACK_BYTES at most together, a larger one by itself."""
    part: list[tuple[Any, Any]] = []
    size = 0
    for path, leaf in leaves:
        nbytes = leaf.size * leaf.dtype.itemsize
        if part and size + nbytes > READ_BACK_BYTES:
            yield part
            part, size = [], 0
        part.append((path, leaf))
        size += nbytes
    if part:
        yield part


def _free_name(path: pathlib.Path) -> pathlib.Path:
    name = path.with_name(f"{path.name}.damaged")
    number = 2
    while name.exists():
        name = path.with_name(f"{path.name}.damaged.{number}")
        number += 1
    return name


def _refuse_other_record(path: pathlib.Path) -> None:
    """Raise ValueError for a record of a step that holds anything else than an object."""
    try:
        is_object = isinstance(json.loads(path.read_text()), dict)
    except RecursionError:
        is_object = False
    except (OSError, ValueError):
        # Orbax does without one that is not there, or that is no JSON.
        return
    if not is_object:
        raise ValueError(f"{path} is not what was written; move its step away")


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines() or ["-"]
    return f"{type(error).__name__}: {lines[0][:300]}"


def _tell_damaged(folder: pathlib.Path, damaged: dict[int, str], instead: int) -> None:
    for step, reason in damaged.items():
        print(
            f"{folder}: step {step} is damaged ({reason}); going on from step {instead}",
            file=sys.stderr,
            flush=True,
        )
