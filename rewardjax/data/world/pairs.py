"""From a name to a problem, its responses and its pair.

Everything about item `index` of a split is a function of its id, which spells (split, seed, index,
task). Nothing else enters the text: the same pair has the same id, prompt and responses under every
label source. That is what keeps the truth apart from the labels: `oracle(id)` builds the pair again
and says which response is right; no record does.
"""

import dataclasses
import json

from rewardjax import fingerprint
from rewardjax.data.world import style
from rewardjax.data.world.draw import Draw
from rewardjax.data.world.task import State, Task
from rewardjax.data.world.tasks import TASKS

SPLITS = ("pretrain", "train", "heldout")
# Share of wrong responses that are slips; the others are anything plausible.
NEAR = 0.6


@dataclasses.dataclass(frozen=True)
class Response:
    """A response: its text, the bare answer in it, its style, and whether it is right.

    `twin` is a right answer in the same dress: where a wrong response leaves it, it goes wrong.
    """

    text: str
    answer: str
    style: dict[str, bool]
    correct: bool
    twin: str


@dataclasses.dataclass(frozen=True)
class Problem:
    """A task's problem in the user's words."""

    id: str
    task: Task
    state: State
    prompt: str


def split_of(task: str, state: State) -> str:
    """The split a problem belongs to: 20 % heldout, 30 % train, 50 % pretrain.

    By a hash of the problem itself and not of its wording, so that the same sum asked in other
    words is in the same split.
    """
    digest = fingerprint.eight_bytes(json.dumps([task, state], sort_keys=True).encode())
    tenth = digest[0] % 10
    if tenth < 2:
        return "heldout"
    if tenth < 5:
        return "train"
    return "pretrain"


def problem(split: str, seed: int, index: int, task: str) -> Problem:
    """Problem `index` of a split, in its words."""
    id = f"world-{split}-{seed}-{index}-{task}"
    draw = Draw("problem", id)
    # Drawn until one belongs to the split: two to five tries.
    state = TASKS[task].make(draw)
    while split_of(task, state) != split:
        state = TASKS[task].make(draw)
    return Problem(id, TASKS[task], state, TASKS[task].ask(state, draw))


def respond(
    problem: Problem, correct: bool, draw: Draw, near: bool = True, plain: bool = False
) -> Response:
    """A right or wrong response, in a style of its own or (`plain`) without any.

    A wrong one is a slip (`near`) or anything plausible.
    """
    if correct:
        answer = problem.task.right(problem.state, draw)
    else:
        answer = problem.task.wrong(problem.state, draw, near)
    # The style is drawn after the answer, and without looking at it.
    dressed = dict(style.PLAIN)
    if not plain:
        dressed = style.draw_style(draw)
    same_draws = draw.copy()
    text = style.dress(answer, dressed, draw)
    twin = text
    if not correct:
        # Another right answer with the same phrases around it.
        right = problem.task.right(problem.state, same_draws.copy())
        twin = style.dress(right, dressed, same_draws)
    return Response(text, answer, dressed, correct, twin)


def pair(problem: Problem) -> tuple[Response, Response, bool]:
    """(right response, wrong response, whether the wrong one is near) of a problem's pair."""
    draw = Draw("pair", problem.id)
    near = draw.chance(NEAR)
    return respond(problem, True, draw), respond(problem, False, draw, near), near


def candidates(problem: Problem, k: int, p_right: float) -> list[Response]:
    """K responses, each right with probability p_right.

    The first two are one right and one wrong, in random order.
    """
    draw = Draw("candidates", problem.id)
    correct_first = draw.shuffled([True, False])
    responses = []
    for i in range(k):
        if i < 2:
            correct = correct_first[i]
        else:
            correct = draw.chance(p_right)
        # Before the response: its own draws come after it in the stream.
        near = draw.chance(NEAR)
        responses.append(respond(problem, correct, draw, near))
    return responses


def problem_of(id: str) -> Problem:
    """The problem an id names. Raises ValueError for an id of something else."""
    # Checked part by part: an id that is nearly one would build another problem and judge by it.
    parts = id.split("-")
    if (
        len(parts) != 5
        or parts[0] != "world"
        or parts[1] not in SPLITS
        or parts[4] not in TASKS
        or not (parts[2] + parts[3]).isdigit()
    ):
        raise ValueError(f"{id!r} is not an id of the world; they look like world-train-0-17-add")
    return problem(parts[1], int(parts[2]), int(parts[3]), parts[4])


def oracle(id: str) -> str:
    """The text of the right response of pair `id`: for judging labels and models, not training."""
    right, _, _ = pair(problem_of(id))
    return right.text
