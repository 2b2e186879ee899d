"""One static HTML page about a run: everything inside the file, nothing fetched, every text escaped."""

import base64
import json
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jinja2

from rewardjax import files

TEMPLATE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{{ title }}</title>
<style>
:root { color-scheme: light dark; --ink: #1c1e21; --soft: #5c6370; --page: #ffffff; --panel: #f5f6f8; --line: #d9dce1;
        --good: #0072b2; --bad: #b34a00; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e6ea; --soft: #9aa2af; --page: #15171a; --panel: #1e2126; --line: #363b43; --good: #6cb8e6; --bad: #f0955a; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 80rem; color: var(--ink); background: var(--page);
       font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; margin: 0 0 1rem; }
h2 { font-size: 1.15rem; margin: 2.2rem 0 .7rem; padding-bottom: .3rem; border-bottom: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.4rem 0 .4rem; }
p { margin: .4rem 0 .8rem; max-width: 60rem; }
nav a { margin-right: 1rem; color: var(--good); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .8rem .3rem 0; text-align: left; border-bottom: 1px solid var(--line); vertical-align: top; }
thead th { color: var(--soft); font-weight: 600; white-space: nowrap; }
td:first-child { white-space: nowrap; }
td.number, th.number { text-align: right; padding-left: .8rem; white-space: nowrap; }
figure { margin: 0 0 1.4rem; }
figure img { max-width: 100%; height: auto; background: #fff; border-radius: 6px; }
figcaption { color: var(--soft); }
pre { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; font: 13px/1.45 ui-monospace, monospace; }
.example, details { margin: 0 0 1rem; padding: .8rem 1rem; background: var(--panel); border: 1px solid var(--line); border-radius: 6px; }
.answers { display: grid; grid-template-columns: repeat(auto-fit, minmax(18rem, 1fr)); gap: 1rem; margin-top: .7rem; }
.role { color: var(--soft); font-size: .85rem; }
.right { color: var(--good); } .wrong { color: var(--bad); }
summary { cursor: pointer; }
</style>
</head>
<body>
<h1>{{ title }}</h1>
<nav>{% for id, heading in sections %}<a href="#{{ id }}">{{ heading }}</a>{% endfor %}</nav>
{% macro show_table(table) %}
<div class="scroll"><table>
<thead><tr>{% for column in table.columns %}<th{% if column in table.numeric %} class="number"{% endif %}>{{ column }}</th>{% endfor
%}</tr></thead> <tbody>
{% for row in table.rows %}<tr>{% for column in table.columns -%}
<td{% if column in table.numeric %} class="number"{% endif %}>{{ row.get(column) | show }}</td>{% endfor %}</tr>
{% endfor %}</tbody></table></div>
{% endmacro %}
{% macro show_figure(figure) %}
<figure><img src="data:image/png;base64,{{ figure.data }}" alt="{{ figure.caption }}"><figcaption>{{ figure.caption }}</figcaption></figure>
{% endmacro %}
{% for part in parts %}
<h2 id="{{ part.id }}">{{ part.heading }}</h2>
{% for paragraph in part.text %}<p>{{ paragraph }}</p>
{% endfor %}
{% for figure in part.figures %}{{ show_figure(figure) }}{% endfor %}
{% for table in part.tables %}{% if table.heading %}<h3>{{ table.heading }}</h3>{% endif %}{{ show_table(table) }}{% endfor %}
{% endfor %}
{% for table in tables %}
<h2 id="{{ table.id }}">{{ table.heading }}</h2>
{{ show_table(table) }}
{% endfor %}
{% if figures %}<h2 id="figures">Figures</h2>
{% for figure in figures %}{{ show_figure(figure) }}{% endfor %}{% endif %}
{% if examples %}<h2 id="examples">Sample pairs</h2>
{% for example in examples %}
<div class="example">
{% for message in example.prompt %}<div class="role">{{ message.role }}</div><pre>{{ message.content }}</pre>{% endfor %}
<div class="answers">
{% for name in ("chosen", "rejected") %}<div>
<div class="role">{{ name }}, reward <b>{{ example[name ~ "_reward"] | show }}</b></div>
{% for message in example[name] %}<pre>{{ message.content }}</pre>{% endfor %}
</div>{% endfor %}
</div>
<div class="{{ "right" if example.correct else "wrong" }}">
{{ "The model prefers the chosen response" if example.correct else "The model does not prefer the chosen response" }}
by {{ (example.chosen_reward - example.rejected_reward) | show }}.</div>
{% if example.note %}<div class="role">{{ example.note }}</div>{% endif %}
</div>
{% endfor %}{% endif %}
<h2 id="facts">The run</h2>
<div class="scroll"><table><tbody>
{% for name, value in facts.items() %}<tr><th scope="row">{{ name }}</th><td>{{ value | show }}</td></tr>
{% endfor %}</tbody></table></div>
{% if config is not none %}<details><summary>Configuration</summary><pre>{{ config }}</pre></details>{% endif %}
</body>
</html>
"""


class Section(NamedTuple):
    """A part of a page: paragraphs, then figures (caption -> PNG file), then tables (heading, may be "", -> rows as in `write_report`)."""

    heading: str
    text: Sequence[str] = ()
    figures: Mapping[str, str | pathlib.Path] = {}
    tables: Mapping[str, Sequence[Mapping[str, Any]]] = {}


NUMBER = re.compile(
    r"[-+]?[\d,]*\.?\d+(?: ?[*%]| to [-+]?[\d,]*\.?\d+)?"
)  # a formatted number or interval; a star is for a footnote


def _is_number(value: Any) -> bool:
    if isinstance(value, str):
        return NUMBER.fullmatch(value) is not None
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _show(value: Any) -> str:
    """A value as people read it: four significant digits, thousands separated, nested values as JSON, nothing as a dash."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:,.0f}" if 1e4 <= abs(value) < 1e15 else f"{value:.4g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _table(index: int, heading: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    present = {
        column: [row[column] for row in rows if row.get(column) is not None] for column in columns
    }
    numeric = {
        column
        for column in columns
        if present[column] and all(_is_number(value) for value in present[column])
    }
    return {
        "id": f"table-{index}",
        "heading": heading,
        "columns": columns,
        "numeric": numeric,
        "rows": rows,
    }


