"""One table in the formats that people carry numbers away in: Markdown, CSV, LaTeX."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

# Each of these is an instruction to LaTeX, and would end a build or eat what follows it.
LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "{": r"\{",
        "}": r"\}",
        "$": r"\$",
        "&": r"\&",
        "#": r"\#",
        "%": r"\%",
        "_": r"\_",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        # At the beginning of a row it would be an argument of the line break before it.
        "[": "{[}",
        "–": "--",
        "−": "$-$",
    }
)


def markdown(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table, the first column to the left, the others to the right."""
    rule = ["---", *["---:"] * (len(columns) - 1)]
    lines = []
    for cells in (columns, rule, *rows):
        # A bar or a line break inside a name would begin another cell or end the table.
        lines.append(
            "| " + " | ".join(_one_line(cell).replace("|", "\\|") for cell in cells) + " |"
        )
    return "\n".join(lines)


def csv_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as CSV (RFC 4180) with all digits; the columns are all keys, in order of appearance.

    None is an empty cell, true and false are as in JSON.
    """
    columns: list[str] = []
    for row in rows:
        columns += [name for name in row if name not in columns]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_csv_cell(row.get(name)) for name in columns])
    return text.getvalue()


def _csv_cell(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    # The writer itself leaves None empty and gives a float all its digits.
    return value


def latex(
    columns: Sequence[str],
    groups: Iterable[Sequence[Sequence[str]]],
    notes: Sequence[str] = (),
    left: int = 1,
) -> str:
    """A tabular with the rules of the package booktabs; all text is escaped.

    groups: rows of cells, a thin rule between two groups. notes: below the table, over its whole
    width. left: how many columns are aligned to the left, the others are to the right.
    """
    alignment = "l" * left + "r" * (len(columns) - left)
    lines = [rf"\begin{{tabular}}{{{alignment}}}", r"\toprule", _latex_row(columns)]
    for rows in groups:
        lines.append(r"\midrule")
        lines += [_latex_row(cells) for cells in rows]
    lines.append(r"\bottomrule")
    for note in notes:
        lines.append(
            rf"\multicolumn{{{len(columns)}}}{{l}}{{\footnotesize {escape_latex(note)}}} \\"
        )
    return "\n".join([*lines, r"\end{tabular}"])


def escape_latex(text: str) -> str:
    """Text that LaTeX prints as it is."""
    return _one_line(text).translate(LATEX)


def _latex_row(cells: Sequence[str]) -> str:
    return " & ".join(map(escape_latex, cells)) + r" \\"


def _one_line(text: str) -> str:
    return " ".join(str(text).split())
