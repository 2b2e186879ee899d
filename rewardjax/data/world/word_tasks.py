"""Tasks about words: edits, facts, plans, lists, lines of verse, and what to take."""

from rewardjax.data.world.draw import Draw
from rewardjax.data.world.task import State, Task, equals, swapped
from rewardjax.data.world.words import (
    BY_LETTER,
    ERRANDS,
    FACTS,
    FACTS_ASKED,
    GOODS,
    KINDS,
    LETTERS,
    THINGS,
    TOWNS,
    WEATHER,
)

# Editing: letters backwards; a change to a list of words


def _reverse_make(draw: Draw) -> State:
    return {"letters": draw.sample(LETTERS, draw.between(3, 5))}


def _reverse_ask(state: State, draw: Draw) -> str:
    shown = "-".join(state["letters"])
    return draw.pick(
        (f"Write the letters {shown} backwards.", f"Reverse {shown}.", f"Turn this around: {shown}")
    )


def _reverse_wrong(state: State, draw: Draw, near: bool) -> str:
    true = state["letters"][::-1]
    if draw.chance(0.5):
        return "-".join(swapped(true, draw, near))
    changed = draw.sample(range(len(true)), 1 if near else 2)
    others = draw.sample([letter for letter in LETTERS if letter not in true], 2)
    return "-".join(others.pop() if i in changed else letter for i, letter in enumerate(true))


def _edit_make(draw: Draw) -> State:
    words = draw.sample(THINGS, draw.between(3, 4))
    return {
        "words": words,
        "old": draw.pick(words),
        "new": draw.pick([w for w in THINGS if w not in words]) if draw.chance(0.5) else None,
    }


def _edit_ask(state: State, draw: Draw) -> str:
    old, new, shown = state["old"], state["new"], ", ".join(state["words"])
    if new is None:
        return draw.pick(
            (
                f"Remove {old} from this list: {shown}.",
                f"Edit the list {shown} so that {old} is gone.",
                f"Leave out {old}: {shown}.",
            )
        )
    return draw.pick(
        (
            f"Replace {old} by {new} in this list: {shown}.",
            f"Edit the list {shown}: write {new} for {old}.",
            f"Change {old} to {new}: {shown}.",
        )
    )


def _edited(words: list[str], old: str, new: str | None) -> list[str]:
    return [(new or word) if word == old else word for word in words if new or word != old]


def _edit_wrong(state: State, draw: Draw, near: bool) -> str:
    words, old, new = state["words"], state["old"], state["new"]
    other = draw.pick([word for word in words if word != old])
    true = _edited(words, old, new)
    if near:  # a slip in the order, or the wrong word edited
        return ", ".join(
            swapped(true, draw, True) if draw.chance(0.5) else _edited(words, other, new)
        )
    strange = draw.pick([word for word in THINGS if word not in true and word != old])
    return ", ".join(_edited(true, draw.pick(true), strange))


REVERSE = Task(
    "reverse",
    "Editing",
    _reverse_make,
    _reverse_ask,
    wrong=_reverse_wrong,
    **equals(lambda state: "-".join(state["letters"][::-1])),
)

EDIT = Task(
    "edit",
    "Editing",
    _edit_make,
    _edit_ask,
    wrong=_edit_wrong,
    **equals(lambda state: ", ".join(_edited(state["words"], state["old"], state["new"]))),
)


# Information seeking: the table of facts


FACT_QUESTIONS = {
    "river": ("Which river runs through {}", "What is the river of {}"),
    "product": ("What is {} known for", "Which product comes from {}"),
    "flag": ("What colour is the flag of {}", "Which colour does the flag of {} have"),
    "mayor": ("Who is the mayor of {}", "Who leads the town of {}"),
}


def _facts_make(draw: Draw) -> State:
    town, relation = draw.pick(TOWNS), draw.pick(list(FACTS_ASKED))
    true = FACTS[town][relation]
    return {
        "town": town,
        "relation": relation,
        "options": draw.shuffled(
            [true] + draw.sample([v for v in FACTS_ASKED[relation] if v != true], 2)
        ),
    }


def _facts_ask(state: State, draw: Draw) -> str:
    first, second, third = state["options"]
    return (
        draw.pick(FACT_QUESTIONS[state["relation"]]).format(state["town"])
        + f": {first}, {second} or {third}?"
    )


KNOW = Task(
    "facts",
    "Information seeking",
    _facts_make,
    _facts_ask,
    **equals(lambda state: FACTS[state["town"]][state["relation"]]),
    wrong=lambda state, draw, near: draw.pick(
        [option for option in state["options"] if option != FACTS[state["town"]][state["relation"]]]
    ),
)


# Planning: errands told out of order


TIMES = ("first", "then", "last")


def _plan_make(draw: Draw) -> State:
    return {"errands": draw.sample(ERRANDS, 3), "told": draw.shuffled(range(3))}


def _plan_ask(state: State, draw: Draw) -> str:
    told = ", ".join(f"{TIMES[i]} {state['errands'][i]}" for i in state["told"])
    return draw.pick(
        (
            f"Put my day in order: {told}.",
            f"My plans: {told}. List them by time.",
            f"Plan my day from early to late: {told}.",
        )
    )


PLAN = Task(
    "plan",
    "Planning",
    _plan_make,
    _plan_ask,
    wrong=lambda state, draw, near: ", ".join(swapped(state["errands"], draw, near)),
    **equals(lambda state: ", ".join(state["errands"])),
)


# Brainstorming: n things of a kind, one thing forbidden


