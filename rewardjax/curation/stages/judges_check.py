"""What the servers of each judge and tagger are worth, before the run pays for all its answers.

Each server is asked about ten pairs whose better response is known, in both orders: how much of it
can be read, with which mercies, how often it is right, whether it looks at place or length, and
what the plan would cost in money and hours at that rate. A tagger is asked to describe them: what
is right about a description nobody knows, so that its answers can only be read or not. Where
vectors come from a server, it is asked for those of the ten pairs.
"""

import dataclasses
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from rewardjax.curation.judges import asking, bias, protocol
from rewardjax.curation.judges.client import Judge
from rewardjax.curation.judges.prompts import Item
from rewardjax.curation.judges.protocol import Outcome
from rewardjax.curation.ledger.pools import labels
from rewardjax.curation.ledger.rows import VoteRow
from rewardjax.curation.planning import cost_plan
from rewardjax.curation.retrieval.http_embedder import (
    EmbeddingServer,
    NotEmbedded,
    http_embedder,
)
from rewardjax.curation.stages import labeling
from rewardjax.curation.workspace import Workspace

PAIRS = 10
PURPOSE = "judges-check"


class Reference(NamedTuple):
    """Pairs with the answer that counts as right, and who says so: "people" or "original"."""

    right: dict[str, str]
    source: str


def check(ws: Workspace) -> tuple[list[dict[str, Any]], list[str]]:
    """Ask every server of every judge and tagger; a row for each, and what is to be said beside.

    Raises ValueError for a workspace without pairs.
    """
    reference = _reference(ws)
    items = labeling.as_items(ws, list(reference.right))
    planned = cost_plan.questions_left(ws)
    rows, sentences = [], []
    if reference.source == "original":
        sentences.append(
            f"there are fewer than {PAIRS} pairs that people have decided: `right` is the share of "
            "agreement with the original labels"
        )
    for task, judges in (("judge", ws.judges), ("tag", ws.taggers)):
        for judge in judges:
            for url in judge.urls:
                server = _check_server(ws, judge, url, task, items)
                row = {"judge": judge.name, "asked to": task, "server": url}
                row |= _worth(server, items, reference.right)
                rows.append(row | _of_plan(server, planned[task, judge.name]))
                if server.why is not None:
                    sentences.append(server.why)
    if ws.config.embedder.name == "http":
        for url in EmbeddingServer(**ws.config.embedder.server.to_dict()).urls:
            row, why = _check_embedder(ws, url, list(reference.right))
            rows.append(row)
            sentences += why
    return rows, sentences


def _check_embedder(
    ws: Workspace, url: str, pair_ids: Sequence[str]
) -> tuple[dict[str, Any], list[str]]:
    """Ask one server for the vectors of the pairs, and keep none; its row, and why it gives none.

    What the plan would cost is not told: how many texts there will be to embed nobody knows.
    """
    settings = ws.config.embedder
    server = dataclasses.replace(EmbeddingServer(**settings.server.to_dict()), base_url=url)
    row = {"judge": server.model, "asked to": "embed", "server": url}
    texts = labeling.embedded_texts(ws, pair_ids)
    before = ws.calls.spent()
    try:
        embedder = http_embedder(server, ws.calls, width=settings.width, purpose=PURPOSE)
        read, why = len(embedder.embed(texts)), []
    except NotEmbedded as error:
        read, why = 0, [str(error)]
    dollars = (ws.calls.spent() - before) / len(texts)
    return row | {"readable": _share(read, len(texts)), "$ per question": round(dollars, 6)}, why


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


class _Answers(NamedTuple):
    """What one server answered."""

    questions: int
    outcomes: Sequence[Outcome]
    votes: Sequence[VoteRow]  # none of a tagger
    dollars: float  # per question
    seconds: float
    why: str | None  # why its questions wait, if they do


def _check_server(
    ws: Workspace, judge: Judge, url: str, task: str, items: Sequence[Item]
) -> _Answers:
    """Ask one server."""
    # Under a revision of its own: the answer of another server must not count for this one.
    revision = f"{judge.revision} {PURPOSE} {url}".strip()
    server = dataclasses.replace(judge, base_url=url, revision=revision, samples=2)
    before, started = ws.calls.spent(), time.monotonic()
    with ws.running.step(f"{judge.name} at {url}", len(items)) as step:
        report = asking.ask(
            items, [server], ws.calls, task=task, purpose=PURPOSE, advance=step.advance
        )
    seconds = time.monotonic() - started
    settled = protocol.outcomes(items, [server], ws.calls, task=task, purpose=PURPOSE)
    votes: list[VoteRow] = []
    if task == "judge":
        votes = list(protocol.votes(items, [server], ws.calls, PURPOSE))
    return _Answers(
        report["questions"],
        [outcome for _, outcome in settled],
        votes,
        (ws.calls.spent() - before) / report["questions"],
        seconds,
        asking.unfinished(report),
    )


def _worth(server: _Answers, items: Sequence[Item], right: Mapping[str, str]) -> dict[str, Any]:
    readable = sum(outcome.value is not None for outcome in server.outcomes)
    hits = sum(row["value"] == right[row["pair_id"]] for row in server.votes)
    mercies = {mercy for outcome in server.outcomes for mercy in outcome.mercies}
    return {
        "readable": _share(readable, server.questions),
        "right": _share(hits, len(server.votes)),
        **_leanings(server.votes, items, right),
        "mercies": ", ".join(sorted(mercies)),
    }


def _of_plan(server: _Answers, planned_questions: int) -> dict[str, Any]:
    """What the plan would cost at the server's rate."""
    hours = server.seconds / server.questions * planned_questions / 3600
    return {
        "$ per question": round(server.dollars, 6),
        "$ of the plan": round(server.dollars * planned_questions, 2),
        "hours of the plan": round(hours, 2),
    }


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
