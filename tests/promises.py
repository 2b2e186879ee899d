"""What the docs promise, taken from where it is written, and whether the code keeps it.

`documents()` yields every text that speaks to users: Markdown, docstrings and comments, config headers, notebooks, the Makefile.
`broken_promises(document)` says in one line each what does not hold in it. Four kinds of promise are read:

    commands    `python -m MODULE ...` and `make TARGET`: parsed by the module's own parser, the config
                loaded with the fields that are set in it, the trials of a sweep checked against it
    names       `schedule.peak`, `losses.get`: a config field, or an object of the code
    files       `configs/gsm.py`, `docs/log.md`: a file of the repository
    links       [text](docs/data.md#formats): the file, and the heading in it

How a command is written: optional parts stand in [brackets], placeholders in CAPITALS, an explanation after `#` or after three spaces.
"""

import argparse
import ast
import collections
import contextlib
import dataclasses
import functools
import importlib
import importlib.util
import inspect
import io
import json
import pathlib
import re
import runpy
import shlex
import sys
import tokenize
import unittest.mock
from collections.abc import Callable, Iterator

from absl import app, flags
from tiny import ROOT

import rewardjax
from rewardjax import config as config_lib
from rewardjax.__main__ import VERBS

OURS = ("rewardjax", "launch", "benchmarks", "experiments", "configs")
# The log's commands belong to the commits that it names.
SKIPPED = {"docs/log.md", "CHANGELOG.md"}
KINDS = ("commands", "names", "files", "links")


@dataclasses.dataclass(frozen=True)
class Document:
    """A text with its place. `prose`: only what stands in backticks, tables and code blocks counts as a name."""

    place: str
    text: str
    prose: bool = True
    folder: pathlib.Path = ROOT


# ------------------------------------------------------------------ where promises are written


def documents() -> Iterator[Document]:
    """Every text that speaks to users."""
    for path in (
        sorted(ROOT.glob("*.md"))
        + sorted((ROOT / "docs").rglob("*.md"))
        + [ROOT / "launch/README.md"]
    ):
        place = str(path.relative_to(ROOT))
        if place not in SKIPPED:
            yield Document(place, path.read_text(encoding="utf-8"), folder=path.parent)
    for path in sorted((ROOT / "rewardjax/assets").rglob("README.md")):
        yield Document(
            str(path.relative_to(ROOT)), path.read_text(encoding="utf-8"), folder=path.parent
        )
    yield Document("Makefile", _comments((ROOT / "Makefile").read_text(encoding="utf-8")))
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        for number, cell in enumerate(cells):
            if cell["cell_type"] == "markdown":
                yield Document(
                    f"{path.relative_to(ROOT)}, cell {number}",
                    "".join(cell["source"]),
                    folder=path.parent,
                )
    for folder in OURS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield from of_source(
                str(path.relative_to(ROOT)), path.read_text(encoding="utf-8"), path.parent
            )


def of_source(place: str, source: str, folder: pathlib.Path) -> Iterator[Document]:
    """The docstrings, comments and messages of a Python file."""
    tree = ast.parse(source)
    docstrings = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            text = ast.get_docstring(node)
            if text:
                docstrings.add(id(node.body[0].value))
                name = getattr(node, "name", "header")
                yield Document(f"{place}, {name}", text, folder=folder)
    for node in ast.walk(tree):
        # Help texts and messages: whatever tells a user to set a field.
        # A text of many lines is of another language: SQL, CSS, a template.
        message = (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in docstrings
        )
        if message and " " in node.value and node.value.count("\n") < 2:
            yield Document(f"{place}:{node.lineno}", node.value, prose=False, folder=folder)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield Document(
                f"{place}:{token.start[0]}", token.string.lstrip("# "), prose=False, folder=folder
            )


def _comments(makefile: str) -> str:
    return "\n".join(line.lstrip("# ") for line in makefile.splitlines() if line.startswith("#"))


# ------------------------------------------------------------------ what they say