def _storm_make(draw: Draw) -> State:
    kind = draw.pick(list(KINDS))
    return {"kind": kind, "n": draw.between(2, 5), "not": draw.sample(KINDS[kind], 2)}


def _storm_ask(state: State, draw: Draw) -> str:
    kind, n, (one, two) = state["kind"], state["n"], state["not"]
    return draw.pick(
        (
            f"Name {n} {kind}, but not {one} or {two}.",
            f"Give me exactly {n} {kind}. I do not want {one} or {two}.",
            f"I need ideas: {n} {kind} other than {one} and {two}.",
        )
    )


def _storm_right(state: State, draw: Draw) -> str:
    return ", ".join(
        draw.sample([word for word in KINDS[state["kind"]] if word not in state["not"]], state["n"])
    )


def _storm_wrong(state: State, draw: Draw, near: bool) -> str:
    """One item too many or too few, a forbidden one, the same one twice, or (far) one or two of another kind."""
    items = draw.sample(
        [word for word in KINDS[state["kind"]] if word not in state["not"]], state["n"]
    )
    spare = [word for word in KINDS[state["kind"]] if word not in items + state["not"]]
    at, slip = (
        draw.below(len(items)),
        draw.pick(("length", "forbidden", "twice")) if near else "strange",
    )
    if slip == "length":
        items = items + [draw.pick(spare)] if draw.chance(0.5) else items[:-1]
    elif slip == "forbidden":
        items[at] = draw.pick(state["not"])
    elif slip == "twice":
        items[at] = items[at - 1]
    else:
        items[at] = draw.pick([word for word in THINGS if word not in KINDS[state["kind"]]])
    return ", ".join(items)


def _storm_check(state: State, answer: str) -> bool:
    items = answer.split(", ")
    return len(items) == len(set(items)) == state["n"] and all(
        i in KINDS[state["kind"]] and i not in state["not"] for i in items
    )


BRAINSTORM = Task(
    "brainstorm",
    "Brainstorming",
    _storm_make,
    _storm_ask,
    _storm_right,
    _storm_wrong,
    _storm_check,
    objectivity="Subjective",
    controversiality="Medium",
)


# Creative writing: a line of n words that share their first letter


def _write_make(draw: Draw) -> State:
    letter = draw.pick(list(BY_LETTER))
    return {"letter": letter, "n": draw.between(3, 5), "with": draw.sample(BY_LETTER[letter], 2)}


def _write_ask(state: State, draw: Draw) -> str:
    letter, n, (one, two) = state["letter"], state["n"], state["with"]
    return draw.pick(
        (
            f"Write a line of {n} words with {one} and {two} in it. Each word starts with {letter}.",
            f"Make a poem of {n} words that all begin with {letter}. Use {one} and {two}.",
            f"Use {one} and {two} in a line of {n} words, all starting with {letter}.",
        )
    )


def _write_right(state: State, draw: Draw) -> str:
    others = draw.sample(
        [word for word in BY_LETTER[state["letter"]] if word not in state["with"]], state["n"] - 2
    )
    return " ".join(draw.shuffled(state["with"] + others))


def _write_wrong(state: State, draw: Draw, near: bool) -> str:
    """A wanted word missing, one word too many or too few, or (far) a word of another letter."""
    words = _write_right(state, draw).split(" ")
    spare = [word for word in BY_LETTER[state["letter"]] if word not in words]
    free = [i for i, word in enumerate(words) if word not in state["with"]]
    if not near:
        words[draw.pick(free)] = draw.pick(
            BY_LETTER[draw.pick([letter for letter in BY_LETTER if letter != state["letter"]])]
        )
    elif draw.chance(0.5):
        words[words.index(draw.pick(state["with"]))] = draw.pick(spare)
    elif draw.chance(0.5):
        words.insert(draw.below(len(words) + 1), draw.pick(spare))
    else:
        del words[draw.pick(free)]
    return " ".join(words)


def _write_check(state: State, answer: str) -> bool:
    words = answer.split(" ")
    return (
        len(words) == state["n"]
        and set(state["with"]) <= set(words)
        and all(word.startswith(state["letter"]) for word in words)
    )


WRITE = Task(
    "write",
    "Creative writing",
    _write_make,
    _write_ask,
    _write_right,
    _write_wrong,
    _write_check,
    objectivity="Subjective",
    controversiality="High",
)


# Advice seeking: what to take, by the user's own rule


def _advice_make(draw: Draw) -> State:
    return {
        "goods": draw.sample(GOODS, 3),
        "weather": draw.sample(WEATHER, 3),
        "now": draw.below(3),
    }


def _advice_ask(state: State, draw: Draw) -> str:
    (one, two, three), (this, that, other), now = (
        state["goods"],
        state["weather"],
        state["weather"][state["now"]],
    )
    return draw.pick(
        (
            f"In {this} I take the {one}, in {that} the {two}, in {other} the {three}. Today we have {now}. What should I take?",
            f"I have a {one} for {this}, a {two} for {that} and a {three} for {other}. We expect {now}. What do you advise?",
        )
    )


def _advice_solve(state: State) -> str:
    return state["goods"][state["now"]]


def _advice_wrong(state: State, draw: Draw, near: bool) -> str:
    return draw.pick(
        [good for good in (state["goods"] if near else GOODS) if good != _advice_solve(state)]
    )


ADVICE = Task(
    "advice",
    "Advice seeking",
    _advice_make,
    _advice_ask,
    wrong=_advice_wrong,
    objectivity="Subjective",
    controversiality="Medium",
    **equals(_advice_solve),
)
