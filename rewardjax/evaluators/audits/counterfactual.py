"""What changes that ought not to change a reward do to it: reward shifts and flipped preferences.

The changes are those of changes.py. One more, `answer order`, changes no text: the same responses
are scored in the opposite order, and any shift is a fault of the scoring, not a taste of the model.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from rewardjax import fingerprint
from rewardjax.data.groups import Group
from rewardjax.evaluators.audits.changes import CHANGES
from rewardjax.evaluators.records import Examples, Item, Rewards
from rewardjax.stats import bootstrap

ORDER = "answer order"
# Which response of a pair is changed: the one with the lower reward, with the higher, or both.
SIDES = ("loser", "winner", "both")


# ------------------------------------------------------------------ what is scored


def expand(examples: Examples) -> Examples:
    """Two examples for each: its responses with all their changed versions, and in opposite order.

    The label of the first has "originals" (K) and "changed": by change, the place of the changed
    version of each response, None where the change has nothing to do. That of the second has
    "reversed": the id of the first.
    """
    items, groups = [], []
    for item, group in zip(examples.items, examples.groups, strict=True):
        expanded, places = _with_changes(group)
        label = {"originals": len(group.responses), "changed": places}
        items.append(Item(item.id, item.subset, label))
        groups.append(expanded)

        opposite = _unlabeled(group, group.responses[::-1], id=f"{item.id}/reversed")
        items.append(Item(opposite.id, item.subset, {"reversed": item.id}))
        groups.append(opposite)
    # The texts are part of it: scores of another version of the rules must not be taken for these.
    texts = fingerprint.of_json([examples.fingerprint, [group.responses for group in groups]])
    return dataclasses.replace(
        examples, name="counterfactual", items=items, groups=groups, fingerprint=texts
    )


def _with_changes(group: Group) -> tuple[Group, dict[str, list[int | None]]]:
    """The group with its changed responses behind the originals, and their places by change."""
    responses = list(group.responses)
    places: dict[str, list[int | None]] = {name: [] for name in CHANGES}
    for response in group.responses:
        for name, change in CHANGES.items():
            text = change(response[-1]["content"])
            if text is None:
                places[name].append(None)
                continue
            places[name].append(len(responses))
            responses.append([*response[:-1], response[-1] | {"content": text}])
    return _unlabeled(group, responses, id=group.id), places


def _unlabeled(group: Group, responses: Sequence[Any], id: str) -> Group:
    """The group with other responses; its labels go, since they are about the places of the old."""
    return dataclasses.replace(
        group, id=id, responses=list(responses), pairs=[], correct=None, ranks=None
    )


# ------------------------------------------------------------------ what it did


class _Rewards(NamedTuple):
    """Rewards of one item's responses before and after a change; NaN where there is none."""

    before: np.ndarray  # [K]
    after: np.ndarray  # [K]
    prompt: Any


