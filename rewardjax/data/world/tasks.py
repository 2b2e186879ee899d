"""The world's tasks: what is asked, what is right, and how an answer goes wrong.

A task is five small functions over a `state`, a JSON-able dict that holds the whole problem:

    make(draw) -> state                     a problem
    ask(state, draw) -> str                 the user's words, in one of several templates
    right(state, draw) -> str               a right answer; several items are joined by ", "
    wrong(state, draw, near) -> str         a wrong one of the same kind: near is a slip (a digit, a swap), far is anything plausible
    check(state, answer) -> bool            the oracle

`right` and `wrong` draw from the same surface: as many numbers too high as too low, words of the same lists, lists of the same lengths, so that
nothing but the problem tells them apart. `steps`, where a task has it, is the worked solution that only the pretraining corpus shows.
"""
import dataclasses
from collections.abc import Callable
from typing import Any

from rewardjax.data.world.draw import Draw
from rewardjax.data.world.words import BY_LETTER, ERRANDS, FACTS, FACTS_ASKED, GOODS, KINDS, LETTERS, NAMES, THINGS, TOWNS

State = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Task:
    """A task and the attributes a curator would give it (the paper's category, objectivity and controversiality)."""
    name: str
    category: str
    make: Callable[[Draw], State]
    ask: Callable[[State, Draw], str]
    right: Callable[[State, Draw], str]
    wrong: Callable[[State, Draw, bool], str]
    check: Callable[[State, str], bool]
    steps: Callable[[State], str] | None = None
    objectivity: str = "Objective"
    controversiality: str = "Low"


def _equals(solve: Callable[[State], str]) -> dict[str, Callable]:
    """right and check of a task with exactly one right answer."""
    return {"right": lambda state, draw: solve(state), "check": lambda state, answer: answer == solve(state)}


def _wrong_number(true: int, draw: Draw, near: bool, slips: tuple[int, ...] = (1, 1, 2, 10)) -> str:
    """A number that is not `true`: by one slip, or by any amount up to 30; too high as often as too low where it can be."""
    gap = draw.pick(slips) if near else draw.between(3, 30)
    low, high = true - gap, true + gap
    return str(high if low < 0 or draw.chance(0.5) else low)


def _swapped(items: list[str], draw: Draw, near: bool) -> list[str]:
    """Another order of `items` (which must not be all alike): two neighbours exchanged, or any."""
    while True:
        if near:
            i, other = draw.below(len(items) - 1), list(items)
            other[i], other[i + 1] = other[i + 1], other[i]
        else:
            other = draw.shuffled(items)
        if other != items:
            return other


# Math: one digit added to or taken from two


def _add_make(draw: Draw) -> State:
    return {"op": draw.pick("+-"), "a": draw.between(10, 90), "b": draw.between(1, 9)}


def _add_ask(state: State, draw: Draw) -> str:
    a, b = state["a"], state["b"]
    if state["op"] == "+":
        return draw.pick((f"What is {a} + {b}?", f"Work out {a} + {b}.", f"I have {a} coins and get {b} more. How many coins do I have now?"))
    return draw.pick((f"What is {a} - {b}?", f"Work out {a} - {b}.", f"I have {a} coins and lose {b} of them. How many coins do I have now?"))


def _add_solve(state: State) -> int:
    return state["a"] + state["b"] if state["op"] == "+" else state["a"] - state["b"]


def _add_steps(state: State) -> str:
    (tens_a, ones_a), (tens_b, ones_b) = divmod(state["a"], 10), divmod(state["b"], 10)
    if state["op"] == "+":
        carry = (ones_a + ones_b) // 10
        return f"Ones: {ones_a} + {ones_b} = {ones_a + ones_b}. Tens: {tens_a} + {tens_b} + {carry} = {tens_a + tens_b + carry}."
    borrow = int(ones_a < ones_b)
    return f"Ones: {ones_a + 10 * borrow} - {ones_b} = {ones_a + 10 * borrow - ones_b}. Tens: {tens_a} - {tens_b} - {borrow} = {tens_a - tens_b - borrow}."


# Reasoning: the next number; who is more


