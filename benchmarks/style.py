"""How readable is the package, in numbers: a mirror for reviewers, with the limits that the house
has set itself.

    python -m benchmarks.style [--list long_lines] [--under rewardjax/data]

Prints a table and one JSON line. `--list long_lines` (or another measure) prints the places as
`file:line: text`. Everything is read from the syntax tree; nothing is imported. Exit code 1 where a
limit is passed.
"""

import argparse
import ast
import collections
import io
import json
import pathlib
import re
import sys
import tokenize
from collections.abc import Iterator
from typing import Any, NamedTuple

ROOT = pathlib.Path(__file__).parents[1]
PACKAGE = "rewardjax"
COLUMNS = 100
VAGUE = {"found", "one", "known", "given", "said", "wanted", "told", "asked"}

# Commands, and what may call into the package from outside: whatever these reach is in use.
ENTRANCES = ("configs", "launch", "benchmarks", "experiments", "notebooks")


class Module(NamedTuple):
    """A source file: its path relative to the checkout, its text by line, its syntax tree."""

    path: pathlib.Path
    lines: list[str]
    tree: ast.Module

    @property
    def name(self) -> str:
        return ".".join(self.path.with_suffix("").parts).removesuffix(".__init__")


class Place(NamedTuple):
    """Where a measure applies."""

    path: pathlib.Path
    line: int
    text: str


def size(modules: list[Module]) -> int:
    """Lines that are not blank."""
    return sum(1 for module in modules for line in module.lines if line.strip())


