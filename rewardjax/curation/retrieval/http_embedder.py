"""Vectors from an OpenAI-compatible server: POST /v1/embeddings, believed as little as a judge's.

A server's replies are checked (as many vectors as texts, each with its index, of one width, finite
and not zero), its tries are counted and its tokens booked in the ledger of calls, under the budget
of the judges. The vectors themselves stand in the store alone: kept in the ledger as well they
would take as much room again, and what a kill costs is one unit of work.
"""

import asyncio
import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from rewardjax import fingerprint
from rewardjax.curation.judges.requests.fitting import is_too_long
from rewardjax.curation.retrieval.embed import Embedder, unit
from rewardjax.curation.servers.connection import PURPOSE, Connection, watched
from rewardjax.curation.servers.event_loop import run
from rewardjax.curation.servers.failures import ServerDown
from rewardjax.curation.servers.paid_calls import BudgetExceeded, CallLedger
from rewardjax.curation.servers.purse import Purse
from rewardjax.curation.servers.replies import Trouble, is_count, read_json, refuse_error
from rewardjax.curation.servers.requests import TEMPLATE_TOKENS, Answer, Price, Request

PROBE = "A first question."
# Fields that this module sets itself.
_OURS = ("model", "input", "dimensions", "encoding_format")


class NotEmbedded(Exception):
    """Some texts have no vector; the message says why, and what to do."""


@dataclasses.dataclass(frozen=True)
class EmbeddingServer:
    """A model behind /v1/embeddings and how it is asked; the config's section `embedder.server`.

    Args:
        model: its name in requests.
        base_url: where it is served; several servers of one model are joined by commas and share
            its work.
        revision: any text that tells apart what the model's name does not; vectors of another one
            are not compared.
        batch: texts per request.
        max_in_flight: requests at a time, per server.
        timeout: seconds of one request.
        retries: tries after the first one.
        price_input: dollars per million tokens.
        key_env: the environment variable with the API key.
        extra: further fields of the request body.
    """

    model: str
    base_url: str
    revision: str = ""
    batch: int = 64
    max_in_flight: int = 4
    timeout: float = 120.0
    retries: int = 9
    price_input: float = 0.0
    key_env: str = "OPENAI_API_KEY"
    extra: dict[str, Any] = dataclasses.field(default_factory=dict, hash=False)

    kind = "embedder"
    name = "http"

    def __post_init__(self):
        for field in ("model", "base_url"):
            if not getattr(self, field):
                raise ValueError(f"embedder.name = 'http' needs embedder.server.{field}")
        for field in ("batch", "max_in_flight"):
            if getattr(self, field) < 1:
                value = getattr(self, field)
                raise ValueError(f"embedder.server.{field} = {value}, must be at least 1")
        if clash := set(self.extra) & set(_OURS):
            raise ValueError(f"embedder.server.extra may not hold {', '.join(sorted(clash))}")

    @property
    def voter(self) -> str:
        """Its name in the ledger of calls."""
        return f"embedder:{self.model}"

    @property
    def urls(self) -> list[str]:
        """The servers that share its work."""
        return [url.strip() for url in self.base_url.split(",")]


@dataclasses.dataclass(frozen=True)
class EmbeddingRequest(Request):
    """A request for the vectors of some texts; width: of each, None where it is not known yet."""

    width: int | None = None

    @property
    def most_prompt_tokens(self) -> int:
        """No tokenizer makes more tokens than there are bytes, but for a text's ends."""
        return sum(len(text.encode()) + TEMPLATE_TOKENS for text in self.body["input"])


@dataclasses.dataclass(frozen=True)
class Vectors(Answer):
    """An answer with float32 [texts, width], which the ledger of calls does not keep."""

    rows: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros((0, 0), np.float32))


def http_embedder(
    server: EmbeddingServer, ledger: CallLedger, *, width: int | None = None, purpose: str = ""
) -> Embedder:
    """The embedder of a server, which is asked one small question first.

    Args:
        server: the model and where it is.
        ledger: where its cost is booked.
        width: asked for as `dimensions`; None: the model's own, as the first answer has it.
        purpose: what the requests are for, in the ledger.

    Raises:
        NotEmbedded: where the server does not answer the first question. `embed` may raise it too.
    """
    first = _Asking(server, ledger, width, PURPOSE).embed([PROBE])
    full = first.shape[1]
    identity = {
        "model": server.model,
        "revision": server.revision,
        "width": full,
        "extra": server.extra,
    }

    def embed(texts: Sequence[str]) -> np.ndarray:
        if not texts:
            return np.zeros((0, full), np.float32)
        return unit(_Asking(server, ledger, width, purpose, full).embed(texts))

    return Embedder(f"http-{fingerprint.of_json(identity)}", full, embed)


# ------------------------------------------------------------------ asking


