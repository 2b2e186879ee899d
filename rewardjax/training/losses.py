"""Losses of pairs of rewards: small pure functions, float32, elementwise, to be averaged over pairs by the caller.

Every loss has the signature `fn(chosen, rejected, *, margin=0, target=1, tie=False, **options) -> loss` over arrays of one shape (or
broadcastable): `margin` is the label's strength (signed: how much better the chosen one is), `target` is P(chosen is better) according to
the label, and `tie` says that the label is "no preference". They share one rule for labels that are not a plain win: the expected loss,
target * loss(win) + (1 - target) * loss(defeat), where a tie has target 1/2. Only `bradley_terry` can do better, when asked to make ties an
outcome of their own; only it reads `margin`.

sigma is the logistic function, d = chosen - rejected. -log sigma(x) is always computed as softplus(-x), which neither overflows nor loses
its gradient."""

import functools
import inspect
from collections.abc import Callable

import jax
import jax.numpy as jnp

LABEL_ARGUMENTS = ("chosen", "rejected", "margin", "target", "tie")


def _float32(*arrays) -> list[jax.Array]:
    return [jnp.asarray(array, jnp.float32) for array in arrays]


def _expected(loss_of_win: Callable, chosen, rejected, target, tie) -> jax.Array:
    """Expectation over the label of `loss_of_win(winner, loser)`; a tie is a coin flip."""
    chosen, rejected, target = _float32(chosen, rejected, target)
    target = jnp.where(tie, 0.5, target)
    return target * loss_of_win(chosen, rejected) + (1 - target) * loss_of_win(rejected, chosen)


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


def bradley_terry(
    chosen,
    rejected,
    *,
    margin=0.0,
    target=1.0,
    tie=False,
    margin_scale=0.0,
    temperature=1.0,
    label_smoothing=0.0,
    centering=0.0,
    rao_kupper=None,
    davidson=None,
) -> jax.Array:
    """Negative log-likelihood of the label under the Bradley-Terry model (Bradley & Terry 1952), P(win) = sigma(x).

    x = (d - margin_scale * margin) / temperature: the margin as in Llama 2 (arXiv 2307.09288, eq. 2), the temperature as in
    Skywork-Reward (arXiv 2410.18451).
    label_smoothing e replaces target by (1 - e) * target + e * (1 - target): a label is wrong with probability e.
    centering c adds c * (chosen + rejected)^2, which fixes the free constant of the rewards near zero (arXiv 2312.09244).
    Ties become a third outcome with one of two constants:
      rao_kupper = theta >= 1 (Rao & Kupper 1967): P(win) = sigma(x - log theta), P(lose) = sigma(-x - log theta), the rest is P(tie);
      davidson = nu >= 0 (Davidson 1970): P(win) : P(tie) : P(lose) = exp(x/2) : nu : exp(-x/2).
    At theta = 1 and at nu = 0 there is no third outcome: that is plain Bradley-Terry, where a tie is half a win and half a defeat."""
    _require(temperature > 0, f"bradley_terry: temperature must be positive, got {temperature}")
    _require(
        0 <= label_smoothing < 0.5,
        f"bradley_terry: label_smoothing must lie in [0, 0.5), got {label_smoothing}",
    )
    _require(centering >= 0, f"bradley_terry: centering must not be negative, got {centering}")
    _require(
        rao_kupper is None or davidson is None,
        "bradley_terry: give rao_kupper or davidson, not both",
    )
    _require(
        rao_kupper is None or rao_kupper >= 1,
        f"bradley_terry: rao_kupper (theta) must be at least 1, got {rao_kupper}",
    )
    _require(
        davidson is None or davidson >= 0,
        f"bradley_terry: davidson (nu) must not be negative, got {davidson}",
    )

    chosen, rejected, margin, target = _float32(chosen, rejected, margin, target)
    x = (chosen - rejected - margin_scale * margin) / temperature
    if rao_kupper is not None and rao_kupper > 1:
        log_theta = jnp.log(jnp.float32(rao_kupper))
        win, lose = jax.nn.softplus(log_theta - x), jax.nn.softplus(log_theta + x)
        draw = (
            win + lose - jnp.log(jnp.float32(rao_kupper**2 - 1))
        )  # P(tie) = (theta^2 - 1) P(win) P(lose)
    elif davidson is not None and davidson > 0:
        log_total = jnp.logaddexp(jnp.logaddexp(x / 2, -x / 2), jnp.log(jnp.float32(davidson)))
        win, lose, draw = (
            log_total - x / 2,
            log_total + x / 2,
            log_total - jnp.log(jnp.float32(davidson)),
        )
    else:
        win, lose = jax.nn.softplus(-x), jax.nn.softplus(x)
        draw = (win + lose) / 2
    smoothed = (1 - label_smoothing) * target + label_smoothing * (1 - target)
    loss = jnp.where(tie, draw, smoothed * win + (1 - smoothed) * lose)
    return loss + centering * jnp.square(chosen + rejected)


def focal(chosen, rejected, *, margin=0.0, target=1.0, tie=False, gamma=2.0) -> jax.Array:
    """-(1 - p)^gamma log p with p = sigma(d): easy pairs count less (Lin et al. 2017; for rewards, arXiv 2410.18451).

    Taken per pair: it is not a product of batch means."""
    _require(gamma >= 0, f"focal: gamma must not be negative, got {gamma}")

    def loss_of_win(win, lose):
        return jnp.exp(-gamma * jax.nn.softplus(win - lose)) * jax.nn.softplus(lose - win)

    return _expected(loss_of_win, chosen, rejected, target, tie)


