"""Tasks about quantities: sums, sequences, comparisons, counts, and what a program prints."""

from rewardjax.data.world.draw import Draw
from rewardjax.data.world.task import State, Task, equals, wrong_number
from rewardjax.data.world.words import NAMES, THINGS

# Math: one digit added to or taken from two


def _add_make(draw: Draw) -> State:
    return {"op": draw.pick("+-"), "a": draw.between(10, 90), "b": draw.between(1, 9)}


def _add_ask(state: State, draw: Draw) -> str:
    a, b = state["a"], state["b"]
    if state["op"] == "+":
        return draw.pick(
            (
                f"What is {a} + {b}?",
                f"Work out {a} + {b}.",
                f"I have {a} coins and get {b} more. How many coins do I have now?",
            )
        )
    return draw.pick(
        (
            f"What is {a} - {b}?",
            f"Work out {a} - {b}.",
            f"I have {a} coins and lose {b} of them. How many coins do I have now?",
        )
    )


def _add_solve(state: State) -> int:
    return state["a"] + state["b"] if state["op"] == "+" else state["a"] - state["b"]


def _add_steps(state: State) -> str:
    (tens_a, ones_a), (tens_b, ones_b) = divmod(state["a"], 10), divmod(state["b"], 10)
    if state["op"] == "+":
        carry = (ones_a + ones_b) // 10
        return f"Ones: {ones_a} + {ones_b} = {ones_a + ones_b}. Tens: {tens_a} + {tens_b} + {carry} = {tens_a + tens_b + carry}."
    borrow = int(ones_a < ones_b)
    ones, tens = ones_a + 10 * borrow, tens_a - tens_b - borrow
    return (
        f"Ones: {ones} - {ones_b} = {ones - ones_b}. Tens: {tens_a} - {tens_b} - {borrow} = {tens}."
    )


ADD = Task(
    "add",
    "Math",
    _add_make,
    _add_ask,
    wrong=lambda state, draw, near: wrong_number(_add_solve(state), draw, near),
    steps=_add_steps,
    **equals(lambda state: str(_add_solve(state))),
)


# Reasoning: the next number; who comes first


def _next_make(draw: Draw) -> State:
    step, shown, start = draw.pick((1, 2, 5, 10)), draw.between(3, 4), draw.between(10, 55)
    terms = [start + step * i for i in range(shown + 1)]
    return {"terms": terms if draw.chance(0.5) else terms[::-1]}


def _next_ask(state: State, draw: Draw) -> str:
    shown = ", ".join(map(str, state["terms"][:-1]))
    return draw.pick(
        (
            f"What comes next: {shown}?",
            f"Continue the sequence {shown} with one number.",
            f"Which number follows {shown}?",
        )
    )


def _next_steps(state: State) -> str:
    before, last, answer = state["terms"][-3:]
    sign = "+" if answer > last else "-"
    return f"From {before} to {last} is {sign} {abs(last - before)}. {last} {sign} {abs(last - before)} = {answer}."


SUPERLATIVES = {
    "taller": ("tallest", "shortest"),
    "older": ("oldest", "youngest"),
    "faster": ("fastest", "slowest"),
}


def _order_make(draw: Draw) -> State:
    return {
        "names": draw.sample(NAMES, 3),
        "word": draw.pick(list(SUPERLATIVES)),
        "place": draw.below(3),
    }


def _order_ask(state: State, draw: Draw) -> str:
    (one, two, three), word, (most, least) = (
        state["names"],
        state["word"],
        SUPERLATIVES[state["word"]],
    )
    asked = ("Who is the " + most, "Who is in the middle", "Who is the " + least)[state["place"]]
    return draw.pick(
        (
            f"{one} is {word} than {two}. {two} is {word} than {three}. {asked}?",
            f"{one} is {word} than {two} and {two} is {word} than {three}. {asked}?",
        )
    )


def _order_solve(state: State) -> str:
    return state["names"][state["place"]]


NEXT = Task(
    "next",
    "Reasoning",
    _next_make,
    _next_ask,
    wrong=lambda state, draw, near: wrong_number(state["terms"][-1], draw, near),
    steps=_next_steps,
    **equals(lambda state: str(state["terms"][-1])),
)

ORDER = Task(
    "order",
    "Reasoning",
    _order_make,
    _order_ask,
    wrong=lambda state, draw, near: draw.pick(
        [name for name in state["names"] if name != _order_solve(state)]
    ),
    **equals(_order_solve),
)


# Data analysis: the extreme of a list; how often a word occurs


def _extreme_make(draw: Draw) -> State:
    return {"numbers": draw.sample(range(10, 100), draw.between(3, 5)), "largest": draw.chance(0.5)}


def _extreme_ask(state: State, draw: Draw) -> str:
    shown, word = (
        ", ".join(map(str, state["numbers"])),
        "largest" if state["largest"] else "smallest",
    )
    return draw.pick(
        (
            f"Which is the {word} of these numbers: {shown}?",
            f"Find the {word} value in {shown}.",
            f"Data: {shown}. What is the {word} number?",
        )
    )