# `rewardjax VERB` in words; `rewardjax/` is the package's folder.
COMMAND = rf"python -m .+|rewardjax (?:{'|'.join(VERBS)})\b.*|make [a-z][\w-]*"


def commands(document: Document) -> Iterator[str]:
    """The command lines in a text, continued lines joined, explanations cut off."""
    joined = re.sub(r"\\+\n\s*", " ", document.text)
    fenced = False
    for line in joined.splitlines():
        fenced ^= line.lstrip().startswith("```")
        spans = re.findall(r"`([^`]+)`", line)
        # The first line of a docstring that is nothing but a command is one, indented or not.
        if fenced or line.startswith(("    ", "\t", "python -m ", "rewardjax ")):
            spans.append(line)
        for span in spans:
            start = re.match(rf"\s*(?:\$ |!)?({COMMAND})(?=\s|$)", span)
            if start:
                command = re.split(
                    r"\s#|\s{3,}(?![-.\[\s]|python )|\s&(?:\s|$)|\s\|", span[start.start(1) :]
                )[0]
                yield command.strip()


def names(document: Document) -> Iterator[str]:
    """Dotted names: those in backticks and code blocks of prose, all of them in comments and messages."""
    text = document.text
    if document.prose:
        spans = re.findall(r"`([^`\n]+)`", text)
        spans += re.findall(r"^(?: {4,}|\t)(.*)$", text, re.MULTILINE)
        spans += re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        text = "\n".join(spans)
    for name in re.findall(r"--config\.([\w.]+)", document.text):
        if not name.isupper():
            yield "--config." + name.rstrip(".")
    for name in re.findall(r"(?<![\w./-])([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+)(?!\.?[\w/-])", text):
        if not re.search(rf"\.({'|'.join(FILE_ENDINGS)})$", name):
            yield name.removeprefix("config.")


FILE_ENDINGS = (
    "py",
    "md",
    "ipynb",
    "toml",
    "json",
    "jsonl",
    "gz",
    "parquet",
    "html",
    "yaml",
    "yml",
    "sqlite",
    "png",
    "csv",
    "tex",
    "txt",
    "npz",
    "array_record",
    "jinja",
)
CHECKED_ENDINGS = ("py", "md", "ipynb")


PATH = (
    r"(?<![\w./:*{}-])((?:[\w.-]+/)*[\w-][\w.-]*\.(?:" + "|".join(FILE_ENDINGS) + r"))\b(?![\w*])"
)


def files(text: str) -> Iterator[str]:
    """Paths of source files and documents; others only where they begin with a folder of the repository."""
    for path in re.findall(PATH, text):
        inside = (
            path.split("/")[0] in (*OURS, "docs", "tests", "notebooks", ".github") and "/" in path
        )
        ending = path.rsplit(".", 1)[1]
        # A document's bare name may be that of a result, such as results.md.
        source = ending in CHECKED_ENDINGS and ("/" in path or ending != "md")
        # A placeholder has capitals in its last part: NAME.toml, test_NAME.py.
        placeholder = re.search(r"[A-Z]{3,}[^/]*$", path) and ending != "md"
        if (source or inside) and not placeholder:
            yield path


def links(text: str) -> Iterator[str]:
    """Targets of Markdown links that lead to a file or a heading."""
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not re.match(r"(https?|mailto):", target):
            yield target


# ------------------------------------------------------------------ whether it is so


def broken_promises(document: Document, counts: collections.Counter | None = None) -> list[str]:
    """A line for each promise of a document that does not hold; `counts` is how many of each kind were looked at."""
    counts = collections.Counter() if counts is None else counts
    complaints = []

    def check(kind: str, promise: str, complaint: str | None) -> None:
        counts[kind] += 1
        if complaint:
            complaints.append(f"{document.place}: {promise}: {complaint}")

    for command in commands(document):
        check("commands", command, wrong_command(command))
    for name in names(document):
        if is_ours(name):
            check("names", name, wrong_name(name))
    for path in files(document.text):
        check("files", path, wrong_file(path, document.folder))
    for target in links(document.text):
        check("links", target, wrong_link(target, document))
    return complaints


