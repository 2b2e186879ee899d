"""What a run says of its evaluations: a line for each set, and a table at the end.

    step 40/47  heldout (pairs.jsonl, 5%)  0.654 (0.624-0.683)

A figure stands beside the set that it was measured on, with the set's source: an accuracy on other
data than one's own would be read as one's own.
"""

import pathlib
import sys
from collections.abc import Iterator, Mapping
from typing import Any, TextIO

from tqdm import tqdm

from rewardjax.command import terminal
from rewardjax.config import Config
from rewardjax.reporting import text_table


def tell(text: str, stream: TextIO | None = None) -> None:
    """Print lines on `stream`, default: standard error, folded to its width.

    A live line goes on below them, where plain `print` would continue it.
    """
    # Not as a default of the argument: a notebook or a test may exchange the stream.
    out: TextIO = stream or sys.stderr
    tqdm.write(terminal.folded(text, terminal.columns(out)), file=out)
    out.flush()


def names_of(config: Config) -> dict[str, str]:
    """Name of a held-out set or benchmark -> that name with where its examples come from."""
    names = {name: f"{name} ({_source_of(section)})" for name, section in config.evals.items()}
    for name, section in config.benchmarks.items():
        names[name] = f"{name} ({section.benchmark.rpartition('.')[2]})"
    return names


def lines(
    step: int, total_steps: int, results: Mapping[str, Any], names: Mapping[str, str]
) -> Iterator[str]:
    """A line for each set that was measured at `step`; `results` are those of `evaluate_all`."""
    for name, shown in names.items():
        yield f"step {step}/{total_steps}  {shown}  {_figure(name, results)}"


def ending(
    workdir: pathlib.Path,
    results: Mapping[str, Any],
    names: Mapping[str, str],
    width: int = 0,
) -> str:
    """The last evaluation as a table, and where everything is.

    width: columns of the terminal, 0 for any number. A table that is wider would be folded into
    something that nobody can read: a line for each set takes its place.
    """
    rows = []
    for name, shown in names.items():
        # A benchmark counts other things than pairs.
        row = {"measured on": shown, "pairs": results.get(f"{name}/pairs", "")}
        rows.append(row | {"accuracy (95% interval)": _figure(name, results)})
    paragraphs = [text_table.table(rows)]
    if width and max(map(len, paragraphs[0].split("\n"))) > width:
        paragraphs = [f"{shown}  {_figure(name, results)}" for name, shown in names.items()]
    if not rows:
        paragraphs = [
            "no held-out set: how good the model is was not measured (--held-out 5%, or evals)"
        ]
    paragraphs += [
        f"report       {workdir / 'report.html'}",
        f"model        {workdir}  (rewardjax score --model, rewardjax evaluate --model)",
        f"to share it  rewardjax export --model {workdir} --output {workdir / 'hf'}",
    ]
    return "\n".join(paragraphs)


def _figure(name: str, results: Mapping[str, Any]) -> str:
    """Accuracy with its interval, or a benchmark's headline."""
    accuracy, headline = results.get(f"{name}/accuracy"), results.get(f"{name}/headline")
    if accuracy is not None:
        low, high = results[f"{name}/wilson_low"], results[f"{name}/wilson_high"]
        return f"{accuracy:.3f} ({low:.3f}-{high:.3f})"
    if headline is not None:
        return f"{headline:.3f}"
    return "no pair with a preference"


def _source_of(section: Config) -> str:
    """The source of a held-out set in a few words: its file, split and part."""
    source = str(section.source)
    # The folders of a path say nothing that is new; those of an address do.
    if "://" not in source:
        source = pathlib.PurePath(source).name
    words = [source]
    if section.split is not None:
        words.append(str(section.split))
    low, high = section.part
    if high - low < 1:
        words.append(f"{100 * (high - low):.3g}%")
    return ", ".join(words)
