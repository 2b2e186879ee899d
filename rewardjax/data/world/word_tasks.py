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

# ----------------------------------- Editing: letters backwards; a change to a list of words


def _reverse_make(draw: Draw) -> State:
    # Different letters: with two alike, exchanging them would be no mistake.
    return {"letters": draw.sample(LETTERS, draw.between(3, 5))}


def _reverse_ask(state: State, draw: Draw) -> str:
    shown = "-".join(state["letters"])
    return draw.pick(
        (f"Write the letters {shown} backwards.", f"Reverse {shown}.", f"Turn this around: {shown}")
    )


def _reverse_wrong(state: State, draw: Draw, near: bool) -> str:
    """The right letters in another order, or one or two other letters."""
    letters = state["letters"][::-1]
    if draw.chance(0.5):
        return "-".join(swapped(letters, draw, near))
    count = 2
    if near:
        count = 1
    changed = draw.sample(range(len(letters)), count)
    others = draw.sample([letter for letter in LETTERS if letter not in letters], 2)
    for i in sorted(changed):
        letters[i] = others.pop()
    return "-".join(letters)


def _edit_make(draw: Draw) -> State:
    words = draw.sample(THINGS, draw.between(3, 4))
    old, new = draw.pick(words), None
    # None: the word is removed.
    if draw.chance(0.5):
        new = draw.pick([word for word in THINGS if word not in words])
    return {"words": words, "old": old, "new": new}


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
    """The words with `old` replaced by `new`, or removed where `new` is None."""
    if new is None:
        return [word for word in words if word != old]
    edited = list(words)
    edited[words.index(old)] = new
    return edited


def _edit_wrong(state: State, draw: Draw, near: bool) -> str:
    """A slip in the order, the wrong word edited, or (far) a strange word in the edited list."""
    words, old, new = state["words"], state["old"], state["new"]
    other = draw.pick([word for word in words if word != old])
    edited = _edited(words, old, new)
    if near:
        if draw.chance(0.5):
            return ", ".join(swapped(edited, draw, True))
        return ", ".join(_edited(words, other, new))
    # Not the old word either: putting it back could undo the edit, which is a nearer mistake.
    strange = draw.pick([word for word in THINGS if word not in edited and word != old])
    return ", ".join(_edited(edited, draw.pick(edited), strange))


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


# ----------------------------------- Information seeking: the table of facts


FACT_QUESTIONS = {
    "river": ("Which river runs through {}", "What is the river of {}"),
    "product": ("What is {} known for", "Which product comes from {}"),
    "flag": ("What colour is the flag of {}", "Which colour does the flag of {} have"),
    "mayor": ("Who is the mayor of {}", "Who leads the town of {}"),
}


def _facts_make(draw: Draw) -> State:
    town, relation = draw.pick(TOWNS), draw.pick(list(FACTS_ASKED))
    # The question names three values: the fact has to be known, not how it is spelled.
    true = FACTS[town][relation]
    others = draw.sample([value for value in FACTS_ASKED[relation] if value != true], 2)
    return {"town": town, "relation": relation, "options": draw.shuffled([true, *others])}


def _facts_ask(state: State, draw: Draw) -> str:
    first, second, third = state["options"]
    question = draw.pick(FACT_QUESTIONS[state["relation"]]).format(state["town"])
    return f"{question}: {first}, {second} or {third}?"


def _facts_solve(state: State) -> str:
    return FACTS[state["town"]][state["relation"]]


KNOW = Task(
    "facts",
    "Information seeking",
    _facts_make,
    _facts_ask,
    **equals(_facts_solve),
    wrong=lambda state, draw, near: draw.pick(
        [option for option in state["options"] if option != _facts_solve(state)]
    ),
)


# ----------------------------------- Planning: errands in any order


TIMES = ("first", "then", "last")


def _plan_make(draw: Draw) -> State:
    # "told": the order in which the user names them.
    return {"errands": draw.sample(ERRANDS, 3), "told": draw.shuffled(range(3))}


