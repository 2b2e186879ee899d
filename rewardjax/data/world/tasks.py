"""The table of tasks. Their order enters the text: a new one goes last."""

from rewardjax.data.world.number_tasks import ADD, CODE, COUNT, EXTREME, NEXT, ORDER
from rewardjax.data.world.word_tasks import ADVICE, BRAINSTORM, EDIT, KNOW, PLAN, REVERSE, WRITE

_IN_ORDER = (
    ADD,
    NEXT,
    ORDER,
    EXTREME,
    COUNT,
    REVERSE,
    EDIT,
    CODE,
    KNOW,
    PLAN,
    BRAINSTORM,
    WRITE,
    ADVICE,
)
TASKS = {task.name: task for task in _IN_ORDER}
