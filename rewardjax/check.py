"""What a data source holds, before anything is trained on it.

    python -m rewardjax.check SOURCE [--split NAME] [--tokenizer DIR]
        [--columns "{prompt: question}"] [--labels "{0: first, 1: second}"]

SOURCE is whatever `data/sources/` opens. Printed are, file by file, what was read and what was lost
and why; a histogram of lengths; and three pairs as the model will read them, control tokens
included. Without a tokenizer lengths are in characters and the pairs are shown turn by turn.
"""

import argparse
import collections
import json
import os
import textwrap
from collections.abc import Iterator, Sequence

from rewardjax import assets
from rewardjax.command import errors, terminal
from rewardjax.data import accounting, sources, spelling
from rewardjax.data.chat import ChatTokenizer
from rewardjax.data.groups import REASONS, Group, Message
from rewardjax.reporting import examine
from rewardjax.reporting.examine import Example, Findings

SHOWN = 3  # pairs
MOST_TEXT = 1500  # characters of a text that are shown
MOST_DETAIL = 250  # characters of what is wrong with one record
BAR = 40  # characters of the longest bar
WIDTH = 100  # columns of a line of prose


@errors.one_line("rewardjax.check")
def main(argv: Sequence[str] | None = None) -> None:
    """Run the command."""
    args = _parser().parse_args(argv)
    # Optional, since what a file holds and loses can be seen without one. None stands in for it:
    # its lengths would be another model's.
    tokenizer = None
    if args.tokenizer:
        tokenizer = ChatTokenizer.load(assets.resolve(args.tokenizer, weights=False))
    source = sources.open_source(args.source, split=args.split, spelling=spelling.FLAGS)
    measure = _measure(tokenizer)
    files, pairs = examine.examine(source, measure, tokenizer, SHOWN, args.columns, args.labels)
    terminal.show(report(source.name, files, pairs, tokenizer))
    # After the report, whose reasons are what helps; the exit code is for scripts.
    if not any(findings.kept for findings in files):
        raise ValueError(f"{args.source}: no record can be used; the reasons are above")


def _parser() -> argparse.ArgumentParser:
    parser = errors.ArgumentParser(
        prog="python -m rewardjax.check",
        description="Show what a data source holds and how it is read.",
    )
    # Both ways, so that whoever knows another verb's flags need not look this one's up.
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("source", nargs="?", help="file, glob, folder, tfds:NAME, hf://ORG/NAME")
    source.add_argument("--data", dest="source", metavar="SOURCE", help="the same")
    spelling.add_flags(parser)
    parser.add_argument(
        *("--tokenizer", "--model"),
        metavar="DIR",
        help="folder of the tokenizer, or of the model with it; assets:world is the shipped one",
    )
    return parser


def _measure(tokenizer: ChatTokenizer | None) -> examine.Measure:
    """The length of a conversation: tokens, or characters where no tokenizer is named."""
    if tokenizer is None:
        return lambda messages, tools: sum(len(message["content"]) for message in messages)
    return lambda messages, tools: len(tokenizer.encode(messages, tools))


def report(
    name: str,
    files: Sequence[Findings],
    pairs: Sequence[Example],
    tokenizer: ChatTokenizer | None,
) -> Iterator[str]:
    """The lines that are printed about the source `name`."""
    for findings in files:
        yield from _of_file(findings)
    # One file's counts are the source's.
    if len(files) > 1:
        yield ""
        yield f"{name}: {_counts(files)} in {len(files)} files"
    lengths: collections.Counter[int] = collections.Counter()
    for findings in files:
        lengths.update(findings.lengths)
    yield ""
    if tokenizer is None:
        yield from histogram(lengths, "characters")
        yield "(--tokenizer DIR counts tokens, and shows pairs as that model reads them)"
    else:
        yield from histogram(lengths, "tokens")
    for place, example in enumerate(pairs, 1):
        yield ""
        pair = example.pair
        labels = f"target {pair.target:g}, margin {pair.margin:g}" + ", tie" * pair.tie
        yield (
            f"--- pair {place} of {len(pairs)}: {example.file}, record {example.number}, "
            f"id {example.group.id}, {labels}"
        )
        yield from _of_pair(example, tokenizer)


# ------------------------------------------------------------------ files