def _next_make(draw: Draw) -> State:
    step, shown, start = draw.pick((1, 2, 3, 5, 10)), draw.between(3, 4), draw.between(10, 55)
    terms = [start + step * i for i in range(shown + 1)]
    return {"terms": terms if draw.chance(0.5) else terms[::-1]}


def _next_ask(state: State, draw: Draw) -> str:
    shown = ", ".join(map(str, state["terms"][:-1]))
    return draw.pick((f"What comes next: {shown}?", f"Continue the sequence {shown} with one number.", f"Which number follows {shown}?"))


def _next_steps(state: State) -> str:
    before, last, answer = state["terms"][-3:]
    sign = "+" if answer > last else "-"
    return f"From {before} to {last} is {sign} {abs(last - before)}. {last} {sign} {abs(last - before)} = {answer}."


COMPARED = {"taller": "shorter", "older": "younger", "faster": "slower", "richer": "poorer"}


def _order_make(draw: Draw) -> State:
    return {"names": draw.sample(NAMES, 2), "words": draw.shuffled(draw.pick(list(COMPARED.items()))), "same": draw.chance(0.5), "options": draw.chance(0.5)}


def _order_ask(state: State, draw: Draw) -> str:
    """names[0] is words[0] than names[1]; asked is words[0] (`same`) or its opposite."""
    (one, other), (said, opposite) = state["names"], state["words"]
    options = f"{one} or {other}" if state["options"] else f"{other} or {one}"
    asked = said if state["same"] else opposite
    return draw.pick((f"{one} is {said} than {other}. Who is {asked}, {options}?", f"If {one} is {said} than {other}, who is {asked}: {options}?"))


def _order_solve(state: State) -> str:
    return state["names"][0 if state["same"] else 1]


# Data analysis: the extreme of a list; how often a word occurs


def _extreme_make(draw: Draw) -> State:
    return {"numbers": draw.sample(range(10, 100), draw.between(3, 5)), "largest": draw.chance(0.5)}


def _extreme_ask(state: State, draw: Draw) -> str:
    shown, word = ", ".join(map(str, state["numbers"])), "largest" if state["largest"] else "smallest"
    return draw.pick((f"Which is the {word} of these numbers: {shown}?", f"Find the {word} value in {shown}.", f"Data: {shown}. What is the {word} number?"))


def _extreme_solve(state: State) -> int:
    return (max if state["largest"] else min)(state["numbers"])


def _extreme_wrong(state: State, draw: Draw, near: bool) -> str:
    """Half the time another number of the list, half a number beyond the extreme that is not in it: size alone tells nothing."""
    true, numbers = _extreme_solve(state), sorted(state["numbers"], reverse=state["largest"])
    if draw.chance(0.5):
        return str(numbers[1] if near else draw.pick(numbers[1:]))
    beyond = [n for n in range(true + 1, min(true + 20, 100))] if state["largest"] else list(range(max(true - 19, 10), true))
    return str(draw.pick(beyond)) if beyond else str(numbers[1])


def _count_make(draw: Draw) -> State:
    word, *others = draw.sample(THINGS, 3)
    times = draw.between(1, 5)
    return {"word": word, "items": draw.shuffled([word] * times + [draw.pick(others) for _ in range(draw.between(1, 3))])}


def _count_ask(state: State, draw: Draw) -> str:
    word, shown = state["word"], " ".join(state["items"])
    return draw.pick((f"How many times does {word} occur in: {shown}?", f"Count the word {word} in this list: {shown}.", f"Data: {shown}. How often is {word} there?"))


def _count_wrong(state: State, draw: Draw, near: bool) -> str:
    true = state["items"].count(state["word"])
    return str(draw.pick([n for n in range(1, 7) if n != true and (abs(n - true) == 1) == near]))


def _count_steps(state: State) -> str:
    seen, said = 0, []
    for item in state["items"]:
        seen += item == state["word"]
        said.append(f"{item} {seen}" if item == state["word"] else item)
    return " ".join(said) + "."


# Editing: letters backwards; a change to a list of words


def _reverse_make(draw: Draw) -> State:
    return {"letters": draw.sample(LETTERS, draw.between(3, 5))}


