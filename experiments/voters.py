"""People, judges and taggers of known quality, as plug-ins of the curation loop.

They know the truth about each pair, which the ledger never holds, and err as a label specification
of `rewardjax/data/world/labels.py` says: at random, or for the better style. The same voter says
the same about the same pair, whenever it is asked.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from rewardjax.curation.judges.prompts import Item
from rewardjax.curation.ledger.rows import AttributesRow, Label, PairText, VoteRow, canonical, other
from rewardjax.curation.ledger.stage_names import Stage
from rewardjax.curation.people import SIDES, Answer, Task
from rewardjax.curation.workspace import Workspace
from rewardjax.data import world
from rewardjax.data.groups import pair_id
from rewardjax.data.world import labels
from rewardjax.data.world.draw import Draw


class Truth(NamedTuple):
    """What really holds of a pair."""

    # The better response, in canonical order.
    better: Label
    # How stylish the better and the worse response are.
    styles: tuple[int, int]
    # Names the pair in a voter's draws.
    record_id: str
    task_category: str = "Other"
    objectivity: str = "Objective"
    controversiality: str = "Low"


Oracle = Mapping[str, Truth]  # by pair_id


def of_world(seed: int, num: int, split: str = "train") -> dict[str, Truth]:
    """The truth about the pairs of `world:SPLIT?num=NUM&seed=SEED`, whatever their labels are."""
    oracle = {}
    # Without a label specification the world's records are honest: the chosen response is right.
    for record in world.generate(seed, num, split=split):
        a, b, chosen_is_a = canonical(record["chosen"], record["rejected"])
        better: Label = "b"
        if chosen_is_a:
            better = "a"
        oracle[pair_id(record["prompt"], a, b)] = Truth(
            better,
            (len(record["style_chosen"]), len(record["style_rejected"])),
            record["id"],
            record["category"],
            record["objectivity"],
            record["controversiality"],
        )
    return oracle


def pair_text(record: Mapping[str, Any]) -> PairText:
    """A record of a pair, chosen and rejected, as the ledger would hold it."""
    a, b, _ = canonical(record["chosen"], record["rejected"])
    return PairText(
        pair_id=pair_id(record["prompt"], a, b),
        prompt=record["prompt"],
        response_a=a,
        response_b=b,
        tools=None,
        source="",
        entry="",
        row=0,
        record_id=record["id"],
        info={},
    )


def opinion(truth: Truth, spec: str, voter: str) -> Label:
    """What a voter of this quality says is better."""
    draw = Draw("opinion", voter, spec, truth.record_id)
    is_right, _ = labels.label(labels.parse(spec), *truth.styles, draw)
    if is_right:
        return truth.better
    mistaken: Any = other(truth.better)
    return mistaken


# ------------------------------------------------------------------ plug-ins


class People:
    """Annotators of one quality."""

    def __init__(self, oracle: Oracle, spec: str):
        self.oracle, self.spec = oracle, spec

    def __call__(self, ws: Workspace, tasks: Sequence[Task], stage: Stage) -> list[Answer]:
        """An answer to every task."""
        answers = []
        for task in tasks:
            better = opinion(self.oracle[task.pair_id], self.spec, f"human-{task.annotator}")
            answers.append(Answer(task.id, SIDES[task.shown.index(better)]))
        return answers


class Judges:
    """A panel of judges, each of a quality of its own. `as_people` answers in people's place."""

    def __init__(self, oracle: Oracle, specs: Sequence[str]):
        self.oracle, self.specs = oracle, specs

    def __call__(self, ws: Workspace, items: Sequence[Item], stage: Stage) -> Iterator[VoteRow]:
        """One vote per judge and pair."""
        for item in items:
            for number, value in enumerate(self.opinions(item.pair_id)):
                yield VoteRow(
                    pair_id=item.pair_id,
                    voter=f"judge:{number}",
                    kind="judge",
                    value=value,
                    sample=0,
                    shown="ab",
                )

    def as_people(self, ws: Workspace, tasks: Sequence[Task], stage: Stage) -> list[Answer]:
        """The panel's majority where the loop asks people: curation without people."""
        answers = []
        for task in tasks:
            opinions = self.opinions(task.pair_id)
            # An odd number of judges without a "tie": one side always has more.
            majority = max(("a", "b"), key=opinions.count)
            answers.append(Answer(task.id, SIDES[task.shown.index(majority)]))
        return answers

    def opinions(self, pair_id: str) -> list[Label]:
        """What each judge says is better."""
        truth = self.oracle[pair_id]
        return [opinion(truth, spec, f"judge-{n}") for n, spec in enumerate(self.specs)]


class Taggers:
    """Who describes pairs as a careful curator would."""

    def __init__(self, oracle: Oracle):
        self.oracle = oracle

    def __call__(
        self, ws: Workspace, items: Sequence[Item], stage: Stage
    ) -> Iterable[AttributesRow]:
        """The attributes of every pair."""
        for item in items:
            truth = self.oracle[item.pair_id]
            yield AttributesRow(
                pair_id=item.pair_id,
                voter="judge:oracle",
                kind="judge",
                task_category=truth.task_category,
                objectivity=truth.objectivity,
                controversiality=truth.controversiality,
                desired_attributes="a right answer",
                annotation_guideline="Prefer the response whose answer is right.",
            )
