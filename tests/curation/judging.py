"""Pairs of the preference world as judges get them, with the truth beside."""

from rewardjax.curation.intake.intake import take_in
from rewardjax.curation.judges.client import Judge
from rewardjax.curation.judges.judge_prompts import judge_prompt
from rewardjax.curation.judges.prompts import Item
from rewardjax.curation.judges.scripted_judge import truth_of
from rewardjax.curation.ledger.rows import canonical
from rewardjax.curation.ledger.store import Store
from rewardjax.data import world
from rewardjax.data.groups import pair_id
from rewardjax.data.sources import open_source

STANDARD = judge_prompt("standard")


def item_of(record: dict, **more) -> Item:
    a, b, _ = canonical(record["chosen"], record["rejected"])
    return Item(pair_id(record["prompt"], a, b), record["prompt"], (a, b), **more)


def world_items(num: int, seed: int = 0):
    """(items, {pair_id: the better response, a or b}, the judge server's table)."""
    records = list(world.generate(seed=seed, num=num))  # honest labels: chosen is right
    items = [item_of(record) for record in records]
    right = {
        item.pair_id: "ab"[item.responses[1] == record["chosen"]]
        for item, record in zip(items, records, strict=True)
    }
    return items, right, truth_of(records)


def world_store(folder, num: int) -> Store:
    """A ledger with the pairs of `world_items(num, seed=3)`, none of them labeled."""
    store = Store(folder / "store")
    source = open_source(f"world:train?num={num}&seed=3")
    take_in(store, source, entry="unverified", name="world")
    return store


def judge_at(server, name: str, **more) -> Judge:
    settings = {
        "samples": 2,
        "max_in_flight": 4,
        "retries": 6,
        "price_input": 1.0,
        "price_output": 4.0,
        "max_tokens": 200,
        "base_url": server.url,
    }
    return Judge(name, name, **settings | more)


def accuracy(merged, right) -> float:
    """Share of pairs with the right value; a tie is half right."""
    value = {pair: one.value for pair, one in merged.items()}
    return sum((value[pair] == right[pair]) + 0.5 * (value[pair] == "tie") for pair in right) / len(
        right
    )
