"""What the backbone reads before it becomes a reward model: conversations over problems of the `pretrain` split, none of them in `train` or `heldout`.

Said openly, since it decides how easy fine-tuning is: most of this corpus is not answers but answers *and whether they are right*.

    answer     20%   a question and a right answer
    feedback   50%   a question, an answer that is right or wrong at even odds, and the user's "Right" or "Wrong", up to three attempts
    check      15%   a question, such an answer, the user's "Is that right?", and the assistant's "Yes" or "No, it is ..."
    worked     15%   a question, the solution step by step (tasks that have steps; else an `answer`)

So the backbone has met the tasks, their wrong answers and the idea of a verdict; it has no preferences between responses, no reward head and no
opinion on style, which is drawn as in the pairs for 40% of the answers and absent from the rest.
"""
import dataclasses
from collections.abc import Iterator

from rewardjax.data.world import style
from rewardjax.data.world.draw import Draw
from rewardjax.data.world.pairs import Problem, problem, respond
from rewardjax.data.world.tasks import TASKS

PLAIN = dict.fromkeys(style.FEATURES, False)


@dataclasses.dataclass(frozen=True)
class Turn:
    """A message and how much its tokens count in the language-model loss: `verdict` is the weight of the first one, which says right or wrong."""
    role: str
    content: str
    weight: float = 1.0
    verdict: float = 1.0


def _answer(item: Problem, correct: bool, draw: Draw) -> Turn:
    """A wrong answer counts little: it teaches what slips look like, not to make them."""
    weight = 1.0 if correct else 0.1
    if draw.chance(0.4):
        return Turn("assistant", respond(item, correct, draw, draw.chance(0.6)).text, weight, weight)
    answer = item.task.right(item.state, draw) if correct else item.task.wrong(item.state, draw, draw.chance(0.6))
    return Turn("assistant", style.dress(answer, PLAIN, draw), weight, weight)


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
    return turns + [Turn("user", f"Wrong. It is {item.task.right(item.state, draw)}.", 1.0, VERDICT)]


def _check(item: Problem, draw: Draw) -> list[Turn]:
    correct = draw.chance(0.5)
    reply = "Yes, it is right." if correct else f"No, it is {item.task.right(item.state, draw)}."
    return [_answer(item, correct, draw), Turn("user", "Is that right?", 0.1, 0.1), Turn("assistant", reply, 1.0, VERDICT)]


VERDICT = 5.0


def documents(seed: int, num: int, start: int = 0) -> Iterator[list[Turn]]:
    """Conversations start .. start + num - 1 of the seed's endless corpus."""
    for index in range(start, start + num):
        draw = Draw("corpus", seed, index)
        item = problem("pretrain", seed, index, draw.pick(tuple(TASKS)))
        kind, question = draw.unit(), Turn("user", item.prompt, 0.1, 0.1)
        if kind < 0.5:
            yield [question, *_feedback(item, draw)]
        elif kind < 0.65:
            yield [question, *_check(item, draw)]
        elif kind < 0.8 and item.task.steps:
            yield [question, Turn("assistant", f"{item.task.steps(item.state)} The answer is {item.task.right(item.state, draw)}.")]
        else:
            yield [question, _answer(item, True, draw)]
