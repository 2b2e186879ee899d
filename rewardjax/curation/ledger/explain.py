"""What the ledger holds, in all and about one pair."""

from typing import Any

from rewardjax.curation.ledger import pools as pools_lib
from rewardjax.curation.ledger.rows import SCHEMAS
from rewardjax.curation.ledger.store import Store

_ABOUT = ("findings", "picks", "attributes", "votes", "scores", "training", "decisions")


def status(store: Store) -> dict[str, list[dict[str, Any]]]:
    """Tables by heading: pools, pairs by source, votes by voter, scores by scorer, findings, decisions, rejects, shards."""
    sizes = pools_lib.sizes(store)
    ask = lambda sql: store.query(sql).to_pylist()
    return {
        "Pools": [{"pool": pool, "pairs": count} for pool, count in sizes.items()],
        "Sources": ask(
            "select source, entry, count(*) as pairs from pairs group by all order by all"
        ),
        "Votes": ask(
            """select iteration, kind, if(kind in ('human', 'check'), 'people', voter) as voter, count(distinct pair_id) as pairs,
            count(*) as votes from votes group by all order by all"""
        ),
        "Scores": ask(
            "select iteration, scorer, model, count(*) as pairs from scores group by all order by all"
        ),
        "Findings": ask(
            "select finding, action, count(distinct pair_id) as pairs from findings group by all order by all"
        ),
        "Decisions": ask(
            "select stage, action, count(*) as pairs from decisions group by all order by all"
        ),
        "Rejected rows": ask(
            "select source, reason, count(*) as rows from rejects group by all order by all"
        ),
        "Ledgers": [
            {"ledger": name, "shards": len(shards), "rows": sum(m["rows"] for m in shards)}
            for name in SCHEMAS
            if (shards := store.manifests(name))
        ],
    }


def explain(store: Store, pair_id: str) -> dict[str, Any]:
    """Everything that the ledger says about a pair: its text, where it stands and why, and the rows of every ledger in the order of
    iterations. A prefix of the id will do. Raises KeyError where no pair, or more than one, has it."""
    found = store.query(
        "select pair_id from pairs where starts_with(pair_id, ?) order by pair_id limit 3",
        [pair_id],
    )
    ids = found.column("pair_id").to_pylist()
    if len(ids) != 1:
        which = f"several pairs ({', '.join(ids)}, ...)" if ids else "no pair"
        raise KeyError(f"{pair_id}: {which} in {store.folder}")
    (text,) = store.texts(ids)
    (standing,) = store.query(
        f"select * from ({pools_lib.sql()}) where pair_id = ?", ids
    ).to_pylist()
    about = {
        ledger: store.query(
            f"select * exclude (pair_id) from {ledger} where pair_id = ? order by iteration, stage, unit",
            ids,
        ).to_pylist()
        for ledger in _ABOUT
    }
    return {
        "pair": {name: value for name, value in text.items() if name != "place"},
        "standing": standing,
        **about,
    }


def as_text(found: dict[str, Any]) -> str:
    """What `explain` found, for reading: the text first, then one line for each row."""
    pair = found["pair"]
    say = lambda messages: "\n".join(
        f"  {message['role']}: {message['content']}" for message in messages
    )
    lines = [
        f"pair {pair['pair_id']} of {pair['source']} (row {pair['row']}, record {pair['record_id']})"
    ]
    for title, name in (
        ("prompt", "prompt"),
        ("response a", "response_a"),
        ("response b", "response_b"),
    ):
        lines += [f"{title}:", say(pair[name])]
    standing = found["standing"]
    lines.append(
        f"stands in {standing['pool']} with label {standing['value']} (came with {standing['original']}) because of: {standing['reason']}"
    )
    for ledger in _ABOUT:
        if found[ledger]:
            lines.append(f"{ledger}:")
            for row in found[ledger]:
                shown = ", ".join(
                    f"{name} {value}"
                    for name, value in row.items()
                    if value is not None and name not in ("iteration", "stage", "unit")
                )
                lines.append(
                    f"  iteration {row['iteration']}, {row['stage']}.{row['unit']}: {shown}"
                )
    return "\n".join(lines)
