"""What became of the pairs is counted once each, along their way from the source."""

import json

import pytest
from ledgers import pair, vote

from rewardjax.curation.ledger.store import Store
from rewardjax.curation.overview import fates, samples

# pair -> (entry, original label, what was said or decided), and what became of it.
PAIRS = {
    "00": ("unverified", "a", {"people": "a"}, "kept"),
    "01": ("unverified", "a", {"people": "b"}, "flipped"),
    "02": ("unverified", "tie", {"people": "b"}, "first label"),
    "03": ("unverified", "a", {"people": "tie"}, "tie"),
    "04": ("unverified", "a", {"people": "undecided"}, "discarded"),
    "05": ("unverified", "a", {"panel": "b"}, "flipped"),
    "06": ("unverified", "a", {"decided": ("annotate", None)}, "not labeled"),
    "07": ("unverified", "a", {"held": True}, "held for review"),
    "08": ("wild", "a", {"decided": ("flip", "b")}, "flipped"),
    "09": ("wild", "a", {"decided": ("annotate", None)}, "annotate"),
    "10": ("wild", "b", {"decided": ("discard", None)}, "discarded"),
    "11": ("wild", "b", {"people": "b"}, "kept"),
    "12": ("wild", "b", {}, "not labeled"),
}
OPINIONS = dict.fromkeys(("original", "gold", "best", "judges", "humans"), "none")


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path)
    rows = {"pairs": [], "votes": [], "decisions": [], "findings": []}
    for pair_id, (entry, original, happened, _) in PAIRS.items():
        rows["pairs"].append(pair(pair_id, entry=entry, source=f"file {entry}"))
        rows["votes"].append(vote(pair_id, "original:s", original))
        if "people" in happened:
            rows["votes"].append(vote(pair_id, "human:ann", happened["people"]))
        if "panel" in happened:
            rows["votes"].append(vote(pair_id, "panel", happened["panel"]))
        if "held" in happened:
            finding = {"pair_id": pair_id, "finding": "contaminated", "action": "hold"}
            rows["findings"].append(finding)
        if "decided" in happened:
            action, value = happened["decided"]
            decision = {"pair_id": pair_id, "action": action, "rule": "r", "round": 0}
            rows["decisions"].append(decision | OPINIONS | {"value": value})
    for ledger, of_ledger in rows.items():
        store.append(ledger, "hand", "0", of_ledger)
    return store


def test_each_pair_has_one_fate(store):
    rows = store.query(f"select pair_id, fate from ({fates.sql()})").to_pylist()
    expected = {pair_id: fate for pair_id, (*_, fate) in PAIRS.items()}
    assert {row["pair_id"]: row["fate"] for row in rows} == expected


def test_the_bands_of_a_sankey_plot_lose_nobody_but_those_who_are_held(store):
    ways = fates.courses(store)
    assert sum(fates.counts(ways).values()) == len(PAIRS)
    cleaned, pools, ends = fates.columns(ways)
    assert sum(cleaned.values()) == 13 and sum(pools.values()) == sum(ends.values()) == 12
    assert cleaned["file unverified", "held for review"] == 1
    # A wild pair that people audited is gold; the others stay what they are, decided or not.
    assert pools["wild", "gold"] == 1 and pools["wild", "wild"] == 4
    assert ends["wild", "flipped"] == ends["wild", "annotate"] == ends["wild", "discarded"] == 1


def test_what_was_decided_later_is_not_in_an_earlier_page(store):
    store.append("votes", "later", "0", [vote("12", "human:ann", "a")], iteration=1)
    assert fates.counts(fates.courses(store, 0))["not labeled"] == 2
    assert fates.counts(fates.courses(store, 1))["not labeled"] == 1


def test_samples_show_each_fate_and_leave_out_personal_data(store):
    finding = {"pair_id": "00", "finding": "pii", "action": "flag"}
    store.append("findings", "pii", "0", [finding])
    shown = samples.tables(store, 0, personal=False)
    by_id = {row["pair"]: row for row in shown["Labels that were flipped"]}
    assert sorted(by_id) == ["01", "05", "08"]
    assert by_id["01"]["now chosen"] == "y" and by_id["01"]["now rejected"] == "x"
    # 00 has personal data, until somebody has looked at it.
    assert [row["pair"] for row in shown["Labels that were kept"]] == ["11"]
    assert len(samples.tables(store, 0, personal=True)["Labels that were kept"]) == 2
    evidence = json.dumps({"reason": "an example address"})
    reviewed = {"pair_id": "00", "finding": "pii", "action": "restore", "evidence": evidence}
    store.append("findings", "review", "0", [reviewed])
    assert len(samples.tables(store, 0, personal=False)["Labels that were kept"]) == 2
