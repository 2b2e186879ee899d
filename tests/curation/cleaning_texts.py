"""Pairs of made-up words, and a small store in which something is planted."""

import json
import random

from ledgers import pair

from rewardjax.curation.ledger.store import Store

WORDS = [
    f"{first}{second}"
    for first in "bcdfghklmnprstvz"
    for second in ("alo", "enu", "iri", "oka", "ume", "ast")
]


def sentence(rng, words):
    return " ".join(rng.choice(WORDS) for _ in range(words))


def text_pair(index, prompt, a="One answer.", b="Another answer."):
    side = lambda role, content: json.dumps([{"role": role, "content": content}])
    texts = {
        "prompt": side("user", prompt),
        "response_a": side("assistant", a),
        "response_b": side("assistant", b),
    }
    return pair(f"{index:016x}", row=index, **texts)


def small_store(folder):
    rng = random.Random(3)
    texts = [sentence(rng, 60) for _ in range(60)]
    copy = lambda text: " ".join(
        word if i != 30 else "changed" for i, word in enumerate(text.split())
    )
    rows = [
        text_pair(i, text, sentence(rng, 20), sentence(rng, 20)) for i, text in enumerate(texts)
    ]
    for i in (
        100,
        101,
    ):  # two copies of pair 5 with one word changed each; of pair 9, one of another prompt
        rows.append(
            text_pair(
                i,
                copy(texts[5]),
                *(json.loads(rows[5][f"response_{side}"])[0]["content"] for side in "ab"),
            )
        )
    rows.append(
        text_pair(
            102,
            sentence(rng, 60),
            *(json.loads(rows[9][f"response_{side}"])[0]["content"] for side in "ab"),
        )
    )
    rows[20] = text_pair(
        20, "Write to jane.doe@example.org", "Call (415) 555-0134.", "4111 1111 1111 1111"
    )
    store = Store(folder)
    for unit in range(3):
        store.append("pairs", "import", str(unit), rows[unit::3])
    return store
