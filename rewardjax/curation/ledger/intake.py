"""Records -> the ledger: text once, the label it came with as a vote, and every row that cannot be used listed with its reason.

Exact duplicates meet here: two rows of the same prompt and the same two responses, whichever was chosen, are one pair with two votes.
"""

import itertools
import json
import sys
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
from tqdm import tqdm

from rewardjax.curation.ledger.rows import canonical
from rewardjax.curation.ledger.store import Store
from rewardjax.data import formats, groups
from rewardjax.data.groups import BadRow, Group, Pair
from rewardjax.data.sources import Source

ROWS = 50_000  # of the source, in a unit
# Fields of a record that the pair itself holds; the others are kept as its `info`.
HELD = {
    "id",
    "chosen",
    "rejected",
    "responses",
    "correct",
    "ranks",
    *formats.PROMPTS,
    *itertools.chain(*formats.TWO_RESPONSES),
}


def take_in(
    store: Store, source: Source, *, entry: str, name: str, rows: int = ROWS
) -> dict[str, int]:
    """Import every record of `source` as stage `import-NAME`; counts of `rows`, `pairs` new to the store, `duplicates` of pairs that it
    has, and `rejects`. A row leaves a vote by "original:NAME" for each of its pairs, or a reject.

    entry: "unverified" where people made the labels, "wild" where not (paper 2.1). Interrupted, the same call goes on.
    Raises StoreConflict where another source was imported under this name."""
    stage, inputs, config = (
        f"import-{name}",
        {"source": source.fingerprint()},
        {"entry": entry, "rows": rows},
    )
    how: dict[str, Any] = {"inputs": inputs, "config": config}
    records = enumerate(
        tqdm(
            source,
            f"import {name}",
            len(source),
            unit="row",
            disable=not sys.stderr.isatty(),
            leave=False,
        )
    )
    names = [f"{i:05d}" for i in range(max(1, -(-len(source) // rows)))]
    done = [unit for unit in names if store.has("pairs", stage, unit)]  # pairs are written last
    if done and store.manifest("pairs", stage, done[0])["inputs"] != inputs:
        store.append("pairs", stage, done[0], [], **how)  # raises, and says what differs
    for unit in names if len(done) < len(names) else ():
        batch = list(itertools.islice(records, rows))
        if unit in done:
            continue
        pairs, votes, rejects = _read(batch, name, entry)
        store.append("votes", stage, unit, votes, **how)
        store.append("rejects", stage, unit, rejects, **how)
        store.append("pairs", stage, unit, _unseen(store, pairs), **how)
    count = lambda ledger, what: (
        store.query(f"select count({what}) from {ledger} where stage = ?", [stage])
        .column(0)[0]
        .as_py()
    )
    new = count("pairs", "*")
    return {
        "rows": len(source),
        "pairs": new,
        "duplicates": count("votes", "*") - new,
        "rejects": count("rejects", "*"),
    }


def _read(
    batch: list[tuple[int, Any]], name: str, entry: str
) -> tuple[dict[str, dict], list[dict], list[dict]]:
    """New pairs by id, votes, rejects."""
    pairs: dict[str, dict] = {}
    votes: dict[tuple[str, int], dict] = {}
    rejects = []
    for row, record in batch:
        reject = lambda reason, detail, row=row: rejects.append(
            {"source": name, "row": row, "reason": reason, "detail": detail}
        )
        try:
            group, bad = groups.check(formats.to_group(record, row, name))
        except BadRow as error:
            reject(error.reason, error.detail)
            continue
        for error in bad:
            reject(error.reason, error.detail)
        if not group.pairs and not bad:
            reject("no_pair", "the record labels no response better than another")
        for pair in group.pairs:
            new, vote = _pair(group, pair, row, entry, name, record)
            pairs.setdefault(new["pair_id"], new)
            votes.setdefault(
                (new["pair_id"], row), vote
            )  # equal responses in one group would vote twice
    return pairs, list(votes.values()), rejects


def _pair(
    group: Group, pair: Pair, row: int, entry: str, name: str, record: dict[str, Any]
) -> tuple[dict, dict]:
    """The rows of `pairs` and `votes` that one labeled pair of a group makes."""
    chosen, rejected = group.responses[pair.chosen], group.responses[pair.rejected]
    a, b, chosen_is_a = canonical(chosen, rejected)
    pair_id = groups.pair_id(group.prompt, a, b)
    favored = chosen_is_a if pair.target >= 0.5 else not chosen_is_a
    value = "tie" if pair.tie or pair.target == 0.5 else "a" if favored else "b"
    info = {
        key: item for key, item in record.items() if key not in HELD and not isinstance(item, bytes)
    }
    text = {
        "prompt": _json(group.prompt),
        "response_a": _json(a),
        "response_b": _json(b),
        "info": _json(info),
    }
    vote = {
        "pair_id": pair_id,
        "voter": f"original:{name}",
        "kind": "original",
        "value": value,
        "sample": row,
        "confidence": max(pair.target, 1 - pair.target),
        "evidence": _json({"margin": pair.margin}) if pair.margin else None,
    }
    return {
        "pair_id": pair_id,
        "source": name,
        "entry": entry,
        "row": row,
        "record_id": group.id,
    } | text, vote


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)


def _unseen(store: Store, pairs: dict[str, dict]) -> list[dict]:
    """Those that no shard of the store has."""
    with store.connect() as connection:
        connection.register("new", pa.table({"pair_id": pa.array(list(pairs), pa.string())}))
        rows = connection.execute(
            "select pair_id from new anti join pairs using (pair_id)"
        ).fetchall()
    return [pairs[pair_id] for (pair_id,) in rows]


def conflicts(store: Store) -> Iterator[dict[str, Any]]:
    """Pairs that came with contradicting labels: pair_id, votes for a and for b, and the sources; by pair_id."""
    sql = """select pair_id, count(*) filter (value = 'a') as for_a, count(*) filter (value = 'b') as for_b,
        list_sort(list(distinct voter[10:])) as sources from votes where kind = 'original'
        group by pair_id having for_a > 0 and for_b > 0 order by pair_id"""
    yield from store.query(sql).to_pylist()
