"""From a name to a problem, its responses and its pair: everything about item `index` of a split is a function of its id.

An id spells (split, seed, index, task), and nothing else enters the text: the same pair has the same id, prompt and responses under every
label source. That is what keeps the truth apart from the labels: `oracle(id)` builds the pair again and says which response is right; no
record does.
"""

import dataclasses
import json

from rewardjax import fingerprint
from rewardjax.data.world import style
from rewardjax.data.world.draw import Draw
from rewardjax.data.world.task import State, Task
from rewardjax.data.world.tasks import TASKS

SPLITS = ("pretrain", "train", "heldout")


@dataclasses.dataclass(frozen=True)
class Response:
    text: str
    answer: str  # undressed
    style: dict[str, bool]
    correct: bool
    twin: str  # a right answer in the same dress: where a wrong response leaves it, it goes wrong


@dataclasses.dataclass(frozen=True)
class Problem:
    id: str
    task: Task
    state: State
    prompt: str


def split_of(task: str, state: State) -> str:
    """The split a problem belongs to, by a hash of the problem itself (not of its wording): 20% heldout, 30% train, 50% pretrain."""
    digest = fingerprint.eight_bytes(json.dumps([task, state], sort_keys=True).encode())
    return "heldout" if digest[0] % 10 < 2 else "train" if digest[0] % 10 < 5 else "pretrain"


def problem(split: str, seed: int, index: int, task: str) -> Problem:
    """Problem `index` of a split, in its words."""
    id = f"world-{split}-{seed}-{index}-{task}"
    draw = Draw("problem", id)
    while split_of(task, state := TASKS[task].make(draw)) != split:
        pass
    return Problem(id, TASKS[task], state, TASKS[task].ask(state, draw))


def respond(
    problem: Problem, correct: bool, draw: Draw, near: bool = True, plain: bool = False
) -> Response:
    """A response of the asked correctness, in a style of its own or (`plain`) without any. A wrong one is a slip (`near`) or anything
    plausible."""
    answer = (
        problem.task.right(problem.state, draw)
        if correct
        else problem.task.wrong(problem.state, draw, near)
    )
    dressed: dict[str, bool] = (
        {name: False for name in style.FEATURES} if plain else style.draw_style(draw)
    )
    twin = draw.copy()
    text = style.dress(answer, dressed, draw)
    return Response(
        text,
        answer,
        dressed,
        correct,
        text
        if correct
        else style.dress(problem.task.right(problem.state, twin.copy()), dressed, twin),
    )


def pair(problem: Problem) -> tuple[Response, Response, bool]:
    """(right response, wrong response, whether the wrong one is near) of a problem's pair."""
    draw = Draw("pair", problem.id)
    near = draw.chance(0.6)
    return respond(problem, True, draw), respond(problem, False, draw, near), near


def candidates(problem: Problem, k: int, p_right: float) -> list[Response]:
    """k responses, each right with probability p_right; the first two are one right and one wrong in random order."""
    draw = Draw("candidates", problem.id)
    fixed = draw.shuffled([True, False])
    return [
        respond(problem, fixed[i] if i < 2 else draw.chance(p_right), draw, draw.chance(0.6))
        for i in range(k)
    ]


def problem_of(id: str) -> Problem:
    """The problem an id names. Raises ValueError when it is no id of this world."""
    parts = id.split("-")
    if (
        len(parts) != 5
        or parts[0] != "world"
        or parts[1] not in SPLITS
        or parts[4] not in TASKS
        or not (parts[2] + parts[3]).isdigit()
    ):
        raise ValueError(f"{id!r} is no id of the world; they look like world-train-0-17-add")
    return problem(parts[1], int(parts[2]), int(parts[3]), parts[4])


def oracle(id: str) -> str:
    """The text of the right response of pair `id`: the truth, for judging labels and models, never for training."""
    return pair(problem_of(id))[0].text
