"""What the packing benchmark reports, and the lengths it is measured on."""

import json

import numpy as np
import pytest

from benchmarks import lengths, packing
from rewardjax.data.pack import common_prefix


def test_packing_reports_its_figures(capsys):
    packing.main(["--smoke"])
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found.pop("benchmark") == "packing"
    for kind in ("", "_long"):
        assert 0.95 <= found[f"fill{kind}"] <= 1
        assert (
            found[f"us_per_pair{kind}"] > found[f"us_per_pair_planned{kind}"] > 0
            and found[f"loader_tokens_per_cpu_s{kind}"] > 0
        )


def test_lengths_are_those_of_the_published_sets():
    short, long = (lengths.draw(name, 20_000, 2, 1 << 20, seed=0) for name in ("short", "long"))
    assert short.mean(0) == pytest.approx([220, 370, 370], rel=0.03) and long.mean(
        0
    ) == pytest.approx([950, 370, 370], rel=0.03)
    padded = lambda found, batch: (
        np.mean(
            (found[:, 0] + found[:, 1:].max(1))[: 20_000 // batch * batch].reshape(-1, batch).max(1)
        )
        * 2
    )
    assert padded(short, 8) / short.sum(1).mean() == pytest.approx(2.9, rel=0.05)
    assert padded(long, 8) / long.sum(1).mean() == pytest.approx(3.6, rel=0.05)


def test_drawn_groups_keep_to_the_limit_and_differ_at_once():
    drawn = lengths.draw("long", 50, 4, 1024, seed=1)
    assert drawn.shape == (50, 5) and (drawn[:, 0] + drawn[:, 1:].max(1)).max() <= 1024
    for group, expected in zip(
        lengths.random_groups(drawn, 100, seed=1), drawn.tolist(), strict=True
    ):
        assert [len(group.prefix), *map(len, group.suffixes)] == expected
        assert len({int(suffix[0]) for suffix in group.suffixes}) == 4
        assert all((tokens != lengths.PAD).all() for tokens in (group.prefix, *group.suffixes))


def test_real_text_is_folded_without_changing_what_is_shared(shared_data, tmp_path):
    pairs = lengths.real_pairs(tmp_path, shared_data, "hh", 8, 1024, vocab_size=512)
    assert len(pairs) == 8
    for pair in pairs.load(range(8)):
        assert max(map(np.max, (pair.prefix, *pair.suffixes))) < 512
        assert common_prefix(*pair.suffixes) == 0