def summary(
    items: Sequence[Item], rewards: Rewards, clusters: Any = None, **settings: Any
) -> dict[str, dict[str, Any]]:
    """What each change did, from rewards (one [K] per item) of the items of `expand`.

    clusters: the prompt of each item (default: an item is a prompt). settings: of
    `bootstrap.interval`. Returns one entry per change and one for ORDER:

    responses    that the change applied to and that have both rewards
    shift        mean of changed - original reward, with "shift_low" and "shift_high" over prompts
                 drawn again; "shift_sd" is the same in standard deviations of the original rewards
                 over all responses
    pairs        of neighboring responses of a prompt (1 and 2, 2 and 3, ...) with unequal rewards
                 to which the change applied on the side in question; then the share of pairs whose
                 order no longer holds when
    loser        the change is made to the lower one alone: what a policy would gain by it
    winner       it is made to the higher one alone
    both         it is made to both
                 each as {"pairs", "flips", "rate", "low", "high"}

    A tie counts as flipped.
    """
    if clusters is None:
        clusters = [item.id for item in items]
    prompt_of = {item.id: prompt for item, prompt in zip(items, clusters, strict=True)}
    rewards_of = {
        item.id: np.asarray(of_item, np.float64)
        for item, of_item in zip(items, rewards, strict=True)
    }
    expanded = [item for item in items if "changed" in item.label]
    originals = {item.id: rewards_of[item.id][: item.label["originals"]] for item in expanded}
    by_change: dict[str, list[_Rewards]] = {}
    for item in expanded:
        for name, places in item.label["changed"].items():
            after = _at(rewards_of[item.id], places)
            before = originals[item.id]
            by_change.setdefault(name, []).append(_Rewards(before, after, prompt_of[item.id]))
    for item in items:
        forward = item.label.get("reversed")
        if forward in originals:
            # Turned back, so that the same responses stand at the same places.
            after = rewards_of[item.id][::-1]
            before = originals[forward]
            by_change.setdefault(ORDER, []).append(_Rewards(before, after, prompt_of[item.id]))
    spread = np.nan
    if originals:
        spread = float(np.nanstd(np.concatenate(list(originals.values()))))
    return {name: _entry(table, spread, settings) for name, table in by_change.items()}


def _at(rewards: np.ndarray, places: Sequence[int | None]) -> np.ndarray:
    """Rewards [K] at places; NaN where the change had nothing to do."""
    values = np.full(len(places), np.nan)
    for k, place in enumerate(places):
        if place is not None:
            values[k] = rewards[place]
    return values


def _entry(table: Sequence[_Rewards], spread: float, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The entry of one change; spread: standard deviation of the original rewards."""
    shift = np.concatenate([item.after - item.before for item in table])
    prompts = np.concatenate([np.full(len(item.before), item.prompt) for item in table])
    both_scored = np.isfinite(shift)
    entry: dict[str, Any] = {
        "responses": int(both_scored.sum()),
        **dict.fromkeys(["shift", "shift_low", "shift_high", "shift_sd", *SIDES]),
    }
    if not both_scored.any():
        return entry
    low, high = bootstrap.mean_interval(shift[both_scored], prompts[both_scored], **settings)
    mean = float(shift[both_scored].mean())
    entry |= {"shift": mean, "shift_low": float(low), "shift_high": float(high)}
    # All rewards equal: a shift has no scale to be measured on.
    if spread > 0:
        entry["shift_sd"] = mean / spread
    return entry | {side: _flips(table, side, settings) for side in SIDES}


def _flips(
    table: Sequence[_Rewards], side: str, settings: Mapping[str, Any]
) -> dict[str, Any] | None:
    """Pairs whose order does not survive the change; None where there are no pairs to ask about."""
    flipped, prompts = [], []
    for item in table:
        # Neighbors only: all pairs of a prompt would count a response K - 1 times.
        for i in range(len(item.before) - 1):
            outcome = _flipped(item.before[i : i + 2], item.after[i : i + 2], side)
            if outcome is not None:
                flipped.append(outcome)
                prompts.append(item.prompt)
    if not flipped:
        return None
    low, high = bootstrap.mean_interval(np.array(flipped, np.float64), prompts, **settings)
    return {
        "pairs": len(flipped),
        "flips": int(sum(flipped)),
        "rate": float(np.mean(flipped)),
        "low": float(low),
        "high": float(high),
    }


def _flipped(before: np.ndarray, after: np.ndarray, side: str) -> bool | None:
    """Whether a pair's order no longer holds, from rewards [2] before and after the change.

    None where there was no order, or where the change did not apply on the side in question.
    """
    if not np.isfinite(before).all() or before[0] == before[1]:
        return None
    winner = int(before[1] > before[0])
    loser = 1 - winner
    high, low = after[winner], after[loser]
    # A response that is not changed keeps its reward.
    if side == "loser":
        high = before[winner]
    if side == "winner":
        low = before[loser]
    if not (np.isfinite(high) and np.isfinite(low)):
        return None
    return bool(high <= low)
