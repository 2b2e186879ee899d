"""Decide a store of many pairs on one machine: votes and scores, no texts.

    python -m benchmarks.curation_scale --folder runs/scale [--pairs 40000000]

Writes a synthetic store (made once, kept in --folder): for each pair an original vote, rewards of a
gold and a best RM, and for a third of them a panel vote; people voted on 1 in 1000. Then decides
them by the preset `flip_both` and prints one JSON line last: seconds of the decision, peak memory
of this process, disk, actions.

    python -m benchmarks.curation_scale --folder runs/scale --full --pairs 2000000 [--smoke]

Instead takes texts as long as HH's through every step of curation (`curation_growth`), at a
thousandth, an eighth, a quarter, a half and all of the pairs; the JSON line has CPU seconds and
peak memory of each step, what they grow by per pair, and what 40M pairs would take if they went on
so. On two cores `--at-once 2` takes the largest size on one and the others on the other.
"""

import argparse
import json
import pathlib
import resource
import shutil
import time

import duckdb

from benchmarks import curation_growth
from rewardjax.curation.ledger.decisions import decide
from rewardjax.curation.ledger.rows import SCHEMAS
from rewardjax.curation.ledger.store import Store

ROWS = 2_000_000  # a shard
# What each ledger holds, of the row number i; u(i, k) is a uniform number in [0, 1), another one
# for every k.
UNIFORM = "create macro u(i, k) as (hash(i * 16 + k) / 18446744073709551616.0)"
# Of a vote that comes without them.
NO_DETAILS = "null confidence, null shown, null evidence"
LEDGERS = {
    # No text: decisions do not look at any.
    "import": (
        "pairs",
        "true",
        "'' prompt, '' response_a, '' response_b, null tools, 'synthetic' source, "
        "'unverified' entry, i as row, null record_id, null info",
    ),
    "original": (
        "votes",
        "true",
        "'original:synthetic' voter, 'original' kind, if(u(i, 1) < 0.5, 'a', 'b') as value, "
        f"i as sample, {NO_DETAILS}",
    ),
    "panel": (
        "votes",
        "u(i, 2) < 0.33",
        "'panel' voter, 'panel' kind, if((u(i, 1) < 0.5) = (u(i, 3) < 0.75), 'a', 'b') "
        f"as value, 0 as sample, {NO_DETAILS}",
    ),
    "people": (
        "votes",
        "u(i, 4) < 0.001",
        "'human:one' voter, 'human' kind, if((u(i, 1) < 0.5) = (u(i, 5) < 0.8), 'a', 'b') "
        f"as value, 0 as sample, {NO_DETAILS}",
    ),
    "gold": (
        "scores",
        "true",
        "'gold' scorer, 'g' model, 'c' contract, if(u(i, 1) < 0.5, 1, -1) * "
        "(u(i, 6) * 4 - 1) reward_a, 0 reward_b",
    ),
    "best": (
        "scores",
        "true",
        "'best' scorer, 'b' model, 'c' contract, if(u(i, 1) < 0.5, 1, -1) * "
        "(u(i, 7) * 4 - 1) reward_a, 0 reward_b",
    ),
}


def make(store: Store, pairs: int) -> None:
    """Write the synthetic ledgers that are not there yet."""
    with duckdb.connect(config={"memory_limit": "1GB"}) as connection:
        connection.execute(UNIFORM)
        for stage, (ledger, where, columns) in LEDGERS.items():
            for unit, first in enumerate(range(0, pairs, ROWS)):
                if not store.has(ledger, stage, f"{unit:04d}"):
                    names = ", ".join(SCHEMAS[ledger].names)
                    source = f"select range as i from range({first}, {min(first + ROWS, pairs)})"
                    rows = (
                        f"select printf('%016x', hash(i)) pair_id, {columns} "
                        f"from ({source}) where {where}"
                    )
                    sql = f"select {names} from ({rows})"
                    store.append(ledger, stage, f"{unit:04d}", connection.sql(sql).to_arrow_table())
            print(f"{stage}: done", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.curation_scale",
        description="Decide a large store of votes and scores.",
    )
    parser.add_argument("--folder", type=pathlib.Path, required=True)
    parser.add_argument("--pairs", type=int, default=40_000_000)
    parser.add_argument("--full", action="store_true", help="every step of curation, with texts")
    parser.add_argument("--smoke", action="store_true", help="with --full: 2,000 pairs at most")
    parser.add_argument(
        "--at-once",
        type=int,
        choices=(1, 2),
        default=1,
        help="with --full: 2 measures the largest size beside the others",
    )
    args = parser.parse_args()
    if args.full:
        sizes = [args.pairs // part for part in (1_000, 8, 4, 2, 1)]
        if args.smoke:
            sizes = [100, min(args.pairs, 2_000)]
        figures = curation_growth.measure(
            args.folder / "full", sizes, list(curation_growth.STEPS), args.at_once
        )
        print(json.dumps({"benchmark": "curation_scale", "full": True, **figures}))
        return
    store = Store(args.folder / str(args.pairs))
    make(store, args.pairs)
    shutil.rmtree(store.folder / "decisions", ignore_errors=True)
    read = sum(path.stat().st_size for path in store.folder.rglob("*.parquet"))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    started = time.monotonic()
    actions = decide(store, "stage2", table="flip_both")
    seconds = time.monotonic() - started
    assert sum(actions.values()) == args.pairs, actions
    result = {
        "benchmark": "curation_scale",
        "pairs": args.pairs,
        "seconds": round(seconds, 1),
        "pairs_per_second": round(args.pairs / seconds),
        "peak_memory_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9, 2),
        "memory_before_gb": round(before / 1e9, 2),
        "ledger_gb": round(read / 1e9, 2),
        "decisions_gb": round(
            sum(path.stat().st_size for path in (store.folder / "decisions").glob("*.parquet"))
            / 1e9,
            2,
        ),
        "actions": actions,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