def _figures(figures: Mapping[str, str | pathlib.Path]) -> list[dict[str, str]]:
    """Captions and base64 data. Raises ValueError for a file that is not a PNG."""
    shown = []
    for caption, file in figures.items():
        data = pathlib.Path(file).read_bytes()
        if not data.startswith(b"\x89PNG"):
            raise ValueError(f"report: figure {caption!r}: {file} is not a PNG file")
        shown.append({"caption": caption, "data": base64.b64encode(data).decode()})
    return shown


def _messages(value: str | Sequence[Mapping[str, str]], role: str) -> list[dict[str, str]]:
    return (
        [{"role": role, "content": value}]
        if isinstance(value, str)
        else [dict(message) for message in value]
    )


def write_report(
    path: str | pathlib.Path,
    title: str,
    facts: Mapping[str, Any],
    tables: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
    figures: Mapping[str, str | pathlib.Path] | None = None,
    examples: Sequence[Mapping[str, Any]] | None = None,
    config: Mapping[str, Any] | None = None,
    parts: Sequence[Section] = (),
) -> None:
    """Write the report of a run to `path`, whole or not at all; sections without content are left out.

    facts: name -> value (commit, versions, mesh, ...). tables: heading -> rows, each a dict column -> value; columns in order of
    appearance. figures: caption -> PNG file. examples: dicts of prompt, chosen, rejected (text or message lists), chosen_reward,
    rejected_reward and an optional note. config: shown folded, as JSON. parts: sections of their own, first on the page. Raises
    ValueError for a figure that is not a PNG, KeyError for an incomplete example."""
    path = pathlib.Path(path)
    shown_tables = [
        _table(i, heading, rows) for i, (heading, rows) in enumerate((tables or {}).items()) if rows
    ]
    shown_figures = _figures(figures or {})
    shown_parts = [
        {
            "id": f"part-{i}",
            "heading": part.heading,
            "text": part.text,
            "figures": _figures(part.figures),
            "tables": [
                _table(j, heading, rows)
                for j, (heading, rows) in enumerate(part.tables.items())
                if rows
            ],
        }
        for i, part in enumerate(parts)
    ]
    shown_examples = [
        {
            "prompt": _messages(example["prompt"], "user"),
            "chosen": _messages(example["chosen"], "assistant"),
            "rejected": _messages(example["rejected"], "assistant"),
            "chosen_reward": float(example["chosen_reward"]),
            "rejected_reward": float(example["rejected_reward"]),
            "correct": example["chosen_reward"] > example["rejected_reward"],
            "note": example.get("note"),
        }
        for example in examples or ()
    ]
    sections = [(one["id"], one["heading"]) for one in (*shown_parts, *shown_tables)]
    sections += [("figures", "Figures")] if shown_figures else []
    sections += [("examples", "Sample pairs")] if shown_examples else []
    sections.append(("facts", "The run"))

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    environment.filters["show"] = _show
    html = environment.from_string(TEMPLATE).render(
        title=title,
        facts=facts,
        parts=shown_parts,
        tables=shown_tables,
        figures=shown_figures,
        examples=shown_examples,
        sections=sections,
        config=None
        if config is None
        else json.dumps(config, indent=2, ensure_ascii=False, default=str),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.replacing(path) as part:
        part.write_text(html, encoding="utf-8")
