"""What the backbone reads before it becomes a reward model: conversations of the `pretrain` split.

None of their problems is in `train` or `heldout`. How easy fine-tuning is depends on what the
backbone has read: most of this corpus is not answers but answers *and whether they are right*.

    repeat     20 %  "Repeat fig, 34, k-b." with the feedback below: the plainest case of comparing
                     an answer with what it should be
    feedback   45 %  a question, an answer that is right or wrong at even odds, and the user's
                     "Right" or "Wrong", up to three attempts
    check      10 %  a question, such an answer, the user's "Is that right?", and the assistant's
                     "Yes" or "No, it is ..."
    worked     10 %  a question, the solution step by step (tasks that have steps; else an `answer`)
    answer     15 %  a question and a right answer

Shares are those of `repeat=0.2`. Each answer also carries where it goes wrong, if it does:
pretraining fits a linear probe to that (tools/pretrain_world).

So the backbone has met the tasks, their wrong answers and the idea of a verdict. It has no
preferences between responses, no reward head and no opinion on style, which is drawn as in the
pairs for 40 % of the answers and absent from the rest.
"""

import dataclasses
from collections.abc import Iterator

from rewardjax.data.world.draw import Draw
from rewardjax.data.world.pairs import Problem, problem, respond
from rewardjax.data.world.task import State, Task
from rewardjax.data.world.tasks import TASKS
from rewardjax.data.world.words import KINDS, LETTERS, NAMES, THINGS

# Weight of a token that says right or wrong: there is one among dozens, and it is the lesson.
VERDICT = 5.0
# Weight of what the model need not learn to say: questions and wrong answers.
LIGHT = 0.1
# Tasks with many right answers.
OPEN = ("brainstorm", "write")
# Shares among the conversations that do not ask to repeat: (45, 10, 10, 15) of 80, cumulated.
FEEDBACK, CHECK, WORKED = 0.5625, 0.6875, 0.8125


@dataclasses.dataclass(frozen=True)
class Turn:
    """A message, and how much its tokens count in the language-model loss.

    `verdict` is the weight of the first token, which says right or wrong. Of an answer, `correct`
    says whether it is right, and `twin` is a text that it shares its beginning with for as long as
    it is right.
    """

    role: str
    content: str
    weight: float = 1.0
    verdict: float = 1.0
    correct: bool | None = None
    twin: str | None = None


# ------------------------------------------------------------------ kinds of conversations


def _answer(item: Problem, correct: bool, draw: Draw) -> Turn:
    weight = 1.0
    if not correct:
        # It shows what slips look like, and does not teach to make them.
        weight = LIGHT
    plain = not draw.chance(0.4)
    # Whether a wrong answer is a slip. Only a plain right answer spends no draw on it, and the text
    # of the whole corpus depends on that.
    near = not (plain and correct) and draw.chance(0.6)
    response = respond(item, correct, draw, near, plain)
    twin = response.twin
    if not correct and item.task.name in OPEN:
        # The twin is another right answer, which a wrong one leaves although it is not yet wrong.
        twin = _right_so_far(item, response.text, response.answer)
    return Turn("assistant", response.text, weight, weight, correct, twin)


def _right_so_far(item: Problem, text: str, answer: str) -> str:
    """The part of a wrong response before it goes wrong, for the tasks with many right answers.

    Up to the first item that breaks a rule or, where only the whole can be judged, up to the end of
    the last one.
    """
    state = item.state
    brainstorm = item.task.name == "brainstorm"
    separator = " "
    if brainstorm:
        separator = ", "
    end, before = 0, []
    for part in answer.split(separator):
        start = text.index(part, end)
        if brainstorm:
            allowed = part in KINDS[state["kind"]] and part not in state["not"]
        else:
            allowed = part.startswith(state["letter"])
        if not allowed or part in before or len(before) == state["n"]:
            return text[:start]
        end = start + len(part)
        before.append(part)
    return text[:end]


def _feedback(item: Problem, draw: Draw) -> list[Turn]:
    """Up to three answers with the user's verdicts; the user solves it where all are wrong."""
    turns = []
    for attempt in range(3):
        correct = draw.chance(0.5)
        turns.append(_answer(item, correct, draw))
        if correct:
            praise = draw.pick(("Right.", "Right, thank you."))
            return turns + [Turn("user", praise, LIGHT, VERDICT)]
        if attempt < 2 and draw.chance(0.6):
            turns.append(Turn("user", "Wrong, try again.", LIGHT, VERDICT))
        else:
            break
    solution = item.task.right(item.state, draw)
    return turns + [Turn("user", f"Wrong. It is {solution}.", 1.0, VERDICT)]


