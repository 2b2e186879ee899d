"""Cleaning:

all that was planted is found, with evidence; nothing is dropped; the same findings however the work
is spread.
"""

import json
import random

import pytest
from cleaning_texts import sentence, small_store, text_pair

from rewardjax.curation.cleaning import contamination
from rewardjax.curation.cleaning.clean import clean
from rewardjax.curation.ledger import pools as pools_lib
from rewardjax.curation.ledger.store import Store
from rewardjax.engine.executors import Engine


def findings(store, finding):
    rows = store.query(
        "select * from findings where finding = ? order by pair_id", [finding]
    ).to_pylist()
    return {
        int(row["pair_id"], 16): row | {"evidence": json.loads(row["evidence"])} for row in rows
    }


@pytest.fixture
def benchmark(tmp_path):
    rng = random.Random(1)
    path = tmp_path / "benchmark.jsonl"
    prompts = [sentence(rng, 30) for _ in range(40)] + [
        "Solve 3 x 4 - 7 + 1 / 2 = 0 for x , or 5 .",
        "Too short to hide",
    ]
    path.write_text(
        "".join(
            json.dumps({"id": f"q{i}", "prompt": prompt}) + "\n" for i, prompt in enumerate(prompts)
        )
    )
    return path, prompts


def test_all_contamination_planted_in_20000_pairs_is_found_and_nothing_else(tmp_path, benchmark):
    path, prompts = benchmark
    rng = random.Random(2)
    planted = {rng.randrange(20_000): rng.randrange(40) for _ in range(100)}
    planted |= {
        7: 40,
        8: 41,
    }  # a run of marks and digits, which only strict mode sees; a prompt shorter than an n-gram
    rows = []
    for i in range(20_000):
        prompt = sentence(rng, 12)
        if i in planted:
            words = prompts[planted[i]].split()
            start = rng.randrange(len(words) - 12) if len(words) > 13 else 0
            copied = " ".join(words[start : start + 13]) if planted[i] < 40 else prompts[planted[i]]
            prompt = (
                copied
                if planted[i] >= 40
                else f"{sentence(rng, 5)} {copied.upper()} {sentence(rng, 5)}"
            )
        rows.append(text_pair(i, prompt))
    store = Store(tmp_path / "store")
    for unit in range(4):
        store.append("pairs", "import", str(unit), rows[unit::4])
    counts = clean(store, benchmarks={"bench": str(path)}, pii=None)
    found = findings(store, "contaminated")
    assert set(found) == set(planted) and counts == {"contaminated": len(planted)}
    for i, row in found.items():
        assert row["action"] == "hold" and {hit["id"] for hit in row["evidence"]} == {
            f"q{planted[i]}"
        }
        assert all(
            hit["benchmark"] == "bench" and hit["ngram"] in prompts[planted[i]].lower()
            for hit in row["evidence"]
            if i not in (7, 8)
        )
    shared = {hit["mode"]: hit["shared"] > 0 for hit in found[7]["evidence"]}
    assert shared == {
        "strict": True,
        "paper": False,
    }  # the paper's tokens leave too few for an n-gram: found as the same few words
    assert pools_lib.sizes(store) == {
        "gold": 0,
        "silver": 0,
        "curated": 0,
        "unverified": 20_000 - len(planted),
        "wild": 0,
        "discarded": len(planted),
    }
    # A reviewer lets one in again; cleaning again changes nothing about that.
    store.append(
        "findings",
        "review",
        "0",
        [{"pair_id": f"{8:016x}", "finding": "contaminated", "action": "restore"}],
    )
    before = store.fingerprint()
    # The same benchmark in a folder with a second split is the same benchmark.
    (path.parent / "folder").mkdir()
    (path.parent / "folder" / "test.jsonl").write_bytes(path.read_bytes())
    (path.parent / "folder" / "train.jsonl").write_text('{"prompt": "another"}\n')
    entry = {"source": str(path.parent / "folder"), "split": "test"}
    clean(store, benchmarks={"bench": entry}, pii=None)
    assert store.fingerprint() == before
    assert pools_lib.sizes(store)["discarded"] == len(planted) - 1


