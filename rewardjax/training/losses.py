"""Losses: small pure functions in float32, one value per pair or ranked group.

The caller averages them.

A loss is a function and its entry in LOSSES, which says what it reads:

    PAIRS              fn(chosen, rejected, *, margin, target, tie, **options)
    PAIRS_AND_LENGTHS  the same, with chosen_length and rejected_length
    RANKED_GROUPS      fn(rewards, *, ranks, **options)

`margin` is the label's strength (signed: how much better the chosen one is), `target` is P(chosen
is better) according to the label, and `tie` says that the label is "no preference". Losses of
pairs share one rule for labels that are not a plain win: the expected loss, target * loss(win) +
(1 - target) * loss(defeat), where a tie has target 1/2. Only `bradley_terry` can do better, when
asked to make ties an outcome of their own; only it reads `margin`. Every option is a number with a
default.

sigma is the logistic function, d = chosen - rejected. -log sigma(x) is always computed as
softplus(-x), which neither overflows nor loses its gradient.
"""

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from rewardjax.command import errors


class Reads(NamedTuple):
    """What a loss is called with, and the unit that it gives one value for."""

    unit: str  # "pairs" or "groups": what an optimizer step takes N of
    rewards: tuple[str, ...]  # its positional arguments
    labels: tuple[str, ...]  # its keyword arguments that come with the data; the others are options


PAIRS = Reads("pairs", ("chosen", "rejected"), ("margin", "target", "tie"))
PAIRS_AND_LENGTHS = PAIRS._replace(labels=(*PAIRS.labels, "chosen_length", "rejected_length"))
RANKED_GROUPS = Reads("groups", ("rewards",), ("ranks",))


@dataclasses.dataclass(frozen=True)
class Loss:
    """A loss with its options fixed; calling it is calling the function."""

    reads: Reads
    function: Callable[..., jax.Array]

    def __call__(self, *rewards: ArrayLike, **labels: ArrayLike) -> jax.Array:
        """The loss of each pair or ranked group, float32."""
        return self.function(*rewards, **labels)


def _float32(*arrays: ArrayLike) -> list[jax.Array]:
    return [jnp.asarray(array, jnp.float32) for array in arrays]


def _expected(
    loss_of_win: Callable[[jax.Array, jax.Array], jax.Array],
    chosen: ArrayLike,
    rejected: ArrayLike,
    target: ArrayLike,
    tie: ArrayLike,
) -> jax.Array:
    """Expectation over the label of `loss_of_win(winner, loser)`; a tie is a coin flip."""
    chosen, rejected, target = _float32(chosen, rejected, target)
    target = jnp.where(tie, 0.5, target)
    return target * loss_of_win(chosen, rejected) + (1 - target) * loss_of_win(rejected, chosen)


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


# ------------------------------------------------------------------ pairs


def bradley_terry(
    chosen: ArrayLike,
    rejected: ArrayLike,
    *,
    margin: ArrayLike = 0.0,
    target: ArrayLike = 1.0,
    tie: ArrayLike = False,
    margin_scale: float = 0.0,
    temperature: float = 1.0,
    label_smoothing: float = 0.0,
    centering: float = 0.0,
    rao_kupper: float | None = None,
    davidson: float | None = None,
) -> jax.Array:
    """Negative log-likelihood of the label under the Bradley-Terry model, P(win) = sigma(x).

    x = (d - margin_scale * margin) / temperature: the model of Bradley & Terry (1952), the margin
    as in Llama 2 (arXiv 2307.09288, eq. 2), the temperature as in Skywork-Reward (arXiv
    2410.18451). label_smoothing e replaces target by (1 - e) * target + e * (1 - target): a label
    is wrong with probability e. centering c adds c * (chosen + rejected)^2, which fixes the free
    constant of the rewards near zero (arXiv 2312.09244). Ties become a third outcome with one of
    two constants:
      rao_kupper = theta >= 1 (Rao & Kupper 1967): P(win) = sigma(x - log theta),
        P(lose) = sigma(-x - log theta), the rest is P(tie);
      davidson = nu >= 0 (Davidson 1970): P(win) : P(tie) : P(lose) = exp(x/2) : nu : exp(-x/2).
    At theta = 1 and at nu = 0 there is no third outcome: that is plain Bradley-Terry, where a tie
    is half a win and half a defeat. Raises ValueError for an option out of range.
    """
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
    # At theta = 1 and nu = 0 the formulas would take the logarithm of P(tie) = 0: those are the
    # plain case.
    if rao_kupper is not None and rao_kupper > 1:
        log_theta = jnp.log(jnp.float32(rao_kupper))
        win, lose = jax.nn.softplus(log_theta - x), jax.nn.softplus(log_theta + x)
        # P(tie) = (theta^2 - 1) P(win) P(lose)
        draw = win + lose - jnp.log(jnp.float32(rao_kupper**2 - 1))
    elif davidson is not None and davidson > 0:
        log_nu = jnp.log(jnp.float32(davidson))
        log_total = jnp.logaddexp(jnp.logaddexp(x / 2, -x / 2), log_nu)
        win, lose, draw = log_total - x / 2, log_total + x / 2, log_total - log_nu
    else:
        win, lose = jax.nn.softplus(-x), jax.nn.softplus(x)
        draw = (win + lose) / 2
    smoothed = (1 - label_smoothing) * target + label_smoothing * (1 - target)
    loss = jnp.where(tie, draw, smoothed * win + (1 - smoothed) * lose)
    return loss + centering * jnp.square(chosen + rejected)


