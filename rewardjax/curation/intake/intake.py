"""Records -> the ledger: text once, the label it came with as a vote.

A row that cannot be used leaves a reason. Exact duplicates meet here: two rows of the same prompt
and the same two responses, whichever was chosen, are one pair with two votes.
"""

import dataclasses
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

import pyarrow as pa

from rewardjax.command.running import Running, Step
from rewardjax.curation.intake import gold
from rewardjax.curation.ledger import stage_names
from rewardjax.curation.ledger.manifests import StoreConflict
from rewardjax.curation.ledger.rows import (
    AttributesRow,
    Entry,
    Label,
    PairRow,
    RejectRow,
    Value,
    VoteRow,
    canonical,
)
from rewardjax.curation.ledger.store import Store
from rewardjax.data import formats, groups
from rewardjax.data.groups import BadRecord, Group, Pair
from rewardjax.data.layouts import fields, mapping, verdicts
from rewardjax.data.sources import Source

# Rows of the source per unit: what an interrupted import does again at most.
ROWS = 50_000
# Fields of a record that the pair itself holds; the others are kept as its `info`.
HELD = {
    "id",
    "chosen",
    "rejected",
    "responses",
    "correct",
    "ranks",
    *fields.PROMPTS,
    *itertools.chain(*verdicts.TWO_RESPONSES),
}
# Beside groups.REASONS: training skips such a record, which is sound as a group; the ledger is
# about pairs.
NO_PAIR = "no_pair"


Read = TypeVar("Read")


class Intake(NamedTuple):
    """What some rows of a source become."""

    # By pair_id, the first of equal ones.
    pairs: dict[str, PairRow]
    # By the source's labels, and of gold also by people.
    votes: list[VoteRow]
    rejects: list[RejectRow]
    # Of gold.
    attributes: list[AttributesRow]


