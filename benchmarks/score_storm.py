"""Scorers that are killed at any time, while others join and leave: each response scored once.

    python -m benchmarks.score_storm [--smoke]

Three storms. In the first, `python -m rewardjax.score` on a tiny model is killed again and again.
In the second, kills are many, because the forward pass is replaced by a hash of the token ids: the
workers run the same code for units, attempts, commits and merging, and start in a second. The third
is the second one with its outputs in object storage (object_server.py). Printed last: one JSON line
with the kills, and how many rows are there twice, missing, or nobody's.
"""

import argparse
import collections
import hashlib
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from benchmarks import object_server
from rewardjax.data import sources
from rewardjax.data.chat import ChatTokenizer
from rewardjax.data.pack import TokenGroup
from rewardjax.io import storage
from rewardjax.scoring import contract
from rewardjax.scoring import model as scorer
from rewardjax.scoring.passes import plan as plans
from rewardjax.scoring.passes import scored_file, work

BAD_EVERY = 97  # records of which one has no text, so that the quarantine is counted too
WORKERS = 6


def write_input(path: pathlib.Path, records: int) -> None:
    """Groups of one to three short responses."""
    rng = random.Random(0)
    with open(path, "w") as file:
        for number in range(records):
            texts = [f"It is {rng.randrange(1000)}." for _ in range(rng.randint(1, 3))]
            if number % BAD_EVERY == 0:
                texts[0] = " "
            record = {"id": f"q{number}", "prompt": f"What is {number}?", "responses": texts}
            file.write(json.dumps(record) + "\n")


def expected(path: pathlib.Path) -> set[tuple[int, int]]:
    """(row, response) of everything that must be in the scores or in the quarantine."""
    places = set()
    for row, line in enumerate(path.read_text().splitlines()):
        texts = json.loads(line)["responses"]
        if not any(text.strip() for text in texts):
            places.add((row, -1))
            continue
        for index in range(len(texts)):
            places.add((row, index))
    return places


def hashed(model: scorer.Scorer, groups: Sequence[TokenGroup]) -> list[np.ndarray]:
    """A reward that is a hash of a conversation's token ids."""
    rewards = []
    for group in groups:
        digests = [
            hashlib.blake2b(np.concatenate([group.prefix, suffix]).tobytes(), digest_size=4)
            for suffix in group.suffixes
        ]
        numbers = [int.from_bytes(digest.digest(), "big") for digest in digests]
        rewards.append(np.array(numbers, np.float32))
    return rewards


class HashModel(NamedTuple):
    """What a pass asks of a model, without its weights: workers of hashes start often."""

    tokenizer: ChatTokenizer
    contract: contract.ScoreContract
    params: dict
    compute_dtype: str = "float32"


def load_hash_model(folder: pathlib.Path) -> Any:
    """Tokenizer and contract of a Hugging Face folder of ours, in the place of a Scorer."""
    own = contract.load(folder)
    assert own is not None, f"{folder} is not one of ours"
    return HashModel(ChatTokenizer.load(folder), own, {})


def hash_worker(model: str, source: str, output: str, unit: int) -> None:
    """One worker of the second or third storm."""
    scorer.token_groups = hashed
    plans.UNIT = unit
    # Requests to a server on this machine cost nothing.
    work.LOOKS_AT_BUCKET_EVERY = work.LOOKS_EVERY
    hash_model = load_hash_model(pathlib.Path(model))
    scored_file.score_file(hash_model, sources.open_source(source), output)


class Storm:
    """Workers of a command that are started, killed at random, and started again."""

    def __init__(self, command: Sequence[str], kills: int, most: float, seed: int = 0):
        self._command, self._kills, self._most = list(command), kills, most
        self._rng = random.Random(seed)
        self.killed = 0

    def run(self, output: pathlib.Path) -> None:
        """Until `output` is there and the kills are spent, or it is there before they are."""
        workers: list[subprocess.Popen] = []
        while not output.exists():
            wanted = 1
            if self.killed < self._kills:
                wanted = self._rng.randint(1, WORKERS)
            workers = [worker for worker in workers if worker.poll() is None]
            while len(workers) < wanted and not output.exists():
                workers.append(self._start())
            time.sleep(self._rng.uniform(0, self._most))
            if self.killed < self._kills and workers:
                victim = workers.pop(self._rng.randrange(len(workers)))
                victim.send_signal(signal.SIGKILL)
                self.killed += victim.wait() == -signal.SIGKILL
        for worker in workers:
            if worker.wait() != 0:
                raise RuntimeError(f"a worker that nobody killed ended with {worker.returncode}")

    def _start(self) -> subprocess.Popen:
        environment = os.environ | {"JAX_PLATFORMS": "cpu"}
        return subprocess.Popen(
            self._command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )


