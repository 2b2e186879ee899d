"""Losses:

closed forms in float64, gradients by finite differences, reductions to Bradley-Terry, and behavior
far from zero.
"""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from rewardjax.training import losses

RNG = np.random.default_rng(0)
CHOSEN, REJECTED = RNG.normal(0, 2, 40), RNG.normal(0, 2, 40)
MARGIN, TARGET, TIE = RNG.uniform(0, 2, 40), RNG.uniform(0, 1, 40), RNG.random(40) < 0.25

sigma = special.expit


def log_win(delta):  # log sigma in float64
    return -np.logaddexp(0, -delta)


# The formulas once more, written down naively in float64 for a plain win.
CLOSED_FORMS = {
    "bradley_terry": (dict(), lambda c, r: -log_win(c - r)),
    "focal": (dict(gamma=1.5), lambda c, r: -((1 - sigma(c - r)) ** 1.5) * log_win(c - r)),
    "focal_with_penalty": (
        dict(gamma=1.5),
        lambda c, r: -((1 - 2 * np.maximum(sigma(c - r) - 0.5, 0)) ** 1.5) * log_win(c - r),
    ),
    "hinge": (dict(gap=1.5), lambda c, r: np.maximum(0, 1.5 - (c - r))),
    "tempered_log": (dict(t=0.3), lambda c, r: -(sigma(c - r) ** 0.7 - 1) / 0.7),
    "margin_mse": (dict(gap=1.5), lambda c, r: (c - r - 1.5) ** 2),
    "cross_entropy": (dict(), lambda c, r: -log_win(c) - log_win(-r)),
}

EVERY_FORM = [(name, options) for name, (options, _) in CLOSED_FORMS.items()] + [
    ("bradley_terry", dict(margin_scale=0.5, temperature=2.0, label_smoothing=0.1, centering=0.01)),
    ("bradley_terry", dict(margin_scale=0.5, temperature=0.5, rao_kupper=1.7)),
    ("bradley_terry", dict(temperature=0.7, davidson=0.8, centering=0.02)),
]


def test_the_table_of_closed_forms_is_complete():
    """Losses that read only two rewards and the label are here, the others have tests of their
    own.
    """
    plain = [name for name, (_, reads) in losses.LOSSES.items() if reads == losses.PAIRS]
    assert set(CLOSED_FORMS) == set(plain)
    assert set(losses.LOSSES) - set(plain) == {"length_regularized", "plackett_luce"}


@pytest.mark.parametrize("name", CLOSED_FORMS)
def test_closed_form_of_wins_soft_labels_and_ties(name):
    options, formula = CLOSED_FORMS[name]
    loss = losses.get(name, **options)
    out = loss(jnp.asarray(CHOSEN, jnp.bfloat16), jnp.asarray(REJECTED, jnp.bfloat16))
    assert out.dtype == jnp.float32 and out.shape == CHOSEN.shape
    np.testing.assert_allclose(
        loss(CHOSEN, REJECTED), formula(CHOSEN, REJECTED), rtol=2e-5, atol=1e-6
    )
    target = np.where(TIE, 0.5, TARGET)
    mixed = target * formula(CHOSEN, REJECTED) + (1 - target) * formula(REJECTED, CHOSEN)
    np.testing.assert_allclose(
        loss(CHOSEN, REJECTED, target=TARGET, tie=TIE), mixed, rtol=2e-5, atol=1e-6
    )


def test_bradley_terry_options():
    x = (CHOSEN - REJECTED - 0.5 * MARGIN) / 2
    smoothed = 0.9 * TARGET + 0.1 * (1 - TARGET)
    expected = (
        -smoothed * log_win(x) - (1 - smoothed) * log_win(-x) + 0.01 * (CHOSEN + REJECTED) ** 2
    )
    loss = losses.get(
        "bradley_terry", margin_scale=0.5, temperature=2.0, label_smoothing=0.1, centering=0.01
    )
    np.testing.assert_allclose(
        loss(CHOSEN, REJECTED, margin=MARGIN, target=TARGET), expected, rtol=2e-5
    )


