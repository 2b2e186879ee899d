"""A request that is paid for, its answer, and what both cost."""

import dataclasses
import functools
import json
from typing import Any

from rewardjax import fingerprint

# A chat template's own tokens, beyond the bytes of what it renders: generous, since the budget is
# hard.
TEMPLATE_TOKENS = 64
# The fields of a body that say how long an answer may be; a body has one of them.
LIMITS = ("max_tokens", "max_completion_tokens")


@dataclasses.dataclass(frozen=True)
class Price:
    """Dollars per million tokens."""

    input: float = 0.0
    cached: float = 0.0
    output: float = 0.0


@dataclasses.dataclass(frozen=True)
class Request:
    """One chat completion.

    body: what is sent. revision: tells apart what the model's name does not (weights, server).
    sample, attempt: tell apart requests of the same body. The rest says what it is for and is not
    part of its identity.
    """

    voter: str
    body: dict[str, Any]
    revision: str
    price: Price
    sample: int = 0
    attempt: int = 0
    shown: str | None = None
    subject: str = ""  # pair_id
    purpose: str = ""

    @functools.cached_property
    def key(self) -> str:
        """The hash of its identity.

        Stored ledgers hold these keys: with another rule nothing in them would be recognized, and
        everything would be paid again.
        """
        identity = {
            "body": self.body,
            "revision": self.revision,
            "sample": self.sample,
            "attempt": self.attempt,
            "shown": self.shown,
        }
        return fingerprint.of_json(identity)

    @functools.cached_property
    def question(self) -> str:
        """The hash of its identity but for how long the answer may be.

        A limit that is raised because answers were cut off must not ask again what was answered.
        """
        body = {name: self.body[name] for name in self.body if name not in LIMITS}
        return dataclasses.replace(self, body=body).key

    @property
    def most_completion_tokens(self) -> int:
        """How long the answer may be, thinking included."""
        return max(self.body.get(name, 0) for name in LIMITS)

    @property
    def most_prompt_tokens(self) -> int:
        """No tokenizer makes more tokens than there are bytes: none is needed to be sure."""
        text = [self.body["messages"], self.body.get("response_format")]
        return len(json.dumps(text, ensure_ascii=False).encode()) + TEMPLATE_TOKENS

    def most(self) -> float:
        """The most it can cost, dollars."""
        dearest = max(self.price.input, self.price.cached)
        output = self.most_completion_tokens * self.price.output
        return (self.most_prompt_tokens * dearest + output) / 1e6


@dataclasses.dataclass(frozen=True)
class Answer:
    """What came back.

    status: "answered", or "rejected" by the server as it stands (and then `text` says why).
    counted: whether the server said how many tokens it used, and this can be so. mercies: liberties
    that finding the text in the reply took (`answers.py` has those of reading it). key: of the
    request that it is booked under, once it is.
    """

    text: str
    finish: str = "stop"
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    counted: bool = True
    status: str = "answered"
    mercies: tuple[str, ...] = ()
    key: str = ""


def cost(request: Request, answer: Answer, discount: float = 1.0) -> float:
    """Dollars.

    A rejected request costs nothing; an answer without token counts costs the most it could.
    """
    if answer.status == "rejected":
        return 0.0
    if not answer.counted:
        return request.most() * discount
    # Servers count cached tokens among those of the prompt.
    fresh = answer.prompt_tokens - answer.cached_tokens
    price = request.price
    input_cost = fresh * price.input + answer.cached_tokens * price.cached
    return (input_cost + answer.completion_tokens * price.output) * discount / 1e6
