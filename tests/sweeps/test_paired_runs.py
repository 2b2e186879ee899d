"""Paired tests between training runs, from the rewards of held-out pairs that they leave."""

import types

import numpy as np
import pytest
from test_runs_side_by_side import trained

from rewardjax import evaluate
from rewardjax.evaluators import compare
from rewardjax.io import storage
from rewardjax.sweeps import runs
from rewardjax.training import pair_rewards

PAIRS = 40


def leave_rewards(folder, right, *, records=None, tokenizer="one", dropped=(1, 1), order=None):
    """The file of a set of pairs, of which the model gets those right that `right` [N] says."""
    right = np.asarray(right, bool)
    if order is None:
        order = np.arange(len(right))
    if records is None:
        records = np.arange(len(right))
    # Two pairs of a record have other responses.
    places = np.array([np.sum(records[:i] == records[i]) for i in range(len(records))])
    pairs = types.SimpleNamespace(
        source_record=np.unique(records),
        record=np.unique(records, return_inverse=True)[1][order],
        response=np.stack([places, places + 1], axis=1)[order],
        target=np.ones(len(right), np.float32),
        tie=np.zeros(len(right), np.float32),
        fingerprint=tokenizer,
        manifest={
            "inputs": {"source": "pairs.jsonl", "tokenizer": tokenizer},
            "dropped": {"over_long": dict(zip(("records", "pairs"), dropped, strict=True))},
            "pairs": {"sampled_out": 0},
        },
    )
    rewards = np.stack([right, ~right], axis=1)[order].astype(np.float32)
    held_out = types.SimpleNamespace(name="heldout", pairs=pairs, last_rewards=lambda: rewards)
    pair_rewards.write(folder, [held_out])


def drawn(share, seed):
    """Which of the pairs a model gets right: the hard ones are hard for all."""
    difficulty = np.random.default_rng(0).random(PAIRS)
    return difficulty + np.random.default_rng(seed).normal(0, 0.1, PAIRS) < share


def run(folder, right, **settings):
    """A run with its rewards. settings: seed and rate, or of `leave_rewards`."""
    own = {key: settings.pop(key) for key in ("seed", "rate") if key in settings}
    trained(folder, float(np.mean(right)), **own)
    leave_rewards(folder, right, **settings)
    return folder


def test_two_runs_are_tested_on_their_common_pairs(tmp_path, capsys):
    better, worse = drawn(0.8, 1), drawn(0.5, 2)
    folders = [
        run(tmp_path / "worse", worse, rate=0.1),
        # Written in another order, as a shared cache does not promise one.
        run(tmp_path / "better", better, rate=0.3, order=np.arange(PAIRS)[::-1]),
    ]
    evaluate.compare([*map(str, folders), "--output", str(tmp_path / "both")])
    said = capsys.readouterr().out
    expected = compare.paired(better, worse)
    row = next(line for line in said.splitlines() if "better  worse" in line)
    shown = f"{100 * expected['difference']:+.1f}", f"{100 * expected['low']:.1f} to"
    assert all(cell in row for cell in shown) and f"{expected['p']:.2g}" in row
    assert "McNemar's exact test" in said and "no paired test" not in said
    page = (tmp_path / "both" / "report.html").read_text()
    assert "Paired tests on the same pairs" in page and shown[0] in page


def test_seeds_are_folded_pair_by_pair(tmp_path):
    rights = {"a": (0.6, (3, 4, 5)), "b": (0.75, (6, 7, 8))}
    folders = []
    for number, (name, (share, draws)) in enumerate(rights.items()):
        for seed, draw in enumerate(draws):
            right = drawn(share, draw)
            folders.append(run(tmp_path / f"{name}{seed}", right, seed=seed, rate=number / 10))
    # The seeds meet whatever the order of the folders.
    said = runs.compare([*folders[:3], *folders[:2:-1]], tmp_path / "report.html")
    expected = compare.paired_over_seeds(
        [drawn(0.75, draw) for draw in (6, 7, 8)],
        [drawn(0.6, draw) for draw in (3, 4, 5)],
        same_seeds=True,
    )
    row = next(line for line in said.splitlines() if "b0, b1, b2  a0, a1, a2" in line)
    assert f"{100 * expected['difference']:+.1f}" in row
    assert f"{100 * expected['low']:.1f} to {100 * expected['high']:.1f}" in row
    assert "Sellam et al. 2022" in said and "McNemar" not in said and "Holm" not in said
    assert "None" not in said


