"""One static HTML page about a run: nothing is fetched, and every text is escaped.

Whoever opens it years later sees what was written: figures are inside the file.
"""

import base64
import json
import pathlib
import re
import urllib.parse
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypedDict

import jinja2

from rewardjax import assets
from rewardjax.io import files

# Column -> value.
Row = Mapping[str, Any]


class Section(NamedTuple):
    """A part of a page: paragraphs, then figures, then tables, then examples, then links."""

    heading: str
    text: Sequence[str] = ()
    # Caption -> PNG file.
    figures: Mapping[str, str | pathlib.Path] = {}
    # Heading, which may be "", -> rows.
    tables: Mapping[str, Sequence[Row]] = {}
    # Heading -> pairs with their rewards, as for `write_report`.
    examples: Mapping[str, Sequence[Mapping[str, Any]]] = {}
    # Path of a file beside the page -> what it is.
    links: Mapping[str, str] = {}


class Table(TypedDict):
    """A table as the template shows it."""

    id: str
    heading: str
    columns: list[str]
    # Columns that are aligned to the right.
    numeric: set[str]
    rows: Sequence[Row]


class Figure(TypedDict):
    """A figure as the template shows it; `data` is the PNG file in base64."""

    caption: str
    data: str


# A formatted number or interval; a star is for a footnote.
NUMBER = re.compile(r"[-+]?[\d,]*\.?\d+(?:e[-+]\d+)?(?: ?[*%]| to [-+]?[\d,]*\.?\d+)?")


def _is_number(value: Any) -> bool:
    if isinstance(value, str):
        return NUMBER.fullmatch(value) is not None
    # True is an int to Python, and not to people.
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _show(value: Any) -> str:
    """A value as people read it.

    Four significant digits, thousands separated, nested values as JSON, nothing as a dash.
    """
    if value is None:
        return "–"
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        # Four digits of a large number would need an exponent.
        if 1e4 <= abs(value) < 1e15:
            return f"{value:,.0f}"
        return f"{value:.4g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return json.dumps(value, ensure_ascii=False, default=str)


def _tables(tables: Mapping[str, Sequence[Row]]) -> list[Table]:
    """Tables that have rows; columns in order of appearance."""
    shown = []
    for i, (heading, rows) in enumerate(tables.items()):
        if not rows:
            continue
        values: dict[str, list[Any]] = {}
        for row in rows:
            for column, value in row.items():
                present = values.setdefault(column, [])
                if value is not None:
                    present.append(value)
        # A column of nothing but dashes is not numeric.
        numeric = {
            column
            for column, present in values.items()
            if present and all(map(_is_number, present))
        }
        shown.append(
            Table(
                id=f"table-{i}", heading=heading, columns=list(values), numeric=numeric, rows=rows
            )
        )
    return shown


def _figures(figures: Mapping[str, str | pathlib.Path]) -> list[Figure]:
    """Figures with their data. Raises ValueError for a file that is not a PNG."""
    shown = []
    for caption, file in figures.items():
        data = pathlib.Path(file).read_bytes()
        if not data.startswith(b"\x89PNG"):
            raise ValueError(f"report: figure {caption!r}: {file} is not a PNG file")
        shown.append(Figure(caption=caption, data=base64.b64encode(data).decode()))
    return shown


def _messages(value: str | Sequence[Mapping[str, str]], role: str) -> list[dict[str, str]]:
    if isinstance(value, str):
        return [{"role": role, "content": value}]
    return [dict(message) for message in value]


def _example(example: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "prompt": _messages(example["prompt"], "user"),
        "chosen": _messages(example["chosen"], "assistant"),
        "rejected": _messages(example["rejected"], "assistant"),
        "chosen_reward": float(example["chosen_reward"]),
        "rejected_reward": float(example["rejected_reward"]),
        # A tie is not a preference for the chosen response.
        "correct": example["chosen_reward"] > example["rejected_reward"],
        "note": example.get("note"),
    }


def _part(number: int, part: Section) -> dict[str, Any]:
    examples = {}
    for heading, pairs in part.examples.items():
        examples[heading] = [_example(pair) for pair in pairs]
    return {
        "id": f"part-{number}",
        "heading": part.heading,
        "text": part.text,
        "figures": _figures(part.figures),
        "tables": _tables(part.tables),
        "examples": examples,
        "links": {urllib.parse.quote(file): (file, what) for file, what in part.links.items()},
    }


def write_report(
    path: str | pathlib.Path,
    title: str,
    facts: Mapping[str, Any],
    tables: Mapping[str, Sequence[Row]] | None = None,
    figures: Mapping[str, str | pathlib.Path] | None = None,
    examples: Sequence[Mapping[str, Any]] | None = None,
    config: Mapping[str, Any] | None = None,
    parts: Sequence[Section] = (),
) -> None:
    """Write the report of a run to `path`, whole or not at all; empty sections are left out.

    Args:
        path: of the HTML file.
        title: of the page.
        facts: name -> value (commit, versions, mesh, ...).
        tables: heading -> rows; columns in order of appearance.
        figures: caption -> PNG file.
        examples: dicts of prompt, chosen, rejected (text or message lists), chosen_reward,
            rejected_reward and an optional note.
        config: shown folded, as JSON.
        parts: sections of their own, first on the page.

    Raises:
        ValueError: for a figure that is not a PNG.
        KeyError: for an incomplete example.
    """
    path = pathlib.Path(path)
    page: dict[str, Any] = {
        "title": title,
        "facts": facts,
        "parts": [_part(i, part) for i, part in enumerate(parts)],
        "tables": _tables(tables or {}),
        "figures": _figures(figures or {}),
        "examples": [_example(example) for example in examples or ()],
        "config": None,
    }
    if config is not None:
        page["config"] = json.dumps(config, indent=2, ensure_ascii=False, default=str)
    # For the links at the top, in the order of the page.
    sections = [(section["id"], section["heading"]) for section in page["parts"] + page["tables"]]
    if page["figures"]:
        sections.append(("figures", "Figures"))
    if page["examples"]:
        sections.append(("examples", "Sample pairs"))
    sections.append(("facts", "The run"))

    # Texts come from data sets and models: all of them are escaped, and a name that the template
    # does not know is an error instead of an empty place.
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    environment.filters["show"] = _show
    template = environment.from_string(assets.text("report.html.jinja"))
    html = template.render(page, sections=sections)
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.replacing(path, many_writers=True) as part:
        part.write_text(html, encoding="utf-8")
