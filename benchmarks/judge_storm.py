"""Judge servers that misbehave, each beside a good one: what becomes of every question.

    python -m benchmarks.judge_storm [--smoke] [--only harmony poison]

Pairs of the preference world, whose truth is known, are described and judged by two judges over
HTTP: a good one, and one that behaves as one of `judge_behaviors.BEHAVIORS`. Each vote must be what
the server said, each question without a vote be counted, and the budget hold to one request. Then
the whole is killed again and again (SIGKILL) and must leave the same store. Prints one JSON line
last: `crashes`, `votes_wrong`, `lost_uncounted` and what else must be 0.
"""

import argparse
import contextlib
import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from typing import Any

from benchmarks.judge_behaviors import BEHAVIORS
from benchmarks.judge_exchange import Behavior, serve
from benchmarks.storm_counts import counts
from rewardjax.curation.defaults import curation
from rewardjax.curation.intake.intake import take_in
from rewardjax.curation.judges import asking, protocol
from rewardjax.curation.judges.client import Judge
from rewardjax.curation.judges.prompts import Example, Item
from rewardjax.curation.judges.scripted_judge import Truth, truth_of
from rewardjax.curation.ledger import stage_names
from rewardjax.curation.ledger.rows import canonical
from rewardjax.curation.ledger.store import Store
from rewardjax.curation.servers.paid_calls import CallLedger
from rewardjax.curation.stages import labeling, product
from rewardjax.curation.workspace import Workspace
from rewardjax.data import world
from rewardjax.data.groups import pair_id
from rewardjax.data.sources import open_source

BUDGET = 1.0  # dollars
PAIRS = 24
SMOKE = (
    "good",
    "harmony",
    "lower",
    "length",
    "content_parts",
    "err200_text",
    "nan",
    "cached_more",
    "nosystem",
    "nomax",
    "surrogate",
    "quota",
    "tgi_context",
    "byte_order_mark",
)
KILLS = 10
LATENCY = 1.0  # seconds per answer, as of a small model: a healthy run takes about ten


def judges_of(good: str, bad: str, samples: int = 2) -> list[Judge]:
    """The panel: the good judge and the other."""
    settings = {
        "samples": samples,
        "max_in_flight": 8,
        "timeout": 3.0,
        "retries": 3,
        "price_input": 1.0,
        "price_output": 4.0,
        "max_tokens": 1000,
    }
    return [Judge("good", "good", good, **settings), Judge("bad", "bad", bad, **settings)]


def world_items(num: int) -> tuple[list[Item], dict[str, str], Truth]:
    """Pairs with two gold examples each, their right answers, and the servers' table."""
    records = list(world.generate(seed=5, num=num + 2))
    items, right = [], {}
    for record in records:
        a, b, _ = canonical(record["chosen"], record["rejected"])
        item = Item(pair_id(record["prompt"], a, b), record["prompt"], (a, b))
        items.append(item)
        right[item.pair_id] = "b" if b == record["chosen"] else "a"
    shots = tuple(
        Example(item.pair_id, item.prompt, item.responses, right[item.pair_id])
        for item in items[:2]
    )
    shown = [dataclasses.replace(item, examples=shots) for item in items[2:]]
    return shown, right, truth_of(records)


def try_behavior(name: str, behavior: Behavior, num: int, latency: float) -> dict[str, Any]:
    """Describe and judge pairs with the good judge and this one; what came of it."""
    items, right, truth = world_items(num)
    started = time.monotonic()
    outcome: dict[str, Any] = {"behavior": name, "crashed": None}
    with (
        tempfile.TemporaryDirectory() as folder,
        serve(BEHAVIORS["good"], truth, latency) as good,
        serve(behavior, truth, latency) as bad,
        contextlib.closing(CallLedger(pathlib.Path(folder) / "calls.sqlite", BUDGET)) as ledger,
    ):
        panel = judges_of(good, bad)
        try:
            stopped = _ask_all(items, panel, ledger)
            votes = list(protocol.votes(items, panel, ledger, "votes"))
            tags = list(protocol.tags(items, panel, ledger, "tags"))
        # A crash is one of the things that are counted here.
        except Exception:
            outcome["crashed"] = traceback.format_exc()
            return outcome
        endings = ledger.endings()
        most = max(step.most() for step in _first_requests(items, panel))
        outcome["over_budget"] = max(0.0, ledger.spent() - BUDGET - most)
        outcome["negative"] = ledger.spent() < 0
    outcome["seconds"] = round(time.monotonic() - started, 1)
    outcome |= _judge_outcome(name, behavior, votes, tags, endings, right, stopped, len(items))
    return outcome


def _ask_all(items: Sequence[Item], panel: Sequence[Judge], ledger: CallLedger) -> str:
    """Ask for tags and votes; why the run would pause, if it would."""
    sentences = []
    for task, purpose in (("tag", "tags"), ("judge", "votes")):
        report = asking.ask(items, panel, ledger, task=task, purpose=purpose)
        sentences.append(asking.unfinished(report) or "")
    return "; ".join(filter(None, sentences))


def _first_requests(items: Sequence[Item], panel: Sequence[Judge]) -> list[Any]:
    with tempfile.TemporaryDirectory() as folder:
        empty = CallLedger(pathlib.Path(folder) / "empty.sqlite")
        return [
            protocol.settle(next(iter(protocol.questions(item, judge))), judge.dialect, empty)
            for item in items
            for judge in panel
        ]