def test_another_tokenizer_numbers_the_same_pairs_where_every_record_makes_one(tmp_path):
    folders = [
        run(tmp_path / "a", drawn(0.6, 1), rate=0.1),
        run(tmp_path / "b", drawn(0.7, 2), rate=0.2, tokenizer="another"),
    ]
    assert "no paired test" not in runs.compare(folders, tmp_path / "report.html")


@pytest.mark.parametrize(
    "other",
    [
        dict(records=np.arange(PAIRS) + 1),
        # A tokenizer for which one pair of a record is too long numbers the others anew.
        dict(tokenizer="another", dropped=(0, 1)),
    ],
)
def test_other_pairs_are_told_in_a_sentence(tmp_path, other):
    folders = [
        run(tmp_path / "a", drawn(0.6, 1), rate=0.1),
        run(tmp_path / "b", drawn(0.7, 2), rate=0.2, **other),
    ]
    said = runs.compare(folders, tmp_path / "report.html").splitlines()
    (sentence,) = [line for line in said if "no paired test" in line]
    assert "between b and a, which were not measured on the same pairs: evaluate each" in sentence
    assert sentence in (tmp_path / "report.html").read_text().replace("&#39;", "'")


def test_runs_with_and_without_rewards(tmp_path):
    folders = [run(tmp_path / name, drawn(0.6, i), rate=i) for i, name in enumerate("ab")]
    folders.append(trained(tmp_path / "old", 0.7, rate=9))
    said = runs.compare(folders, tmp_path / "report.html")
    assert "no paired test of heldout (pairs.jsonl, 50%) accuracy with old, which kept" in said
    assert any(
        line.split()[2:5] in (["50%)", "a", "b"], ["50%)", "b", "a"]) for line in said.splitlines()
    )


def test_a_damaged_file_is_named(tmp_path):
    folders = [run(tmp_path / name, drawn(0.6, i), rate=i) for i, name in enumerate("ab")]
    (tmp_path / "b" / "held_out" / "heldout.parquet").write_bytes(b"PAR1")
    with pytest.raises(ValueError, match="b/held_out/heldout.parquet is not what training wrote"):
        runs.compare(folders, tmp_path / "report.html")


def test_pairs_of_a_record_are_drawn_together(tmp_path):
    few = np.repeat(np.arange(8), 5)
    right = [np.repeat(np.random.default_rng(seed).integers(0, 2, 8), 5) for seed in (1, 2)]
    folders = []
    for i, name in enumerate("ab"):
        folders.append(run(tmp_path / name, right[i], rate=i, records=few, dropped=(0, 0)))
    said = runs.compare(folders, tmp_path / "report.html")
    by_better = sorted(right, key=np.mean, reverse=True)
    expected = compare.paired(*by_better, few)
    assert f"{100 * expected['low']:.1f} to {100 * expected['high']:.1f}" in said


def test_runs_in_a_bucket_are_read_without_their_checkpoints(bucket_folder, tmp_path):
    folders = [run(tmp_path / name, drawn(0.6, i), rate=i) for i, name in enumerate("ab")]
    said = runs.compare(folders, tmp_path / "here.html")
    addresses = [f"{bucket_folder}/{folder.name}" for folder in folders]
    for folder, address in zip(folders, addresses, strict=True):
        for file in folder.rglob("*"):
            if file.is_file():
                there = storage.path_of(address) / file.relative_to(folder).as_posix()
                storage.upload(file, there)
        storage.create(storage.path_of(address) / "checkpoints" / "1" / "weights", b"1")
    assert runs.compare(addresses, tmp_path / "there.html") == said
    assert addresses[0] in (tmp_path / "there.html").read_text()
    with pytest.raises(ValueError, match="gs://.*/none is not the workdir of a training run"):
        runs.compare([addresses[0], f"{bucket_folder}/none"], tmp_path / "there.html")


def test_a_run_beside_folded_seeds_has_a_dash_for_p(tmp_path):
    folders = [
        run(tmp_path / "a0", drawn(0.6, 1), seed=0, rate=1),
        run(tmp_path / "a1", drawn(0.6, 2), seed=1, rate=1),
        run(tmp_path / "b", drawn(0.7, 3), rate=2),
        run(tmp_path / "c", drawn(0.5, 4), rate=3),
    ]
    said = runs.compare(folders, tmp_path / "report.html")
    rows = [line.split() for line in said.splitlines() if line.startswith("heldout (pairs")]
    # One of the three rows is of two single runs.
    assert len(rows) == 3 and sum(row.count("–") == 2 for row in rows) == 2
    assert "McNemar" in said and "Sellam" in said
