"""Tasks about quantities: sums, sequences, comparisons, counts, and what a program prints."""

from rewardjax.data.world.draw import Draw
from rewardjax.data.world.task import State, Task, equals, wrong_number
from rewardjax.data.world.words import NAMES, THINGS

# ----------------------------------- Math: one digit added to or taken from two


def _add_make(draw: Draw) -> State:
    # No result is negative, and a carry or borrow is needed about half of the time.
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
    if state["op"] == "+":
        return state["a"] + state["b"]
    return state["a"] - state["b"]


def _add_steps(state: State) -> str:
    (tens_a, ones_a), (tens_b, ones_b) = divmod(state["a"], 10), divmod(state["b"], 10)
    if state["op"] == "+":
        carry = (ones_a + ones_b) // 10
        ones, tens = ones_a + ones_b, tens_a + tens_b + carry
        return f"Ones: {ones_a} + {ones_b} = {ones}. Tens: {tens_a} + {tens_b} + {carry} = {tens}."
    borrow = int(ones_a < ones_b)
    ones_a += 10 * borrow
    ones, tens = ones_a - ones_b, tens_a - tens_b - borrow
    return f"Ones: {ones_a} - {ones_b} = {ones}. Tens: {tens_a} - {tens_b} - {borrow} = {tens}."


ADD = Task(
    "add",
    "Math",
    _add_make,
    _add_ask,
    wrong=lambda state, draw, near: wrong_number(_add_solve(state), draw, near),
    steps=_add_steps,
    **equals(lambda state: str(_add_solve(state))),
)


# ----------------------------------- Reasoning: the next number; who comes first


def _next_make(draw: Draw) -> State:
    step, shown, start = draw.pick((1, 2, 5, 10)), draw.between(3, 4), draw.between(10, 55)
    # One more than is shown: the answer.
    terms = [start + step * i for i in range(shown + 1)]
    # Falling as often as rising; it never goes below zero.
    if not draw.chance(0.5):
        terms = terms[::-1]
    return {"terms": terms}


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
    sign = "-"
    if answer > last:
        sign = "+"
    step = abs(last - before)
    return f"From {before} to {last} is {sign} {step}. {last} {sign} {step} = {answer}."


# By comparative: who comes first, who last.
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
    (first, second, third), word = state["names"], state["word"]
    most, least = SUPERLATIVES[word]
    questions = (f"Who is the {most}?", "Who is in the middle?", f"Who is the {least}?")
    question = questions[state["place"]]
    return draw.pick(
        (
            f"{first} is {word} than {second}. {second} is {word} than {third}. {question}",
            f"{first} is {word} than {second} and {second} is {word} than {third}. {question}",
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


# ----------------------------------- Data analysis: the extreme of a list; how often a word occurs


def _extreme_make(draw: Draw) -> State:
    # Different numbers, so that there is one extreme.
    return {"numbers": draw.sample(range(10, 100), draw.between(3, 5)), "largest": draw.chance(0.5)}


def _extreme_ask(state: State, draw: Draw) -> str:
    shown = ", ".join(map(str, state["numbers"]))
    word = "smallest"
    if state["largest"]:
        word = "largest"
    return draw.pick(
        (
            f"Which is the {word} of these numbers: {shown}?",
            f"Find the {word} value in {shown}.",
            f"Data: {shown}. What is the {word} number?",
        )
    )


def _extreme_solve(state: State) -> int:
    if state["largest"]:
        return max(state["numbers"])
    return min(state["numbers"])


def _extreme_wrong(state: State, draw: Draw, near: bool) -> str:
    """Half the time another number of the list, half one beyond the extreme that is not in it.

    So size alone tells nothing.
    """
    true = _extreme_solve(state)
    _, runner_up, *others = sorted(state["numbers"], reverse=state["largest"])
    if draw.chance(0.5):
        if near:
            return str(runner_up)
        return str(draw.pick([runner_up, *others]))
    # Numbers of the world's lists have two digits.
    if state["largest"]:
        beyond = range(true + 1, min(true + 20, 100))
    else:
        beyond = range(max(true - 19, 10), true)
    if not beyond:
        return str(runner_up)
    return str(draw.pick(beyond))


def _count_make(draw: Draw) -> State:
    word, *others = draw.sample(THINGS, 3)
    items = [word] * draw.between(1, 4)
    # At least one other word: counting must not be the same as measuring the list.
    for _ in range(draw.between(1, 2)):
        items.append(draw.pick(others))
    return {"word": word, "items": draw.shuffled(items)}


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
    # A slip is one off, anything else is further away.
    others = [n for n in range(1, 6) if n != true and (abs(n - true) == 1) == near]
    return str(draw.pick(others))


def _count_steps(state: State) -> str:
    count, spoken = 0, []
    for item in state["items"]:
        if item == state["word"]:
            count += 1
            spoken.append(f"{item} {count}")
        else:
            spoken.append(item)
    return " ".join(spoken) + "."


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


# ----------------------------------- Coding & Debugging: what a few lines print


def _code_make(draw: Draw) -> State:
    kind = draw.pick(("index", "branch", "loop"))
    if kind == "index":
        values = draw.sample(range(10, 60), draw.between(3, 5))
        return {"kind": kind, "values": values, "at": draw.below(len(values))}
    if kind == "branch":
        # The branches print different numbers, so that the other one is a wrong answer.
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
        code = (
            f"x = {state['x']}\n"
            f"if x > {state['limit']}:\n"
            f"    print({state['then']})\n"
            f"else:\n"
            f"    print({state['else']})"
        )
    else:
        code = (
            f"x = {state['x']}\n"
            f"for i in range({state['times']}):\n"
            f"    x = x + {state['step']}\n"
            f"print(x)"
        )
    question = draw.pick(
        (
            "What does this code print?",
            "Give the output of the program.",
            "Run this in your head:",
        )
    )
    return f"{question}\n{code}"


def _code_solve(state: State) -> int:
    if state["kind"] == "index":
        return state["values"][state["at"]]
    if state["kind"] == "branch":
        if state["x"] > state["limit"]:
            return state["then"]
        return state["else"]
    return state["x"] + state["times"] * state["step"]


def _code_wrong(state: State, draw: Draw, near: bool) -> str:
    true = _code_solve(state)
    if state["kind"] == "loop":
        # A slip is one round too many or too few, or one off.
        return wrong_number(true, draw, near, (1, state["step"], state["step"]))
    if not near:
        return wrong_number(true, draw, near)
    if state["kind"] == "index":
        return str(draw.pick([value for value in state["values"] if value != true]))
    # The other branch.
    return str(state["then"] + state["else"] - true)


def _code_steps(state: State) -> str:
    if state["kind"] == "index":
        # Counted from the first place: that indices start at zero is the whole difficulty.
        up_to_the_place = enumerate(state["values"][: state["at"] + 1])
        return ", ".join(f"a[{i}] is {value}" for i, value in up_to_the_place) + "."
    if state["kind"] == "branch":
        return f"{state['x']} > {state['limit']} is {state['x'] > state['limit']}."
    values = [str(state["x"] + state["step"] * i) for i in range(state["times"] + 1)]
    return f"x is {', '.join(values)}."


CODE = Task(
    "code",
    "Coding & Debugging",
    _code_make,
    _code_ask,
    wrong=_code_wrong,
    steps=_code_steps,
    **equals(lambda state: str(_code_solve(state))),
)