def _extreme_solve(state: State) -> int:
    return (max if state["largest"] else min)(state["numbers"])


def _extreme_wrong(state: State, draw: Draw, near: bool) -> str:
    """Half the time another number of the list, half a number beyond the extreme that is not in it: size alone tells nothing."""
    true, numbers = _extreme_solve(state), sorted(state["numbers"], reverse=state["largest"])
    if draw.chance(0.5):
        return str(numbers[1] if near else draw.pick(numbers[1:]))
    beyond = (
        [n for n in range(true + 1, min(true + 20, 100))]
        if state["largest"]
        else list(range(max(true - 19, 10), true))
    )
    return str(draw.pick(beyond)) if beyond else str(numbers[1])


def _count_make(draw: Draw) -> State:
    word, *others = draw.sample(THINGS, 3)
    times = draw.between(1, 4)
    return {
        "word": word,
        "items": draw.shuffled(
            [word] * times + [draw.pick(others) for _ in range(draw.between(1, 2))]
        ),
    }


def _count_ask(state: State, draw: Draw) -> str:
    word, shown = state["word"], " ".join(state["items"])
    return draw.pick(
        (
            f"How many times does {word} occur in: {shown}?",
            f"Count the word {word} in this list: {shown}.",
            f"Data: {shown}. How often is {word} there?",
        )
    )


def _count_wrong(state: State, draw: Draw, near: bool) -> str:
    true = state["items"].count(state["word"])
    return str(draw.pick([n for n in range(1, 6) if n != true and (abs(n - true) == 1) == near]))


def _count_steps(state: State) -> str:
    seen, said = 0, []
    for item in state["items"]:
        seen += item == state["word"]
        said.append(f"{item} {seen}" if item == state["word"] else item)
    return " ".join(said) + "."


EXTREME = Task(
    "extreme",
    "Data analysis",
    _extreme_make,
    _extreme_ask,
    wrong=_extreme_wrong,
    **equals(lambda state: str(_extreme_solve(state))),
)

COUNT = Task(
    "count",
    "Data analysis",
    _count_make,
    _count_ask,
    wrong=_count_wrong,
    steps=_count_steps,
    **equals(lambda state: str(state["items"].count(state["word"]))),
)


# Coding & Debugging: what a few lines print


def _code_make(draw: Draw) -> State:
    kind = draw.pick(("index", "branch", "loop"))
    if kind == "index":
        values = draw.sample(range(10, 60), draw.between(3, 5))
        return {"kind": kind, "values": values, "at": draw.below(len(values))}
    if kind == "branch":
        return {
            "kind": kind,
            "x": draw.between(1, 9),
            "limit": draw.between(2, 8),
            "then": draw.between(10, 40),
            "else": draw.between(41, 70),
        }
    return {
        "kind": kind,
        "x": draw.between(0, 20),
        "times": draw.between(2, 4),
        "step": draw.between(1, 5),
    }


def _code_ask(state: State, draw: Draw) -> str:
    if state["kind"] == "index":
        code = f"a = {state['values']}\nprint(a[{state['at']}])"
    elif state["kind"] == "branch":
        code = f"x = {state['x']}\nif x > {state['limit']}:\n    print({state['then']})\nelse:\n    print({state['else']})"
    else:
        code = f"x = {state['x']}\nfor i in range({state['times']}):\n    x = x + {state['step']}\nprint(x)"
    return (
        draw.pick(
            (
                "What does this code print?",
                "Give the output of the program.",
                "Run this in your head:",
            )
        )
        + "\n"
        + code
    )


def _code_solve(state: State) -> int:
    if state["kind"] == "index":
        return state["values"][state["at"]]
    if state["kind"] == "branch":
        return state["then"] if state["x"] > state["limit"] else state["else"]
    return state["x"] + state["times"] * state["step"]


def _code_wrong(state: State, draw: Draw, near: bool) -> str:
    true = _code_solve(state)
    if state["kind"] == "index":
        return (
            str(draw.pick([v for v in state["values"] if v != true]))
            if near
            else wrong_number(true, draw, False)
        )
    if state["kind"] == "branch":
        return (
            str(state["then"] + state["else"] - true) if near else wrong_number(true, draw, False)
        )
    return wrong_number(true, draw, near, (1, state["step"], state["step"]))


def _code_steps(state: State) -> str:
    if state["kind"] == "index":
        return (
            ", ".join(f"a[{i}] is {v}" for i, v in enumerate(state["values"][: state["at"] + 1]))
            + "."
        )
    if state["kind"] == "branch":
        return f"{state['x']} > {state['limit']} is {state['x'] > state['limit']}."
    return (
        "x is "
        + ", ".join(str(state["x"] + state["step"] * i) for i in range(state["times"] + 1))
        + "."
    )


CODE = Task(
    "code",
    "Coding & Debugging",
    _code_make,
    _code_ask,
    wrong=_code_wrong,
    steps=_code_steps,
    **equals(lambda state: str(_code_solve(state))),
)
