"""What is waited for, and of whom: answers that people owe, batch files, questions without answer.

Everything here is read beside a run: from the desk of people's tasks and the ledger of calls.
"""

import pathlib
from collections import Counter
from collections.abc import Iterator

from rewardjax.curation.annotation.desk import Desk, has_desk, open_desk
from rewardjax.curation.servers.paid_calls import CallLedger


def sentences(folder: pathlib.Path, calls: CallLedger) -> list[str]:
    """One sentence for each step or file that is waited for; none where nothing is."""
    owed = []
    if has_desk(folder):
        with open_desk(folder) as desk:
            owed = list(_people(folder, desk))
    return owed + list(_batches(calls))


def _people(folder: pathlib.Path, desk: Desk) -> Iterator[str]:
    for step in desk.steps():
        if step.is_closed:
            continue
        tasks = Counter(task.annotator for task in desk.tasks(step.name))
        missing = Counter(task.annotator for task in desk.missing(step.name))
        # Fewer than are missing, where the quota is below one.
        needed = desk.open_tasks(step.name)
        if not needed:
            yield f"{step.name}: enough answers are there, and the next `curate run` takes them"
            continue
        owing = [f"{name} {missing[name]} of {tasks[name]}" for name in sorted(tasks)]
        yield (
            f"{step.name}: people owe {missing.total()} answers ({', '.join(owing)}), {needed} of "
            f"which close the step; their tasks are in {folder / 'queue'}/{step.name}.tasks.jsonl"
        )


def _batches(calls: CallLedger) -> Iterator[str]:
    for file, requests in calls.in_batches().items():
        yield (
            f"{file}: {requests} requests without results; give them to `curate batch read`, or "
            "the file to `curate batch release`"
        )