class _Asking:
    """One call of `embed`."""

    def __init__(
        self,
        server: EmbeddingServer,
        ledger: CallLedger,
        dimensions: int | None,
        purpose: str,
        width: int | None = None,
    ):
        self.server, self.ledger, self.dimensions = server, ledger, dimensions
        self.purpose, self.width = purpose, width or dimensions
        self.why: str | None = None

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors [n, D] as the server gives them. Raises NotEmbedded."""
        vectors: dict[int, np.ndarray] = {}
        run(self._ask(texts, vectors))
        if self.why is not None:
            raise NotEmbedded(self.why)
        # Checked by width: with a width that nobody asked for, each reply is alone in having one.
        if len(widths := {rows.shape[1] for rows in vectors.values()}) > 1:
            raise NotEmbedded(f"{self.server.voter} gives vectors of {sorted(widths)} numbers")
        return np.concatenate([vectors[start] for start in sorted(vectors)])

    async def _ask(self, texts: Sequence[str], vectors: dict[int, np.ndarray]) -> None:
        purse = Purse(self.ledger)
        connections = [_Connection(self, url) for url in self.server.urls]
        starts = iter(range(0, len(texts), self.server.batch))
        workers = []
        for connection in connections:
            for _ in range(self.server.max_in_flight):
                workers.append(self._work(connection, purse, texts, starts, vectors))
        async with watched(connections):
            await asyncio.gather(*workers)

    async def _work(
        self,
        connection: Connection,
        purse: Purse,
        texts: Sequence[str],
        starts: Iterator[int],
        vectors: dict[int, np.ndarray],
    ) -> None:
        # All texts of a call become one unit of the ledger: without one batch the others are of no
        # use, and asking on would pay for nothing.
        while self.why is None and (start := next(starts, None)) is not None:
            request = self.request(texts[start : start + self.server.batch], self.purpose)
            try:
                answer = await connection.pay(request, purse)
            except (ServerDown, BudgetExceeded) as error:
                self.why = self.why or f"{error}; run again when that is mended"
                return
            if isinstance(answer, Vectors):
                vectors[start] = answer.rows
            elif answer is None:
                reason = self.ledger.last_failure(request.key)
                self.why = f"{self.server.voter} gives no vectors: {reason}; then run again"
            else:
                self.why = f"{self.server.voter} refuses a request: {_remedy(answer.text)}"

    def request(self, texts: Sequence[str], purpose: str) -> EmbeddingRequest:
        """The request for the vectors of some texts."""
        body = {
            "model": self.server.model,
            "input": list(texts),
            # The default of some clients is base64, and of some servers what the client says.
            "encoding_format": "float",
            **self.server.extra,
        }
        if self.dimensions is not None:
            body["dimensions"] = self.dimensions
        return EmbeddingRequest(
            voter=self.server.voter,
            body=body,
            revision=self.server.revision,
            price=Price(input=self.server.price_input),
            purpose=purpose,
            width=self.width,
        )


def _remedy(refusal: str) -> str:
    if is_too_long(refusal):
        return (
            f"{refusal}; have the server cut long texts (vLLM: embedder.server.extra = "
            '{"truncate_prompt_tokens": -1}; text-embeddings-inference: --auto-truncate)'
        )
    if "dimension" in refusal or "matryoshka" in refusal:
        return f"{refusal}; set embedder.width=None to take the model's own width"
    return f"{refusal}; mend embedder.server and run again"


class _Connection(Connection):
    path = "/embeddings"

    def __init__(self, asking: _Asking, url: str):
        super().__init__(asking.server, url, asking.ledger)
        self._asking = asking

    def read(self, content: bytes, request: Request) -> Answer:
        return read_vectors(content, request)

    def small_question(self) -> Request:
        return self._asking.request([PROBE], PURPOSE)


# ------------------------------------------------------------------ reading a reply


def read_vectors(content: bytes, request: Request) -> Vectors:
    """The vectors in the body of a reply of status 200, in the order of the texts.

    Raises Trouble for a reply that is none: another number of vectors, an index that is missing or
    given twice, a width that differs, a number that is not finite, a vector of zeros.
    """
    reply = refuse_error(read_json(content))
    data, texts = reply.get("data"), request.body["input"]
    if not isinstance(data, list) or not all(isinstance(each, dict) for each in data):
        raise Trouble("status 200 without a list of vectors in data")
    # By index and not by place: servers that work in parallel send them as they are ready.
    by_index = {}
    for each in data:
        if not is_count(each.get("index")) or each["index"] in by_index:
            raise Trouble(f"status 200 with the index {each.get('index')!r} of a vector")
        by_index[each["index"]] = each.get("embedding")
    if by_index.keys() != set(range(len(texts))):
        raise Trouble(f"status 200 with {len(data)} vectors for {len(texts)} texts")
    rows = [_vector(by_index[place], place) for place in range(len(texts))]
    widths = {len(row) for row in rows}
    width = getattr(request, "width", None)
    if len(widths) > 1 or (width is not None and widths != {width}):
        expected = width or "one number of"
        raise Trouble(f"status 200 with vectors of {sorted(widths)} numbers, not {expected}")
    tokens, counted = _tokens(reply.get("usage"), request)
    return Vectors("", prompt_tokens=tokens, counted=counted, rows=np.stack(rows))


def _vector(numbers: Any, place: int) -> np.ndarray:
    # A bool is a number to NumPy, and a text may be read as one.
    if not isinstance(numbers, list) or not numbers:
        raise Trouble(f"status 200 with a vector that is not a list (text {place})")
    if not all(type(number) in (int, float) for number in numbers):
        raise Trouble(f"status 200 with a vector that is not of numbers (text {place})")
    with np.errstate(over="ignore"):
        vector = np.array(numbers, np.float64).astype(np.float32)
    if not np.isfinite(vector).all():
        raise Trouble(f"status 200 with a number that is not finite in a vector (text {place})")
    # It has no direction: retrieval would call it as near to everything as to nothing.
    if not vector.any():
        raise Trouble(f"status 200 with a vector of zeros (text {place})")
    return vector


def _tokens(usage: Any, request: Request) -> tuple[int, bool]:
    """Tokens of the texts, and whether to believe it (as of a completion, completion.py)."""
    if not isinstance(usage, dict) or not is_count(usage.get("prompt_tokens")):
        return 0, False
    if usage["prompt_tokens"] > request.most_prompt_tokens:
        return 0, False
    return usage["prompt_tokens"], True
