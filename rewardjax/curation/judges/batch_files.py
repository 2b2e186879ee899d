"""Offline batches: requests as a file for a provider's batch API or `vllm run-batch`, and its results back into the ledger.

    written = batch.write("round1.jsonl", items, judge, ledger)      lines {"custom_id", "method", "url", "body"}
    read = batch.read("round1.results.jsonl", items, judge, ledger)  lines {"custom_id", "response": {"status_code", "body"}, "error"}

Questions whose answers could not be read need another request each: write and read again until `written["requests"]` is 0. A judge asked
this way needs an explicit `answer_format`: there is no server to find it out from.
"""

import json
import pathlib
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from rewardjax import files
from rewardjax.curation.judges.client import Judge, read_completion
from rewardjax.curation.judges.paid_calls import Answer, CallLedger, Request
from rewardjax.curation.judges.prompts import Item
from rewardjax.curation.judges.protocol import format_in, questions, settle

URL = "/v1/chat/completions"


def _open_requests(
    items: Sequence[Item], judge: Judge, ledger: CallLedger, task: str, purpose: str
) -> Iterator[Request]:
    if (format := format_in(judge, ledger)) is None:
        raise ValueError(
            f"judge {judge.name}: answer_format is 'auto' and no server was asked yet; set it to what the batch server takes"
        )
    for item in items:
        for question in questions(item, judge, task, purpose):
            if isinstance(step := settle(question, format, ledger), Request):
                yield step


def write(
    path: str | pathlib.Path,
    items: Sequence[Item],
    judge: Judge,
    ledger: CallLedger,
    *,
    task: str = "judge",
    purpose: str = "",
    discount: float = 1.0,
) -> dict[str, Any]:
    """Write the requests that the ledger lacks, those that another batch file holds already left out ("out"), and reserve their cost.

    discount: what the batch API charges of the price. Stops at the budget: "unaffordable" counts what was left out for it. Returns these
    counts and "requests". The file appears whole or not at all; raises FileExistsError where it exists."""
    path = pathlib.Path(path)
    if path.exists():
        raise FileExistsError(f"{path}: exists; a batch file is written once")
    path.parent.mkdir(parents=True, exist_ok=True)
    counts, name = Counter(requests=0, out=0, unaffordable=0), str(path.resolve())
    ledger.release(name)  # an earlier call that was killed reserved for a file that never appeared
    with files.replacing(path) as part, open(part, "w", encoding="utf-8") as file:
        for request in _open_requests(items, judge, ledger, task, purpose):
            if ledger.out(request.key) is not None:
                counts["out"] += 1
            elif ledger.reserve(request, batch=name, discount=discount) is None:
                counts["unaffordable"] += 1
            else:
                counts["requests"] += 1
                line = {
                    "custom_id": request.key,
                    "method": "POST",
                    "url": URL,
                    "body": request.body,
                }
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
    return dict(counts)


def read(
    path: str | pathlib.Path,
    items: Sequence[Item],
    judge: Judge,
    ledger: CallLedger,
    *,
    task: str = "judge",
    purpose: str = "",
    discount: float = 1.0,
) -> dict[str, Any]:
    """Put a results file's answers into the ledger, in whatever order they come.

    Returns counts: "answered", "rejected" (status 400, 413 or 422), "failed" (other errors: the next batch asks again), "unknown" (no such
    request is out: read before, or another judge's). Raises ValueError naming the line for what is no result."""
    wanted = {
        request.key: request for request in _open_requests(items, judge, ledger, task, purpose)
    }
    counts = Counter(answered=0, rejected=0, failed=0, unknown=0)
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                found = json.loads(line)
                key, response = found["custom_id"], found.get("response") or {}
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise ValueError(
                    f"{path}, line {number}: no batch result ({type(error).__name__}: {error})"
                ) from None
            request = wanted.get(key)
            row = ledger.out(key) if request else None
            if request is None or row is None:
                counts["unknown"] += 1
                continue
            status = response.get("status_code")
            if status in (400, 413, 422):
                refused = Answer(
                    json.dumps(response.get("body"))[:500], finish="rejected", status="rejected"
                )
                ledger.settle(row, request, refused, discount=discount)
                counts["rejected"] += 1
            elif found.get("error") or status != 200:
                ledger.abandon(row, request, tries=1, lost=0)
                counts["failed"] += 1
            else:
                ledger.settle(
                    row, request, read_completion(response.get("body")), discount=discount
                )
                counts["answered"] += 1
    return dict(counts)
