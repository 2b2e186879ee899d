"""What each judge's servers are worth, before the run pays for thousands of answers.

Each server is asked about ten pairs whose better response is known, in both orders: how much of it
can be read, with which mercies, how often it is right, whether it looks at place or length, and
what the plan would cost in money and hours at that rate.
"""

import dataclasses
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from rewardjax.curation.judges import asking, bias, protocol
from rewardjax.curation.judges.client import Judge
from rewardjax.curation.judges.prompts import Item
from rewardjax.curation.ledger.pools import labels
from rewardjax.curation.ledger.rows import VoteRow
from rewardjax.curation.stages import cost_plan, labeling
from rewardjax.curation.workspace import Workspace

PAIRS = 10
PURPOSE = "judges-check"


class Reference(NamedTuple):
    """Pairs with the answer that counts as right, and who says so: "people" or "original"."""

    right: dict[str, str]
    source: str


def check(ws: Workspace) -> tuple[list[dict[str, Any]], list[str]]:
    """Ask every server of every judge; a row per server, and what is to be said beside them.

    Raises ValueError for a workspace without pairs.
    """
    reference = _reference(ws)
    items = labeling.as_items(ws, list(reference.right))
    questions = _planned_questions(ws)
    rows, sentences = [], []
    if reference.source == "original":
        sentences.append(
            f"there are fewer than {PAIRS} pairs that people have decided: `right` is the share of "
            "agreement with the original labels"
        )
    for judge in ws.judges:
        for url in judge.urls:
            row, why = _check_server(ws, judge, url, items, reference.right, questions)
            rows.append(row)
            if why is not None:
                sentences.append(why)
    return rows, sentences


def _reference(ws: Workspace) -> Reference:
    """The first ten pairs that people have decided, or else with an original label."""
    for pool, source in (("gold", "people"), ("unverified", "original"), ("wild", "original")):
        decided = sorted(
            (pair_id, value)
            for pair_id, value in labels(ws.store, pool).items()
            if value in ("a", "b")
        )
        if len(decided) >= PAIRS or (decided and pool == "wild"):
            return Reference(dict(decided[:PAIRS]), source)
    raise ValueError(
        f"{ws.folder} has no pairs with a label to ask judges about; import some with "
        "`curate import`"
    )


def _check_server(
    ws: Workspace,
    judge: Judge,
    url: str,
    items: Sequence[Item],
    right: Mapping[str, str],
    planned_questions: int,
) -> tuple[dict[str, Any], str | None]:
    """One server's row, and why its questions wait, if they do."""
    # Under a revision of its own: the answer of another server must not count for this one.
    revision = f"{judge.revision} {PURPOSE} {url}".strip()
    server = dataclasses.replace(judge, base_url=url, revision=revision, samples=2)
    before, started = ws.calls.spent(), time.monotonic()
    report = asking.ask(items, [server], ws.calls, purpose=PURPOSE)
    seconds = time.monotonic() - started
    votes = list(protocol.votes(items, [server], ws.calls, PURPOSE))
    settled = [outcome for _, outcome in protocol.outcomes(items, [server], ws.calls)]
    mercies = sorted({mercy for outcome in settled for mercy in outcome.mercies})
    per_question = (ws.calls.spent() - before) / report["questions"]
    return {
        "judge": judge.name,
        "server": url,
        "readable": _share(len(votes), report["questions"]),
        "right": _share(sum(row["value"] == right[row["pair_id"]] for row in votes), len(votes)),
        **_leanings(votes, items, right),
        "mercies": ", ".join(mercies),
        "$ per question": round(per_question, 6),
        "$ of the plan": round(per_question * planned_questions, 2),
        "hours of the plan": round(seconds / report["questions"] * planned_questions / 3600, 2),
    }, asking.unfinished(report)


def _leanings(
    votes: Sequence[VoteRow], items: Sequence[Item], right: Mapping[str, str]
) -> dict[str, Any]:
    """How often a judge names the first response and the longer one, beside the reference."""
    if not votes:
        return {"says first": "", "says longer": "", "longer is right": ""}
    (place,) = bias.position(votes).values()
    longer = bias.longer((item.pair_id, *item.responses) for item in items)
    (length,) = bias.leaning(votes, longer, right).values()
    return {
        "says first": _percent(place["said_first"]["share"]),
        "says longer": _percent(length["prefers_more"]["share"]),
        "longer is right": _percent(length["reference_prefers_more"]["share"]),
    }


def _planned_questions(ws: Workspace) -> int:
    """Questions per judge that the plan has left to ask."""
    total = cost_plan.plan(ws)[-1]["requests"]
    return round(total / max(1, len(ws.judges)))


def _share(hits: int, total: int) -> str:
    """`17 of 20`, with the interval of the share it is."""
    if not total:
        return "0 of 0"
    interval = bias.share(hits, total)
    return f"{hits} of {total} ({interval['low']:.2f}-{interval['high']:.2f})"


def _percent(share: float | None) -> str:
    if share is None:
        return ""
    return f"{share:.0%}"