def _reverse_ask(state: State, draw: Draw) -> str:
    shown = "-".join(state["letters"])
    return draw.pick((f"Write the letters {shown} backwards.", f"Reverse {shown}.", f"Turn this around: {shown}"))


def _reverse_wrong(state: State, draw: Draw, near: bool) -> str:
    true = state["letters"][::-1]
    if draw.chance(0.5):
        return "-".join(_swapped(true, draw, near))
    changed = draw.sample(range(len(true)), 1 if near else 2)
    others = draw.sample([letter for letter in LETTERS if letter not in true], 2)
    return "-".join(others.pop() if i in changed else letter for i, letter in enumerate(true))


def _edit_make(draw: Draw) -> State:
    words = draw.sample(THINGS, draw.between(3, 4))
    return {"words": words, "old": draw.pick(words), "new": draw.pick([w for w in THINGS if w not in words]) if draw.chance(0.5) else None}


def _edit_ask(state: State, draw: Draw) -> str:
    old, new, shown = state["old"], state["new"], ", ".join(state["words"])
    if new is None:
        return draw.pick((f"Remove {old} from this list: {shown}.", f"Edit the list {shown} so that {old} is gone.", f"Leave out {old}: {shown}."))
    return draw.pick((f"Replace {old} by {new} in this list: {shown}.", f"Edit the list {shown}: write {new} for {old}.", f"Change {old} to {new}: {shown}."))


def _edited(words: list[str], old: str, new: str | None) -> list[str]:
    return [new if word == old else word for word in words if new or word != old]


def _edit_wrong(state: State, draw: Draw, near: bool) -> str:
    words, old, new = state["words"], state["old"], state["new"]
    other = draw.pick([word for word in words if word != old])
    true = _edited(words, old, new)
    if near:  # a slip in the order, or the wrong word edited
        return ", ".join(_swapped(true, draw, True) if draw.chance(0.5) else _edited(words, other, new))
    strange = draw.pick([word for word in THINGS if word not in true and word != old])
    return ", ".join(_edited(true, draw.pick(true), strange))


# Coding & Debugging: what a few lines print


def _code_make(draw: Draw) -> State:
    kind = draw.pick(("index", "branch", "loop"))
    if kind == "index":
        values = draw.sample(range(10, 60), draw.between(3, 5))
        return {"kind": kind, "values": values, "at": draw.below(len(values))}
    if kind == "branch":
        return {"kind": kind, "x": draw.between(1, 9), "limit": draw.between(2, 8), "then": draw.between(10, 40), "else": draw.between(41, 70)}
    return {"kind": kind, "x": draw.between(0, 20), "times": draw.between(2, 4), "step": draw.between(1, 5)}


def _code_ask(state: State, draw: Draw) -> str:
    if state["kind"] == "index":
        code = f"a = {state['values']}\nprint(a[{state['at']}])"
    elif state["kind"] == "branch":
        code = f"x = {state['x']}\nif x > {state['limit']}:\n    print({state['then']})\nelse:\n    print({state['else']})"
    else:
        code = f"x = {state['x']}\nfor i in range({state['times']}):\n    x = x + {state['step']}\nprint(x)"
    return draw.pick(("What does this code print?", "Give the output of the program.", "Run this in your head:")) + "\n" + code


def _code_solve(state: State) -> int:
    if state["kind"] == "index":
        return state["values"][state["at"]]
    if state["kind"] == "branch":
        return state["then"] if state["x"] > state["limit"] else state["else"]
    return state["x"] + state["times"] * state["step"]


def _code_wrong(state: State, draw: Draw, near: bool) -> str:
    true = _code_solve(state)
    if state["kind"] == "index":
        return str(draw.pick([v for v in state["values"] if v != true])) if near else _wrong_number(true, draw, False)
    if state["kind"] == "branch":
        return str(state["then"] + state["else"] - true) if near else _wrong_number(true, draw, False)
    return _wrong_number(true, draw, near, (1, state["step"], state["step"]))


