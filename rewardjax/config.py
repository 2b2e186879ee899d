"""Configs: a file with `get_config(arg)`, strict about every name and type, plus the sweep algebra and the record of a run.

A config file looks like this:

    from rewardjax.config import parse_arg, product, sweep as vary

    def get_config(arg=None):
        args = parse_arg(arg, tiny=False, lr=3e-6)
        config = ConfigDict()
        ...

    def sweep():
        return product(vary("optim.lr", (1e-6, 3e-6)), vary("seed", range(3)))

A sub-config is the keyword arguments of one function, so that a misspelt key fails when the function is called.
Commands read it with `config_flags.DEFINE_config_file(lock_config=True)`; tests, sweeps and notebooks with `load`.
"""

import ast
import difflib
import functools
import importlib.util
import json
import os
import pathlib
import platform
import shlex
import subprocess
import sys
import time
import types
from collections.abc import Iterable, Mapping
from importlib import metadata
from typing import Any

from etils import epath
from ml_collections import ConfigDict

from rewardjax import files

Config = Any  # a ConfigDict, whose fields a type checker cannot know
Overrides = dict[str, Any]  # dotted key -> value

MOVED = {
    "rewardjax.curation.clean": "rewardjax.curation.ledger.clean"
}  # modules that workspaces name by their old path

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy")


# ----------------------------------------------------------------------------------------------------------------------
# The argument string: what follows the colon in configs/x.py:tiny,lr=3e-6
# ----------------------------------------------------------------------------------------------------------------------


def parse_arg(arg: str | None, **defaults: Any) -> Config:
    """`"tiny,lr=3e-6,steps=10"` -> a locked ConfigDict with the keys of `defaults`.

    A bare name turns a boolean on; other keys are `key=value`, read as the type of their default (bool, int, float, str or tuple,
    a tuple as `key=(1,2)`). Raises ValueError on an unknown or repeated key and on a value of another type.
    """
    for key, default in defaults.items():
        if not isinstance(default, (bool, int, float, str, tuple)):
            raise TypeError(
                f"parse_arg: the default of {key!r} is a {type(default).__name__}; use bool, int, float, str or tuple"
            )
    values = dict(defaults)
    seen = set()
    for item in _split_items(arg or ""):
        key, equals, text = item.partition("=")
        if key not in defaults:
            raise ValueError(
                f"config argument {key!r} is unknown{_suggest(key, defaults)}; known: {', '.join(sorted(defaults)) or 'none'}"
            )
        if key in seen:
            raise ValueError(f"config argument {key!r} is given twice in {arg!r}")
        seen.add(key)
        if not equals and not isinstance(defaults[key], bool):
            raise ValueError(
                f"config argument {key!r} needs a value: {key}=<{type(defaults[key]).__name__}>"
            )
        values[key] = _parse(
            text if equals else "true", type(defaults[key]), f"config argument {key!r}"
        )
    return ConfigDict(values).lock()


def _split_items(arg: str) -> list[str]:
    """Split at commas that are not inside parentheses."""
    items, depth = [""], 0
    for char in arg:
        depth += (char == "(") - (char == ")")
        if char == "," and depth == 0:
            items.append("")
        else:
            items[-1] += char
    return [item.strip() for item in items if item.strip()]


def _parse(text: str, want: type, what: str) -> Any:
    """The value that `text` spells, as type `want`."""
    try:
        if want is bool:
            return {"true": True, "1": True, "false": False, "0": False}[text.lower()]
        if want is tuple:
            value = ast.literal_eval(text)
            if not isinstance(value, (tuple, list)):
                raise ValueError(text)
            return tuple(value)
        return want(text)
    except (ValueError, KeyError, SyntaxError, TypeError) as error:
        raise ValueError(f"{what}: {text!r} is not a {want.__name__}") from error


