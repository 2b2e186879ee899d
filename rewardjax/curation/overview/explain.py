"""What the ledger holds, in all and about one pair."""

import json
from collections.abc import Sequence
from typing import Any

from rewardjax.command.terminal import indented, on_one_line
from rewardjax.curation.cleaning import coverage
from rewardjax.curation.ledger import pools as pools_lib
from rewardjax.curation.ledger.rows import SCHEMAS
from rewardjax.curation.ledger.store import Store
from rewardjax.data.groups import Message

# The ledgers that speak of a pair, in the order in which a pair goes through them.
LEDGERS = ("findings", "picks", "attributes", "votes", "scores", "training", "decisions")

_COUNTS = {
    "Sources": """
        select source, entry, count(*) as pairs from pairs group by all order by all""",
    "Votes": """
        select iteration, kind,
            if(kind in ('human', 'check', 'suspended'), 'people', voter) as voter,
            count(distinct pair_id) as pairs, count(*) as votes
        from votes group by all order by all""",
    "Scores": """
        select iteration, scorer, model, count(*) as pairs from scores group by all order by all""",
    "Findings": """
        select finding, action, count(distinct pair_id) as pairs
        from findings group by all order by all""",
    "Decisions": """
        select stage, action, count(*) as pairs from decisions group by all order by all""",
    "Rejected rows": """
        select source, reason, count(*) as rows from rejects group by all order by all""",
}


def status(store: Store) -> dict[str, list[dict[str, Any]]]:
    """Tables by heading: pools, then counts of each ledger, then the ledgers' shards."""
    sizes = pools_lib.sizes(store)
    tables = {"Pools": [{"pool": pool, "pairs": count} for pool, count in sizes.items()]}
    tables["Cleaning"] = coverage.table(store)
    for heading, sql in _COUNTS.items():
        tables[heading] = store.query(sql).to_pylist()
    ledgers = []
    for name in SCHEMAS:
        rows = [manifest["rows"] for manifest in store.manifests(name)]
        if rows:
            ledgers.append({"ledger": name, "shards": len(rows), "rows": sum(rows)})
    return tables | {"Ledgers": ledgers}


def explain(store: Store, pair_id: str) -> dict[str, Any]:
    """Everything that the ledger says about a pair; a prefix of its id will do.

    Returns "pair" (its text), "standing" (where it stands, and why), and for each ledger its rows
    in the order of iterations. Raises KeyError where no pair, or more than one, has the prefix.
    """
    ids = [pair_named(store, pair_id)]
    (text,) = store.texts(ids)
    (standing,) = store.query(
        f"select * from ({pools_lib.sql()}) where pair_id = ?", ids
    ).to_pylist()
    about = {}
    for ledger in LEDGERS:
        sql = f"""
            select * exclude (pair_id) from {ledger} where pair_id = ?
            order by iteration, stage, unit"""
        about[ledger] = store.query(sql, ids).to_pylist()
    return {"pair": text, "standing": standing, **about}


def pair_named(store: Store, prefix: str) -> str:
    """The id that begins so. Raises KeyError where no pair, or more than one, has such an id."""
    matching = store.query(
        "select pair_id from pairs where starts_with(pair_id, ?) order by pair_id limit 3",
        [prefix],
    )
    ids = matching.column("pair_id").to_pylist()
    if not ids:
        raise KeyError(f"{prefix}: no pair in {store.folder} has this id")
    if len(ids) > 1:
        raise KeyError(f"{prefix}: several pairs in {store.folder}, {', '.join(ids)}, ...")
    return ids[0]


def as_text(explained: dict[str, Any]) -> str:
    """What `explain` returns, for reading: the text first, then one line for each row.

    Texts are somebody else's: what would steer a terminal is written out, and their lines are
    indented, so that none is taken for one of the ledger's.
    """
    pair, standing = explained["pair"], explained["standing"]
    lines = [
        on_one_line(
            f"pair {pair['pair_id']} of {pair['source']} "
            f"(row {pair['row']}, record {pair['record_id']})"
        )
    ]
    if pair["tools"] is not None:
        lines += ["tools:", f"  {on_one_line(json.dumps(pair['tools'], ensure_ascii=False))}"]
    for name in ("prompt", "response_a", "response_b"):
        lines += [f"{name.replace('_', ' ')}:", _conversation(pair[name])]
    lines.append(
        f"stands in {standing['pool']} with label {standing['value']} "
        f"(came with {standing['original']}) because of: {standing['reason']}"
    )
    for ledger in LEDGERS:
        if explained[ledger]:
            lines.append(f"{ledger}:")
            lines += [_row(row) for row in explained[ledger]]
    return "\n".join(lines)


def _conversation(messages: Sequence[Message]) -> str:
    return "\n".join(
        f"  {on_one_line(message['role'])}: {indented(message['content'], '      ')}"
        for message in messages
    )


def _row(row: dict[str, Any]) -> str:
    shard = ("iteration", "stage", "unit")
    values = []
    for name, value in row.items():
        if value is not None and name not in shard:
            values.append(f"{name} {on_one_line(str(value))}")
    return f"  iteration {row['iteration']}, {row['stage']}.{row['unit']}: {', '.join(values)}"