def _check(item: Problem, draw: Draw) -> list[Turn]:
    """An answer, and the assistant's own verdict on it."""
    correct = draw.chance(0.5)
    reply = "Yes, it is right."
    # The solution is drawn before the answer, and only for a "No": the order of draws is the text.
    if not correct:
        reply = f"No, it is {item.task.right(item.state, draw)}."
    return [
        _answer(item, correct, draw),
        Turn("user", "Is that right?", LIGHT, LIGHT),
        Turn("assistant", reply, 1.0, VERDICT),
    ]


def _worked(item: Problem, steps: str, draw: Draw) -> list[Turn]:
    solution = item.task.right(item.state, draw)
    return [Turn("assistant", f"{steps} The answer is {solution}.")]


# ------------------------------------------------------------------ "Repeat fig, 34, k-b."


def _repeat_make(draw: Draw) -> State:
    kind = draw.pick(("words", "numbers", "letters", "names"))
    items = {
        "words": THINGS,
        "numbers": [str(n) for n in range(10, 100)],
        "letters": list(LETTERS),
        "names": NAMES,
    }[kind]
    # One more than is shown, for a wrong answer.
    *shown, other = draw.sample(items, draw.between(2, 5))
    sign = ", "
    if kind == "letters":
        sign = "-"
    return {"items": shown, "sign": sign, "other": other}


def _repeat_ask(state: State, draw: Draw) -> str:
    return draw.pick(("Repeat {}.", "Say {}.", "Copy this: {}.")).format(_repeat_solve(state))


def _repeat_solve(state: State) -> str:
    return state["sign"].join(state["items"])


def _repeat_wrong(state: State, draw: Draw, near: bool) -> str:
    """One item replaced, or two neighbors exchanged."""
    items, at = list(state["items"]), draw.below(len(state["items"]))
    if at and draw.chance(0.5):
        items[at - 1], items[at] = items[at], items[at - 1]
    elif near and items[at].isdigit():
        items[at] = str(int(items[at]) + draw.pick((-1, 1, -10, 10)))
    else:
        items[at] = state["other"]
    return state["sign"].join(items)


# Not in TASKS: it is too easy to be asked for preferences.
REPEAT = Task(
    "repeat",
    "Editing",
    _repeat_make,
    _repeat_ask,
    right=lambda state, draw: _repeat_solve(state),
    wrong=_repeat_wrong,
    check=lambda state, answer: answer == _repeat_solve(state),
)


# ------------------------------------------------------------------ the corpus


def documents(
    seed: int, num: int, start: int = 0, repeat: float = 0.2, tasks: tuple[str, ...] = tuple(TASKS)
) -> Iterator[list[Turn]]:
    """Conversations start .. start + num - 1 of the seed's endless corpus.

    `repeat` is the share of that kind, the others keep their proportions; `tasks` are those that
    the others are about.
    """
    for index in range(start, start + num):
        draw = Draw("corpus", seed, index)
        # Both are drawn for every conversation, so that another share changes only its kind.
        place, name = draw.unit(), draw.pick(tasks)
        if place < repeat:
            state = REPEAT.make(draw)
            item = Problem(f"repeat-{index}", REPEAT, state, REPEAT.ask(state, draw))
        else:
            item = problem("pretrain", seed, index, name)
        question = Turn("user", item.prompt, LIGHT, LIGHT)
        yield [question, *_conversation(item, _among_the_rest(place, repeat), draw)]


def _among_the_rest(place: float, repeat: float) -> float:
    """Where a conversation's draw in [0, 1) lies among those that do not repeat.

    Negative for one that repeats: those are all `feedback`.
    """
    if repeat >= 1:
        return 0.0
    return (place - repeat) / (1 - repeat)


def _conversation(item: Problem, place: float, draw: Draw) -> list[Turn]:
    """What follows the question."""
    if place < FEEDBACK:
        return _feedback(item, draw)
    if place < CHECK:
        return _check(item, draw)
    if place < WORKED and item.task.steps:
        return _worked(item, item.task.steps(item.state), draw)
    return [_answer(item, True, draw)]
