"""Figures of the audits show every association, shift and change, and say where there is none."""

import numpy as np
from figure_checks import texts_of

from rewardjax.evaluators.audits import bias, changes, style
from rewardjax.evaluators.page import audit_figures
from rewardjax.evaluators.records import Item

RNG = np.random.default_rng(0)


def test_bias_and_selection(drawn):
    items = [Item(str(i), "all", {"style": RNG.normal(size=(8, 5)).tolist()}) for i in range(12)]
    summary = bias.summary(
        items, RNG.normal(size=(12, 8)), RNG.integers(0, 2, (12, 8)), resamples=20
    )
    pairs_only = bias.summary(
        [item._replace(label={"style": item.label["style"][:2]}) for item in items],
        RNG.normal(size=(12, 2)),
        resamples=20,
    )
    sheet = drawn(audit_figures.bias, {"many": summary, "pairs": pairs_only})
    assert [len(ax.containers) for ax in sheet.axes] == [20, 10], (
        "nothing is selected from two responses"
    )
    assert [label.get_text() for label in sheet.axes[0].get_yticklabels()] == list(style.FEATURES)
    sheet = drawn(audit_figures.selection, {"many": summary, "pairs": pairs_only})
    assert [ax.get_title(loc="left") for ax in sheet.axes] == list(style.FEATURES)
    np.testing.assert_allclose(
        sheet.axes[0].lines[0].get_ydata(), summary["features"]["length"]["shift"]["value"]
    )


def test_counterfactual_shows_every_change(drawn):
    entry = {
        "responses": 4,
        "shift": -0.5,
        "shift_low": -1.0,
        "shift_high": 0.0,
        "shift_sd": -0.25,
        "winner": None,
    }
    flips = {"pairs": 2, "flips": 1, "rate": 0.5, "low": 0.1, "high": 0.9}
    nothing = {
        "responses": 0,
        **dict.fromkeys(
            ["shift", "shift_low", "shift_high", "shift_sd", "loser", "winner", "both"]
        ),
    }
    summary = dict.fromkeys(changes.CHANGES, entry | {"loser": flips, "both": flips}) | {
        "list order": nothing
    }
    left, right = drawn(
        audit_figures.counterfactual,
        {"a set": summary, "another": {"padding": entry | {"loser": None, "both": None}}},
    ).axes
    assert [label.get_text() for label in left.get_yticklabels()] == list(changes.CHANGES)
    assert (
        texts_of(left) == ["nothing to change"] and len(right.patches) == len(changes.CHANGES) - 1
    )