def take_in(
    store: Store,
    source: Source,
    *,
    entry: Entry,
    name: str,
    rows: int = ROWS,
    columns: Any = None,
    labels: Any = None,
    running: Running | None = None,
) -> dict[str, int]:
    """Import every record of `source` as stage `import-NAME`.

    A row leaves a vote by "original:NAME" for each of its pairs, or a reject. Interrupted, the same
    call goes on.

    Args:
        store: it is given the rows.
        source: of records in any known format.
        entry: "unverified" where people made the labels, "wild" where not (paper 2.1); "gold" where
            people of the team's own labeled the pairs one by one: what they said (`gold`) stands
            before the first iteration.
        name: of the import.
        rows: of the source, per unit.
        columns: our field -> the source's column, as for training.
        labels: the source's verdicts -> "first", "second" or "tie", as for training.
        running: told of each row; None: one that speaks for this import alone.

    Returns:
        Counts of `rows`, `pairs` new to the store, `duplicates` of pairs that it has, `rejects`,
        and of gold the `votes` of people.

    Raises:
        StoreConflict: where another source, or the same one otherwise, was imported under this
            name.
        ValueError: for a file of the source that cannot be read.
    """
    stage = stage_names.imported(name).name
    inputs: dict[str, Any] = {"source": source.fingerprint()}
    # Absent where nobody said anything, so that earlier imports stay what they were.
    if columns or labels:
        inputs["mapping"] = formats.meaning(source, columns, labels)._asdict()
    how: dict[str, Any] = {"inputs": inputs, "config": {"entry": entry, "rows": rows}}
    meaning = formats.meaning(source, columns, labels)
    units = [f"{i:05d}" for i in range(max(1, -(-len(source) // rows)))]
    # Pairs are written last: a unit that has them is done.
    done = {unit for unit in units if store.has("pairs", stage, unit)}
    for unit in sorted(done)[:1]:
        before = store.manifest("pairs", stage, unit)["inputs"]
        _refuse_other(store, name, entry, before, inputs)
    if len(done) < len(units):
        running = running or Running()
        with running.step(f"import {name}", len(source), unit="row") as step:
            # One iterator for all units, as a source is read from its start.
            records = _counted(formats.groups_of(source, columns, labels), step)
            for unit in units:
                # Also of a unit that is done.
                batch = list(itertools.islice(records, rows))
                if unit not in done:
                    intake = _read(batch, name, entry, meaning)
                    how_people: dict[str, Any] = how
                    if entry == "gold":
                        # Known before the first iteration, whose checks and examples come of it.
                        how_people = {**how, "iteration": stage_names.IMPORTED}
                    with store.importing():
                        if entry == "gold":
                            attributes = intake.attributes
                            store.append("attributes", stage, unit, attributes, **how_people)
                        store.append("votes", stage, unit, intake.votes, **how_people)
                        store.append("rejects", stage, unit, intake.rejects, **how)
                        store.append("pairs", stage, unit, _unseen(store, intake.pairs), **how)
    counts = {}
    for ledger, of_kind in (
        ("pairs", "true"),
        ("votes", "kind = 'original'"),
        ("rejects", "true"),
        ("people", "kind = 'human'"),
    ):
        table = {"people": "votes"}.get(ledger, ledger)
        sql = f"select count(*) from {table} where stage = ? and {of_kind}"
        counts[ledger] = store.query(sql, [stage]).column(0)[0].as_py()
    summary = {
        "rows": len(source),
        "pairs": counts["pairs"],
        "duplicates": counts["votes"] - counts["pairs"],
        "rejects": counts["rejects"],
    }
    if entry == "gold":
        summary["votes"] = counts["people"]
    return summary


def _refuse_other(
    store: Store, name: str, entry: Entry, before: Mapping[str, Any], now: Mapping[str, Any]
) -> None:
    """Raise StoreConflict where the import of this name that the store has is not this one."""
    entered = store.query(
        "select distinct entry from pairs where stage = ?", [stage_names.imported(name).name]
    )
    differences = []
    if before["source"] != now["source"]:
        differences.append("its source held other records")
    if before.get("mapping") != now.get("mapping"):
        differences.append("its columns or labels meant something else")
    for earlier in entered.column("entry").to_pylist():
        # Taken for done, the pairs would stay in the pool that they entered first.
        if earlier != entry:
            differences.append(f"its pairs entered as {earlier}, not as {entry}")
    if differences:
        raise StoreConflict(
            f"import {name}: the workspace has an import of this name, and {'; '.join(differences)}"
            "; it stays as it is: give these records another name (--name, or another key of "
            "`sources`)"
        )


def first_pairs(
    source: Source, count: int, *, entry: Entry, name: str, columns: Any = None, labels: Any = None
) -> list[PairRow]:
    """The pairs that the first `count` records of a source would be, without a store."""
    meaning = formats.meaning(source, columns, labels)
    records = itertools.islice(formats.groups_of(source, columns, labels), count)
    return list(_read(list(records), name, entry, meaning).pairs.values())


def _counted(records: Iterable[Read], step: Step) -> Iterator[Read]:
    """The records, each told to `step` when it is read."""
    for record in records:
        step.advance()
        yield record


def _read(
    batch: list[tuple[int, fields.Record, Group | BadRecord]],
    name: str,
    entry: Entry,
    meaning: mapping.Columns,
) -> Intake:
    """What the records of a source become, each with its row and its group or why it has none."""
    pairs: dict[str, PairRow] = {}
    votes: dict[tuple[str, int], VoteRow] = {}
    rejects: list[RejectRow] = []
    people: dict[tuple[str, str, int], VoteRow] = {}
    attributes: dict[str, AttributesRow] = {}
    for row, record, outcome in batch:
        try:
            if isinstance(outcome, BadRecord):
                raise outcome
            # By the name of the import: the source's own may be that of a cache folder.
            named = dataclasses.replace(outcome, source=name)
            if record.get("id") is None:
                named = dataclasses.replace(named, id=f"{name}:{row}")
            group, bad = groups.check(named)
        except BadRecord as error:
            rejects.append(_reject(name, row, error.reason, error.detail))
            continue
        for error in bad:
            rejects.append(_reject(name, row, error.reason, error.detail))
        if not group.pairs and not bad:
            detail = "the record labels no response better than another"
            rejects.append(_reject(name, row, NO_PAIR, detail))
        for pair in group.pairs:
            text, vote = _pair(group, pair, row, entry, name, record)
            if entry == "gold":
                try:
                    opinions, described = _gold(
                        text, vote, meaning.apply(record), group, pair, meaning
                    )
                except BadRecord as error:
                    rejects.append(_reject(name, row, error.reason, error.detail))
                    continue
                for each in opinions:
                    people.setdefault((text["pair_id"], each["voter"], row), each)
                if described is not None:
                    attributes.setdefault(text["pair_id"], described)
            pairs.setdefault(text["pair_id"], text)
            # Equal responses in one group make one pair twice, which would vote twice.
            votes.setdefault((text["pair_id"], row), vote)
    every_vote = [*votes.values(), *people.values()]
    return Intake(pairs, every_vote, rejects, list(attributes.values()))


def _gold(
    text: PairRow,
    original: VoteRow,
    record: fields.Record,
    group: Group,
    pair: Pair,
    meaning: mapping.Columns,
) -> tuple[list[VoteRow], AttributesRow | None]:
    """What people said about a pair of gold, and its attributes. May raise BadRecord."""
    chosen: Label = "b"
    if json.loads(text["response_a"]) == group.responses[pair.chosen]:
        chosen = "a"
    opinions = gold.votes(record, group, pair, chosen, meaning.labels)
    if not opinions:
        # The label is what the team's people said; whoever they are, they count as one.
        opinions = [
            VoteRow(
                pair_id=text["pair_id"],
                voter=f"human:{text['source']}",
                kind="human",
                value=original["value"],
                sample=text["row"],
                confidence=original.get("confidence"),
            )
        ]
    for vote in opinions:
        vote["pair_id"], vote["sample"] = text["pair_id"], text["row"]
    return opinions, gold.attributes(record, text["pair_id"], text["source"])


def _reject(source: str, row: int, reason: str, detail: str) -> RejectRow:
    return RejectRow(source=source, row=row, reason=reason, detail=detail)


def _pair(
    group: Group, pair: Pair, row: int, entry: Entry, name: str, record: dict[str, Any]
) -> tuple[PairRow, VoteRow]:
    """The rows of `pairs` and `votes` that one labeled pair of a group makes."""
    a, b, chosen_is_a = canonical(group.responses[pair.chosen], group.responses[pair.rejected])
    pair_id = groups.pair_id(group.prompt, a, b, group.tools)
    tools = None
    if group.tools is not None:
        tools = _json(group.tools)
    info = {}
    for key, value in record.items():
        # Bytes, such as images, are not text and cannot be JSON.
        if key not in HELD and not isinstance(value, bytes):
            info[key] = value
    evidence = None
    if pair.margin:
        evidence = _json({"margin": pair.margin})
    text = PairRow(
        pair_id=pair_id,
        prompt=_json(group.prompt),
        response_a=_json(a),
        response_b=_json(b),
        tools=tools,
        source=name,
        entry=entry,
        row=row,
        record_id=group.id,
        info=_json(info),
    )
    vote = VoteRow(
        pair_id=pair_id,
        voter=f"original:{name}",
        kind="original",
        value=value_of(pair, chosen_is_a),
        sample=row,
        confidence=max(pair.target, 1 - pair.target),
        evidence=evidence,
    )
    return text, vote


def value_of(pair: Pair, chosen_is_a: bool) -> Value:
    """What the label of a pair says about `a` and `b`."""
    if pair.tie or pair.target == 0.5:
        return "tie"
    # Below 1/2 the label itself doubts what it calls chosen.
    chosen_is_better = pair.target > 0.5
    if chosen_is_better == chosen_is_a:
        return "a"
    return "b"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)


def _unseen(store: Store, pairs: dict[str, PairRow]) -> list[PairRow]:
    """Those that no shard of the store has."""
    with store.connect(ledgers=["pairs"]) as connection:
        connection.register("new", pa.table({"pair_id": pa.array(list(pairs), pa.string())}))
        rows = connection.execute(
            "select pair_id from new anti join pairs using (pair_id)"
        ).fetchall()
    return [pairs[pair_id] for (pair_id,) in rows]


def conflicts(store: Store) -> Iterator[dict[str, Any]]:
    """Pairs that came with contradicting labels, by pair_id.

    Each has pair_id, votes for a and for b, and the sources.
    """
    sql = """
        select
            pair_id,
            count(*) filter (value = 'a') as for_a,
            count(*) filter (value = 'b') as for_b,
            list_sort(list(distinct voter[10:])) as sources
        from votes
        where kind = 'original'
        group by pair_id
        having for_a > 0 and for_b > 0
        order by pair_id
    """
    yield from store.query(sql).to_pylist()