class Parsed(BaseException):
    """Raised in place of running a command, with what its parser made of the arguments."""

    def __init__(self, arguments: argparse.Namespace | flags.FlagValues):
        self.arguments = arguments


@functools.cache
def wrong_command(command: str) -> str | None:
    """What the command's own parser, or its config, has against it."""
    if command.startswith("make "):
        target = command.split()[1]
        targets = re.findall(
            r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE
        )
        return None if target in targets else f"the Makefile has no target {target}"
    command = re.sub(r"^rewardjax (?=[a-z])", "python -m rewardjax.", command)
    own, _, inner = command.partition(" -- ")
    arguments = shlex.split(own.replace("[", " ").replace("]", " "))[2:]
    arguments = [_filled_in(argument) for argument in arguments if argument != "..."]
    module, *arguments = arguments
    # A message may begin with the command that speaks; a name may be put together at run time.
    module = module.rstrip(":")
    if module.endswith("."):
        return None
    if module.split(".")[0] not in OURS:
        return None if importlib.util.find_spec(module) else f"there is no module {module}"
    if (
        not (ROOT / (module.replace(".", "/") + ".py")).exists()
        and not (ROOT / module.replace(".", "/") / "__main__.py").exists()
    ):
        return f"there is no module {module}"
    if inner and (complaint := wrong_command(inner)):
        return complaint
    complaint = _run(module, arguments + (["--", "true"] if inner else []))
    # Without flags a command is only mentioned.
    flagless = not any(argument.startswith("-") for argument in arguments)
    mentioned = flagless and re.search(
        " required| missing: |must have a value other than None", complaint or ""
    )
    return None if mentioned else complaint


def _filled_in(argument: str) -> str:
    """An argument with its placeholder of a number replaced by one."""
    return re.sub(r"^N$|(?<==)N$", "1", argument)


def _run(module: str, arguments: list[str]) -> str | None:
    """Start a module as a command and stop it where it has read its arguments; then load the config that they name."""
    parse_args, parse_known_args = (
        argparse.ArgumentParser.parse_args,
        argparse.ArgumentParser.parse_known_args,
    )

    def stop_after_parsing(parser, *given, **options):
        raise Parsed(parse_args(parser, *given, **options))

    def stop_unless_inside(parser, *given, **options):
        # parse_args calls parse_known_args itself, and so do the parsers of verbs below a command.
        if sys._getframe(1).f_code.co_filename == argparse.__file__:
            return parse_known_args(parser, *given, **options)
        namespace, rest = parse_known_args(parser, *given, **options)
        namespace.rest = rest
        raise Parsed(namespace)

    def stop_after_flags(main, argv=None, **_):
        remaining = flags.FLAGS(sys.argv if argv is None else argv)
        if len(remaining) > 1:
            raise flags.UnrecognizedFlagError(f"unknown arguments {remaining[1:]}")
        raise Parsed(flags.FLAGS)

    before = set(flags.FLAGS)
    errors = io.StringIO()
    try:
        with (
            unittest.mock.patch.object(argparse.ArgumentParser, "parse_args", stop_after_parsing),
            unittest.mock.patch.object(
                argparse.ArgumentParser, "parse_known_args", stop_unless_inside
            ),
            unittest.mock.patch.object(app, "run", stop_after_flags),
            unittest.mock.patch.object(sys, "argv", [module, *arguments]),
            contextlib.redirect_stderr(errors),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.chdir(ROOT),
        ):
            _start(module)
        return "it ended before it read its arguments"
    except Parsed as parsed:
        if isinstance(parsed.arguments, flags.FlagValues):
            # Loading the config, with the fields that flags set, is part of reading them.
            return None
        return _wrong_config(module, parsed.arguments)
    except ModuleNotFoundError as error:
        # A peer that is not installed here (no torch for Python 3.12): its benchmarks are parsed
        # where it is. A module of our own that is missing is a broken promise.
        is_ours = (error.name or "").split(".")[0] in OURS
        return str(error) if is_ours else None
    except (
        SystemExit,
        flags.Error,
        ValueError,
        TypeError,
        AttributeError,
        KeyError,
        OSError,
    ) as error:
        lines = [line for line in errors.getvalue().splitlines() if line.strip()]
        return lines[-1] if lines else f"{type(error).__name__}: {error}"
    finally:
        for name in set(flags.FLAGS) - before:
            delattr(flags.FLAGS, name)


