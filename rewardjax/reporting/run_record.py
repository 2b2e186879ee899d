"""The record of a run, and its config for whoever loads the model later.

The record is what is needed to tell the run from another.
"""

import os
import pathlib
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping
from importlib import metadata
from typing import Any

import jax
from ml_collections import ConfigDict

from rewardjax import config as config_lib
from rewardjax.io import foreign_files, hub, own_files, storage

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy")


def write(
    workdir: str | os.PathLike,
    config: ConfigDict,
    mesh: jax.sharding.Mesh | None = None,
    data: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Write `config.json` and `run.json` to `workdir` from process 0; return the record.

    `run.json` keeps the records of earlier starts, so that a resumed run says under which commits
    it was trained. data: what each data set was read as, by its name in the config.
    """
    record = collect(config, mesh)
    if data is not None:
        record["data"] = dict(data)
    if jax.process_index() == 0:
        folder = pathlib.Path(workdir)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "run.json"
        starts = _starts(path)
        config_lib.write_json(folder / "config.json", record["config"])
        config_lib.write_json(path, record | {"earlier_starts": starts})
    return record


def _starts(path: pathlib.Path) -> list[dict[str, Any]]:
    """The records of earlier starts in `run.json`; none of a damaged one, which is set aside."""
    aside = path.with_name(path.name + ".damaged")
    try:
        previous = own_files.read(path, ["earlier_starts"], f"it is kept as {aside.name}")
    except FileNotFoundError:
        return []
    except own_files.Damaged as error:
        # What a run says of itself is no reason to end it.
        print(error, file=sys.stderr, flush=True)
        path.rename(aside)
        return []
    return [*previous.pop("earlier_starts"), previous]


def collect(config: ConfigDict, mesh: jax.sharding.Mesh | None = None) -> dict[str, Any]:
    """Code, versions, devices, mesh, command line and time (UTC) of this process.

    hub: the commits of the repositories that were read. Starts the JAX backends.
    """
    devices = jax.devices()
    versions = {name: metadata.version(name) for name in PACKAGES}
    return {
        "config": config_lib.resolve(config),
        "git": git_state(),
        "hub": hub.commits(),
        "versions": {"python": platform.python_version()} | versions,
        "devices": {
            "platform": devices[0].platform,
            "kind": devices[0].device_kind,
            "count": len(devices),
        },
        "processes": jax.process_count(),
        "mesh": None if mesh is None else dict(mesh.shape),
        "command": shlex.join(sys.orig_argv),
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def git_state() -> dict[str, Any]:
    """`{"commit", "dirty"}` of the checkout that this package runs from.

    Both are None where it is not a checkout.
    """
    # An installed copy may lie inside somebody else's repository: only a tracked file proves that
    # the commit is ours.
    if _git("ls-files", "--error-unmatch", pathlib.Path(__file__).name) is None:
        return {"commit": None, "dirty": None}
    return {
        "commit": _git("rev-parse", "HEAD"),
        # Untracked files are left out: runs/ and notes do not change what was run.
        "dirty": bool(_git("status", "--porcelain", "--untracked-files=no")),
    }


def read_config(workdir: str | os.PathLike) -> dict[str, Any]:
    """The resolved config that the run in `workdir` was started with.

    Raises FileNotFoundError where no run was.
    """
    path = storage.path_of(workdir) / "config.json"
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist: {workdir} is not the workdir of a run")
    return foreign_files.read_object(path)


def _git(*arguments: str) -> str | None:
    """What git prints about this file's folder, or None where there is no git or no checkout."""
    folder = pathlib.Path(__file__).parent
    try:
        ended = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return ended.stdout.strip() if ended.returncode == 0 else None