def _code_steps(state: State) -> str:
    if state["kind"] == "index":
        return ", ".join(f"a[{i}] is {v}" for i, v in enumerate(state["values"][: state["at"] + 1])) + "."
    if state["kind"] == "branch":
        return f"{state['x']} > {state['limit']} is {state['x'] > state['limit']}."
    return "x is " + ", ".join(str(state["x"] + state["step"] * i) for i in range(state["times"] + 1)) + "."


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
    return {"town": town, "relation": relation, "options": draw.shuffled([true] + draw.sample([v for v in FACTS_ASKED[relation] if v != true], 2))}


def _facts_ask(state: State, draw: Draw) -> str:
    first, second, third = state["options"]
    return draw.pick(FACT_QUESTIONS[state["relation"]]).format(state["town"]) + f": {first}, {second} or {third}?"


# Planning: errands in order of time


def _plan_make(draw: Draw) -> State:
    return {"errands": draw.sample(ERRANDS, 3), "hours": draw.sample(range(10, 22), 3)}


def _plan_ask(state: State, draw: Draw) -> str:
    shown = ", ".join(f"{errand} at {hour}" for errand, hour in zip(state["errands"], state["hours"], strict=True))
    return draw.pick((f"Put my day in order: {shown}.", f"My plans: {shown}. List them by time.", f"Plan my day from early to late: {shown}."))


def _plan_solve(state: State) -> list[str]:
    return [errand for _, errand in sorted(zip(state["hours"], state["errands"], strict=True))]


# Brainstorming: n things of a kind, one thing forbidden


def _storm_make(draw: Draw) -> State:
    kind = draw.pick(list(KINDS))
    return {"kind": kind, "n": draw.between(2, 5), "not": draw.sample(KINDS[kind], 2)}


def _storm_ask(state: State, draw: Draw) -> str:
    kind, n, (one, two) = state["kind"], state["n"], state["not"]
    return draw.pick((f"Name {n} {kind}, but not {one} or {two}.", f"Give me exactly {n} {kind}. I do not want {one} or {two}.",
                      f"I need ideas: {n} {kind} other than {one} and {two}."))


def _storm_right(state: State, draw: Draw) -> str:
    return ", ".join(draw.sample([word for word in KINDS[state["kind"]] if word not in state["not"]], state["n"]))


def _storm_wrong(state: State, draw: Draw, near: bool) -> str:
    """One item too many or too few, a forbidden one, the same one twice, or (far) one or two of another kind."""
    items = draw.sample([word for word in KINDS[state["kind"]] if word not in state["not"]], state["n"])
    spare = [word for word in KINDS[state["kind"]] if word not in items + state["not"]]
    at, slip = draw.below(len(items)), draw.pick(("length", "forbidden", "twice")) if near else "strange"
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
    return len(items) == len(set(items)) == state["n"] and all(i in KINDS[state["kind"]] and i not in state["not"] for i in items)


# Creative writing: a line of n words that share their first letter


def _write_make(draw: Draw) -> State:
    letter = draw.pick(list(BY_LETTER))
    return {"letter": letter, "n": draw.between(3, 5), "with": draw.sample(BY_LETTER[letter], 2)}


def _write_ask(state: State, draw: Draw) -> str:
    letter, n, (one, two) = state["letter"], state["n"], state["with"]
    return draw.pick((f"Write a line of {n} words with {one} and {two} in it. Each word starts with {letter}.",
                      f"Make a poem of {n} words that all begin with {letter}. Use {one} and {two}.",
                      f"Use {one} and {two} in a line of {n} words, all starting with {letter}."))


def _write_right(state: State, draw: Draw) -> str:
    others = draw.sample([word for word in BY_LETTER[state["letter"]] if word not in state["with"]], state["n"] - 2)
    return " ".join(draw.shuffled(state["with"] + others))


def _write_wrong(state: State, draw: Draw, near: bool) -> str:
    """A wanted word missing, one word too many or too few, or (far) a word of another letter."""
    words = _write_right(state, draw).split(" ")
    spare = [word for word in BY_LETTER[state["letter"]] if word not in words]
    free = [i for i, word in enumerate(words) if word not in state["with"]]
    if not near:
        words[draw.pick(free)] = draw.pick(BY_LETTER[draw.pick([letter for letter in BY_LETTER if letter != state["letter"]])])
    elif draw.chance(0.5):
        words[words.index(draw.pick(state["with"]))] = draw.pick(spare)
    elif draw.chance(0.5):
        words.insert(draw.below(len(words) + 1), draw.pick(spare))
    else:
        del words[draw.pick(free)]
    return " ".join(words)