def _start(module: str) -> None:
    """Call the module's `main()`; where it is given arguments, as absl does, run the module as a script."""
    if importlib.util.find_spec(module).submodule_search_locations is None:
        main = getattr(importlib.import_module(module), "main", None)
        if main is not None and not _needed(main):
            main()
            return
    runpy.run_module(module, run_name="__main__", alter_sys=False)


def _needed(function: Callable) -> list[str]:
    """The arguments that a function cannot do without."""
    parameters = inspect.signature(function).parameters.values()
    return [
        parameter.name for parameter in parameters if parameter.default is inspect.Parameter.empty
    ]


def _wrong_config(module: str, arguments: argparse.Namespace) -> str | None:
    """What is wrong with the config file that parsed arguments name, and the fields they set in it."""
    path = getattr(arguments, "config", None)
    if not isinstance(path, str) or path.isupper():
        return None
    overrides = list(getattr(arguments, "set", None) or [])
    overrides += [
        item.removeprefix("--config.")
        for item in getattr(arguments, "rest", [])
        if item.startswith("--config.")
    ]
    overrides += [
        item.removeprefix("--config.") for item in getattr(arguments, "overrides", None) or []
    ]
    with contextlib.chdir(ROOT):
        try:
            config_lib.load(path, overrides)
            if module == "rewardjax.sweep":
                _sweep_exists(path, getattr(arguments, "sweep", None))
        except (ValueError, TypeError, AttributeError, OSError) as error:
            return str(error)
    return None


def _sweep_exists(path: str, name: str | None) -> None:
    function = f"sweep_{name}" if name else "sweep"
    trials = getattr(config_lib.load_module(path.partition(":")[0]), function)()
    for overrides in trials:
        config_lib.load(path, overrides)


# ------------------------------------------------------------------ names


@functools.cache
def config_fields() -> frozenset[str]:
    """Every dotted field of every config, and the sections on the way to it."""
    from rewardjax import defaults
    from rewardjax.curation.defaults import curation

    configs = [defaults.training(), defaults.evaluation(), curation()]
    for path in sorted((ROOT / "configs").rglob("*.py")):
        configs.append(config_lib.load(path))
    fields = set()
    for config in configs:
        for field in config_lib.fields(config.to_dict()):
            parts = field.split(".")
            fields |= {".".join(parts[:depth]) for depth in range(1, len(parts) + 1)}
    return frozenset(fields)


# What users name themselves: held-out sets, benchmarks, sources, judges.
FREE = ("evals", "benchmarks", "overlap", "sources", "clean.benchmarks", "engine.options", "train")


# Names that begin like ours: a tensor and a field of other folders, a method of optax, a server of models.
FOREIGN = {"score.weight", "model.dropout", "optimizer.init", "llama.cpp"} | {
    "AutoTokenizer.from_pretrained"  # a benchmark imports the class by its name
}


@functools.cache
def code_objects() -> dict[str, set[str]]:
    """module -> the names in it: top-level ones, and `Class.attribute`."""
    objects: dict[str, set[str]] = {}
    bases: dict[tuple[str, str], list[str]] = {}  # (module, class) -> names of its bases
    for folder in OURS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(
                ".__init__"
            )
            tree = ast.parse(path.read_text(encoding="utf-8"))
            objects[module] = set(_defined(tree))
            for node in tree.body:
                if isinstance(node, ast.ClassDef):
                    bases[module, node.name] = [ast.unparse(base) for base in node.bases]
    own = {module: set(names) for module, names in objects.items()}
    for (module, name), of in bases.items():
        for base in of:
            # What a class inherits is called by its own name.
            for names in own.values():
                inherited = {each for each in names if each.startswith(f"{base}.")}
                objects[module] |= {name + each.removeprefix(base) for each in inherited}
    return objects


