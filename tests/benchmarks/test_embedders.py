"""The comparison of embedders, on texts whose neighbors are known."""

import json

import numpy as np
import pytest

from benchmarks import embedders

TEXTS = {
    "cook": ["How do I boil an egg?", "How do I boil potatoes?", "How do I boil an old egg?"],
    "count": ["Add seven and nine.", "Add seven and twelve.", "Add nine and twelve."],
}


def test_the_share_of_the_nearest_of_ones_own_kind_is_counted():
    angles = np.array([0.0, 0.1, 1.0, 1.1, 0.2])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    share = embedders.same_category(vectors, ["x", "x", "y", "y", "y"], 1)
    # The last lies beside those of the other kind.
    assert share.tolist() == [1, 1, 1, 1, 0]


def test_the_static_embedder_is_measured_on_a_file(tmp_path):
    source = tmp_path / "pairs.jsonl"
    rows = [{"prompt": text, "kind": kind} for kind, texts in TEXTS.items() for text in texts]
    rows.append({"prompt": "Alone of its kind.", "kind": "other"})
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = embedders.main(["--source", str(source), "--category", "kind", "--k", "2"])
    assert (result["prompts"], result["categories"], result["chance"]) == (6, 2, 0.4)
    mean, low, high = result["static"]["same_category"]
    assert 0.4 < low <= mean <= high and result["static"]["more_than_static"] == [0, 0, 0]
    with pytest.raises(ValueError, match="--category prompt: no two prompts"):
        embedders.prompts_of(str(source), "prompt", 9)
