"""Learning-rate schedules and AdamW.

Parameters are frozen, scaled or left undecayed by regular expressions on their paths.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import optax

from rewardjax.command import errors
from rewardjax.models.trainable import IsTrainable, path_of, paths

PATTERNS = ("freeze", "lr_factors", "decay_exclude")  # arguments that hold regular expressions
SCHEDULES = ("constant", "linear", "cosine")
# What weight decay leaves alone by default. The head is decayed, as in transformers.
NORMS_AND_BIASES = "norm|bias"


# ------------------------------------------------------------------
# Schedules
# ------------------------------------------------------------------


def make_schedule(
    name: str = "constant",
    *,
    peak: float,
    total_steps: int,
    warmup_steps: int | None = None,
    warmup_fraction: float | None = None,
    end_fraction: float = 0.0,
) -> optax.Schedule:
    """Learning rate by the number of updates already made.

    Linear warm-up to `peak`, then `name`'s decay.
    The first update already has peak / warmup_steps, since one at zero would be wasted; number
    warmup_steps - 1 has the peak. After `total_steps` updates linear and cosine stand at
    end_fraction * peak, where they stay.

    Args:
        name: what follows the warm-up: constant, linear or cosine.
        peak: the highest learning rate.
        total_steps: of the run.
        warmup_steps: updates of the warm-up; set warmup_fraction to 0 beside it.
        warmup_fraction: the warm-up as a fraction of all steps.
        end_fraction: of the peak, where linear and cosine end.

    Raises:
        ValueError: that names an unknown name and every value out of range.
    """
    complaints = errors.Complaints()
    if name not in SCHEDULES:
        complaints.add([f"schedule: unknown name {name!r}; choose one of {', '.join(SCHEDULES)}"])
    if peak < 0:
        complaints.add([f"schedule: peak = {peak} must be at least 0"])
    if not 0 <= end_fraction <= 1:
        complaints.add([f"schedule: end_fraction = {end_fraction} must lie in [0, 1]"])
    warmup_steps = complaints.of(_warmup_steps, total_steps, warmup_steps, warmup_fraction)
    complaints.refuse()
    assert warmup_steps is not None, "its refusal would have been raised"
    decay_steps = total_steps - warmup_steps
    if name == "constant":
        decay = optax.constant_schedule(peak)
    elif name == "linear":
        decay = optax.linear_schedule(peak, end_fraction * peak, decay_steps)
    else:
        decay = optax.cosine_decay_schedule(peak, decay_steps, alpha=end_fraction)
    if warmup_steps == 0:
        return decay
    # optax.warmup_* start at zero; ours starts one step up, and so is at the peak one step sooner.
    warmup = optax.linear_schedule(peak / warmup_steps, peak, max(warmup_steps - 1, 1))
    return optax.join_schedules([warmup, decay], [warmup_steps])


def _warmup_steps(total_steps: int, steps: int | None, fraction: float | None) -> int:
    """The length of the warm-up, however it was written. Raises ValueError where it cannot be."""
    if steps is not None and fraction:
        raise ValueError(
            f"schedule: warmup_steps = {steps} and warmup_fraction = {fraction} are both set; "
            "set warmup_fraction = 0 to count in steps"
        )
    if steps is None:
        fraction = fraction or 0.0
        if not 0 <= fraction < 1:
            raise ValueError(f"schedule: warmup_fraction must lie in [0, 1), got {fraction}")
        steps = round(fraction * total_steps)
    if not 0 <= steps < total_steps:
        raise ValueError(
            f"schedule: warmup_steps = {steps} must be at least 0 and below the "
            f"{total_steps} steps of the run"
        )
    return steps


# ------------------------------------------------------------------
# The optimizer
# ------------------------------------------------------------------


def make_optimizer(
    schedule: optax.Schedule,
    params: Any,
    *,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    clip_norm: float | None = None,
    mu_dtype: str | None = None,
    freeze: Sequence[str] = (),
    lr_factors: Sequence[tuple[str, float]] = (),
    decay_exclude: Sequence[str] | None = None,
) -> optax.GradientTransformation:
    """AdamW (arXiv 1711.05101) behind clipping by global norm, for trainable parameters.

    Only the paths of `params` are used, so arrays and shapes do equally. Regexes are searched for
    anywhere in `path_of`.

    Args:
        schedule: learning rate by the number of updates made.
        params: the whole tree.
        b1: decay of the first moment.
        b2: decay of the second moment.
        eps: added to the root of the second moment.
        weight_decay: decoupled: subtracted from a weight is lr * weight_decay * weight.
        clip_norm: largest global norm of the gradients of trainable parameters; None does not clip.
        mu_dtype: dtype of the first moment ("bfloat16" saves 2 bytes per parameter); None is the
            parameters'.
        freeze: regexes of parameters that are not in the tree that the optimizer is given: see
            `is_trainable`.
        lr_factors: (regex, factor) pairs that scale a parameter's whole update, decay included; the
            first match decides.
        decay_exclude: regexes of parameters without weight decay; None means every norm and bias.

    Raises:
        ValueError: a regex that applies to no trainable parameter; everything is frozen.
    """
    groups = parameter_groups(
        params, freeze=freeze, lr_factors=lr_factors, decay_exclude=decay_exclude
    )

    # The order is AdamW's: the decay is not divided by the second moment, and the factors scale
    # decay and update alike.
    steps = []
    if clip_norm is not None:
        steps.append(optax.clip_by_global_norm(clip_norm))
    steps.append(optax.scale_by_adam(b1=b1, b2=b2, eps=eps, mu_dtype=mu_dtype))
    if weight_decay:
        decayed = _by_path(lambda name: name not in groups.undecayed)
        steps.append(optax.add_decayed_weights(weight_decay, mask=decayed))
    steps.append(optax.scale_by_learning_rate(schedule))
    if groups.factors:
        factors = _by_path(lambda name: groups.factors.get(name, 1.0))
        scale = lambda updates, _: jax.tree.map(lambda u, f: u * f, updates, factors(updates))
        steps.append(optax.stateless(scale))
    return optax.chain(*steps)


class ParameterGroups(NamedTuple):
    """Trainable parameters by name that the optimizer treats otherwise than the rest."""

    factors: dict[str, float]  # of their whole update
    undecayed: set[str]


def parameter_groups(
    params: Any,
    *,
    freeze: Sequence[str] = (),
    lr_factors: Sequence[tuple[str, float]] = (),
    decay_exclude: Sequence[str] | None = None,
) -> ParameterGroups:
    """What the regexes of `make_optimizer` select. Raises ValueError with all that is wrong."""
    complaints = errors.Complaints()
    # Where `freeze` itself is refused, the other regexes are tried on all parameters.
    trains = complaints.of(is_trainable, params, freeze) or (lambda name: True)
    names = [name for name in paths(params) if trains(name)]
    factors = complaints.of(_factors, names, lr_factors)
    undecayed = complaints.of(_undecayed, names, decay_exclude)
    complaints.refuse()
    assert factors is not None and undecayed is not None, "a refusal would have been raised"
    return ParameterGroups(factors, undecayed)


def _factors(names: Sequence[str], lr_factors: Sequence[tuple[str, float]]) -> dict[str, float]:
    """Name -> what scales its update, for those that some regex of `lr_factors` is found in."""
    for entry in lr_factors:
        if not isinstance(entry, (tuple, list)) or len(entry) != 2:
            raise ValueError(
                f"lr_factors: {entry!r} is not a pair of a regular expression and a factor; "
                "write (('head', 2.0),), with two commas for a single pair"
            )
    index_of = _first_match(names, [regex for regex, _ in lr_factors], "lr_factors")
    return {name: lr_factors[index][1] for name, index in index_of.items()}


def _undecayed(names: Sequence[str], decay_exclude: Sequence[str] | None) -> set[str]:
    """The names without weight decay."""
    if decay_exclude is None:
        return {name for name in names if re.search(NORMS_AND_BIASES, name)}
    return set(_first_match(names, decay_exclude, "decay_exclude"))


def is_trainable(params: Any, freeze: Sequence[str]) -> IsTrainable:
    """The predicate on paths for `trainable.split`: no regex of `freeze` is found in the path.

    Raises ValueError for a regex that no path contains, and where all paths are frozen.
    """
    names = paths(params)
    frozen = _first_match(names, freeze, "freeze")
    if len(frozen) == len(names):
        raise ValueError("freeze: the regular expressions freeze every parameter")
    return lambda name: name not in frozen


def _first_match(names: Sequence[str], regexes: Sequence[str], field: str) -> dict[str, int]:
    """Name -> index of the first regex found in it; names without one are left out.

    Raises ValueError for a regex that wins no name: it is a misspelling, and nothing else would
    tell.
    """
    if isinstance(regexes, str):
        raise ValueError(
            f"{field}: expected a sequence of regular expressions, got the string {regexes!r}"
        )
    for regex in regexes:
        try:
            re.compile(regex)
        except (re.error, TypeError) as error:
            raise ValueError(f"{field}: {regex!r} is not a regular expression ({error})") from error
    winner = {}
    for name in names:
        for index, regex in enumerate(regexes):
            if re.search(regex, name):
                winner[name] = index
                break
    for index, regex in enumerate(regexes):
        if index not in winner.values():
            examples = ", ".join(names[:8])
            if len(names) > 8:
                examples += ", ..."
            raise ValueError(
                f"{field}: {regex!r} applies to no parameter (no match, or all taken by an earlier "
                f"one); there are {examples}"
            )
    return winner


def _by_path(value_of: Callable[[str], Any]) -> Callable[[Any], Any]:
    """Function that maps a tree to one of `value_of(path)`."""
    return lambda tree: jax.tree_util.tree_map_with_path(
        lambda key_path, _: value_of(path_of(key_path)), tree
    )
