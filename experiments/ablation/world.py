"""Pairs and voters of the curation ablation: the embedded world, label sources of known quality, and its oracle for the audit."""

import collections
import dataclasses
import json
from collections.abc import Iterable, Sequence
from typing import Any

from rewardjax.curation.ledger.rows import canonical
from rewardjax.curation.ledger.store import Store
from rewardjax.data import world
from rewardjax.data.chat import ChatTokenizer
from rewardjax.data.formats import to_group
from rewardjax.data.groups import pair_id
from rewardjax.data.pack import TokenGroup, take_pair
from rewardjax.data.tokenize import tokenize_group
from rewardjax.data.world import labels
from rewardjax.data.world.draw import Draw

LONGEST = 256


@dataclasses.dataclass(frozen=True, eq=False)
class Item:
    """A pair in the ledger's words: responses a and b in canonical order. `truth` is the oracle's, and `styles` how stylish the right and
    the wrong response are; only voters and the audit read them."""

    pair_id: str
    record: dict[str, Any]
    tokens: TokenGroup
    truth: str
    styles: tuple[int, int]


def items(tokenizer: ChatTokenizer, *, seed: int, num: int, split: str = "train") -> list[Item]:
    """Distinct pairs of the world, sorted by id (fewer than `num` where problems repeat)."""
    found = {}
    for row, record in enumerate(
        world.generate(seed, num, split=split)
    ):  # honest: chosen is the right one
        a, b, right_first = canonical(record["chosen"], record["rejected"])
        identity = pair_id(record["prompt"], a, b)
        tokens = tokenize_group(to_group(record, row, split), tokenizer, LONGEST, "drop")
        styles = (len(record["style_chosen"]), len(record["style_rejected"]))
        sides = (0, 1) if right_first else (1, 0)
        found[identity] = Item(
            identity, record, take_pair(tokens, *sides), "a" if right_first else "b", styles
        )
    return [found[identity] for identity in sorted(found)]


def attributes(item: Item) -> dict[str, str]:
    """The attributes that a curator would give the pair, in the ledger's words."""
    record = item.record
    return {
        "task_category": record["category"],
        "objectivity": record["objectivity"],
        "controversiality": record["controversiality"],
    }


def opinion(item: Item, spec: str, voter: str) -> str:
    """What a voter of this quality (a label specification of `data/world/labels.py`) says is better, "a" or "b"; always the same."""
    right, _ = labels.label(
        labels.parse(spec), *item.styles, Draw("opinion", voter, spec, item.record["id"])
    )
    return item.truth if right else {"a": "b", "b": "a"}[item.truth]


def panel(item: Item, judges: Sequence[str]) -> str:
    """The majority of judges of these qualities (an odd number of them)."""
    votes = collections.Counter(opinion(item, spec, f"judge-{i}") for i, spec in enumerate(judges))
    return votes.most_common(1)[0][0]


# ------------------------------------------------------------------ into the ledger


def write_pool(store: Store, pool: Iterable[Item], entry: str, spec: str) -> None:
    """A pool's text, and its original labels as votes."""
    pairs, votes = [], []
    for row, item in enumerate(pool):
        a, b, _ = canonical(item.record["chosen"], item.record["rejected"])
        texts = {"prompt": item.record["prompt"], "response_a": a, "response_b": b}
        encoded = {name: json.dumps(text, sort_keys=True) for name, text in texts.items()}
        pairs.append(
            {
                "pair_id": item.pair_id,
                **encoded,
                "source": entry,
                "entry": entry,
                "row": row,
                "record_id": item.record["id"],
            }
        )
        votes.append(
            vote(item, f"original:{entry}", "original", opinion(item, spec, f"original-{entry}"))
        )
    store.append("pairs", f"import-{entry}", "all", pairs)
    store.append("votes", f"import-{entry}", "all", votes)


def vote(item: Item, voter: str, kind: str, value: str) -> dict[str, Any]:
    return {"pair_id": item.pair_id, "voter": voter, "kind": kind, "value": value, "sample": 0}
