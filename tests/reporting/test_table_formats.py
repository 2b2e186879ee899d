"""Tables in Markdown, CSV and LaTeX hold any text without breaking."""

import csv
import io

import pytest

from rewardjax.reporting import table_formats

HOSTILE = 'a|b & 50% _x_ {y} $z$ #1 ~^ \\ <t>\nnext, "q"'


def test_a_bar_or_a_line_break_in_a_name_stays_in_its_cell():
    lines = table_formats.markdown(["model", "score"], [[HOSTILE, "1"]]).splitlines()
    assert len(lines) == 3 and lines[2].replace("\\|", "").count("|") == 3


def test_csv_gives_back_what_was_written():
    rows = [{"model": HOSTILE, "p": 1 / 3}, {"model": None, "more": True}]
    first, second = csv.DictReader(io.StringIO(table_formats.csv_text(rows)))
    assert first["model"] == HOSTILE and float(first["p"]) == 1 / 3 and first["more"] == ""
    assert second == {"model": "", "p": "", "more": "true"}


@pytest.mark.parametrize(
    "text, escaped",
    [
        ("A & B_1", r"A \& B\_1"),
        ("50% #1 $x$", r"50\% \#1 \$x\$"),
        ("{a}\\b", r"\{a\}\textbackslash{}b"),
        ("~^<>|", r"\textasciitilde{}\textasciicircum{}\textless{}\textgreater{}\textbar{}"),
        ("[x]", "{[}x]"),
        ("a\nb", "a b"),
        ("–", "--"),
    ],
)
def test_latex_prints_text_as_it_is(text, escaped):
    assert table_formats.escape_latex(text) == escaped


def test_a_latex_table_has_rules_between_groups_and_notes_below():
    text = table_formats.latex(["m", "x"], [[["a", "1"]], [["b", "2"]]], ["50 %"])
    lines = text.splitlines()
    assert lines[0] == r"\begin{tabular}{lr}" and lines[-1] == r"\end{tabular}"
    rules = [line for line in lines if line.endswith("rule")]
    assert rules == [r"\toprule", r"\midrule", r"\midrule", r"\bottomrule"]
    assert lines[-2] == r"\multicolumn{2}{l}{\footnotesize 50 \%} \\"