def focal(
    chosen: ArrayLike,
    rejected: ArrayLike,
    *,
    margin: ArrayLike = 0.0,
    target: ArrayLike = 1.0,
    tie: ArrayLike = False,
    gamma: float = 2.0,
) -> jax.Array:
    """-(1 - p)^gamma log p with p = sigma(d): easy pairs count less.

    Lin et al. 2017; for rewards, arXiv 2410.18451. Taken per pair: it is not a product of batch
    means.
    """
    _require(gamma >= 0, f"focal: gamma must not be negative, got {gamma}")

    def loss_of_win(win: jax.Array, lose: jax.Array) -> jax.Array:
        return jnp.exp(-gamma * jax.nn.softplus(win - lose)) * jax.nn.softplus(lose - win)

    return _expected(loss_of_win, chosen, rejected, target, tie)


def focal_with_penalty(
    chosen: ArrayLike,
    rejected: ArrayLike,
    *,
    margin: ArrayLike = 0.0,
    target: ArrayLike = 1.0,
    tie: ArrayLike = False,
    gamma: float = 2.0,
) -> jax.Array:
    """-(1 - 2 max(p - 1/2, 0))^gamma log p with p = sigma(d): full weight while the order is wrong.

    Source: InternLM2 (arXiv 2403.17297), compared in arXiv 2410.18451.
    """
    _require(gamma >= 0, f"focal_with_penalty: gamma must not be negative, got {gamma}")

    def loss_of_win(win: jax.Array, lose: jax.Array) -> jax.Array:
        # The weight is min(1, 2 (1 - p))^gamma. In logarithms, 1 - p does not round to zero for a
        # large d, where a power gamma < 1 would have an infinite slope.
        log_weight = jnp.minimum(0.0, jnp.log(2.0) - jax.nn.softplus(win - lose))
        return jnp.exp(gamma * log_weight) * jax.nn.softplus(lose - win)

    return _expected(loss_of_win, chosen, rejected, target, tie)


def hinge(
    chosen: ArrayLike,
    rejected: ArrayLike,
    *,
    margin: ArrayLike = 0.0,
    target: ArrayLike = 1.0,
    tie: ArrayLike = False,
    gap: float = 1.0,
) -> jax.Array:
    """max(0, gap - d): no gradient once the pair is `gap` apart (arXiv 2410.18451 calls it m)."""
    _require(gap > 0, f"hinge: gap must be positive, got {gap}")

    def loss_of_win(win: jax.Array, lose: jax.Array) -> jax.Array:
        return jnp.maximum(0.0, gap - (win - lose))

    return _expected(loss_of_win, chosen, rejected, target, tie)


def tempered_log(
    chosen: ArrayLike,
    rejected: ArrayLike,
    *,
    margin: ArrayLike = 0.0,
    target: ArrayLike = 1.0,
    tie: ArrayLike = False,
    t: float = 0.7,
) -> jax.Array:
    """-(p^(1-t) - 1) / (1 - t) with p = sigma(d), 0 <= t <= 1: a wrong label can do limited harm.

    It is bounded by 1 / (1 - t). Tempered logarithm of Amid et al. 2019 (arXiv 1906.03361); for
    rewards, arXiv 2410.18451. t = 1 is Bradley-Terry.
    """
    _require(0 <= t <= 1, f"tempered_log: t must lie in [0, 1], got {t}")

    def loss_of_win(win: jax.Array, lose: jax.Array) -> jax.Array:
        surprise = jax.nn.softplus(lose - win)
        # The limit, which the formula below would compute as 0 / 0.
        if t == 1:
            return surprise
        return -jnp.expm1(-(1 - t) * surprise) / (1 - t)

    return _expected(loss_of_win, chosen, rejected, target, tie)


