"""What is true of pairs, read from files: the labels that scripted judges answer from.

Two kinds of files. Records of any known format say it with their own label: what they call chosen
is better, whatever a curation is told about the same pair. A table of `pair_id` and `value` (a, b
or tie) names pairs of a workspace, as the file of `people.truth` does.
"""

import collections
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rewardjax.curation.intake.intake import value_of
from rewardjax.curation.ledger.rows import Value, canonical
from rewardjax.data import formats, groups
from rewardjax.data.groups import BadRecord

# Of a row of a table. A pair about which people could not decide has no truth.
LEGAL: tuple[Value, ...] = ("a", "b", "tie")


def labels_of(source: Any, columns: Any = None, labels: Any = None) -> dict[str, Value]:
    """pair_id -> "a", "b" or "tie", from one source.

    Says on standard error which records say nothing. A pair about which two records contradict each
    other is left out, and counted there too: it has no truth.

    Args:
        source: what `data.sources.open_source` returns.
        columns: our field -> the source's column, as for training.
        labels: the source's verdicts -> "first", "second" or "tie", as for training.

    Raises:
        ValueError: where nothing can be read, or a table's row has another `value`.
    """
    silent: list[str] = []
    if _is_table(source):
        read = _of_table(source)
    else:
        read = _of_records(source, columns, labels, silent)
    said: dict[str, set[Value]] = collections.defaultdict(set)
    for pair_id, value in read:
        said[pair_id].add(value)
    table: dict[str, Value] = {}
    for pair_id, values in said.items():
        if len(values) == 1:
            (table[pair_id],) = values
    _tell(source.name, silent, len(said) - len(table))
    return table


def merged(tables: Mapping[str, Mapping[str, Value]]) -> dict[str, Value]:
    """The tables of several files, by their names, as one.

    Raises ValueError where two of them contradict each other: then one is not the truth.
    """
    union: dict[str, Value] = {}
    origin: dict[str, str] = {}
    for name, table in tables.items():
        for pair_id, value in table.items():
            if union.setdefault(pair_id, value) != value:
                raise ValueError(
                    f"--truth {name} says {value} about pair {pair_id}, and --truth "
                    f"{origin[pair_id]} says {union[pair_id]}; leave one of the two files out"
                )
            origin.setdefault(pair_id, name)
    return union


def _is_table(source: Any) -> bool:
    """Whether the first record names a pair and a value, and brings no text of its own."""
    first = next(iter(source), {})
    # What `curate export` writes has a `pair_id` beside the texts, whose labels then count.
    return "pair_id" in first and "value" in first and "chosen" not in first


def _of_table(source: Any) -> Iterator[tuple[str, Value]]:
    for index, row in enumerate(source):
        pair_id, value = row.get("pair_id"), row.get("value")
        if not isinstance(pair_id, str) or value not in LEGAL:
            raise ValueError(
                f"{source.name}: record {index} has pair_id = {pair_id!r:.40} and value = "
                f"{value!r:.40}; give the id of a pair, and one of {', '.join(LEGAL)}"
            )
        yield pair_id, value


def _of_records(
    source: Any, columns: Any, labels: Any, silent: list[str]
) -> Iterator[tuple[str, Value]]:
    """The labels of records with texts; why a record has none is added to `silent`."""
    for index, _, outcome in formats.groups_of(source, columns, labels):
        try:
            if isinstance(outcome, BadRecord):
                raise outcome
            group, bad = groups.check(outcome)
        except BadRecord as error:
            silent.append(f"record {index}: {error}")
            continue
        silent += [f"record {index}: {error}" for error in bad]
        if not group.pairs and not bad:
            silent.append(f"record {index} labels no response better than another")
        for pair in group.pairs:
            chosen, rejected = group.responses[pair.chosen], group.responses[pair.rejected]
            a, b, chosen_is_a = canonical(chosen, rejected)
            pair_id = groups.pair_id(group.prompt, a, b, group.tools)
            yield pair_id, value_of(pair, chosen_is_a)


def _tell(name: str, silent: Sequence[str], contradicting: int) -> None:
    if silent:
        noun = "records say" if len(silent) > 1 else "record says"
        print(f"{name}: {len(silent)} {noun} nothing: {silent[0]}", file=sys.stderr)
    if contradicting:
        print(
            f"{name}: {contradicting} pairs have contradicting labels and count as unknown",
            file=sys.stderr,
        )