def outcomes(x, kind, constant):
    """P(win), P(tie), P(lose) from the strengths pi = exp(reward) of two players, as in the
    papers.
    """
    pi, pj = np.exp(x), np.ones_like(x)
    if kind == "rao_kupper":
        win, lose = pi / (pi + constant * pj), pj / (pj + constant * pi)
        return (
            win,
            (constant**2 - 1) * pi * pj / ((pi + constant * pj) * (pj + constant * pi)),
            lose,
        )
    total = pi + pj + constant * np.sqrt(pi * pj)
    return pi / total, constant * np.sqrt(pi * pj) / total, pj / total


@pytest.mark.parametrize(
    "kind, constant",
    [("rao_kupper", 1.4), ("rao_kupper", 3.0), ("davidson", 0.3), ("davidson", 2.0)],
)
def test_tie_models_match_their_definition_and_sum_to_one(kind, constant):
    loss = losses.get("bradley_terry", **{kind: constant})
    probabilities = [
        np.exp(-np.asarray(loss(CHOSEN, REJECTED, **label)))
        for label in (dict(), dict(tie=True), dict(target=0.0))
    ]
    for got, expected in zip(
        probabilities, outcomes(CHOSEN - REJECTED, kind, constant), strict=True
    ):
        np.testing.assert_allclose(got, expected, rtol=2e-5)
    np.testing.assert_allclose(sum(probabilities), 1, rtol=1e-5)


@pytest.mark.parametrize(
    "name, options, rtol",
    [
        (
            "bradley_terry",
            dict(temperature=1.0, label_smoothing=0.0, margin_scale=0.0, centering=0.0),
            0,
        ),
        ("bradley_terry", dict(rao_kupper=1.0), 0),
        ("bradley_terry", dict(davidson=0.0), 0),
        ("bradley_terry", dict(davidson=1e-6), 1e-4),
        ("focal", dict(gamma=0.0), 0),
        ("focal_with_penalty", dict(gamma=0.0), 0),
        ("tempered_log", dict(t=1.0), 0),
        ("tempered_log", dict(t=1 - 1e-4), 1e-3),
    ],
)
def test_reduces_to_bradley_terry(name, options, rtol):
    labels = dict(margin=MARGIN, target=TARGET)
    tie = (
        False if options.get("davidson") == 1e-6 else TIE
    )  # an almost impossible tie is not half a win
    base = losses.get("bradley_terry")(CHOSEN, REJECTED, tie=tie, **labels)
    np.testing.assert_allclose(
        losses.get(name, **options)(CHOSEN, REJECTED, tie=tie, **labels),
        base,
        rtol=rtol or 1e-6,
        atol=1e-7,
    )


