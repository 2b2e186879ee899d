"""Learning-rate schedules and AdamW, with parameters frozen, scaled or left undecayed by regular expressions on their paths."""

import re
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from rewardjax.models.trainable import path_of, paths

Schedule = Callable[[Any], jax.Array]

NORMS_AND_BIASES = (
    "norm",
    "bias",
)  # what weight decay leaves alone by default; the head is decayed, as in transformers


def _decay_constant(progress, end_fraction):
    return jnp.ones_like(progress)


def _decay_linear(progress, end_fraction):
    return 1 - (1 - end_fraction) * progress


def _decay_cosine(progress, end_fraction):
    return end_fraction + (1 - end_fraction) * 0.5 * (1 + jnp.cos(jnp.pi * progress))


DECAYS = {"constant": _decay_constant, "linear": _decay_linear, "cosine": _decay_cosine}


def make_schedule(
    name: str = "constant",
    *,
    peak: float,
    total_steps: int,
    warmup_steps: int | None = None,
    warmup_fraction: float | None = None,
    end_fraction: float = 0.0,
) -> Schedule:
    """Learning rate as a function of the number of updates already made: linear warm-up to `peak`, then `name`'s decay.

    The first update already has peak / warmup_steps (none is wasted at zero), number warmup_steps - 1 has the peak, and after `total_steps`
    updates linear and cosine stand at end_fraction * peak, where they stay. Warm-up is given in steps or as a fraction of the total.
    Raises ValueError for an unknown name or a value out of range."""
    if name not in DECAYS:
        raise ValueError(f"schedule: unknown name {name!r}; choose one of {', '.join(DECAYS)}")
    if warmup_steps is not None and warmup_fraction:
        raise ValueError(
            f"schedule: warmup_steps = {warmup_steps} and warmup_fraction = {warmup_fraction} are both set; "
            "set warmup_fraction = 0 to count in steps"
        )
    if warmup_steps is None and warmup_fraction is not None:
        if not 0 <= warmup_fraction < 1:
            raise ValueError(f"schedule: warmup_fraction must lie in [0, 1), got {warmup_fraction}")
        warmup_steps = int(round(warmup_fraction * total_steps))
    warmup_steps = warmup_steps or 0
    if not 0 <= warmup_steps < total_steps:
        raise ValueError(
            f"schedule: needs 0 <= warmup_steps < total_steps, got {warmup_steps} and {total_steps}"
        )
    if peak < 0 or not 0 <= end_fraction <= 1:
        raise ValueError(
            f"schedule: needs peak >= 0 and 0 <= end_fraction <= 1, got {peak} and {end_fraction}"
        )

    def schedule(count):
        count = jnp.asarray(count, jnp.float32)
        warmup = jnp.minimum((count + 1) / max(warmup_steps, 1), 1.0)
        progress = jnp.clip((count - warmup_steps) / (total_steps - warmup_steps), 0.0, 1.0)
        return peak * warmup * DECAYS[name](progress, end_fraction)

    return schedule


def _first_match(names: Sequence[str], regexes: Sequence[str], field: str) -> dict[str, int]:
    """Name -> index of the first regex found in it (re.search); names without one are left out. A regex that wins no name is an error."""
    if isinstance(regexes, str):
        raise ValueError(
            f"{field}: expected a sequence of regular expressions, got the string {regexes!r}"
        )
    winner = {}
    for name in names:
        index = next((i for i, regex in enumerate(regexes) if re.search(regex, name)), None)
        if index is not None:
            winner[name] = index
    for i, regex in enumerate(regexes):
        if i not in winner.values():
            some = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
            raise ValueError(
                f"{field}: {regex!r} applies to no parameter (no match, or all taken by an earlier one); there are {some}"
            )
    return winner


def _by_path(value_of: Callable[[str], Any]) -> Callable[[Any], Any]:
    """Function that maps a tree to one of `value_of(path)`: a function also fits trees from which optax has cut the frozen leaves."""
    return lambda tree: jax.tree_util.tree_map_with_path(
        lambda key_path, _: value_of(path_of(key_path)), tree
    )


def make_optimizer(
    schedule: Schedule,
    params,
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
    """AdamW (arXiv 1711.05101) behind clipping by the global norm, for the tree `params` (arrays or shapes; only the paths are used).

    freeze: regexes of parameters that get exactly zero updates and no optimizer state; their gradients do not count in the clipped norm.
    lr_factors: (regex, factor) pairs that scale a parameter's whole update, decay included; the first regex that matches decides.
    decay_exclude: regexes of parameters without weight decay; None means every norm and bias.
    mu_dtype: dtype of the first moment ("bfloat16" saves 2 bytes a parameter). Regexes are searched for anywhere in `path_of`.
    Raises ValueError for a regex that applies to no parameter, or when everything is frozen."""
    names = paths(params)
    frozen = _first_match(names, freeze, "freeze")
    trained = [name for name in names if name not in frozen]
    if not trained:
        raise ValueError("freeze: the regular expressions freeze every parameter")
    factor_index = _first_match(trained, [regex for regex, _ in lr_factors], "lr_factors")
    factor = {name: lr_factors[i][1] for name, i in factor_index.items()}
    if decay_exclude is None:
        undecayed = {
            name for name in names if any(re.search(regex, name) for regex in NORMS_AND_BIASES)
        }
    else:
        undecayed = set(_first_match(trained, decay_exclude, "decay_exclude"))

    steps = [optax.clip_by_global_norm(clip_norm)] if clip_norm is not None else []
    steps.append(optax.scale_by_adam(b1=b1, b2=b2, eps=eps, mu_dtype=mu_dtype))
    if weight_decay:
        steps.append(
            optax.add_decayed_weights(
                weight_decay, mask=_by_path(lambda name: name not in undecayed)
            )
        )
    steps.append(optax.scale_by_learning_rate(schedule))
    if factor:
        factors = _by_path(lambda name: factor.get(name, 1.0))
        steps.append(
            optax.stateless(
                lambda updates, _: jax.tree.map(lambda u, f: u * f, updates, factors(updates))
            )
        )
    adamw = optax.chain(*steps)
    if not frozen:
        return adamw
    return optax.partition(
        {"train": adamw, "freeze": optax.set_to_zero()},
        _by_path(lambda name: "freeze" if name in frozen else "train"),
    )