def _judge_outcome(
    name: str,
    behavior: Behavior,
    votes: list[Any],
    tags: list[Any],
    endings: list[dict[str, Any]],
    right: dict[str, str],
    stopped: str,
    pairs: int,
) -> dict[str, Any]:
    """Whether votes are right, losses counted, and the end is the one that is expected."""
    wrong = [row for row in votes if row["value"] != right[row["pair_id"]]]
    if name == "always_first":
        wrong = [row for row in wrong if row["voter"] != "judge:bad"]
    by_bad = sum(row["voter"] == "judge:bad" for row in votes)
    tagged_by_bad = sum(row["voter"] == "judge:bad" for row in tags)
    counted = {row["purpose"]: row for row in endings if row["voter"] == "judge:bad"}
    uncounted = 0
    for purpose, asked, answered in (("votes", 2 * pairs, by_bad), ("tags", pairs, tagged_by_bad)):
        row = counted.get(purpose)
        lost = asked - answered
        # A judge that answered no first question was asked nothing: the sentence says so.
        if row is None and not stopped:
            uncounted += lost
        elif row is not None:
            uncounted += abs(lost - row["unreadable"] - row["refused"] - row["open"])
    expected = {
        "all": by_bad == 2 * pairs and tagged_by_bad == pairs and not stopped,
        "some": 0 < by_bad < 2 * pairs and not stopped,
        "none": by_bad == 0 and (not stopped or "can be read" in stopped),
        "stopped": by_bad == 0 and behavior.says in stopped,
    }
    problems = [row["problem"] for row in counted.values()]
    return {
        "votes": by_bad,
        "tags": tagged_by_bad,
        "votes_wrong": len(wrong),
        "lost_uncounted": uncounted,
        "as_expected": expected[behavior.expect],
        "stopped": stopped,
        "problem": next(filter(None, problems), ""),
        "mercies": sum(row["with_mercy"] for row in counted.values()),
    }


# ------------------------------------------------------------------ kills


def label_store(folder: pathlib.Path, good: str, bad: str) -> None:
    """Describe and judge the world's pairs in a workspace; goes on where it stood."""
    config = curation()
    config.shots = 0
    store = Store(folder / "store")
    take_in(store, open_source("world:train?num=40&seed=5"), entry="unverified", name="world")
    ids = store.query("select pair_id from pairs order by pair_id").column(0).to_pylist()
    with contextlib.closing(CallLedger(folder / "calls.sqlite")) as calls:
        ws = Workspace(folder, config, store, calls, judges_of(good, bad), product.PLUGINS)
        labeling.tag(ws, ids, stage_names.TAG)
        labeling.judge(ws, ids, stage_names.judges(0), stage_names.panel(0), {})


def storm_of_kills(kills: int) -> dict[str, Any]:
    """Kill the labeling `kills` times; whether its store is that of an undisturbed run."""
    truth = truth_of(open_source("world:train?num=40&seed=5"))
    with (
        tempfile.TemporaryDirectory() as scratch,
        serve(BEHAVIORS["good"], truth, 0.15) as good,
        serve(BEHAVIORS["fenced"], truth, 0.15) as bad,
    ):
        calm, stormy = pathlib.Path(scratch) / "calm", pathlib.Path(scratch) / "stormy"
        label_store(calm, good, bad)
        killed = 0
        while killed < kills:
            child = _start(stormy, good, bad)
            # Between the start of the interpreter and the end of the run.
            time.sleep(2.0 + 0.35 * killed)
            if child.poll() is not None:
                break
            child.send_signal(signal.SIGKILL)
            child.wait()
            killed += 1
        code = _start(stormy, good, bad).wait()
        same = Store(calm / "store").fingerprint() == Store(stormy / "store").fingerprint()
    return {"kills": killed, "same_store": same, "exit_code": code}


def _start(folder: pathlib.Path, good: str, bad: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "benchmarks.judge_storm", "--label", str(folder), good, bad]
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    return subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)


# ------------------------------------------------------------------ the command


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Let the storm loose; returns what is printed last."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.judge_storm", description="Judge servers that misbehave."
    )
    parser.add_argument("--smoke", action="store_true", help="some behaviors, six pairs, no kills")
    parser.add_argument("--only", nargs="+", choices=BEHAVIORS, help="these behaviors, no kills")
    parser.add_argument("--label", nargs=3, metavar=("FOLDER", "GOOD", "BAD"), help="of a child")
    args = parser.parse_args(argv)
    if args.label:
        label_store(pathlib.Path(args.label[0]), *args.label[1:])
        return {}
    names, pairs, latency = args.only or list(BEHAVIORS), PAIRS, LATENCY
    if args.smoke:
        names, pairs, latency = args.only or SMOKE, 6, 0.0
    outcomes = []
    for name in names:
        outcomes.append(try_behavior(name, BEHAVIORS[name], pairs, latency))
        print(json.dumps(outcomes[-1]), flush=True)
    healthy = outcomes[0].get("seconds")
    result = {
        "benchmark": "judge_storm",
        "behaviors": len(outcomes),
        **counts(outcomes, "behavior"),
        "over_budget": [
            one["behavior"] for one in outcomes if one.get("over_budget") or one.get("negative")
        ],
        "healthy_seconds": healthy,
        "slower_than_twice": [
            one["behavior"]
            for one in outcomes
            if one.get("seconds", 0) > 2 * healthy and not BEHAVIORS[one["behavior"]].slow
        ],
    }
    if not args.smoke and not args.only:
        result |= storm_of_kills(KILLS)
    print(json.dumps(result))
    return result


if __name__ == "__main__":
    main()
