"""What asking should cost, beside the bound of `cost_plan`: from what answers cost so far.

A bound takes the longest possible answer to everything; a run is planned by what is likely. Each
figure comes with where it is from: measured on this workspace's own answers, those of `curate
judges check` included, or estimated from the lengths of texts.
"""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from rewardjax.curation.judges.client import Judge
from rewardjax.curation.ledger import decision_tables
from rewardjax.curation.servers.paid_calls import CallLedger
from rewardjax.curation.servers.requests import Price, Request
from rewardjax.curation.workspace import Workspace

# Questions that must have been answered before their median says more than the texts do.
ENOUGH = 10
# English text has about four characters per token with the vocabularies in use.
CHARACTERS_PER_TOKEN = 4.0
# A short reason and a verdict, or five attributes. A model that thinks aloud writes much more: ask
# it ten pairs with `curate judges check`, and the plan goes by what it wrote.
ANSWER_TOKENS = 100
# Before reward models are trained: how often one confirms a label, and both say the same. Data of
# which a third is wrong, and models that are right about three pairs in four, come near it.
CONFIRMS, SAME = 0.6, 0.8


class Expected(NamedTuple):
    """Dollars per question, and where the figure comes from."""

    dollars: float
    source: str


def per_question(
    calls: CallLedger, judge: Judge, task: Literal["judge", "tag"], requests: Sequence[Request]
) -> Expected | None:
    """What a question to a judge costs; None where nothing tells.

    Args:
        calls: what it answered so far.
        judge: or tagger.
        task: what it is asked for.
        requests: first requests about a sample of pairs, as they would be sent.
    """
    used = np.array(calls.tokens_per_question(judge.voter, task))  # [n, prompt cached completion]
    if len(used) >= ENOUGH or (len(used) and not requests):
        # Of a question with all its requests: what could not be read is asked again.
        prompt, cached, completion = np.median(used, axis=0)
        return Expected(
            _dollars(judge.price, prompt, cached, completion),
            f"median of {len(used)} answered questions",
        )
    if not requests:
        return None
    lengths = [_characters(request) / CHARACTERS_PER_TOKEN for request in requests]
    answer = min(ANSWER_TOKENS, judge.max_tokens)
    return Expected(
        _dollars(judge.price, float(np.mean(lengths)), 0.0, answer),
        f"lengths of {len(requests)} pairs' texts",
    )


def _characters(request: Request) -> int:
    return sum(len(message["content"]) for message in request.body["messages"])


def _dollars(price: Price, prompt: float, cached: float, completion: float) -> float:
    """Of tokens; the cached ones are among those of the prompt."""
    fresh = (prompt - cached) * price.input
    return float(fresh + cached * price.cached + completion * price.output) / 1e6


class Asked(NamedTuple):
    """How many wild pairs judges are asked about, and where the figure comes from."""

    pairs: int
    source: str


def asked_of_wild(ws: Workspace, wild: int, stage: str) -> Asked:
    """Of `wild` pairs, those for which the table asks judges; `stage` of the decisions to ask."""
    decided = [m for m in ws.store.manifests("decisions") if m["stage"] == stage]
    if decided:
        return Asked(sum(m["rows"] for m in decided), "pairs that the table asks about")
    share = _share_asked(ws.config.stage2.table)
    return Asked(round(share * wild), f"assumed: {share:.0%} of the wild pool are asked about")


def _share_asked(table: Any) -> float:
    """Where the reward models' opinions are CONFIRMS and SAME, and nobody else has one."""
    both_for = (CONFIRMS + SAME + CONFIRMS - 1) / 2
    only_one = CONFIRMS - both_for
    chances = {
        ("for", "for"): both_for,
        ("for", "against"): only_one,
        ("against", "for"): only_one,
        ("against", "against"): 1 - both_for - 2 * only_one,
    }
    share = 0.0
    for (gold, best), chance in chances.items():
        opinions = {"original": "for", "gold": gold, "best": best}
        rule = decision_tables.first_match(
            decision_tables.rules(table), opinions | {"judges": "none", "humans": "none"}
        )
        if rule is not None and rule["then"] == "annotate":
            share += chance
    return share


def answered(calls: CallLedger, stage: str, task: str, voter: str) -> int:
    """How many questions of a stage a judge has settled: nothing more is paid for these."""
    settled = 0
    for row in calls.endings(stage, task):
        if row["voter"] == voter:
            settled += row["answered"] + row["unreadable"] + row["refused"]
    return settled