def count(source: pathlib.Path, output: pathlib.Path) -> dict[str, int]:
    """What is wrong with a file of scores and its quarantine."""
    places: collections.Counter[tuple[int, int]] = collections.Counter()
    for path in (output, output.with_name(output.name + ".quarantine.jsonl")):
        for line in path.read_text().splitlines():
            row = json.loads(line)
            places[row["row"], row["response_index"]] += 1
    due = expected(source)
    return {
        "rows": sum(places.values()),
        "duplicates": sum(times - 1 for times in places.values()),
        "missing": len(due - places.keys()),
        "extra": len(places.keys() - due),
    }


def storm(
    folder: pathlib.Path,
    place: str,
    name: str,
    records: int,
    kills: int,
    most: float,
    command: Sequence[str],
) -> dict[str, Any]:
    """Passes over `records` records until `kills` workers were killed; the sums of all passes.

    folder: for the input. place: for the outputs, a folder or an address.
    """
    source = folder / f"{name}.jsonl"
    write_input(source, records)
    totals: collections.Counter[str] = collections.Counter()
    digests = set()
    passes = 0
    while totals["kills"] < kills:
        output = storage.path_of(f"{place}/{name}-{passes}.out.jsonl")
        arguments = [word.format(source=source, output=output) for word in command]
        raging = Storm(arguments, kills - totals["kills"], most, seed=passes)
        raging.run(output)
        totals.update(count(source, output) | {"kills": raging.killed})
        digests.add(hashlib.sha256(output.read_bytes()).hexdigest())
        passes += 1
    return dict(totals) | {"passes": passes, "results": len(digests)}


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Run the storms; prints the result as the last line, and returns it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.score_storm")
    parser.add_argument("--smoke", action="store_true", help="a few kills")
    parser.add_argument(
        "--model", type=pathlib.Path, help="a Hugging Face folder; default: makes a tiny one"
    )
    args = parser.parse_args(argv)
    # (records, kills, seconds between two at most)
    real, hashes = (20_000, 200, 6.0), (200_000, 2_000, 1.0)
    if args.smoke:
        real, hashes = (0, 0, 0.0), (4_000, 2, 3.0)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        model = args.model or make_model(folder)
        python = [sys.executable, "-m"]
        found = {}
        if not args.smoke:
            command = [*python, "rewardjax.score", "--model", str(model), "--input", "{source}"]
            command += ["--output", "{output}"]
            found["scorer"] = storm(folder, name, "scorer", *real, command)
        code = (
            "import sys; from benchmarks.score_storm import hash_worker; "
            f"hash_worker(*sys.argv[1:], {hashes[0] // 40})"
        )
        command = [sys.executable, "-c", code, str(model), "{source}", "{output}"]
        found["hashes"] = storm(folder, name, "hashes", *hashes, command)
        with object_server.serving() as variables, object_server.reached(variables):
            bucket = f"gs://{object_server.BUCKET}"
            found["bucket"] = storm(folder, bucket, "bucket", *hashes, command)
    names = ("duplicates", "missing", "extra", "kills")
    result = {"benchmark": "score_storm", "smoke": args.smoke}
    result |= {name: sum(one[name] for one in found.values()) for name in names}
    result |= found
    print(json.dumps(result))
    return result


def make_model(folder: pathlib.Path) -> pathlib.Path:
    """A tiny model as a Hugging Face folder."""
    from rewardjax import config as config_lib
    from rewardjax.export import export
    from rewardjax.training import loop

    config = config_lib.load("configs/tiny.py", {"steps": 1, "checkpoint.every": 0})
    loop.run(config, folder / "run")
    export(folder / "run", folder / "hf")
    return folder / "hf"


if __name__ == "__main__":
    main()