def _plan_ask(state: State, draw: Draw) -> str:
    plans = ", ".join(f"{TIMES[i]} {state['errands'][i]}" for i in state["told"])
    return draw.pick(
        (
            f"Put my day in order: {plans}.",
            f"My plans: {plans}. List them by time.",
            f"Plan my day from early to late: {plans}.",
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


# ----------------------------------- Brainstorming: n things of a kind, two of them forbidden


def _storm_make(draw: Draw) -> State:
    kind = draw.pick(list(KINDS))
    return {"kind": kind, "n": draw.between(2, 5), "not": draw.sample(KINDS[kind], 2)}


def _storm_ask(state: State, draw: Draw) -> str:
    kind, n, (first, second) = state["kind"], state["n"], state["not"]
    return draw.pick(
        (
            f"Name {n} {kind}, but not {first} or {second}.",
            f"Give me exactly {n} {kind}. I do not want {first} or {second}.",
            f"I need ideas: {n} {kind} other than {first} and {second}.",
        )
    )


def _storm_allowed(state: State) -> list[str]:
    return [word for word in KINDS[state["kind"]] if word not in state["not"]]


def _storm_right(state: State, draw: Draw) -> str:
    return ", ".join(draw.sample(_storm_allowed(state), state["n"]))


def _storm_wrong(state: State, draw: Draw, near: bool) -> str:
    """One item too many or too few, a forbidden one, one twice, or (far) one of another kind."""
    items = draw.sample(_storm_allowed(state), state["n"])
    spare = [word for word in _storm_allowed(state) if word not in items]
    at, slip = draw.below(len(items)), "strange"
    if near:
        slip = draw.pick(("length", "forbidden", "twice"))
    if slip == "length" and draw.chance(0.5):
        items.append(draw.pick(spare))
    elif slip == "length":
        items.pop()
    elif slip == "forbidden":
        items[at] = draw.pick(state["not"])
    elif slip == "twice":
        # There are at least two items; the first one's neighbor is the last.
        items[at] = items[at - 1]
    else:
        items[at] = draw.pick([word for word in THINGS if word not in KINDS[state["kind"]]])
    return ", ".join(items)


def _storm_check(state: State, answer: str) -> bool:
    items = answer.split(", ")
    different = len(set(items)) == len(items) == state["n"]
    return different and set(items) <= set(_storm_allowed(state))


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


# ----------------------------------- Creative writing: n words that share their first letter


def _write_make(draw: Draw) -> State:
    letter = draw.pick(list(BY_LETTER))
    return {"letter": letter, "n": draw.between(3, 5), "with": draw.sample(BY_LETTER[letter], 2)}


def _write_ask(state: State, draw: Draw) -> str:
    letter, n, (first, second) = state["letter"], state["n"], state["with"]
    return draw.pick(
        (
            f"Write a line of {n} words with {first} and {second} in it. "
            f"Each word starts with {letter}.",
            f"Make a poem of {n} words that all begin with {letter}. Use {first} and {second}.",
            f"Use {first} and {second} in a line of {n} words, all starting with {letter}.",
        )
    )


def _write_right(state: State, draw: Draw) -> str:
    free = [word for word in BY_LETTER[state["letter"]] if word not in state["with"]]
    others = draw.sample(free, state["n"] - 2)
    return " ".join(draw.shuffled(state["with"] + others))


def _write_wrong(state: State, draw: Draw, near: bool) -> str:
    """A required word missing, one word too many or too few, or (far) a word of another letter."""
    words = _write_right(state, draw).split(" ")
    spare = [word for word in BY_LETTER[state["letter"]] if word not in words]
    # Places of words that the user did not ask for: whatever happens there breaks one rule only.
    free = [i for i, word in enumerate(words) if word not in state["with"]]
    if not near:
        letter = draw.pick([letter for letter in BY_LETTER if letter != state["letter"]])
        strange = draw.pick(BY_LETTER[letter])
        words[draw.pick(free)] = strange
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


# ----------------------------------- Advice seeking: what to take, by the user's own rule


def _advice_make(draw: Draw) -> State:
    # "now": which of the three kinds of weather is expected.
    return {
        "goods": draw.sample(GOODS, 3),
        "weather": draw.sample(WEATHER, 3),
        "now": draw.below(3),
    }


def _advice_ask(state: State, draw: Draw) -> str:
    first, second, third = state["goods"]
    this, that, other = state["weather"]
    today = state["weather"][state["now"]]
    return draw.pick(
        (
            f"In {this} I take the {first}, in {that} the {second}, in {other} the {third}. "
            f"Today we have {today}. What should I take?",
            f"I have a {first} for {this}, a {second} for {that} and a {third} for {other}. "
            f"We expect {today}. What do you advise?",
        )
    )


def _advice_solve(state: State) -> str:
    return state["goods"][state["now"]]


def _advice_wrong(state: State, draw: Draw, near: bool) -> str:
    # Far: something that the user has not named.
    goods = GOODS
    if near:
        goods = state["goods"]
    return draw.pick([good for good in goods if good != _advice_solve(state)])


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
