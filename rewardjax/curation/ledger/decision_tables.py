"""What becomes of a pair: a lookup in a table that is configuration, over five opinions about its original label.

Five seats have an opinion: the label itself, the gold RM, the best RM, the judges, the people. Each opinion is `for`, `against`, `even`
(a tie, or a probability close to 0.5), `undecided` (people only) or `none`. A table is a list of rules, and the first that fits decides:

    {"gold": "for", "best": "for|even", "then": "keep", "rule": "gold agrees"}        a seat not named may say anything

A pair without an original label, or whose labels contradict each other, has `original` `none` or `even`; its `for` then means "for a".

Everything here is arithmetic on words and arrays. `decisions.py` applies the same tables to a ledger, and a simulation calls `decide`.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from rewardjax.curation.ledger.rows import ACTIONS, OPINIONS

Rule = Mapping[str, str]
SEATS = ("original", "gold", "best", "judges", "humans")
SAYS = {
    "original": ("for", "even", "none"),
    "gold": ("for", "against", "even", "none"),
    "best": ("for", "against", "even", "none"),
    "judges": ("for", "against", "even", "none"),
    "humans": OPINIONS,
}

# ------------------------------------------------------------------------------------ readings of the paper

_PEOPLE: tuple[Rule, ...] = (  # a person has the last word (paper 2.2)
    {"humans": "for", "then": "keep", "rule": "people agree with the label"},
    {"humans": "against", "then": "flip", "rule": "people prefer the other response"},
    {"humans": "even|undecided", "then": "discard", "rule": "people see no better response"},
)
_ASK: Rule = {
    "best": "against|even|none",
    "judges": "none",
    "then": "annotate",
    "rule": "the best RM is not sure of the label",
}
_PASS: tuple[Rule, ...] = (  # the label agrees with the gold RM and with the best RM or the judges
    {"gold": "for", "best": "for", "then": "keep", "rule": "gold and best RM agree"},
    {"gold": "for", "judges": "for", "then": "keep", "rule": "gold RM and judges agree"},
)
_REST: Rule = {"then": "discard", "rule": "not confirmed"}


def _flip(rule: str, **seats: str) -> Rule:
    return {**seats, "then": "flip", "rule": rule}


PRESETS: dict[str, tuple[Rule, ...]] = {
    # Stage 1: judges label what people did not.
    "stage1": (
        *_PEOPLE,
        {"judges": "for", "then": "keep", "rule": "judges agree with the label"},
        _flip("judges prefer the other response", judges="against"),
        {"judges": "even", "then": "discard", "rule": "judges see no better response"},
        {"then": "annotate", "rule": "nobody looked at it"},
    ),
    # Stage 2 as printed: judges are asked wherever the best RM does not confirm the label; the curated part (26M).
    "filter": (*_PEOPLE, _ASK, *_PASS, _REST),
    # ... and everything that was discarded is flipped (version 2 of the paper: 26M + 14M).
    "flip_discarded": (
        *_PEOPLE,
        _ASK,
        *_PASS,
        _flip("recycled", gold="for|against|even"),
        {"then": "discard", "rule": "never scored"},
    ),
    # ... or only what both reward models contradict (appendix H.4).
    "flip_both": (
        *_PEOPLE,
        _ASK,
        *_PASS,
        _flip("both RMs prefer the other", gold="against", best="against"),
        _REST,
    ),
    # ... or what the gold RM contradicts.
    "flip_gold": (
        *_PEOPLE,
        _ASK,
        *_PASS,
        _flip("the gold RM prefers the other", gold="against"),
        _REST,
    ),
    # The same as flip_both, with judges asked only where their answer could change the outcome.
    "frugal": (
        *_PEOPLE,
        {"gold": "for", **_ASK, "rule": "only judges can confirm it"},
        *_PASS,
        _flip("both RMs prefer the other", gold="against", best="against"),
        _REST,
    ),
    # Without judges; with one reward model; without people and gold RM.
    "both_rms": (
        {"gold": "for", "best": "for", "then": "keep", "rule": "both RMs agree"},
        _flip("both RMs prefer the other", gold="against", best="against"),
        _REST,
    ),
    "gold_rm": (
        {"gold": "for", "then": "keep", "rule": "the gold RM agrees"},
        _flip("the gold RM prefers the other", gold="against"),
        _REST,
    ),
    "best_rm": (
        {"best": "for", "then": "keep", "rule": "the best RM agrees"},
        _flip("the best RM prefers the other", best="against"),
        _REST,
    ),
    "no_human": (
        {"best": "for", "then": "keep", "rule": "the best RM agrees"},
        {"judges": "none", "then": "annotate", "rule": "the best RM is not sure of the label"},
        {"judges": "for", "then": "keep", "rule": "judges agree with the label"},
        _flip("best RM and judges prefer the other", best="against", judges="against"),
        _REST,
    ),
}


# ------------------------------------------------------------------------------------ tables, checked


def rules(table: str | Sequence[Rule]) -> tuple[Rule, ...]:
    """The rules of a preset or of a table given in full, checked.

    Raises ValueError for an unknown preset, seat, opinion or action, for a situation that no rule covers, and for a rule that is never
    reached."""
    if isinstance(table, str):
        if table not in PRESETS:
            raise ValueError(
                f"table = {table!r} is not a preset; there are {', '.join(PRESETS)}, or give the "
                f"rules themselves"
            )
        return PRESETS[table]
    for place, rule in enumerate(table):
        _check_rule(rule, f"table[{place}]")
    names = [rule["rule"] for rule in table]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"table: two rules are named {name!r}; give each its own name")
    reached = {rule for _, _, rule in outcomes(table)}
    for name in names:
        if name not in reached:
            raise ValueError(f"table: {name!r} is never reached; the rules before it cover it")
    return tuple(table)


def _check_rule(rule: Rule, where: str) -> None:
    fields = (*SEATS, "then", "rule")
    if not isinstance(rule, Mapping):
        raise ValueError(f"{where}: {rule!r} is not a rule, a mapping of {', '.join(fields)}")
    for field in rule:
        if field not in fields:
            raise ValueError(f"{where}: unknown field {field!r}; there are {', '.join(fields)}")
    if rule.get("then") not in ACTIONS or not rule.get("rule"):
        raise ValueError(
            f"{where}: then = {rule.get('then')!r}, not one of {', '.join(ACTIONS)}, or no name in `rule`"
        )
    for seat in rule.keys() & set(SEATS):
        for word in rule[seat].split("|"):
            if word not in SAYS[seat]:
                raise ValueError(f"{where}.{seat}: {word!r}, not one of {', '.join(SAYS[seat])}")


def first_match(table: Sequence[Rule], opinions: Mapping[str, str]) -> Rule | None:
    """The rule that decides a pair with these opinions, seat -> opinion; None where no rule fits."""
    for rule in table:
        if all(opinions[seat] in rule.get(seat, opinions[seat]).split("|") for seat in SEATS):
            return rule
    return None


def outcomes(table: Sequence[Rule]) -> list[tuple[int, str, str]]:
    """(code, action, rule's name) of every situation that five seats can be in. Raises ValueError for one that no rule covers.

    There are 3 * 4 * 4 * 4 * 5 = 960 of them, so a table is not interpreted pair by pair: it is written out once and looked up by code."""
    written_out = []
    for words in itertools.product(*(SAYS[seat] for seat in SEATS)):
        opinions: dict[str, str] = dict(zip(SEATS, words, strict=True))
        rule = first_match(table, opinions)
        if rule is None:
            raise ValueError(
                f"table: no rule covers {opinions}; end with a rule that names no seat"
            )
        code = 0
        for word in words:
            code = code * len(OPINIONS) + OPINIONS.index(word)
        written_out.append((code, rule["then"], rule["rule"]))
    return written_out


# ------------------------------------------------------------------------------------ the same on arrays


class Decided(NamedTuple):
    """action [n], rule [n] (its name), value [n]: the label a pair goes on with, "" where it goes on with none."""

    action: np.ndarray
    rule: np.ndarray
    value: np.ndarray


def probability_a(margin: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """P(a is the better response) [n] = sigmoid(margin / temperature), of margins reward_a - reward_b [n] in reward units.

    The exponent is cut at +-80, where float64 would overflow beyond 709: far outside any band."""
    return 1 / (1 + np.exp(-np.clip(np.asarray(margin, np.float64) / temperature, -80, 80)))


def reward_model_side(margin: np.ndarray, temperature: float, band: float) -> np.ndarray:
    """Which response a reward model speaks for [n]: 1 for a, -1 for b, 0 where P(a) is within `band` of 1/2."""
    unsure = np.abs(probability_a(margin, temperature) - 0.5) <= band
    return np.where(unsure, 0, np.sign(margin)).astype(np.int8)


def vote_side(value: Sequence[str | None]) -> np.ndarray:
    """Which response votes speak for [n]: 1 for "a", -1 for "b", 0 for a tie; nan where there is no vote."""
    sides = {"a": 1.0, "b": -1.0, "tie": 0.0, None: np.nan}
    return np.array([sides[word] for word in value])


def opinion(side: np.ndarray, original: np.ndarray) -> np.ndarray:
    """Sides [n] in words about the original label, whose own side is `original` [n]; nan says "none".

    Where the original label takes no side, `for` means "for a"."""
    about = np.where(np.nan_to_num(original) == -1, -1, 1)
    words = np.where(side == about, "for", np.where(side == 0, "even", "against"))
    return np.where(np.isnan(side), "none", words)


def decide(
    table: Sequence[Rule], opinions: Mapping[str, np.ndarray], original: np.ndarray
) -> Decided:
    """What a table makes of pairs. opinions: seat -> words [n], a seat that is missing says "none"; original [n]: side of the label."""
    n = len(original)
    code = np.zeros(n, np.int64)
    for seat in SEATS:
        words = opinions.get(seat, np.full(n, "none"))
        code = code * len(OPINIONS) + np.select(
            [words == w for w in OPINIONS], range(len(OPINIONS))
        )
    row_of = {code: row for row, (code, _, _) in enumerate(outcomes(table))}
    rows = [row_of[c] for c in code.tolist()]
    action = np.array([name for _, name, _ in outcomes(table)])[rows]
    rule = np.array([name for _, _, name in outcomes(table)])[rows]
    label = np.where(np.nan_to_num(original) == -1, "b", "a")
    flipped = np.where(label == "a", "b", "a")
    value = np.select([action == "keep", action == "flip"], [label, flipped], "")
    return Decided(action, rule, value)