@pytest.mark.parametrize("name, options", EVERY_FORM)
def test_exchange_of_the_responses_is_exchange_of_the_label(name, options):
    loss = losses.get(name, **options)
    there = loss(CHOSEN, REJECTED, margin=MARGIN, target=TARGET, tie=TIE)
    back = loss(REJECTED, CHOSEN, margin=-MARGIN, target=1 - TARGET, tie=TIE)
    np.testing.assert_allclose(there, back, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name, options", EVERY_FORM)
def test_gradient_equals_finite_differences(name, options):
    loss = losses.get(name, **options)
    labels = dict(margin=MARGIN, target=TARGET, tie=TIE)
    grads = jax.grad(lambda c, r: jnp.sum(loss(c, r, **labels)), argnums=(0, 1))(
        jnp.float32(CHOSEN), jnp.float32(REJECTED)
    )
    wide, step = functools.partial(_float64_loss, name, options, labels), 1e-6
    for which in (0, 1):
        up, down = [CHOSEN, REJECTED], [CHOSEN, REJECTED]
        up[which], down[which] = up[which] + step, down[which] - step
        slope = (wide(*up) - wide(*down)) / (2 * step)
        np.testing.assert_allclose(grads[which], slope, rtol=1e-4, atol=2e-5)


def _float64_loss(name, options, labels, chosen, rejected):
    """The loss in numpy float64, from the definitions above."""
    target, tie, margin = labels["target"], labels["tie"], labels["margin"]
    if name != "bradley_terry":
        formula = CLOSED_FORMS[name][1]
        target = np.where(tie, 0.5, target)
        return target * formula(chosen, rejected) + (1 - target) * formula(rejected, chosen)
    x = (chosen - rejected - options.get("margin_scale", 0) * margin) / options.get(
        "temperature", 1
    )
    kind = next((kind for kind in ("rao_kupper", "davidson") if kind in options), None)
    win, draw, lose = (
        outcomes(x, kind, options[kind])
        if kind
        else (sigma(x), np.sqrt(sigma(x) * sigma(-x)), sigma(-x))
    )
    e = options.get("label_smoothing", 0)
    target = (1 - e) * target + e * (1 - target)
    likelihood = np.where(tie, np.log(draw), target * np.log(win) + (1 - target) * np.log(lose))
    return -likelihood + options.get("centering", 0) * (chosen + rejected) ** 2


@pytest.mark.parametrize("name, options", EVERY_FORM)
def test_value_and_gradient_are_finite_far_from_zero(name, options):
    extremes = jnp.float32([-1e4, -100.0, 0.0, 100.0, 1e4])
    chosen, rejected = (grid.ravel() for grid in jnp.meshgrid(extremes, extremes))
    loss = losses.get(name, **options)
    for labels in (dict(), dict(target=0.0), dict(target=0.5), dict(tie=True)):
        total = lambda c, r, labels=labels: jnp.sum(loss(c, r, **labels))
        assert np.all(np.isfinite(loss(chosen, rejected, **labels)))
        assert all(
            np.all(np.isfinite(grad)) for grad in jax.grad(total, argnums=(0, 1))(chosen, rejected)
        )


def test_a_wrong_pair_keeps_its_gradient_far_from_zero():
    slope = jax.grad(lambda d: losses.get("bradley_terry")(d, 0.0))(jnp.float32(-1e4))
    assert slope == -1.0


def test_unknown_names_options_and_values_are_refused():
    with pytest.raises(ValueError, match="unknown name 'bt'.*bradley_terry"):
        losses.get("bt")
    with pytest.raises(ValueError, match="focal: unknown option temperature; it has gamma"):
        losses.get("focal", temperature=2.0)
    with pytest.raises(ValueError, match="unknown option target"):  # labels are data, not options
        losses.get("hinge", target=1.0)
    for options in (
        dict(temperature=0.0),
        dict(label_smoothing=0.5),
        dict(centering=-1.0),
        dict(rao_kupper=0.9),
        dict(davidson=-0.1),
        dict(rao_kupper=2.0, davidson=1.0),
    ):
        with pytest.raises(ValueError, match="bradley_terry: "):
            losses.get("bradley_terry", **options)
    with pytest.raises(ValueError, match="tempered_log: t must lie"):
        losses.get("tempered_log", t=1.5)
    with pytest.raises(ValueError, match="plackett_luce: temperature must be positive"):
        losses.get("plackett_luce", temperature=0.0)


def test_options_lists_what_every_loss_can_be_given():
    options = losses.options()
    assert {"margin_scale", "gamma", "gap", "t", "length_weight", "temperature"} <= set(options)
    assert not {"chosen", "rewards", "margin", "ranks", "chosen_length"} & set(options)
    assert losses.options_of("focal") == {"gamma": 2.0}
    unset = dict.fromkeys(options)  # as a config lists them: None is "keep the default"
    for name in losses.LOSSES:
        assert losses.get(name, **unset).function.keywords == {}


def test_length_that_explains_the_label_is_taken_off_the_reward():
    lengths = RNG.integers(1, 300, (2, 40))
    loss = losses.get("length_regularized", length_weight=0.01)
    named = dict(chosen_length=lengths[0], rejected_length=lengths[1])
    x = CHOSEN - REJECTED + 0.01 * (lengths[0] - lengths[1])
    target = np.where(TIE, 0.5, TARGET)
    expected = -target * log_win(x) - (1 - target) * log_win(-x)
    np.testing.assert_allclose(
        loss(CHOSEN, REJECTED, target=TARGET, tie=TIE, **named), expected, rtol=2e-5
    )
    slope = jax.grad(lambda d, more: loss(d, 0.0, chosen_length=more, rejected_length=0.0))
    assert slope(0.0, 200.0) > slope(0.0, 0.0)  # a longer winner pushes the reward less


@pytest.mark.parametrize("options", [dict(), dict(temperature=1.7)])
def test_plackett_luce_of_two_is_bradley_terry(options):
    pairs = np.stack([CHOSEN, REJECTED], 1)
    pair_loss = losses.get("bradley_terry", **options)
    listwise = losses.get("plackett_luce", **options)
    for ranks, labels in (([0, 1], dict()), ([1, 0], dict(target=0.0))):
        np.testing.assert_allclose(
            listwise(pairs, ranks=np.tile(ranks, (len(pairs), 1))),
            pair_loss(CHOSEN, REJECTED, **labels),
            rtol=1e-5,
        )


def test_plackett_luce_is_a_distribution_over_rankings():
    rewards = np.array([0.3, -1.2, 2.0, 0.5])
    rankings = np.array(list(itertools.permutations(range(4))))
    loss = losses.get("plackett_luce")(np.tile(rewards, (24, 1)), ranks=rankings)
    probabilities = np.exp(-np.asarray(loss))
    np.testing.assert_allclose(probabilities.sum(), 1, rtol=1e-5)
    likeliest = rankings[np.argmax(probabilities)]
    assert likeliest.tolist() == [2, 3, 0, 1]  # the highest reward is ranked first
    strengths = np.exp(rewards[np.argsort(rankings[5])])
    by_hand = np.prod([strengths[k] / strengths[k:].sum() for k in range(4)])
    np.testing.assert_allclose(probabilities[5], by_hand, rtol=1e-5)


def test_equals_are_not_compared():
    """Two right answers and two wrong ones: each right one is drawn against both wrong ones."""
    rewards = np.array([0.3, -1.2, 2.0, 0.5])
    loss = losses.get("plackett_luce")(rewards, ranks=np.array([0, 2, 0, 2]))
    strengths = np.exp(rewards)
    wrong = strengths[1] + strengths[3]
    expected = -sum(np.log(right / (right + wrong)) for right in strengths[[0, 2]])
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    assert losses.get("plackett_luce")(rewards, ranks=np.zeros(4, int)) == 0


def test_plackett_luce_ignores_padding_wherever_it_is():
    rewards = RNG.normal(size=(6, 3))
    ranks = np.array([RNG.permutation(3) for _ in range(6)])
    loss = losses.get("plackett_luce")
    plain = loss(rewards, ranks=ranks)
    for junk in (np.nan, np.inf, 1e4):
        padded = np.insert(rewards, [0, 2, 3], junk, axis=1)
        padded_ranks = np.insert(ranks, [0, 2, 3], -1, axis=1)
        np.testing.assert_allclose(loss(padded, ranks=padded_ranks), plain, rtol=1e-6)
        grad = jax.grad(lambda r, ranks=padded_ranks: loss(r, ranks=ranks).sum())(
            jnp.float32(padded)
        )
        assert np.all(np.isfinite(grad)) and np.all(np.asarray(grad)[padded_ranks < 0] == 0)
    lone = np.where(np.eye(3, dtype=bool), 0, -1)
    assert np.all(np.asarray(loss(rewards[:3], ranks=lone)) == 0)
    assert np.all(np.asarray(loss(rewards, ranks=np.full((6, 3), -1))) == 0)


def test_plackett_luce_is_finite_far_from_zero():
    rewards = jnp.float32([[-1e4, 0, 1e4], [1e4, 0, -1e4]])
    loss = losses.get("plackett_luce")
    value, grad = jax.value_and_grad(
        lambda r: loss(r, ranks=jnp.tile(jnp.arange(3), (2, 1))).sum()
    )(rewards)
    # 2e4 to the best of three, 1e4 to the best of the remaining two
    np.testing.assert_allclose(value, 3e4, rtol=1e-6)
    assert np.all(np.isfinite(grad))