def _defined(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        yield from _bound(node)
        if isinstance(node, ast.ClassDef):
            for child in ast.walk(node):
                attribute = (
                    isinstance(child, ast.Attribute)
                    and isinstance(child.value, ast.Name)
                    and child.value.id == "self"
                )
                if attribute:
                    yield f"{node.name}.{child.attr}"
            for child in node.body:
                yield from (f"{node.name}.{name}" for name in _bound(child))


def _bound(node: ast.stmt) -> list[str]:
    """The names that a statement binds."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return [node.name]
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return [alias.asname or alias.name.split(".")[0] for alias in node.names]
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return [
        name.id
        for target in targets
        if target
        for name in ast.walk(target)
        if isinstance(name, ast.Name)
    ]


@functools.cache
def _first_words() -> frozenset[str]:
    modules = {part for module in code_objects() for part in module.split(".")}
    classes = {
        name
        for defined in code_objects().values()
        for name in defined
        if name[0].isupper() and "." not in name
    }
    sections = {field.split(".")[0] for field in config_fields()}
    return frozenset(modules | classes | sections)


def is_ours(name: str) -> bool:
    """Whether a dotted name speaks of this project: its first word is a module, a class or a section of a config."""
    if name.isupper():  # a placeholder
        return False
    return name.startswith("--config.") or name.split(".")[0] in _first_words()


@functools.cache
def wrong_name(name: str) -> str | None:
    """Why a dotted name leads nowhere."""
    field = name.removeprefix("--config.")
    if field in config_fields() or field.startswith(tuple(f"{section}." for section in FREE)):
        return None
    if name.startswith("--config."):
        return "no config has this field"
    # What the package exports is imported when it is first used, so that no source defines it.
    if name in FOREIGN or name in [f"rewardjax.{export}" for export in rewardjax.__all__]:
        return None
    parts = name.split(".")
    for split in range(len(parts) + 1):
        module, rest = ".".join(parts[:split]), ".".join(parts[split:])
        for full, defined in code_objects().items():
            belongs = not module or full == module or full.endswith("." + module)
            if belongs and (rest in defined or (module and not rest)):
                return None
    # A variable that is named after its class, as `ledger` of CallLedger.
    owners = (
        name
        for defined in code_objects().values()
        for name in defined
        if name.endswith("." + parts[-1])
    )
    if len(parts) == 2 and any(
        owner.split(".")[0].lower().endswith(parts[0].lower()) for owner in owners
    ):
        return None
    return "neither a config field nor an object of the code"


# ------------------------------------------------------------------ files and links


@functools.cache
def _all_files() -> tuple[str, ...]:
    skipped = {".git", ".venv", "runs", "build", "dist", "__pycache__"}
    paths = (path.relative_to(ROOT) for path in ROOT.rglob("*") if path.is_file())
    return tuple(str(path) for path in paths if not skipped & set(path.parts))


@functools.cache
def wrong_file(path: str, folder: pathlib.Path) -> str | None:
    """Why a path leads nowhere: it may begin at the root, at the package, beside the text, or name the end of a path."""
    plain = path.removeprefix("./")
    if (ROOT / plain).exists() or (folder / plain).exists():
        return None
    if any(file.endswith("/" + plain) for file in _all_files()):
        return None
    return "no such file"


def wrong_link(target: str, document: Document) -> str | None:
    """Why a link leads nowhere."""
    path, _, anchor = target.partition("#")
    file = (document.folder / path).resolve() if path else None
    if file is not None and not file.exists():
        return "no such file"
    if not anchor:
        return None
    # Of Markdown alone: a picture has no headings.
    text = document.text
    if file is not None:
        text = file.read_text(encoding="utf-8")
    if anchor not in headings(text):
        return f"no heading #{anchor}"
    return None


def headings(markdown: str) -> set[str]:
    """The anchors of a Markdown text, as GitHub makes them."""
    titles = re.findall(r"^#+ +(.+?)\s*$", markdown, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
