"""Rows of the ledgers, as tests write them."""

import json


def pair(pair_id, **changes):
    prompt, side = (
        [{"role": "user", "content": f"Question {pair_id}?"}],
        lambda text: [{"role": "assistant", "content": text}],
    )
    row = {
        "pair_id": pair_id,
        "prompt": json.dumps(prompt),
        "response_a": json.dumps(side("x")),
        "response_b": json.dumps(side("y")),
        "source": "test",
        "entry": "unverified",
        "row": 0,
        "info": json.dumps({"task": "count"}),
    }
    return row | changes


def vote(pair_id, voter="judge:m", value="a", **changes):
    kind = voter.split(":")[0]
    return {"pair_id": pair_id, "voter": voter, "kind": kind, "value": value, "sample": 0} | changes


def score(pair_id, model="m1", reward_a=0.5, scorer="best"):
    return {
        "pair_id": pair_id,
        "scorer": scorer,
        "model": model,
        "contract": "c",
        "reward_a": reward_a,
        "reward_b": 0.0,
    }