def margin_mse(
    chosen: ArrayLike,
    rejected: ArrayLike,
    *,
    margin: ArrayLike = 0.0,
    target: ArrayLike = 1.0,
    tie: ArrayLike = False,
    gap: float = 1.0,
) -> jax.Array:
    """(d - gap)^2: regression of the difference (arXiv 2410.18451, where gap is called m)."""
    _require(gap > 0, f"margin_mse: gap must be positive, got {gap}")

    def loss_of_win(win: jax.Array, lose: jax.Array) -> jax.Array:
        return jnp.square(win - lose - gap)

    return _expected(loss_of_win, chosen, rejected, target, tie)


def cross_entropy(
    chosen: ArrayLike,
    rejected: ArrayLike,
    *,
    margin: ArrayLike = 0.0,
    target: ArrayLike = 1.0,
    tie: ArrayLike = False,
) -> jax.Array:
    """-log sigma(chosen) - log sigma(-rejected): each response is good or bad on its own.

    The sum of both classifications (arXiv 2410.18451).
    """

    def loss_of_win(win: jax.Array, lose: jax.Array) -> jax.Array:
        return jax.nn.softplus(-win) + jax.nn.softplus(lose)

    return _expected(loss_of_win, chosen, rejected, target, tie)


# ------------------------------------------------------------------ pairs and lengths


def length_regularized(
    chosen: ArrayLike,
    rejected: ArrayLike,
    *,
    chosen_length: ArrayLike,
    rejected_length: ArrayLike,
    margin: ArrayLike = 0.0,
    target: ArrayLike = 1.0,
    tie: ArrayLike = False,
    length_weight: float = 0.001,
) -> jax.Array:
    """-log sigma(d + length_weight * (chosen_length - rejected_length)).

    Length explains part of the label. What the difference in length (tokens) already explains, the
    reward need not learn. The regularizer of Park et al. 2024 (arXiv 2403.19159, there alpha, for
    DPO), with the reward in place of the policy's.
    """
    # Only the difference counts, so lengths may leave out what both responses share.
    chosen_length, rejected_length = _float32(chosen_length, rejected_length)

    def loss_of_win(win: jax.Array, lose: jax.Array) -> jax.Array:
        return jax.nn.softplus(lose - win)

    return _expected(
        loss_of_win,
        chosen + length_weight * chosen_length,
        rejected + length_weight * rejected_length,
        target,
        tie,
    )


# ------------------------------------------------------------------ ranked groups


def plackett_luce(rewards: ArrayLike, *, ranks: ArrayLike, temperature: float = 1.0) -> jax.Array:
    """Negative log-likelihood of each group's ranking under the Plackett-Luce model.

    rewards, ranks [..., K] -> loss [...]. Rank 0 is best, a negative one is padding. With x =
    reward / temperature, the sum over responses k of log(exp x_k + sum over worse j of exp x_j) -
    x_k: the best is drawn by a softmax over all, the next by a softmax over the rest, and so on
    (Luce 1959, Plackett 1975). K = 2 is Bradley-Terry. Responses of equal rank are not compared:
    of a group with right and wrong answers, each right one is drawn against all wrong ones. Raises
    ValueError for an option out of range.
    """
    _require(temperature > 0, f"plackett_luce: temperature must be positive, got {temperature}")
    ranks = jnp.asarray(ranks)
    valid = ranks >= 0
    # Before any arithmetic: padding may hold NaN, whose gradient would survive a mask put on the
    # loss.
    x = jnp.where(valid, jnp.asarray(rewards, jnp.float32), 0) / temperature
    # [..., k, j]: response j is worse than k. A negative rank is nobody's worse, since none is
    # below it.
    worse_KK = (ranks[..., None, :] > ranks[..., :, None]) & valid[..., :, None]
    is_drawn = jnp.any(worse_KK, axis=-1)
    # One that is better than nobody stands in as its own rival: a logsumexp over nothing has no
    # gradient.
    K = ranks.shape[-1]
    itself_KK = jnp.broadcast_to(jnp.eye(K, dtype=bool), worse_KK.shape)
    rivals_KK = worse_KK | (~is_drawn[..., None] & itself_KK)
    log_rivals = jax.nn.logsumexp(
        jnp.broadcast_to(x[..., None, :], rivals_KK.shape), axis=-1, where=rivals_KK
    )
    # The same as log(exp x_k + exp log_rivals) - x_k, without the cancellation when x_k is far
    # ahead.
    return jnp.sum(jnp.where(is_drawn, jax.nn.softplus(log_rivals - x), 0.0), axis=-1)