def _suggest(key: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(key, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


# ----------------------------------------------------------------------------------------------------------------------
# Loading, changing, comparing
# ----------------------------------------------------------------------------------------------------------------------


def load(
    path_with_arg: str | os.PathLike, overrides: Mapping[str, Any] | Iterable[str] = ()
) -> ConfigDict:
    """The locked config of `"configs/x.py:arg"` with `overrides` applied: `{"optim.lr": 1e-3}` or `["optim.lr=1e-3"]`.

    Raises FileNotFoundError; ValueError or TypeError on an override whose key is unknown or whose type differs.
    """
    path, _, arg = str(path_with_arg).partition(":")
    config = load_module(path).get_config(arg or None)
    if not isinstance(config, ConfigDict):
        raise TypeError(
            f"{path}: get_config must return an ml_collections.ConfigDict, not {type(config).__name__}"
        )
    return override(config.lock(), overrides)


def load_module(path: str | os.PathLike) -> types.ModuleType:
    """Import a config file by its path. Raises FileNotFoundError, and AttributeError where it has no get_config."""
    path = pathlib.Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"no config file at {path} (working directory {pathlib.Path.cwd()})"
        )
    spec = importlib.util.spec_from_file_location(f"config_file_{path.stem}", path)
    assert spec is not None and spec.loader is not None, path
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not hasattr(module, "get_config"):
        raise AttributeError(f"{path} has no get_config(arg)")
    return module


def override(config: ConfigDict, overrides: Mapping[str, Any] | Iterable[str]) -> ConfigDict:
    """Set dotted keys of `config` in place and return it. Raises ValueError on an unknown key, TypeError on another type.

    An int is accepted where a float stands. Text is parsed only in the `["key=text"]` form. What passes here passes as a flag too.
    """
    spelt = not isinstance(overrides, Mapping)
    items = [item.partition("=")[::2] for item in overrides] if spelt else overrides.items()
    for key, value in items:
        section, name = _leaf(config, key)
        want = section.get_type(name)
        if want is type(None):
            raise ValueError(
                f"override {key!r}: the field holds None, so its type is unknown; write config_dict.placeholder(float) there"
            )
        section[name] = (
            _parse(value, want, f"override {key!r}") if spelt else _typed(value, want, key)
        )
    return config


def _leaf(config: ConfigDict, key: str) -> tuple[ConfigDict, str]:
    """The sub-config that holds the dotted `key`, and the last part of it."""
    parts = key.split(".")
    section, node = config, config
    for depth, part in enumerate(parts):
        where = repr(".".join(parts[:depth])) if depth else "the config"
        if not isinstance(node, ConfigDict):
            raise ValueError(f"override {key!r}: {where} is a value, it has no fields")
        if part not in node:
            known = ", ".join(sorted(node.keys()))
            raise ValueError(
                f"override {key!r}: {where} has no {part!r}{_suggest(part, node.keys())}; it has: {known}"
            )
        section, node = node, node[part]
    if isinstance(node, ConfigDict):
        raise ValueError(
            f"override {key!r} names a whole section; override one of its fields: {', '.join(sorted(node.keys()))}"
        )
    return section, parts[-1]


def _typed(value: Any, want: type, key: str) -> Any:
    """`value`, if a field of type `want` may hold it."""
    if want is float and type(value) is int:
        return float(value)
    if want is tuple and type(value) is list:
        return tuple(value)
    if type(value) is not want:
        raise TypeError(
            f"override {key!r}: expected {want.__name__}, got {type(value).__name__} {value!r}"
        )
    return value


def resolve(config: ConfigDict | Mapping[str, Any]) -> dict[str, Any]:
    """`config` as plain JSON values: references followed, tuples as lists. Raises TypeError naming a field that JSON cannot hold."""
    plain = config.to_dict() if isinstance(config, ConfigDict) else dict(config)
    for key, value in fields(plain).items():
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise TypeError(
                f"config field {key!r} holds {value!r} ({type(value).__name__}), which JSON cannot hold"
            ) from error
    return json.loads(json.dumps(plain))


def current_path(function: str) -> str:
    """Where `"module:function"` lies today, for a name that may have been stored before its module moved."""
    module, colon, name = function.partition(":")
    return MOVED.get(module, module) + colon + name


def complete(saved: Mapping[str, Any], defaults: ConfigDict | Mapping[str, Any]) -> dict[str, Any]:
    """`saved`, as `resolve` made it, with every field of `defaults` that it lacks.

    A config that was saved before a field existed meant the field's default: without this, a new field would make every
    older run one of another config.
    """
    whole = resolve(defaults)
    for key, value in saved.items():
        default = whole.get(key)
        if isinstance(default, dict) and default and (value is None or isinstance(value, Mapping)):
            # None where a section stands now is a section of which nothing was set.
            whole[key] = complete(value or {}, default)
        else:
            whole[key] = value
    return whole


def difference(a: ConfigDict | Mapping[str, Any], b: ConfigDict | Mapping[str, Any]) -> list[str]:
    """What changed from `a` to `b`, one line a field: `"optim.lr: 0.001 -> 0.002"`; a missing field reads `(absent)`."""
    old, new = fields(resolve(a)), fields(resolve(b))
    text = lambda fields, key: json.dumps(fields[key]) if key in fields else "(absent)"
    return [
        f"{key}: {text(old, key)} -> {text(new, key)}"
        for key in sorted(old | new)
        if text(old, key) != text(new, key)
    ]


def fields(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dicts -> dotted keys. An empty section stays, as `{}`."""
    flat = {}
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            flat |= fields(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


# ----------------------------------------------------------------------------------------------------------------------
# Sweeps: lists of overrides
# ----------------------------------------------------------------------------------------------------------------------


def sweep(key: str, values: Iterable[Any]) -> list[Overrides]:
    """One trial for each value of `key`."""
    return [{key: value} for value in values]


def fixed(**overrides: Any) -> list[Overrides]:
    """One trial with these overrides; dotted keys as `fixed(**{"optim.lr": 1e-3})`. A factor of `product` sets them in every trial."""
    return [dict(overrides)]


def product(*sweeps: Iterable[Overrides]) -> list[Overrides]:
    """Every combination, the last sweep varying fastest. Raises ValueError if two of them set the same key."""
    return functools.reduce(
        lambda left, right: [_merge(a, b) for a in left for b in right], map(list, sweeps), [{}]
    )


def zipit(*sweeps: Iterable[Overrides]) -> list[Overrides]:
    """The first trials of each merged, then the second ones, ... Raises ValueError on different lengths or a key set twice."""
    columns = [list(one) for one in sweeps]
    if len({len(column) for column in columns}) > 1:
        raise ValueError(
            f"zipit needs sweeps of one length, got {[len(column) for column in columns]}"
        )
    return [functools.reduce(_merge, row, {}) for row in zip(*columns, strict=True)]


def chain(*sweeps: Iterable[Overrides]) -> list[Overrides]:
    """The trials of the first sweep, then those of the second, ..."""
    return [trial for one in sweeps for trial in one]


def _merge(a: Overrides, b: Overrides) -> Overrides:
    if both := sorted(a.keys() & b.keys()):
        raise ValueError(f"two parts of a sweep set {', '.join(both)}")
    return a | b


# ----------------------------------------------------------------------------------------------------------------------
# The record of a run
# ----------------------------------------------------------------------------------------------------------------------


def run_record(config: ConfigDict, mesh: Any = None) -> dict[str, Any]:
    """What is needed to tell one run from another: code, versions, devices, mesh, command line, time (UTC). Starts the jax backends."""
    import jax  # here, so that planning a sweep or rendering a launch does not pay for it

    devices = jax.devices()
    return {
        "config": resolve(config),
        "git": git_state(),
        "versions": {"python": platform.python_version()}
        | {name: metadata.version(name) for name in PACKAGES},
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
    """`{"commit", "dirty"}` of the checkout this package runs from; both None where it is not a checkout."""
    folder = pathlib.Path(__file__).parent

    def git(*args: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "-C", str(folder), *args], capture_output=True, text=True, timeout=30
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    # An installed copy may lie inside somebody else's repository: only a tracked file proves that the commit is ours.
    if git("ls-files", "--error-unmatch", pathlib.Path(__file__).name) is None:
        return {"commit": None, "dirty": None}
    return {
        "commit": git("rev-parse", "HEAD"),
        "dirty": bool(git("status", "--porcelain", "--untracked-files=no")),
    }


def write_run_record(
    workdir: str | os.PathLike, config: ConfigDict, mesh: Any = None
) -> dict[str, Any]:
    """Write `config.json` and `run.json` (with the records of earlier starts) to `workdir` from process 0; return the record."""
    import jax

    record = run_record(config, mesh)
    if jax.process_index() == 0:
        folder = epath.Path(workdir)
        folder.mkdir(parents=True, exist_ok=True)
        run = folder / "run.json"
        earlier = json.loads(run.read_text()) if run.exists() else None
        starts = [] if earlier is None else [*earlier.pop("earlier_starts"), earlier]
        write_json(folder / "config.json", record["config"])
        write_json(run, record | {"earlier_starts": starts})
    return record


def read_run_config(workdir: str | os.PathLike) -> dict[str, Any]:
    """The resolved config that the run in `workdir` was started with. Raises FileNotFoundError where no run was."""
    path = epath.Path(workdir) / "config.json"
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist: {workdir} is not the workdir of a run")
    return json.loads(path.read_text())


def write_json(path: str | os.PathLike, value: Any) -> None:
    """Write JSON so that a reader sees the old file or the new one, never a part."""
    with files.replacing(path, many_writers=True) as part:
        part.write_text(json.dumps(value, indent=2, allow_nan=False) + "\n")
