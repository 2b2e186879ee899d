"""Speed of the exact neighbor search, and that it finds what FAISS finds.

    python -m benchmarks.retrieval [--queries 2000] [--base 100000] [--width 256] [--k 8]

Random vectors on the search's grid; each time is the best of `--repeat` whole searches, compilation
not included. FAISS (`pip install faiss-cpu`) is compared where it is installed: similarities must
be equal, rows wherever no two similarities are. Prints one JSON line last.
"""

import argparse
import importlib.util
import json
import time
from collections.abc import Callable

import jax
import numpy as np

from rewardjax.curation.retrieval import embed
from rewardjax.curation.retrieval import search as retrieval
from rewardjax.parallel.mesh import make_mesh


def best_time(work: Callable[[], object], repeat: int) -> float:
    """Seconds of the fastest of `repeat` runs."""
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.retrieval",
        description="The exact neighbor search, timed and checked.",
    )
    parser.add_argument("--queries", type=int, default=2000)
    parser.add_argument("--base", type=int, default=100_000)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--k", type=int, default=8)
    parser.add_argument("--repeat", type=int, default=3)
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    query, base = (
        retrieval.on_grid(embed.unit(rng.standard_normal((n, args.width), np.float32)))
        for n in (args.queries, args.base)
    )
    result = vars(args) | {"devices": jax.device_count(), "device": jax.devices()[0].device_kind}
    with jax.set_mesh(make_mesh()):
        search = lambda: retrieval.nearest(query, base, args.k)
        row, similarity = search()
        seconds = best_time(search, args.repeat)
    flops = 2 * args.queries * args.base * args.width
    result |= {
        "seconds": seconds,
        "queries_per_second": args.queries / seconds,
        "gflops_per_second": flops / seconds / 1e9,
    }
    if importlib.util.find_spec("faiss"):
        import faiss

        index = faiss.IndexFlatIP(args.width)
        index.add(base.astype(np.float32))  # pyright: ignore[reportCallIssue]
        wide = query.astype(np.float32)
        theirs, their_row = index.search(wide, args.k)  # pyright: ignore[reportCallIssue]
        with jax.set_mesh(make_mesh()):
            clear = np.diff(retrieval.nearest(query, base, args.k + 1)[1], axis=1).all(
                axis=1
            )  # FAISS has no choice of order
        result["faiss_seconds"] = best_time(lambda: index.search(wide, args.k), args.repeat)  # pyright: ignore[reportCallIssue]
        result["similarities_equal"] = bool((theirs.astype(np.int64) == similarity).all())
        result["rows_equal_where_untied"] = bool((row[clear] == their_row[clear]).all())
        result["queries_untied"] = int(clear.sum())
    print(json.dumps({"benchmark": "retrieval", **result}))


if __name__ == "__main__":
    main()
