"""Configs: files with `get_config(arg)`, strict about names and types, and the algebra of sweeps.

A config file looks like this:

    from rewardjax.config import parse_arg, product, sweep as vary
    from rewardjax.defaults import training

    def get_config(arg=None):
        args = parse_arg(arg, peak=3e-6)
        config = training()
        config.schedule.peak = args.peak
        return config

    def sweep():
        return product(vary("schedule.peak", (1e-6, 3e-6)), vary("seed", range(3)))

A section is the keyword arguments of one function, so that a misspelt key fails when the function
is called. Commands read a config with `parse_flags` and `config_flags`; tests, sweeps and notebooks
with `load`. Both accept the same.
"""

import ast
import contextlib
import difflib
import functools
import importlib.util
import itertools
import json
import os
import pathlib
import traceback
import types
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from absl import flags
from ml_collections import ConfigDict, FieldReference
from ml_collections.config_flags import tuple_parser

from rewardjax.command import dialect, errors
from rewardjax.io import files

Config = Any  # a ConfigDict, whose fields a type checker cannot know
Overrides = dict[str, Any]  # dotted key -> value

# Modules that workspaces name by their old path.
MOVED = {
    "rewardjax.curation.clean": "rewardjax.curation.cleaning.personal_data",
    "rewardjax.curation.ledger.clean": "rewardjax.curation.cleaning.personal_data",
}


class _LiteralParser(flags.ArgumentParser):
    """Any Python literal, else the text itself, as `config_flags` reads a field of type object."""

    def parse(self, argument: str) -> Any:
        try:
            return ast.literal_eval(argument)
        except (ValueError, SyntaxError):
            return argument


# Those of `config_flags`, so that `--config.FIELD=VALUE`, `load(path, ["FIELD=VALUE"])` and an
# argument string accept the same.
PARSERS: dict[type, flags.ArgumentParser] = {
    bool: flags.BooleanParser(),
    int: flags.IntegerParser(),
    float: flags.FloatParser(),
    str: flags.ArgumentParser(),
    tuple: tuple_parser.TupleParser(),
    object: _LiteralParser(),
}


# ------------------------------------------------------------------
# The argument string: what follows the colon in configs/FILE.py:tiny,lr=3e-6
# ------------------------------------------------------------------


def parse_arg(arg: str | None, **defaults: Any) -> Config:
    """`"tiny,lr=3e-6,steps=10"` -> a locked ConfigDict with the keys of `defaults`.

    A bare name turns a boolean on. Other keys are `key=value`, read as the type of their default:
    bool, int, float, str or tuple, a tuple as `key=(1,2)`. Raises ValueError on an unknown or
    repeated key and on a value of another type.
    """
    for key, default in defaults.items():
        if not isinstance(default, (bool, int, float, str, tuple)):
            raise TypeError(
                f"parse_arg: the default of {key!r} is a {type(default).__name__}; use bool, int, "
                f"float, str or tuple"
            )
    values = dict(defaults)
    seen = set()
    for item in _split_items(arg or ""):
        key, equals, text = item.partition("=")
        if key not in defaults:
            raise ValueError(
                f"config argument {key!r} is unknown{suggestion(key, defaults)}; "
                f"known: {', '.join(sorted(defaults)) or 'none'}"
            )
        if key in seen:
            raise ValueError(f"config argument {key!r} is given twice in {arg!r}")
        seen.add(key)
        kind = type(defaults[key])
        if not equals:
            if kind is not bool:
                raise ValueError(f"config argument {key!r} needs a value: {key}=<{kind.__name__}>")
            text = "true"
        values[key] = _parse(text, kind, f"config argument {key!r}")
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


def _parse(text: str, kind: type, where: str) -> Any:
    """The value of type `kind` that `text` spells. Raises ValueError beginning with `where`."""
    try:
        return PARSERS[kind].parse(text)
    except (ValueError, TypeError) as error:
        article = "an" if kind in (int, object) else "a"
        raise ValueError(f"{where}: {text!r} is not {article} {kind.__name__}") from error