def _of_file(findings: Findings) -> Iterator[str]:
    """What a file was read as, and what was lost of it."""
    yield from _wrapped(findings.read_as)
    yield f"  {_counts([findings])}"
    for reason, loss in findings.lost.items():
        counts = []
        for unit in ("records", "pairs", "responses"):
            if getattr(loss, unit):
                counts.append(_number(getattr(loss, unit), unit))
        yield from _wrapped(f"  lost: {' and '.join(counts)}, {reason} ({REASONS[reason]})")
        for number, detail in loss.examples:
            yield from _wrapped(f"    record {number}: {_shortened(detail)}", "      ")
    for sentence in accounting.remarks(
        findings.control_records,
        findings.control_example,
        findings.unprinted,
        findings.late_columns,
    ):
        yield from _wrapped(f"  {sentence}")


def _counts(files: Sequence[Findings]) -> str:
    total = lambda field: sum(getattr(findings, field) for findings in files)
    pairs, responses = _number(total("pairs"), "pairs"), _number(total("responses"), "responses")
    return (
        f"{total('kept'):,} of {total('records'):,} records can be used, with {pairs} labeled and "
        f"{responses}"
    )


def _wrapped(text: str, indent: str = "    ") -> list[str]:
    return textwrap.wrap(
        text, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def _number(count: int, unit: str) -> str:
    """A count with its unit, which is given in the plural."""
    if count == 1:
        unit = unit.removesuffix("s")
    return f"{count:,} {unit}"


def _shortened(detail: str) -> str:
    """A detail in one line; those that list every layout there is are of no more help here."""
    return textwrap.shorten(detail, MOST_DETAIL, placeholder=" ...")


# ------------------------------------------------------------------ lengths


def histogram(lengths: collections.Counter[int], unit: str) -> Iterator[str]:
    """Quantiles of the lengths of N conversations, and a bar for each doubling of the length."""
    N = lengths.total()
    if not N:
        yield f"no conversation has a length in {unit}"
        return
    ordered = sorted(lengths)
    cumulated, quantiles, shares = 0, [], [0.5, 0.95, 0.99]
    for length in ordered:
        cumulated += lengths[length]
        while shares and cumulated >= shares[0] * N:
            quantiles.append(f"{100 * shares.pop(0):.0f}% have at most {length:,}")
    yield f"{unit} of a conversation: {', '.join(quantiles)}; the longest {ordered[-1]:,}"
    # Doublings, since lengths are spread over several powers of ten.
    bars: collections.Counter[int] = collections.Counter()
    for length, times in lengths.items():
        bars[length.bit_length()] += times
    tallest = max(bars.values())
    for bits in range(min(bars), max(bars) + 1):
        low, high = 2**bits // 2, 2**bits - 1
        bar = "#" * -(-BAR * bars[bits] // tallest)  # at least one for a single conversation
        yield f"  {low:>9,} - {high:<9,} {bar:<{BAR}} {bars[bits]:,}".rstrip()


# ------------------------------------------------------------------ pairs


def _of_pair(example: Example, tokenizer: ChatTokenizer | None) -> Iterator[str]:
    """What both conversations start with, once, and how each goes on."""
    group, pair = example.group, example.pair
    chosen = _as_read(group, group.responses[pair.chosen], tokenizer)
    rejected = _as_read(group, group.responses[pair.rejected], tokenizer)
    # Up to the prompt's end: the beginning that two answers share belongs to the answers.
    shared = os.path.commonprefix([chosen, rejected, _as_read(group, [], tokenizer)])
    yield _clipped(shared)
    for heading, text in (("chosen", chosen), ("rejected", rejected)):
        yield f"--- {heading}"
        yield _clipped(text[len(shared) :])


def _as_read(group: Group, response: list[Message], tokenizer: ChatTokenizer | None) -> str:
    """A group's prompt and a response to it as text, from token ids where there is a tokenizer."""
    messages = group.prompt + response
    if tokenizer is not None:
        # From the ids and not from the template: this is what the model gets.
        return tokenizer.decode(tokenizer.encode(messages, group.tools))
    lines = [f"[tools] {json.dumps(tool, ensure_ascii=False)}\n" for tool in group.tools or []]
    for message in messages:
        lines.append(f"[{message['role']}] {message['content']}\n")
        if message.get("tool_calls"):
            lines.append(f"[calls] {json.dumps(message['tool_calls'], ensure_ascii=False)}\n")
    return "".join(lines)


def _clipped(text: str) -> str:
    """The text, without its middle where it is long."""
    # The template's own line break would leave an empty line before the next heading.
    text = text.removesuffix("\n")
    if len(text) <= MOST_TEXT:
        return text
    half = MOST_TEXT // 2
    return f"{text[:half]}\n[... {len(text) - 2 * half:,} characters ...]\n{text[-half:]}"


if __name__ == "__main__":
    main()
