"""Chats of every template shape: transformers' ids, and nothing forged."""

import pytest


def test_every_template_gives_the_ids_of_transformers():
    pytest.importorskip("transformers")
    from benchmarks import template_parity

    result = template_parity.main(["--smoke"])
    assert result["templates"] >= 12
    assert (result["different"], result["control_different"], result["forged"]) == (0, 0, 0)
    assert not result["failures"] and not result["unreadable"]
    assert result["refused"] < result["templates"] * result["chats"] / 4, "the chats are refused"