# ------------------------------------------------------------------ by name

# The one place that knows which losses there are.
LOSSES: dict[str, tuple[Callable[..., jax.Array], Reads]] = {
    "bradley_terry": (bradley_terry, PAIRS),
    "focal": (focal, PAIRS),
    "focal_with_penalty": (focal_with_penalty, PAIRS),
    "hinge": (hinge, PAIRS),
    "tempered_log": (tempered_log, PAIRS),
    "margin_mse": (margin_mse, PAIRS),
    "cross_entropy": (cross_entropy, PAIRS),
    "length_regularized": (length_regularized, PAIRS_AND_LENGTHS),
    "plackett_luce": (plackett_luce, RANKED_GROUPS),
}


def options_of(name: str) -> dict[str, float | None]:
    """The options of the loss called `name`, with their defaults."""
    function, reads = LOSSES[name]
    return {
        parameter.name: parameter.default
        for parameter in inspect.signature(function).parameters.values()
        if parameter.name not in (*reads.rewards, *reads.labels)
    }


def get(name: str, **options: float | None) -> Loss:
    """The loss called `name` with its options fixed; an option that is None keeps its default.

    Args:
        name: a key of LOSSES: bradley_terry and others of pairs, or one of ranked groups.
        margin_scale: what a label's margin is multiplied by before it is taken from the difference.
        temperature: what the difference of rewards is divided by.
        label_smoothing: the probability with which a label is taken to be wrong, below 0.5.
        centering: weight of the squared sum of both rewards, which keeps them near zero.
        rao_kupper: theta, at least 1: ties are an outcome of their own, after Rao and Kupper.
        davidson: nu, at least 0: ties are an outcome of their own, after Davidson.
        gamma: of focal losses: how much less a pair counts that is right already.
        gap: of hinge and margin_mse: the difference of rewards that a pair should have.
        t: of tempered_log: from 0, where a wrong label does the least harm, to 1, Bradley-Terry.
        length_weight: of length_regularized: reward that a token of difference in length explains.

    Raises:
        ValueError: for an unknown name, an option that the loss does not have, or one out of range.
    """
    if name not in LOSSES:
        raise ValueError(f"loss: unknown name {name!r}; choose one of {', '.join(LOSSES)}")
    function, reads = LOSSES[name]
    # A config lists the options of every loss, unset ones as None: only those that were set are
    # checked.
    options = {option: value for option, value in options.items() if value is not None}
    legal = options_of(name)
    complaints = errors.Complaints()
    unknown = sorted(set(options) - set(legal))
    if unknown:
        complaints.add(
            [
                f"loss {name}: unknown option {', '.join(unknown)}; it has "
                f"{', '.join(legal) or 'none'}"
            ]
        )
    options = {option: value for option, value in options.items() if option in legal}
    # Each alone, since a loss refuses the first option that is out of range; then together, since
    # some options exclude each other.
    for option, value in options.items():
        complaints.of(_trace, Loss(reads, functools.partial(function, **{option: value})))
    complaints.refuse()
    loss = Loss(reads, functools.partial(function, **options))
    _trace(loss)
    return loss


def _trace(loss: Loss) -> None:
    """Trace a loss, so that an option out of range fails now and not in the first step."""
    reads, unit = loss.reads, jax.ShapeDtypeStruct((2,), jnp.float32)
    jax.eval_shape(loss, *[unit for _ in reads.rewards], **dict.fromkeys(reads.labels, unit))


def options() -> dict[str, float | None]:
    """The options of all losses with their defaults, for a config to list; losses share names."""
    every_option: dict[str, float | None] = {}
    for name in LOSSES:
        every_option |= options_of(name)
    return every_option