def focal_with_penalty(
    chosen, rejected, *, margin=0.0, target=1.0, tie=False, gamma=2.0
) -> jax.Array:
    """-(1 - 2 max(p - 1/2, 0))^gamma log p with p = sigma(d): full weight while the order is wrong.

    Source: InternLM2 (arXiv 2403.17297), compared in arXiv 2410.18451. The weight is min(1, 2 (1 - p))^gamma, taken in logarithms."""
    _require(gamma >= 0, f"focal_with_penalty: gamma must not be negative, got {gamma}")

    def loss_of_win(win, lose):
        log_weight = jnp.minimum(0.0, jnp.log(2.0) - jax.nn.softplus(win - lose))
        return jnp.exp(gamma * log_weight) * jax.nn.softplus(lose - win)

    return _expected(loss_of_win, chosen, rejected, target, tie)


def hinge(chosen, rejected, *, margin=0.0, target=1.0, tie=False, gap=1.0) -> jax.Array:
    """max(0, gap - d): no gradient once the pair is apart by `gap` (arXiv 2410.18451, where it is called m)."""
    _require(gap > 0, f"hinge: gap must be positive, got {gap}")
    return _expected(
        lambda win, lose: jnp.maximum(0.0, gap - (win - lose)), chosen, rejected, target, tie
    )


def tempered_log(chosen, rejected, *, margin=0.0, target=1.0, tie=False, t=0.7) -> jax.Array:
    """-(p^(1-t) - 1) / (1 - t) with p = sigma(d), 0 <= t <= 1: bounded by 1 / (1 - t), so a wrong label can only do so much harm.

    Tempered logarithm of Amid et al. 2019 (arXiv 1906.03361); for rewards, arXiv 2410.18451. t = 1 is Bradley-Terry."""
    _require(0 <= t <= 1, f"tempered_log: t must lie in [0, 1], got {t}")
    if t == 1:
        return _expected(
            lambda win, lose: jax.nn.softplus(lose - win), chosen, rejected, target, tie
        )
    return _expected(
        lambda win, lose: -jnp.expm1(-(1 - t) * jax.nn.softplus(lose - win)) / (1 - t),
        chosen,
        rejected,
        target,
        tie,
    )


def margin_mse(chosen, rejected, *, margin=0.0, target=1.0, tie=False, gap=1.0) -> jax.Array:
    """(d - gap)^2: regression of the difference (arXiv 2410.18451, where gap is called m)."""
    _require(gap > 0, f"margin_mse: gap must be positive, got {gap}")
    return _expected(lambda win, lose: jnp.square(win - lose - gap), chosen, rejected, target, tie)


def cross_entropy(chosen, rejected, *, margin=0.0, target=1.0, tie=False) -> jax.Array:
    """-log sigma(chosen) - log sigma(-rejected): each response classified as good or bad on its own; the sum of both (arXiv 2410.18451)."""
    return _expected(
        lambda win, lose: jax.nn.softplus(-win) + jax.nn.softplus(lose),
        chosen,
        rejected,
        target,
        tie,
    )


LOSSES = {
    fn.__name__: fn
    for fn in (
        bradley_terry,
        focal,
        focal_with_penalty,
        hinge,
        tempered_log,
        margin_mse,
        cross_entropy,
    )
}


def get(name: str, **options) -> Callable[..., jax.Array]:
    """The loss called `name` with its options fixed: `fn(chosen, rejected, *, margin, target, tie) -> loss`, all of one shape.

    Raises ValueError for an unknown name, an option that the loss does not have, or an option out of range."""
    if name not in LOSSES:
        raise ValueError(f"loss: unknown name {name!r}; choose one of {', '.join(LOSSES)}")
    # None in a config means "not set": the options of all losses lie side by side in one section.
    options = {option: value for option, value in options.items() if value is not None}
    known = [
        parameter
        for parameter in inspect.signature(LOSSES[name]).parameters
        if parameter not in LABEL_ARGUMENTS
    ]
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise ValueError(
            f"loss {name}: unknown option {', '.join(unknown)}; it has {', '.join(known) or 'none'}"
        )
    loss = functools.partial(LOSSES[name], **options)
    jax.eval_shape(
        loss, 0.0, 0.0
    )  # so that an option out of range fails here and not in the first step
    return loss


def plackett_luce(rewards_RK, valid_RK) -> jax.Array:
    """Negative log-likelihood [R] of rankings of up to K responses, given best first; `valid_RK` is False for padding.

    The best is drawn by a softmax over all, the next by a softmax over the rest, and so on: sum over k of logsumexp_{j >= k} r_j - r_k
    (Luce 1959, Plackett 1975). K = 2 is Bradley-Terry; a group with fewer than two valid responses has loss 0."""
    (rewards_RK,) = _float32(jnp.where(valid_RK, rewards_RK, 0))
    K = rewards_RK.shape[-1]
    later_KK = jnp.arange(K)[None, :] >= jnp.arange(K)[:, None]
    rivals_RKK = (later_KK & valid_RK[:, None, :]) | jnp.eye(
        K, dtype=bool
    )  # never empty, so that no logsumexp is -inf
    log_total_RK = jax.nn.logsumexp(
        jnp.broadcast_to(rewards_RK[:, None, :], rivals_RKK.shape), axis=-1, where=rivals_RKK
    )
    return jnp.sum(jnp.where(valid_RK, log_total_RK - rewards_RK, 0.0), axis=-1)
