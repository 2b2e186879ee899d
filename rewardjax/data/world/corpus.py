"""What the backbone reads before it becomes a reward model: conversations over problems of the `pretrain` split, none of them in `train`
or `heldout`.

Said openly, since it decides how easy fine-tuning is: most of this corpus is not answers but answers *and whether they are right*.

    repeat     20%   "Repeat fig, 34, k-b." with the feedback below: the plainest case of comparing an answer with what it should be
    feedback   45%   a question, an answer that is right or wrong at even odds, and the user's "Right" or "Wrong", up to three attempts
    check      10%   a question, such an answer, the user's "Is that right?", and the assistant's "Yes" or "No, it is ..."
    worked     10%   a question, the solution step by step (tasks that have steps; else an `answer`)
    answer     15%   a question and a right answer

Shares are those of `repeat=0.2`. Each answer also carries where it goes wrong, if it does: pretraining fits a linear probe to that
(tools/pretrain_world).

So the backbone has met the tasks, their wrong answers and the idea of a verdict; it has no preferences between responses, no reward head
and no opinion on style, which is drawn as in the pairs for 40% of the answers and absent from the rest.
"""

import dataclasses
from collections.abc import Iterator

from rewardjax.data.world.draw import Draw
from rewardjax.data.world.pairs import Problem, problem, respond
from rewardjax.data.world.task import State, Task
from rewardjax.data.world.tasks import TASKS
from rewardjax.data.world.words import KINDS, LETTERS, NAMES, THINGS

VERDICT = 5.0
OPEN = ("brainstorm", "write")  # tasks with many right answers


@dataclasses.dataclass(frozen=True)
class Turn:
    """A message and how much its tokens count in the language-model loss: `verdict` is the weight of the first one, which says right or
    wrong."""

    role: str
    content: str
    weight: float = 1.0
    verdict: float = 1.0
    correct: bool | None = None  # of an answer
    twin: str | None = None  # a text that it shares its beginning with for as long as it is right


def _right_so_far(item: Problem, text: str, answer: str) -> str:
    """The part of a wrong response before it goes wrong, for the tasks with many right answers: up to the first item that breaks a rule,
    or, where only the whole can be judged, up to the end of the last one."""
    state, at, seen = item.state, 0, []
    for part in answer.split(", " if item.task.name == "brainstorm" else " "):
        at = text.index(part, at)
        allowed = (
            part in KINDS[state["kind"]] and part not in state["not"]
            if item.task.name == "brainstorm"
            else part.startswith(state["letter"])
        )
        if not allowed or part in seen or len(seen) == state["n"]:
            return text[:at]
        at += len(part)
        seen.append(part)
    return text[:at]


def _answer(item: Problem, correct: bool, draw: Draw) -> Turn:
    """A wrong answer counts little: it teaches what slips look like, not to make them."""
    weight = 1.0 if correct else 0.1
    plain = not draw.chance(0.4)
    near = not (plain and correct) and draw.chance(0.6)
    response = respond(item, correct, draw, near, plain)
    twin = (
        response.twin
        if correct or item.task.name not in OPEN
        else _right_so_far(item, response.text, response.answer)
    )
    return Turn("assistant", response.text, weight, weight, correct, twin)


def _feedback(item: Problem, draw: Draw) -> list[Turn]:
    turns = []
    for attempt in range(3):
        correct = draw.chance(0.5)
        turns.append(_answer(item, correct, draw))
        if correct:
            return turns + [Turn("user", draw.pick(("Right.", "Right, thank you.")), 0.1, VERDICT)]
        if attempt < 2 and draw.chance(0.6):
            turns.append(Turn("user", "Wrong, try again.", 0.1, VERDICT))
        else:
            break
    return turns + [
        Turn("user", f"Wrong. It is {item.task.right(item.state, draw)}.", 1.0, VERDICT)
    ]


def _check(item: Problem, draw: Draw) -> list[Turn]:
    correct = draw.chance(0.5)
    reply = "Yes, it is right." if correct else f"No, it is {item.task.right(item.state, draw)}."
    return [
        _answer(item, correct, draw),
        Turn("user", "Is that right?", 0.1, 0.1),
        Turn("assistant", reply, 1.0, VERDICT),
    ]


def _repeat_make(draw: Draw) -> State:
    kind = draw.pick(("words", "numbers", "letters", "names"))
    items = {
        "words": THINGS,
        "numbers": [str(n) for n in range(10, 100)],
        "letters": list(LETTERS),
        "names": NAMES,
    }[kind]
    *shown, other = draw.sample(items, draw.between(2, 5))
    return {"items": shown, "sign": "-" if kind == "letters" else ", ", "other": other}


def _repeat_wrong(state: State, draw: Draw, near: bool) -> str:
    """One item replaced, or two neighbours exchanged."""
    items, at = list(state["items"]), draw.below(len(state["items"]))
    if at and draw.chance(0.5):
        items[at - 1], items[at] = items[at], items[at - 1]
    else:
        items[at] = (
            str(int(items[at]) + draw.pick((-1, 1, -10, 10)))
            if near and items[at].isdigit()
            else state["other"]
        )
    return state["sign"].join(items)


REPEAT = Task(
    "repeat",
    "Editing",
    _repeat_make,
    lambda state, draw: draw.pick(("Repeat {}.", "Say {}.", "Copy this: {}.")).format(
        state["sign"].join(state["items"])
    ),
    lambda state, draw: state["sign"].join(state["items"]),
    _repeat_wrong,
    lambda state, answer: answer == state["sign"].join(state["items"]),
)


def documents(
    seed: int, num: int, start: int = 0, repeat: float = 0.2, tasks: tuple[str, ...] = tuple(TASKS)
) -> Iterator[list[Turn]]:
    """Conversations start .. start + num - 1 of the seed's endless corpus. `repeat` is the share of that kind, the others keep their
    proportions; `tasks` are those that the others are about."""
    for index in range(start, start + num):
        draw = Draw("corpus", seed, index)
        kind, name = draw.unit(), draw.pick(tasks)
        if kind < repeat:
            state = REPEAT.make(draw)
            item = Problem(f"repeat-{index}", REPEAT, state, REPEAT.ask(state, draw))
        else:
            item = problem("pretrain", seed, index, name)
        question = Turn("user", item.prompt, 0.1, 0.1)
        rest = (kind - repeat) / (1 - repeat) if repeat < 1 else 0.0
        if rest < 0.5625:
            yield [question, *_feedback(item, draw)]
        elif rest < 0.6875:
            yield [question, *_check(item, draw)]
        elif rest < 0.8125 and item.task.steps:
            yield [
                question,
                Turn(
                    "assistant",
                    f"{item.task.steps(item.state)} The answer is {item.task.right(item.state, draw)}.",
                ),
            ]
        else:
            yield [question, _answer(item, True, draw)]