def test_without_benchmarks_no_text_is_cut_into_words(monkeypatch):
    monkeypatch.setattr(contamination.ngrams, "look_up", None)
    texts = ["one", "two"]
    assert list(contamination.find(texts, [], n=13, modes=["paper"])) == [[], []]


def test_near_duplicates_and_personal_data_are_found(tmp_path):
    store = small_store(tmp_path / "store")
    assert clean(store, near=0.8) == {"near_duplicate": 2, "pii": 1}
    found = findings(store, "near_duplicate")
    assert {i: int(row["evidence"]["of"], 16) for i, row in found.items()} == {100: 5, 101: 5}
    assert all(
        row["action"] == "hold" and row["evidence"]["similarity"] >= 0.8 for row in found.values()
    )
    (personal,) = findings(store, "pii").values()
    assert personal["action"] == "flag"
    assert personal["evidence"] == {
        "prompt": ["e-mail"],
        "response_a": ["phone"],
        "response_b": ["card number"],
    }
    assert pools_lib.sizes(store)["discarded"] == 2  # a flag keeps nothing out


@pytest.mark.parametrize("options", [{"workers": 1}, {"workers": 2}])
def test_the_findings_do_not_depend_on_where_the_work_is_done(tmp_path, options):
    stores = [small_store(tmp_path / name) for name in "xy"]
    clean(stores[0], near=0.8)
    clean(stores[1], near=0.8, engine=Engine("local", tasks=3, options=options))
    assert stores[0].fingerprint() == stores[1].fingerprint()
    assert stores[0].manifests() == stores[1].manifests()


def test_shards_in_a_pack_give_the_same_findings_in_one_pass(tmp_path, monkeypatch):
    stores = [small_store(tmp_path / name) for name in "xy"]
    for store in stores:
        store.append("pairs", "import", "without-rows", [])
    stores[1].compact("pairs", "import", least=2)
    for store in stores:
        store.append("pairs", "more", "0", [text_pair(200, "Mail jane.doe@example.org")])
    passes = []
    connect = Store.connect
    monkeypatch.setattr(
        Store, "connect", lambda *a, **k: passes.append(k.get("ledgers")) or connect(*a, **k)
    )
    clean(stores[1], near=0.8)
    # The pack, and the shard that is in none.
    assert passes.count(("pairs",)) == 2
    clean(stores[0], near=0.8)
    assert stores[0].fingerprint() == stores[1].fingerprint()
    assert stores[0].manifests() == stores[1].manifests()


def test_new_pairs_are_cleaned_and_old_ones_not_again(tmp_path):
    store = small_store(tmp_path / "store")
    clean(store, near=0.8)
    before = {(m["stage"], m["unit"]): m["content"] for m in store.manifests("findings")}
    text = store.texts([f"{5:016x}"])[0]
    store.append(
        "pairs",
        "more",
        "0",
        [
            text_pair(
                200, *(text[name][0]["content"] for name in ("prompt", "response_a", "response_b"))
            )
        ],
    )
    assert clean(store, near=0.8)["near_duplicate"] == 3
    after = {(m["stage"], m["unit"]): m["content"] for m in store.manifests("findings")}
    assert before.items() <= after.items() and len(after) == len(before) + 2


def test_bad_settings_are_refused(tmp_path, benchmark):
    store = small_store(tmp_path / "store")
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"text": "no prompt"}\n')
    with pytest.raises(ValueError, match="benchmark b: .*row 0: no prompt"):
        clean(store, benchmarks={"b": str(bad)})
    bad.write_text('{"prompt": [{"role": "assistant", "content": "only a model speaks"}]}\n')
    with pytest.raises(ValueError, match="clean.benchmarks.b: .* has no prompt that a user wrote"):
        clean(store, benchmarks={"b": str(bad)})
    with pytest.raises(ValueError, match="clean.hold: 'near' is not one of contaminated, near_dup"):
        clean(store, hold=("near",))
    with pytest.raises(ValueError, match=r"clean.near = 80 is not in \(0, 1\]"):
        clean(store, near=80)