def suggestion(key: str, known: Iterable[str]) -> str:
    """` (did you mean 'KEY'?)` with the nearest of the names there are, or nothing."""
    close = difflib.get_close_matches(key, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


# ------------------------------------------------------------------
# Loading and changing
# ------------------------------------------------------------------


def load(
    path_with_arg: str | os.PathLike, overrides: Mapping[str, Any] | Iterable[str] = ()
) -> ConfigDict:
    """The locked config of `"configs/FILE.py:arg"` with `overrides`: `{"seed": 1}` or `["seed=1"]`.

    Raises FileNotFoundError; ValueError or TypeError on an override whose key is unknown or whose
    type differs.
    """
    path, _, arg = str(path_with_arg).partition(":")
    with _of_file(path):
        config = load_module(path).get_config(arg or None)
    if not isinstance(config, ConfigDict):
        raise TypeError(
            f"{path}: get_config must return an ml_collections.ConfigDict, "
            f"not {type(config).__name__}"
        )
    return override(config.lock(), overrides)


@contextlib.contextmanager
def _of_file(path: str) -> Iterator[None]:
    """Raise what goes wrong in the code of a config file as a sentence that names its line."""
    try:
        yield
    # A file that ends the process would end the command without a word.
    except (Exception, SystemExit) as error:
        frames = traceback.extract_tb(error.__traceback__)
        last = pathlib.Path(frames[-1].filename)
        # Where it was said on purpose, or in this package by chance, it is as in any other place.
        is_bug = last.is_relative_to(errors.PACKAGE) and last != pathlib.Path(__file__)
        if errors.is_mistake(error) or is_bug:
            raise
        file = pathlib.Path(path)
        lines = [frame.lineno for frame in frames if pathlib.Path(frame.filename) == file]
        if isinstance(error, SyntaxError):
            lines = [error.lineno]
        where = ":".join([path, *map(str, lines[-1:])])
        text = " ".join(str(error).split())
        raise ValueError(f"{where}: {type(error).__name__}: {text}") from error


def load_module(path: str | os.PathLike) -> types.ModuleType:
    """Import a config file by its path.

    Raises FileNotFoundError, and AttributeError where the file has no get_config.
    """
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


def parse_flags(argv: list[str]) -> list[str]:
    """`flags_parser` of `absl.app.run` for a command with `--config`: mistakes are sentences.

    The overrides are tried by `load` first, because `config_flags` answers an unknown field with a
    traceback, and a field that holds None with "type not supported". Raises absl's flags.Error, and
    what `load` raises.
    """
    argv = errors.without_debug(argv)
    path, overrides = None, {}
    for argument in argv[1:]:
        name, equals, value = dialect.split(argument)
        if name == "config":
            path = value
        elif name.startswith("config.") and equals:
            overrides[argument] = name.removeprefix("config.")
    nones: set[str] = set()
    if path is not None:
        texts = [f"{key}={dialect.split(argument)[2]}" for argument, key in overrides.items()]
        whole = load(path, texts)
        nones = {key for key in overrides.values() if _is_none(whole, key)}
    # absl would store the word None in a field of text, and refuse it in one of numbers.
    rest = flags.FLAGS([argument for argument in argv if overrides.get(argument) not in nones])
    for key in nones:
        config: Any = flags.FLAGS["config"].value
        _set_text(config, key, "None")
    if len(rest) > 1:
        raise flags.Error(f"unknown arguments {' '.join(rest[1:])}")
    return rest


def _is_none(config: ConfigDict, key: str) -> bool:
    section, name = _leaf(config, key)
    return section[name] is None


def override(config: ConfigDict, overrides: Mapping[str, Any] | Iterable[str]) -> ConfigDict:
    """Set dotted keys of `config` in place and return it.

    Text is parsed only in the `["key=text"]` form; in the other an int is accepted where a float
    stands. What passes here passes as a flag too. Raises ValueError on an unknown key, TypeError on
    another type, and errors.Refusal on several of them.
    """
    complaints = errors.Complaints()
    if isinstance(overrides, Mapping):
        for key, value in overrides.items():
            complaints.of(_set_value, config, key, value)
    else:
        for item in overrides:
            key, _, text = item.partition("=")
            complaints.of(_set_text, config, key, text)
    complaints.refuse()
    return config


def _set_value(config: ConfigDict, key: str, value: Any) -> None:
    section, name = _leaf(config, key)
    section[name] = _typed(value, _type_of(section, name, key), key)


def _set_text(config: ConfigDict, key: str, text: str) -> None:
    section, name = _leaf(config, key)
    if text == "None" and _may_be_none(section, name):
        section[name] = None
        return
    section[name] = _parse(text, _type_of(section, name, key), f"override {key!r}")


def _may_be_none(section: ConfigDict, name: str) -> bool:
    """Whether a field was made to hold None too, by a placeholder or a reference (defaults.py)."""
    # Any other way of reading a field gives its value, and not what holds it.
    fields = dict(section.iteritems(preserve_field_references=True))
    return isinstance(fields[name], FieldReference)


def _leaf(config: ConfigDict, key: str) -> tuple[ConfigDict, str]:
    """The sub-config that holds the dotted `key`, and the last part of it."""
    parts = key.split(".")
    section, node = config, config
    for depth, part in enumerate(parts):
        where = repr(".".join(parts[:depth])) if depth else "the config"
        if not isinstance(node, ConfigDict):
            raise ValueError(f"override {key!r}: {where} is a value, it has no fields")
        if part not in node:
            names = ", ".join(sorted(node.keys()))
            raise ValueError(
                f"override {key!r}: {where} has no {part!r}{suggestion(part, node.keys())}; "
                f"it has: {names}"
            )
        section, node = node, node[part]
    if isinstance(node, ConfigDict):
        raise ValueError(
            f"override {key!r} names a whole section; override one of its fields: "
            f"{', '.join(sorted(node.keys()))}"
        )
    return section, parts[-1]


def _type_of(section: ConfigDict, name: str, key: str) -> type:
    """The type of a field. Raises ValueError where it holds None without being a placeholder."""
    kind = section.get_type(name)
    if kind is type(None):
        raise ValueError(
            f"override {key!r}: the field holds None, so its type is unknown; "
            f"write config_dict.placeholder(float) there"
        )
    return kind


def _typed(value: Any, kind: type, key: str) -> Any:
    """`value`, if a field of type `kind` may hold it."""
    if kind is float and type(value) is int:
        return float(value)
    if kind is tuple and type(value) is list:
        return tuple(value)
    if kind is not object and type(value) is not kind:
        raise TypeError(
            f"override {key!r}: expected {kind.__name__}, got {type(value).__name__} {value!r}"
        )
    return value


def other_fields(config: ConfigDict, defaults: ConfigDict, where: str = "") -> Iterator[str]:
    """A complaint for each field of `config` that `defaults` lacks: nothing would read it.

    A config file that replaces a whole section can misspell a field without the lock's noticing. A
    section that is empty in `defaults` holds names of the experiment's own.
    """
    for key, value in config.items():
        if key not in defaults:
            yield (
                f"config field {where + key!r} does not exist{suggestion(key, defaults.keys())}; "
                f"there are: {', '.join(sorted(defaults.keys()))}"
            )
            continue
        section = defaults[key]
        if isinstance(value, ConfigDict) and isinstance(section, ConfigDict) and len(section):
            yield from other_fields(value, section, f"{where}{key}.")


# ------------------------------------------------------------------
# Storing and comparing
# ------------------------------------------------------------------


def resolve(config: ConfigDict | Mapping[str, Any]) -> dict[str, Any]:
    """`config` as plain JSON values: references followed, tuples as lists.

    Raises TypeError naming a field that JSON cannot hold.
    """
    plain = config.to_dict() if isinstance(config, ConfigDict) else dict(config)
    for key, value in fields(plain).items():
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise TypeError(
                f"config field {key!r} holds {value!r} ({type(value).__name__}), "
                f"which JSON cannot hold"
            ) from error
    return json.loads(json.dumps(plain))


def current_path(function: str) -> str:
    """Where `"module:function"` lies today, for a name that was stored before its module moved."""
    module, colon, name = function.partition(":")
    return MOVED.get(module, module) + colon + name


def complete(saved: Mapping[str, Any], defaults: ConfigDict | Mapping[str, Any]) -> dict[str, Any]:
    """`saved`, as `resolve` made it, with every field of `defaults` that it lacks.

    A config that was saved before a field existed meant the field's default: without this, a new
    field would make every older run one of another config. So would a field's new name.
    """
    whole = resolve(defaults)
    for key, value in saved.items():
        default = whole.get(key)
        if isinstance(default, dict) and default and (value is None or isinstance(value, Mapping)):
            # None where a section stands now is a section of which nothing was set.
            whole[key] = complete(_by_todays_names(value or {}, default), default)
        else:
            whole[key] = value
    return whole


def _by_todays_names(saved: Mapping[str, Any], defaults: Mapping[str, Any]) -> Mapping[str, Any]:
    """A saved section with the fraction of prompts under `part`, which was `split` once."""
    # `split` names a split of the source today, so that only a list there is the old field.
    if "part" not in defaults or not isinstance(saved.get("split"), list):
        return saved
    renamed = dict(saved)
    renamed["part"] = renamed.pop("split")
    return renamed


def difference(a: ConfigDict | Mapping[str, Any], b: ConfigDict | Mapping[str, Any]) -> list[str]:
    """What changed from `a` to `b`, one line per field: `"seed: 0 -> 1"`.

    A field that one of them lacks reads `(absent)`.
    """
    as_text = lambda tree: {key: json.dumps(value) for key, value in fields(resolve(tree)).items()}
    old, new = as_text(a), as_text(b)
    lines = []
    for key in sorted(old | new):
        before, after = old.get(key, "(absent)"), new.get(key, "(absent)")
        # As text, because 1 == True and 1 == 1.0 in Python, while they are different settings.
        if before != after:
            lines.append(f"{key}: {before} -> {after}")
    return lines


def fields(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dicts -> dotted keys. An empty section stays, as `{}`."""
    flat = {}
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            flat |= fields(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def write_json(path: str | os.PathLike, value: Any) -> None:
    """Write JSON so that a reader sees the old file or the new one, never a part."""
    with files.replacing(path, many_writers=True) as part:
        part.write_text(json.dumps(value, indent=2, allow_nan=False) + "\n")


# ------------------------------------------------------------------
# Sweeps: lists of overrides
# ------------------------------------------------------------------


def sweep(key: str, values: Iterable[Any]) -> list[Overrides]:
    """One trial for each value of `key`."""
    return [{key: value} for value in values]


def fixed(**overrides: Any) -> list[Overrides]:
    """One trial with these overrides: a factor of `product` that sets them in every trial.

    Dotted keys are given as `fixed(**{"schedule.peak": 1e-3})`.
    """
    return [dict(overrides)]


def product(*sweeps: Iterable[Overrides]) -> list[Overrides]:
    """Every combination, the last sweep varying fastest.

    Raises ValueError if two of them set the same key.
    """
    return [functools.reduce(_merge, combination, {}) for combination in itertools.product(*sweeps)]


def chain(*sweeps: Iterable[Overrides]) -> list[Overrides]:
    """The trials of the first sweep, then those of the second, ..."""
    return list(itertools.chain(*sweeps))


def _merge(a: Overrides, b: Overrides) -> Overrides:
    if twice := sorted(a.keys() & b.keys()):
        raise ValueError(f"two parts of a sweep set {', '.join(twice)}")
    return a | b
