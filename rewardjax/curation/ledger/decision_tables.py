"""What becomes of a pair: a lookup in a table that is configuration.

Five seats have an opinion about a pair's original label: the label itself, the gold RM, the best
RM, the judges, the people. Each opinion is `for`, `against`, `even` (a tie, or a probability close
to 0.5), `undecided` (people only) or `none`. A table is a list of rules, and the first that fits
decides; a seat that a rule does not name may say anything:

    {"gold": "for", "best": "for|even", "then": "keep", "rule": "gold agrees"}

A pair that came with a tie, with labels that contradict each other, or with none has `original`
`even` or `none`. For it `for` means "for a", and `a` is merely the response that sorts first, so a
rule that keeps what is confirmed would keep such pairs by chance: every preset has a rule of its
own for them.

Everything here is arithmetic on words and arrays: `decisions.py` calls it with what a ledger says,
a simulation with what it likes.
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

# ------------------------------------------------------------------ readings of the paper

_PEOPLE: tuple[Rule, ...] = (  # a person has the last word (paper 2.2)
    {"humans": "for", "then": "keep", "rule": "people agree with the label"},
    {"humans": "against", "then": "flip", "rule": "people prefer the other response"},
    {"humans": "even|undecided", "then": "discard", "rule": "people see no better response"},
)
# Stage 2 confirms or turns the label that a pair came with (paper, section 1.6: what is kept is a
# label that agrees with the gold RM). A tie has no side that could be confirmed or turned; pairs
# without a better response are dropped in Stage 1 too, where people say so.
_TIE: Rule = {
    "original": "even|none",
    "then": "discard",
    "rule": "it came without a label to confirm",
}
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
    # Stage 1: judges label what people did not. They answer which response is better and not
    # whether a label is right, so a tie gets its label from them: both sides are treated alike.
    "stage1": (
        *_PEOPLE,
        {
            "original": "even|none",
            "judges": "for",
            "then": "keep",
            "rule": "judges prefer response a of a tie",
        },
        _flip("judges prefer response b of a tie", original="even|none", judges="against"),
        {"judges": "for", "then": "keep", "rule": "judges agree with the label"},
        _flip("judges prefer the other response", judges="against"),
        {"judges": "even", "then": "discard", "rule": "judges see no better response"},
        {"then": "annotate", "rule": "nobody looked at it"},
    ),
    # Stage 2 as printed: judges are asked wherever the best RM does not confirm the label; what it
    # keeps is the curated part (26M).
    "filter": (*_PEOPLE, _TIE, _ASK, *_PASS, _REST),
    # ... and everything that was discarded is flipped (version 2 of the paper: 26M + 14M).
    "flip_discarded": (
        *_PEOPLE,
        _TIE,
        _ASK,
        *_PASS,
        _flip("recycled", gold="for|against|even"),
        {"then": "discard", "rule": "never scored"},
    ),
    # ... or only what both reward models contradict (appendix H.4).
    "flip_both": (
        *_PEOPLE,
        _TIE,
        _ASK,
        *_PASS,
        _flip("both RMs prefer the other", gold="against", best="against"),
        _REST,
    ),
    # ... or what the gold RM contradicts.
    "flip_gold": (
        *_PEOPLE,
        _TIE,
        _ASK,
        *_PASS,
        _flip("the gold RM prefers the other", gold="against"),
        _REST,
    ),
    # The same outcome as flip_both's, with judges asked only where their answer can change it: what
    # the gold RM does not confirm is flipped or discarded whatever they say.
    "frugal": (
        *_PEOPLE,
        _TIE,
        {"gold": "for", **_ASK, "rule": "only judges can confirm it"},
        *_PASS,
        _flip("both RMs prefer the other", gold="against", best="against"),
        _REST,
    ),
    # Without judges; with one reward model; without people and gold RM.
    "both_rms": (
        _TIE,
        {"gold": "for", "best": "for", "then": "keep", "rule": "both RMs agree"},
        _flip("both RMs prefer the other", gold="against", best="against"),
        _REST,
    ),
    "gold_rm": (
        _TIE,
        {"gold": "for", "then": "keep", "rule": "the gold RM agrees"},
        _flip("the gold RM prefers the other", gold="against"),
        _REST,
    ),
    "best_rm": (
        _TIE,
        {"best": "for", "then": "keep", "rule": "the best RM agrees"},
        _flip("the best RM prefers the other", best="against"),
        _REST,
    ),
    "no_human": (
        _TIE,
        {"best": "for", "then": "keep", "rule": "the best RM agrees"},
        {"judges": "none", "then": "annotate", "rule": "the best RM is not sure of the label"},
        {"judges": "for", "then": "keep", "rule": "judges agree with the label"},
        _flip("best RM and judges prefer the other", best="against", judges="against"),
        _REST,
    ),
}


# ------------------------------------------------------------------ tables, checked


def rules(table: str | Sequence[Rule]) -> tuple[Rule, ...]:
    """The rules of a preset, or of a table given in full, checked.

    Raises:
        ValueError: for an unknown preset, seat, opinion or action, for a situation that no rule
            covers, and for a rule that is never reached.
    """
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
    reached = set(written_out(table).values())
    for place, name in enumerate(names):
        if place not in reached:
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
            f"{where}: then = {rule.get('then')!r}, not one of {', '.join(ACTIONS)}, or no name in "
            f"`rule`"
        )
    for seat in rule.keys() & set(SEATS):
        for word in rule[seat].split("|"):
            if word not in SAYS[seat]:
                raise ValueError(f"{where}.{seat}: {word!r}, not one of {', '.join(SAYS[seat])}")


def seats_of(table: str | Sequence[Rule]) -> set[str]:
    """The seats whose opinion a table asks for anywhere."""
    seats: set[str] = set()
    for rule in rules(table):
        seats |= set(SEATS) & rule.keys()
    return seats


def first_match(table: Sequence[Rule], opinions: Mapping[str, str]) -> Rule | None:
    """The rule that decides a pair with these opinions, seat -> opinion; None where none fits."""
    for rule in table:
        if all(opinions[seat] in rule[seat].split("|") for seat in SEATS if seat in rule):
            return rule
    return None


def written_out(table: Sequence[Rule]) -> dict[int, int]:
    """The place of the rule for every situation that five seats can be in, by the situation's code.

    There are 3 * 4 * 4 * 4 * 5 = 960 of them, so a table is not interpreted pair by pair: it is
    written out once and looked up. Raises ValueError for a situation that no rule covers.
    """
    place_of = {}
    for words in itertools.product(*(SAYS[seat] for seat in SEATS)):
        opinions: dict[str, str] = dict(zip(SEATS, words, strict=True))
        rule = first_match(table, opinions)
        if rule is None:
            raise ValueError(
                f"table: no rule covers {opinions}; end with a rule that names no seat"
            )
        code = _code(np.array([OPINIONS.index(word) for word in words]))
        place_of[int(code)] = list(table).index(rule)
    return place_of


def _code(opinions: np.ndarray) -> np.ndarray:
    """One number [...] for the opinions [..., 5] of all seats, its digits in base 5."""
    weights = len(OPINIONS) ** np.arange(len(SEATS))
    return opinions @ weights


# ------------------------------------------------------------------ from sides to decisions

# A side says which response somebody speaks for: A, B, neither, or nothing because nobody spoke.
A, B, NEITHER, SILENT = 1.0, -1.0, 0.0, np.nan
UNDECIDED = 2.0  # people who looked at the pair and could not decide
FOR, AGAINST, EVEN, CANNOT, NONE = range(len(OPINIONS))


class Sides(NamedTuple):
    """Who speaks for which response, of n pairs: sides [n], and margins [n] of reward models.

    A margin is reward_a - reward_b in reward units, nan where the model did not score the pair.
    """

    original: np.ndarray
    gold: np.ndarray
    best: np.ndarray
    judges: np.ndarray
    humans: np.ndarray


class Decided(NamedTuple):
    """What becomes of n pairs, in numbers [n] that index the words beside them.

    opinions [n, 5]: of SEATS, in OPINIONS; action: in ACTIONS; rule: place in the table; value: the
    label that a pair goes on with, in LABELS, -1 where it goes on with none.
    """

    opinions: np.ndarray
    action: np.ndarray
    rule: np.ndarray
    value: np.ndarray


LABELS = ("a", "b")


def reward_model_side(margin: np.ndarray, temperature: float, band: float) -> np.ndarray:
    """Which response a reward model speaks for [n], of its margins [n].

    P(a is better) = sigmoid(margin / temperature); within `band` of 1/2 it speaks for neither.
    """
    # float64 would overflow beyond an exponent of 709; 80 is far outside any band.
    exponent = np.clip(np.asarray(margin, np.float64) / temperature, -80, 80)
    is_even = np.abs(1 / (1 + np.exp(-exponent)) - 0.5) <= band
    return np.where(is_even, NEITHER, np.sign(margin))


def opinion(side: np.ndarray, original: np.ndarray) -> np.ndarray:
    """Sides [n] as opinions about the original label, whose own side is `original` [n]."""
    # Where the label itself takes no side, `for` means "for a".
    about = np.where(original == B, B, A)
    agreed = np.where(side == about, FOR, AGAINST)
    spoken = np.where(side == NEITHER, EVEN, np.where(side == UNDECIDED, CANNOT, agreed))
    return np.where(np.isnan(side), NONE, spoken).astype(np.int8)


def decide(
    table: Sequence[Rule],
    sides: Sides,
    *,
    gold_temperature: float = 1.0,
    best_temperature: float = 1.0,
    band: float = 0.0,
) -> Decided:
    """What a checked table makes of n pairs.

    Args:
        table: `rules` of a preset or of a table given in full.
        sides: who speaks for which response.
        gold_temperature: of the gold RM's margins, fit on pairs that it was not trained on.
        best_temperature: of the best RM's margins, fit on gold.
        band: a reward model with |P(a) - 0.5| <= band is `even`.
    """
    original = sides.original
    gold = reward_model_side(sides.gold, gold_temperature, band)
    best = reward_model_side(sides.best, best_temperature, band)
    columns = [
        opinion(side, original) for side in (original, gold, best, sides.judges, sides.humans)
    ]
    opinions = np.stack(columns, axis=-1)  # [n, 5]

    place_by_code = np.full(len(OPINIONS) ** len(SEATS), -1, np.int32)
    for code, place in written_out(table).items():
        place_by_code[code] = place
    rule = place_by_code[_code(opinions.astype(np.int32))]
    action = np.array([ACTIONS.index(each["then"]) for each in table], np.int8)[rule]

    kept = np.where(original == B, LABELS.index("b"), LABELS.index("a"))
    keep, flip = action == ACTIONS.index("keep"), action == ACTIONS.index("flip")
    value = np.select([keep, flip], [kept, 1 - kept], -1).astype(np.int8)
    return Decided(opinions, action, rule, value)
