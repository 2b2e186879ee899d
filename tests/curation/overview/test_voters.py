"""What DuckDB counts about voters and opinions is what the definitions say of the single votes."""

import json
import random

import pytest
from ledgers import pair, score, vote

from rewardjax.curation.judges import bias
from rewardjax.curation.ledger.store import Store
from rewardjax.curation.overview import opinions, voters
from rewardjax.stats import agreement

PAIRS = [f"{i:03d}" for i in range(120)]


def side(text):
    return json.dumps(
        [{"role": "assistant", "content": text}, {"role": "assistant", "content": ""}]
    )


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Random votes of two judges in both orders, of people, a panel and a reward model."""
    draw = random.Random(0)
    store = Store(tmp_path_factory.mktemp("voters"))
    # Characters, not bytes, and quotes that JSON escapes.
    texts = ['"' * 7, "é" * 5, "x" * 6, "\n" * 4]
    rows = []
    for pair_id in PAIRS:
        a, b = draw.choices(texts, k=2)
        rows.append(pair(pair_id, response_a=side(a), response_b=side(b)))
    store.append("pairs", "import", "0", rows)
    votes = [vote(pair_id, "original:s", draw.choice("ab")) for pair_id in PAIRS]
    for pair_id in PAIRS:
        for sample, shown in enumerate(("ab", "ba", "ab", "ba")):
            fair = draw.choice(["a", "b", "tie"])
            # Says the first response, most of the time.
            first = shown[draw.random() < 0.2]
            for voter, value in (("judge:fair", fair), ("judge:first", first)):
                votes.append(vote(pair_id, voter, value, sample=sample, shown=shown))
        votes.append(vote(pair_id, "panel", draw.choice(["a", "b", "tie"])))
        if draw.random() < 0.5:
            said = draw.choice(["a", "b", "tie", "undecided"])
            votes.append(vote(pair_id, "human:ann", said, shown=draw.choice(["ab", "ba"])))
    store.append("votes", "hand", "0", votes)
    scores = [score(pair_id, reward_a=draw.choice([-1.0, 0.0, 1.0])) for pair_id in PAIRS[:70]]
    store.append("scores", "hand", "0", scores)
    return store


def votes_of(store, kind):
    return store.query("select * from votes where kind = ?", [kind]).to_pylist()


def test_position_is_that_of_the_single_votes(store):
    expected = bias.position(votes_of(store, "judge"))
    measured = voters.position(store, "judge")
    assert measured.keys() == expected.keys() == {"judge:fair", "judge:first"}
    for voter, measures in measured.items():
        for name, share in measures.items():
            assert share == pytest.approx(expected[voter][name]["share"]), (voter, name)
    assert measured["judge:first"]["primacy"] > 0.9 and measured["judge:fair"]["primacy"] < 0.7


def test_length_is_in_characters_of_what_was_said(store):
    ids = sorted(PAIRS)
    texts = zip(ids, store.texts(ids), strict=True)
    longer = bias.longer((i, text["response_a"], text["response_b"]) for i, text in texts)
    expected = bias.leaning(votes_of(store, "judge"), longer, {})
    for voter, share in voters.prefers_longer(store, "judge").items():
        assert share == pytest.approx(expected[voter]["prefers_more"]["share"])


def test_a_judge_is_measured_against_people_with_an_interval(store):
    people = {row["pair_id"]: row["value"] for row in votes_of(store, "human")}
    sums = {}
    for row in votes_of(store, "judge"):
        if row["voter"] == "judge:first":
            step = {"a": 1, "b": -1, "tie": 0}[row["value"]]
            sums[row["pair_id"]] = sums.get(row["pair_id"], 0) + step
    decided = [pair_id for pair_id, value in people.items() if value in ("a", "b")]
    # A judge that takes no side is not right.
    right = sum(sums[pair_id] * (1 if people[pair_id] == "a" else -1) > 0 for pair_id in decided)
    measured = voters.against_people(store)["judge:first"]
    assert measured["pairs"] == len(decided) and measured["right"] == right / len(decided)
    assert measured["low"] < measured["right"] < measured["high"]


def test_agreement_is_that_of_the_single_labels(store):
    labels = {
        "original": {row["pair_id"]: row["value"] for row in votes_of(store, "original")},
        "panel": {row["pair_id"]: row["value"] for row in votes_of(store, "panel")},
        "people": {row["pair_id"]: row["value"] for row in votes_of(store, "human")},
        "best RM": {},
    }
    for row in store.query("select * from scores").to_pylist():
        sign = (row["reward_a"] > 0) - (row["reward_a"] < 0)
        labels["best RM"][row["pair_id"]] = {1: "a", -1: "b", 0: "tie"}[sign]
    undecided = [i for i, value in labels["people"].items() if value == "undecided"]
    for pair_id in undecided:
        del labels["people"][pair_id]
    rows = {(row["who"], row["against"]): row for row in opinions.agreements(store, 0)}
    assert ("gold RM", "best RM") not in rows and len(rows) == 5
    for (who, against), row in rows.items():
        shared = labels[who].keys() & labels[against].keys()
        both = [[labels[name][i] for i in sorted(shared)] for name in (who, against)]
        expected = agreement.compare(*both, resamples=200)
        for name in ("items", "agreement", "agreement_low", "kappa"):
            assert row[name] == pytest.approx(expected[name]), (who, against, name)


def test_ties_are_counted(store):
    answers, ties = voters.answers_and_ties(store)
    expected = sum(
        row["value"] == "tie" and row["voter"] == "judge:fair" for row in votes_of(store, "judge")
    )
    assert answers["judge:fair"] == 480 and ties == {"judge:fair": expected, "judge:first": 0}
