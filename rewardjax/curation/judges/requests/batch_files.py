"""Offline batches: requests as a file for a batch API, and its results back into the ledger.

    written = batch_files.write("round1.jsonl", items, judge, ledger)
    counts = batch_files.read("round1.results.jsonl", [judge], ledger)

A file is what OpenAI's batch API and `vllm run-batch` take, one request per line:

    {"custom_id", "method", "url", "body"}                         written
    {"custom_id", "response": {"status_code", "body"}, "error"}    read, in any order

Questions whose answers could not be read need another request each: write and read again until
`written["requests"]` is 0. A judge that is asked this way needs an explicit `answer_format`: there
is no server to find it out from. `python -m rewardjax.curate batch` does all this for a workspace.
"""

import json
import pathlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rewardjax.curation.judges.client import Judge
from rewardjax.curation.judges.prompts import Item
from rewardjax.curation.judges.protocol import dialect_in, questions, settle
from rewardjax.curation.judges.requests.completion import read_completion
from rewardjax.curation.judges.requests.dialect import FORMATS, Dialect
from rewardjax.curation.servers.failures import REFUSED
from rewardjax.curation.servers.paid_calls import CallLedger, InBatch
from rewardjax.curation.servers.replies import Trouble
from rewardjax.curation.servers.requests import Answer, Request
from rewardjax.io import files

URL = "/v1/chat/completions"


def write(
    path: str | pathlib.Path,
    items: Sequence[Item],
    judge: Judge,
    ledger: CallLedger,
    *,
    task: str = "judge",
    purpose: str = "",
    discount: float = 1.0,
) -> dict[str, int]:
    """Write the requests that the ledger lacks, and reserve their cost.

    discount: what the batch API charges of the price. Returns counts: "requests" in the file, "out"
    that another batch file holds already, "unaffordable" that were left out for the budget. The
    file appears whole or not at all; raises FileExistsError where it exists, ValueError for a judge
    without an answer_format.
    """
    path = pathlib.Path(path)
    if path.exists():
        raise FileExistsError(f"{path} exists; a batch file is written once")
    path.parent.mkdir(parents=True, exist_ok=True)
    counts, name = Counter(requests=0, out=0, unaffordable=0), str(path.resolve())
    # An earlier call that was killed reserved for a file that never appeared.
    ledger.release(name)
    with files.replacing(path) as part, open(part, "w", encoding="utf-8") as file:
        for request in _open_requests(items, judge, ledger, task, purpose):
            if ledger.in_batch(request.key) is not None:
                counts["out"] += 1
            elif ledger.reserve(request, batch=name, discount=discount) is None:
                counts["unaffordable"] += 1
            else:
                counts["requests"] += 1
                file.write(json.dumps(_line(request), ensure_ascii=False) + "\n")
    return dict(counts)


def open_questions(items: Sequence[Item], judge: Judge, ledger: CallLedger, task: str) -> int:
    """How many questions about `items` are not settled."""
    dialect = dialect_in(judge, ledger)
    # Of a judge that was never asked anything, every question is open: any dialect tells so.
    if dialect is None:
        dialect = Dialect(FORMATS[-1])
    return sum(1 for _ in _requests(items, judge, ledger, task, "", dialect))


def _open_requests(
    items: Sequence[Item], judge: Judge, ledger: CallLedger, task: str, purpose: str
) -> Iterator[Request]:
    """What a batch file for a judge would hold."""
    dialect = dialect_in(judge, ledger)
    if dialect is None:
        raise ValueError(
            f"judge {judge.name}: answer_format is 'auto' and no server was asked yet; "
            "set it to what the batch server takes"
        )
    yield from _requests(items, judge, ledger, task, purpose, dialect)


def _requests(
    items: Sequence[Item],
    judge: Judge,
    ledger: CallLedger,
    task: str,
    purpose: str,
    dialect: Dialect,
) -> Iterator[Request]:
    """The next request of every question that is not settled."""
    for item in items:
        for question in questions(item, judge, task, purpose):
            step = settle(question, dialect, ledger)
            if isinstance(step, Request):
                yield step


def _line(request: Request) -> dict[str, Any]:
    # The key as custom_id: results come in any order, days later, perhaps to another process.
    return {"custom_id": request.key, "method": "POST", "url": URL, "body": request.body}


def read(path: str | pathlib.Path, judges: Sequence[Judge], ledger: CallLedger) -> dict[str, int]:
    """Put a results file's answers into the ledger, in whatever order they come.

    judges: those whose requests may be among them. The files that were written must still be where
    they were. Returns counts: "answered", "rejected" (the request as it stands), "failed" (other
    errors: the next batch asks again), "unknown" (no such request is out: read before, or another
    ledger's). Raises ValueError naming the line for what is not a result.
    """
    by_voter = {judge.voter: judge for judge in judges}
    bodies: dict[str, dict[str, Any]] = {}
    counts = Counter(answered=0, rejected=0, failed=0, unknown=0)
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                result = json.loads(line)
                key, response = result["custom_id"], result.get("response") or {}
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise ValueError(
                    f"{path}, line {number} is not a batch result ({type(error).__name__}: {error})"
                ) from None
            waiting = ledger.in_batch(key)
            if waiting is None:
                counts["unknown"] += 1
                continue
            if waiting.batch not in bodies:
                bodies[waiting.batch] = _bodies(waiting.batch)
            request = _request(key, waiting, bodies[waiting.batch], by_voter)
            try:
                answer = _answer(response, bool(result.get("error")), request)
            except Trouble as trouble:
                ledger.abandon(waiting.row, request, tries=1, lost=0, reason=str(trouble))
                counts["failed"] += 1
                continue
            # What was reserved tells which discount the file was written with.
            discount = 1.0
            if request.most() > 0:
                discount = waiting.booked / request.most()
            ledger.settle(waiting.row, request, answer, discount=discount)
            counts[answer.status] += 1
    return dict(counts)


def _bodies(path: str) -> dict[str, Any]:
    """The bodies of a batch file by custom_id."""
    bodies = {}
    with open(path, encoding="utf-8") as file:
        for line in file:
            request = json.loads(line)
            bodies[request["custom_id"]] = request["body"]
    return bodies


def _request(
    key: str, waiting: InBatch, bodies: Mapping[str, Any], judges: Mapping[str, Judge]
) -> Request:
    """The request behind a result, as it was when it was written."""
    judge = judges.get(waiting.voter)
    if judge is None or key not in bodies:
        raise ValueError(
            f"{waiting.batch}: request {key} of {waiting.voter} is not in the file, or its judge "
            f"is not one of {', '.join(judges)}"
        )
    request = Request(
        voter=waiting.voter,
        body=bodies[key],
        revision=judge.revision,
        price=judge.price,
        sample=waiting.sample,
        attempt=waiting.attempt,
        shown=waiting.shown,
        subject=waiting.subject,
        purpose=waiting.purpose,
    )
    # An answer under another key would never be looked up, and its question asked and paid again.
    if request.key != key:
        raise ValueError(
            f"{waiting.batch}: request {key} was edited after it was written, or the revision of "
            f"judge {judge.name} was"
        )
    return request


def _answer(response: Mapping[str, Any], failed: bool, request: Request) -> Answer:
    """What a result says. Raises Trouble for an error that asking again may mend."""
    status = response.get("status_code")
    if status in REFUSED:
        reason = json.dumps(response.get("body"))[:500]
        return Answer(reason, finish="rejected", status="rejected")
    if failed or status != 200:
        raise Trouble(f"status {status} in a results file")
    return read_completion(response.get("body"), request)