def read(folder: str) -> list[Module]:
    """The Python files below `folder`, in order of path."""
    modules = []
    for path in sorted((ROOT / folder).rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        modules.append(Module(path.relative_to(ROOT), text.splitlines(), ast.parse(text)))
    return modules


def long_lines(modules: list[Module]) -> Iterator[Place]:
    """Lines over COLUMNS columns."""
    for module in modules:
        for number, line in enumerate(module.lines, 1):
            if len(line) > COLUMNS:
                yield Place(module.path, number, line)


# Of a kind that the caller chooses: the attributes of the node are that kind's.
Node = Any


def _expressions(modules: list[Module], kind: type | tuple) -> Iterator[tuple[Module, Node]]:
    for module in modules:
        for node in ast.walk(module.tree):
            if isinstance(node, kind):
                yield module, node


def conditional_expressions(modules: list[Module]) -> Iterator[Place]:
    """`a if b else c`."""
    for module, node in _expressions(modules, ast.IfExp):
        yield Place(module.path, node.lineno, ast.unparse(node))


COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def nested_comprehensions(modules: list[Module]) -> Iterator[Place]:
    """A comprehension inside another, or one with two `for`."""
    for module, node in _expressions(modules, COMPREHENSIONS):
        inside = [child for child in ast.walk(node) if child is not node]
        if len(node.generators) > 1 or any(isinstance(child, COMPREHENSIONS) for child in inside):
            yield Place(module.path, node.lineno, ast.unparse(node))


def own_line_comments(modules: list[Module]) -> Iterator[Place]:
    """Comments that have a line of their own; rulers and directives for tools do not count."""
    for module in modules:
        source = "\n".join(module.lines) + "\n"
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            text = token.string.lstrip("# ")
            alone = token.type == tokenize.COMMENT and token.line.lstrip().startswith("#")
            if (
                alone
                and re.search(r"\w", text)
                and not re.match(r"(ruff|pyright|noqa|!|-{4})", text)
            ):
                yield Place(module.path, token.start[0], text)


def repeating_comments(modules: list[Module]) -> Iterator[Place]:
    """Comments of which every word of three letters or more stands in the line below, too."""
    by_path = {module.path: module.lines for module in modules}
    for place in own_line_comments(modules):
        below = next((line for line in by_path[place.path][place.line :] if line.strip()), "")
        words = {word.lower() for word in re.findall(r"[A-Za-z]{3,}", place.text)}
        below_words = {
            word.lower() for word in re.findall(r"[A-Za-z]{3,}", below.replace("_", " "))
        }
        if words and words <= below_words and not below.lstrip().startswith("#"):
            yield place


def _stored(modules: list[Module]) -> Iterator[Place]:
    for module, node in _expressions(modules, ast.Name):
        if isinstance(node.ctx, ast.Store):
            yield Place(module.path, node.lineno, node.id)


def vague_names(modules: list[Module]) -> Iterator[Place]:
    """Values that are named after nothing that they are."""
    return (place for place in _stored(modules) if place.text in VAGUE)


# ------------------------------------------------------------------ reach


def unreached_functions(modules: list[Module]) -> Iterator[Place]:
    """Functions and methods that no command, config or test helper reaches.

    Names are not resolved: a function counts as reached as soon as reached code uses its name for
    anything. Methods of a class whose base is another library's are that library's to call.
    """
    classes = {node.name for _, node in _expressions(modules, ast.ClassDef)}
    definitions = collections.defaultdict(list)
    names: list[str] = []
    for module in modules:
        names += _names_outside_functions(module.tree)
        for node in ast.walk(module.tree):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                definitions[node.name].append((module, node))
            elif isinstance(node, ast.ClassDef) and any(
                ast.unparse(base) not in classes for base in node.bases
            ):
                names += [child.name for child in node.body if isinstance(child, ast.FunctionDef)]
    for folder in ENTRANCES:
        for module in read(folder):
            names += _names(module.tree)
    for notebook in (ROOT / "notebooks").glob("*.ipynb"):
        names += re.findall(r"\w+", notebook.read_text(encoding="utf-8"))
    for module in read("tests"):
        if not module.path.name.startswith("test_"):
            names += _names(module.tree)
    reached: set[str] = {"main"}
    names.append("main")
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        for _, node in definitions.pop(name, ()):
            waiting += _names(node)
        reached.add(name)
    for name, places in definitions.items():
        for module, node in places:
            if not (name.startswith("__") and name.endswith("__")):
                yield Place(module.path, node.lineno, name)


def _names(tree: ast.AST) -> list[str]:
    """Every name that is read in `tree`;

    of strings, those that are one identifier or `module:function`.
    """
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            names.append(node.id)
        elif isinstance(node, ast.Attribute):
            names.append(node.attr)
        elif isinstance(node, ast.ImportFrom):
            # A name that only a package's __init__ passes on is not used by that.
            continue
        elif (
            isinstance(node, ast.Constant) and isinstance(node.value, str) and len(node.value) < 100
        ):
            names += re.findall(r"^(?:[\w.]+:)?(\w+)$", node.value)
    return names


def _names_outside_functions(tree: ast.Module) -> list[str]:
    """Names that are read when a module is imported, decorators, defaults and dunder methods
    among them.
    """
    names = []
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            if node.name.startswith("__"):
                names += _names(node)
                continue
            for outside in (*node.decorator_list, node.args):
                names += _names(outside)
            # A decorator registers or wraps: framework code calls the function.
            if node.decorator_list and not _plain_decorators(node):
                names.append(node.name)
            continue
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            names.append(node.id)
        elif isinstance(node, ast.Attribute):
            names.append(node.attr)
        elif (
            isinstance(node, ast.Constant) and isinstance(node.value, str) and len(node.value) < 100
        ):
            names += re.findall(r"^(?:[\w.]+:)?(\w+)$", node.value)
        waiting += ast.iter_child_nodes(node)
    return names


PLAIN = {
    "property",
    "staticmethod",
    "classmethod",
    "contextmanager",
    "lru_cache",
    "cache",
    "cached_property",
    "partial",
    "jit",
}


def _plain_decorators(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return all(PLAIN & set(_names(decorator)) for decorator in node.decorator_list)


# ------------------------------------------------------------------ layout


def fullest_folder(modules: list[Module]) -> dict[str, int]:
    """Modules in each folder, without `__init__`."""
    return collections.Counter(
        str(module.path.parent) for module in modules if module.path.name != "__init__.py"
    )


def imports_back_up(modules: list[Module]) -> Iterator[Place]:
    """Imports of a command by library code, and imports between folders that import each other,
    directly or in a circle.

    A folder is a room; a file at the top of the package is a room of its own.
    """
    names = {module.name for module in modules}
    arrows = collections.defaultdict(list)
    for module in modules:
        for line, target in _imports(module, names):
            here, there = _room(module.name), _room(target)
            if here != there:
                arrows[here, there].append(Place(module.path, line, target))
    commands = {
        _room(module.name)
        for module in modules
        if len(module.path.parts) == 2 and _is_command(module)
    }
    reach = _closure(set(arrows))
    for (here, there), places in sorted(arrows.items()):
        circle = here in reach.get(there, set())
        if circle or (there in commands and here not in commands):
            yield from places


def _is_command(module: Module) -> bool:
    return any(line.startswith("if __name__ ==") for line in module.lines)


def _room(name: str) -> str:
    parts = name.split(".")
    if len(parts) == 2 and (ROOT / PACKAGE / parts[1]).is_dir():
        return name
    return ".".join(parts[:2]) if len(parts) > 2 else name


def _imports(module: Module, names: set[str]) -> Iterator[tuple[int, str]]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == PACKAGE:
            for alias in node.names:
                target = f"{node.module}.{alias.name}"
                yield node.lineno, target if target in names else str(node.module)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name in names:
                    yield node.lineno, alias.name


def _closure(arrows: set[tuple[str, str]]) -> dict[str, set[str]]:
    """What each room reaches, over any number of arrows."""
    reach = collections.defaultdict(set)
    for here, there in arrows:
        reach[here].add(there)
    for middle in list(reach):
        for here in list(reach):
            if middle in reach[here]:
                reach[here] |= reach[middle]
    return reach


# ------------------------------------------------------------------ the table


class Measure(NamedTuple):
    """A figure with the limit it should keep; `least` where more is better."""

    value: float
    limit: float
    least: bool = False

    @property
    def holds(self) -> bool:
        return self.value >= self.limit if self.least else self.value <= self.limit


MEASURES = {
    "long_lines": long_lines,
    "conditional_expressions": conditional_expressions,
    "nested_comprehensions": nested_comprehensions,
    "own_line_comments": own_line_comments,
    "repeating_comments": repeating_comments,
    "vague_names": vague_names,
    "unreached_functions": unreached_functions,
    "imports_back_up": imports_back_up,
}


def measure(modules: list[Module], under: str) -> dict[str, Measure]:
    """Every figure of what lies under a path, with its limit.

    All of the package is read, since what a folder's functions are reached by may lie elsewhere.
    """
    below = [module for module in modules if str(module.path).startswith(under)]
    lines = size(below)
    counts = {}
    for name, places in MEASURES.items():
        counts[name] = sum(str(place.path).startswith(under) for place in places(modules))
    per_thousand = lambda name: round(1000 * counts[name] / lines, 2)
    stored = len(list(_stored(below)))
    return {
        "long_lines_percent": Measure(round(100 * counts["long_lines"] / lines, 2), 1),
        "conditional_expressions_per_1000": Measure(per_thousand("conditional_expressions"), 12),
        "nested_comprehensions_per_1000": Measure(per_thousand("nested_comprehensions"), 1),
        "own_line_comments_per_1000": Measure(per_thousand("own_line_comments"), 40, least=True),
        "repeating_comments": Measure(counts["repeating_comments"], 0),
        "vague_names_percent": Measure(round(100 * counts["vague_names"] / stored, 2), 1),
        "unreached_functions": Measure(counts["unreached_functions"], 0),
        "fullest_folder": Measure(max(fullest_folder(below).values()), 16),
        "imports_back_up": Measure(counts["imports_back_up"], 0),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.style", description="How readable is the package?"
    )
    parser.add_argument("--list", choices=sorted(MEASURES), help="print the places of this measure")
    parser.add_argument(
        "--under",
        default=PACKAGE,
        help="a folder or file of the package to look at; default: all of it",
    )
    args = parser.parse_args()
    modules = read(PACKAGE)
    below = [module for module in modules if str(module.path).startswith(args.under)]
    if args.list:
        for place in MEASURES[args.list](modules):
            if str(place.path).startswith(args.under):
                print(f"{place.path}:{place.line}: {place.text.strip()}")
        return
    figures = measure(modules, args.under)
    for name, figure in figures.items():
        sign = ">=" if figure.least else "<="
        verdict = "" if figure.holds else "beyond the limit"
        print(f"{name:34} {figure.value:8g}   {sign} {figure.limit:<6g} {verdict}")
    record = {name: figure.value for name, figure in figures.items()}
    holds = all(figure.holds for figure in figures.values())
    print(json.dumps(record | {"lines": size(below), "holds": holds}))
    sys.exit(not holds)


if __name__ == "__main__":
    main()
