"""Every setting of a config: its value, its type, a sentence on it, and where the value came from.

The sentences are those of docstrings: of the functions whose keyword arguments the sections are
(`defaults.TRAINING`), and of `defaults.training` for the fields that the loop itself reads. Those
of evaluation and curation configs come about alike.
"""

import importlib
import inspect
import pathlib
import re
import shutil
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from rewardjax import config as config_lib
from rewardjax import defaults

COLUMNS = 100  # that lines of prose have at most
INDENT = "    "
DEFAULT, COMMAND_LINE = "default", "command line"
# Sections with names of the experiment's own: what their fields are arguments of.
NAMED = {"evals": "data"}
# Under these headings a docstring has a sentence for each argument.
ARGUMENTS = re.compile(r"^(?:Args|Fields):\n(.*?)(?=^\S|\Z)", re.DOTALL | re.MULTILINE)
ARGUMENT = re.compile(r"^    (\w[\w.]*): ", re.MULTILINE)

# Sections, each with a function whose keyword arguments it holds; one may have several.
Functions = Iterable[tuple[str, defaults.Function]]
# Makes a config with every field at its default; its docstring has a sentence for each field that
# no function takes.
Complete = Callable[[], config_lib.Config]


class Setting(NamedTuple):
    """A field of a config."""

    name: str  # dotted
    value: Any
    kind: str  # of values that it may hold
    sentence: str
    origin: str  # DEFAULT, COMMAND_LINE or the name of a config file


def of_defaults(complete: Complete, functions: Functions) -> list[Setting]:
    """Every setting at its default."""
    return _settings(complete(), complete, functions, lambda name, value: DEFAULT)


def of_config(
    config: config_lib.Config, file: str, complete: Complete, functions: Functions
) -> list[Setting]:
    """The settings of `config`, which was read from `file` (`FILE:ARG`) and changed since."""
    usual = config_lib.fields(config_lib.resolve(complete()))
    written = config_lib.fields(config_lib.resolve(config_lib.load(file)))

    def origin_of(name: str, value: Any) -> str:
        # A field that is missing is no value at all, while None is one.
        if value == usual.get(name, ...):
            return DEFAULT
        if value == written.get(name, ...):
            return pathlib.Path(file.partition(":")[0]).name
        return COMMAND_LINE

    return _settings(config, complete, functions, origin_of)


def _settings(
    config: config_lib.Config,
    complete: Complete,
    functions: Functions,
    origin_of: Callable[[str, Any], str],
) -> list[Setting]:
    sentences = _sentences(complete, functions)
    settings = []
    for name, value in config_lib.fields(config_lib.resolve(config)).items():
        kind, sentence = _kind(config, name), _sentence(name, sentences)
        settings.append(Setting(name, value, kind, sentence, origin_of(name, value)))
    return settings


def sentences_of(function: Callable[..., Any]) -> dict[str, str]:
    """Argument -> what the docstring of `function` says of it, in one line."""
    match = ARGUMENTS.search(inspect.getdoc(function) or "")
    if match is None:
        return {}
    # Name, text, name, text, ... after whatever stands before the first name.
    parts = ARGUMENT.split(match.group(1))[1:]
    texts = [" ".join(text.split()) for text in parts[1::2]]
    return dict(zip(parts[::2], texts, strict=True))


def imported(name: str) -> Callable[..., Any]:
    """The function of `"module:function"`."""
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)


def text(settings: list[Setting]) -> Iterator[str]:
    """The lines of a terminal: one of each setting, and its sentence below."""
    columns = min(shutil.get_terminal_size().columns or COLUMNS, COLUMNS)
    for each in settings:
        value, entries = each.value, []
        # The judges of a curation on one line would be read by nobody.
        if _is_list_of_sections(value):
            value, entries = f"{len(value)} entries", value
        yield f"{each.name} = {value}   ({each.kind}, {each.origin})"
        for entry in entries:
            yield from textwrap.wrap(
                str(entry), columns, initial_indent=INDENT, subsequent_indent=2 * INDENT
            )
        yield from textwrap.wrap(
            each.sentence, columns, initial_indent=INDENT, subsequent_indent=INDENT
        )


def _is_list_of_sections(value: Any) -> bool:
    is_list = isinstance(value, Sequence) and len(value) > 0
    return is_list and all(isinstance(entry, Mapping) for entry in value)


def markdown(settings: list[Setting]) -> Iterator[str]:
    """The rows of a table of defaults."""
    yield "| setting | default | type | what |"
    yield "| --- | --- | --- | --- |"
    for each in settings:
        yield f"| `{each.name}` | `{each.value!r}` | {each.kind} | {each.sentence} |"


def _sentences(complete: Complete, functions: Functions) -> dict[str, dict[str, str]]:
    """Section -> field -> sentence; the section "" has those of `complete` itself."""
    sentences = {"": sentences_of(complete)}
    for section, function in functions:
        of_section = sentences.setdefault(section, {})
        for field, sentence in sentences_of(imported(function.name)).items():
            # An argument that the command fills in may be called as a field of another function.
            if field not in function.filled_in:
                of_section[field] = sentence
    return sentences


def _sentence(name: str, sentences: Mapping[str, Mapping[str, str]]) -> str:
    """The sentence on a field, of the innermost section that has one."""
    parts = name.split(".")
    if parts[0] in NAMED and len(parts) > 2:
        parts = [NAMED[parts[0]], *parts[2:]]
    for depth in range(len(parts) - 1, -1, -1):
        of_section = sentences.get(".".join(parts[:depth]), {})
        field = ".".join(parts[depth:])
        if field in of_section:
            return of_section[field]
    # Of a benchmark, whose fields are those of its own `load`.
    return sentences[""].get(parts[0], "")


def _kind(config: config_lib.Config, name: str) -> str:
    """The type of a field's values, in words."""
    *sections, field = name.split(".")
    for section in sections:
        config = config[section]
    kind = config.get_type(field)
    if kind is object:
        return "any"
    if kind in (type(config), dict):
        return "section"
    return kind.__name__