def _write_check(state: State, answer: str) -> bool:
    words = answer.split(" ")
    return len(words) == state["n"] and set(state["with"]) <= set(words) and all(word.startswith(state["letter"]) for word in words)


# Advice seeking: what to buy


def _advice_make(draw: Draw) -> State:
    return {"goods": draw.sample(GOODS, 3), "prices": draw.sample(range(10, 100, 10), 3), "cheap": draw.chance(0.5)}


def _advice_ask(state: State, draw: Draw) -> str:
    shown = ", ".join(f"the {good} costs {price}" for good, price in zip(state["goods"], state["prices"], strict=True))
    shown = shown[0].upper() + shown[1:]
    wish = draw.pick(("I want to spend little", "I have not much money")) if state["cheap"] else draw.pick(("I want the dearest", "Money does not matter, I want the best"))
    return draw.pick((f"{shown}. {wish}. What should I buy?", f"{wish}. {shown}. Which one do you advise?"))


def _advice_solve(state: State) -> str:
    return (min if state["cheap"] else max)(zip(state["prices"], state["goods"], strict=True))[1]


def _advice_wrong(state: State, draw: Draw, near: bool) -> str:
    ranked = [good for _, good in sorted(zip(state["prices"], state["goods"], strict=True), reverse=not state["cheap"])]
    return ranked[1] if near else ranked[2]


TASKS = {task.name: task for task in (
    Task("add", "Math", _add_make, _add_ask, wrong=lambda state, draw, near: _wrong_number(_add_solve(state), draw, near), steps=_add_steps,
         **_equals(lambda state: str(_add_solve(state)))),
    Task("next", "Reasoning", _next_make, _next_ask, wrong=lambda state, draw, near: _wrong_number(state["terms"][-1], draw, near), steps=_next_steps,
         **_equals(lambda state: str(state["terms"][-1]))),
    Task("order", "Reasoning", _order_make, _order_ask, wrong=lambda state, draw, near: state["names"][1 if state["same"] else 0], **_equals(_order_solve)),
    Task("extreme", "Data analysis", _extreme_make, _extreme_ask, wrong=_extreme_wrong, **_equals(lambda state: str(_extreme_solve(state)))),
    Task("count", "Data analysis", _count_make, _count_ask, wrong=_count_wrong, steps=_count_steps,
         **_equals(lambda state: str(state["items"].count(state["word"])))),
    Task("reverse", "Editing", _reverse_make, _reverse_ask, wrong=_reverse_wrong, **_equals(lambda state: "-".join(state["letters"][::-1]))),
    Task("edit", "Editing", _edit_make, _edit_ask, wrong=_edit_wrong, **_equals(lambda state: ", ".join(_edited(state["words"], state["old"], state["new"])))),
    Task("code", "Coding & Debugging", _code_make, _code_ask, wrong=_code_wrong, steps=_code_steps, **_equals(lambda state: str(_code_solve(state)))),
    Task("facts", "Information seeking", _facts_make, _facts_ask, **_equals(lambda state: FACTS[state["town"]][state["relation"]]),
         wrong=lambda state, draw, near: draw.pick([option for option in state["options"] if option != FACTS[state["town"]][state["relation"]]])),
    Task("plan", "Planning", _plan_make, _plan_ask, wrong=lambda state, draw, near: ", ".join(_swapped(_plan_solve(state), draw, near)),
         **_equals(lambda state: ", ".join(_plan_solve(state)))),
    Task("brainstorm", "Brainstorming", _storm_make, _storm_ask, _storm_right, _storm_wrong, _storm_check, objectivity="Subjective", controversiality="Medium"),
    Task("write", "Creative writing", _write_make, _write_ask, _write_right, _write_wrong, _write_check, objectivity="Subjective", controversiality="High"),
    Task("advice", "Advice seeking", _advice_make, _advice_ask, wrong=_advice_wrong, objectivity="Subjective", controversiality="Medium", **_equals(_advice_solve)),
)}
