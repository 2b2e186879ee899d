"""One annotator model behind an OpenAI-compatible server, and the body of a request to it."""

import dataclasses
import functools
from collections.abc import Iterable, Mapping
from typing import Any

from rewardjax.curation.judges.judge_prompts import JudgePrompt, judge_prompt
from rewardjax.curation.judges.requests.dialect import FORMATS, Dialect
from rewardjax.curation.servers.requests import LIMITS, Price
from rewardjax.data.groups import Message

_OURS = ("model", "messages", "response_format", "stream", "n")


@dataclasses.dataclass(frozen=True)
class Judge:
    """An annotator model and how it is asked; the keyword arguments of a config's judge.

    name: the voter is "judge:NAME". base_url: several servers of one model are joined by commas and
    share its work. revision: any text that tells apart what the model's name does not (weights,
    server version); a new one asks everything again. prompt: what it is told when it judges
    (judge_prompts.py). shots: gold examples that it is shown at most, the nearest first; None for
    all that the pair comes with. samples: judgments per pair, half of them in each order.
    max_in_flight: requests at a time, per server. retries: after 429, 5xx, timeouts and lost
    connections; asks: how often a question is asked before an unreadable answer is given up.
    temperature, top_p: None to send none. max_tokens: of an answer, thinking included. price_*:
    dollars per million tokens. key_env: the environment variable with the API key. answer_format:
    one of FORMATS, or "auto" to find out by a first question how the server wants to be asked; the
    next two are then found out as well. limit_field: which of `max_tokens` and
    `max_completion_tokens` is sent. system_role: whether the server knows one. reasoning_effort:
    sent where it is not empty. seed: sent as `seed` + sample + 1000 x attempt, None to send none.
    extra: further fields of the request body. first, last: the iterations in which it is asked;
    last: None for all that follow (stages/panels.py).
    """

    name: str
    model: str
    base_url: str
    revision: str = ""
    prompt: str = "standard"
    shots: int | None = None
    temperature: float | None = 0.6
    top_p: float | None = 0.9
    max_tokens: int = 1024
    samples: int = 4
    max_in_flight: int = 8
    timeout: float = 120.0
    retries: int = 9
    asks: int = 3
    price_input: float = 0.0
    price_cached: float = 0.0
    price_output: float = 0.0
    key_env: str = "OPENAI_API_KEY"
    answer_format: str = "auto"
    limit_field: str = "max_tokens"
    system_role: bool = True
    reasoning_effort: str = ""
    seed: int | None = 0
    extra: dict[str, Any] = dataclasses.field(default_factory=dict, hash=False)
    first: int = 0
    last: int | None = None

    def __post_init__(self):
        for field in ("samples", "max_in_flight", "asks", "max_tokens"):
            value = getattr(self, field)
            if value < 1:
                raise ValueError(f"judge {self.name}: {field} = {value}, must be at least 1")
        if self.shots is not None and self.shots < 0:
            raise ValueError(f"judge {self.name}: shots = {self.shots}, must be at least 0")
        if self.first < 0:
            raise ValueError(f"judge {self.name}: first = {self.first}, must be at least 0")
        if self.last is not None and self.last < self.first:
            raise ValueError(
                f"judge {self.name}: last = {self.last} is before first = {self.first}, so it "
                "would never be asked"
            )
        if self.answer_format not in ("auto", *FORMATS):
            formats = ", ".join(("auto", *FORMATS))
            raise ValueError(
                f"judge {self.name}: answer_format {self.answer_format!r} is not one of {formats}"
            )
        if self.limit_field not in LIMITS:
            raise ValueError(
                f"judge {self.name}: limit_field {self.limit_field!r} is not one of "
                f"{', '.join(LIMITS)}"
            )
        # These fields are this client's to set: what is booked, cached and read depends on them.
        if clash := set(self.extra) & {*_OURS, *LIMITS}:
            raise ValueError(f"judge {self.name}: extra may not hold {', '.join(sorted(clash))}")
        # Read now and not at the first question: a misspelt prompt fails before anything is paid,
        # and a file that is edited while a run goes on changes nothing in it.
        try:
            self.prompt_text  # noqa: B018
        except ValueError as error:
            raise ValueError(f"judge {self.name}: {error}") from None

    @functools.cached_property
    def prompt_text(self) -> JudgePrompt:
        """What the judge is told when it judges."""
        return judge_prompt(self.prompt)

    def serves(self, iteration: int) -> bool:
        """Whether it is asked in an iteration."""
        return self.first <= iteration and (self.last is None or iteration <= self.last)

    @property
    def kind(self) -> str:
        """What messages call it."""
        return "judge"

    @property
    def voter(self) -> str:
        """Its name in the ledgers."""
        return f"judge:{self.name}"

    @property
    def urls(self) -> list[str]:
        """The servers that share its work."""
        return [url.strip() for url in self.base_url.split(",")]

    @property
    def price(self) -> Price:
        """What its tokens cost."""
        return Price(self.price_input, self.price_cached, self.price_output)

    @property
    def dialect(self) -> Dialect:
        """How its servers are asked, as far as the settings say."""
        format = self.answer_format
        if format == "auto":
            format = FORMATS[0]
        return Dialect(format, self.limit_field, self.system_role)

    @property
    def cache_name(self) -> str:
        """Under which name the ledger remembers how the model is asked."""
        return f"{self.model} {self.revision}".strip()


def judges_of(entries: Iterable[Mapping[str, Any]], field: str, **defaults: Any) -> list[Judge]:
    """The entries of the config's list `field`, with `defaults` for what they do not say.

    Raises ValueError that names the entry and the setting.
    """
    judges = []
    for place, entry in enumerate(entries):
        settings = defaults | dict(entry)
        where = f"config.{field}[{place}]"
        fields = {each.name for each in dataclasses.fields(Judge)}
        if unknown := settings.keys() - fields:
            raise ValueError(
                f"{where} has no setting {min(unknown)!r}; there are {', '.join(sorted(fields))}"
            )
        for name in ("name", "model", "base_url"):
            if name not in settings:
                raise ValueError(f"{where} has no {name}")
        judges.append(Judge(**settings))
    return judges


def body(
    judge: Judge,
    messages: list[Message],
    schema: dict[str, Any],
    dialect: Dialect,
    sample: int,
    attempt: int = 0,
) -> dict[str, Any]:
    """A chat completion's JSON body, asking for an answer of `schema`, a JSON schema with a title.

    Whatever stands in it is part of the request's identity in the ledger of calls.
    """
    sampling = {"temperature": judge.temperature, "top_p": judge.top_p, "seed": None}
    if judge.seed is not None:
        # Another seed for each attempt: asked afresh with the same one, a model would say the same
        # again.
        sampling["seed"] = judge.seed + sample + 1000 * attempt
    completion: dict[str, Any] = {
        "model": judge.model,
        "messages": dialect.messages(messages),
        dialect.limit: judge.max_tokens,
    }
    for name, value in sampling.items():
        if value is not None and name not in dialect.without:
            completion[name] = value
    completion |= judge.extra
    if judge.reasoning_effort:
        completion["reasoning_effort"] = judge.reasoning_effort
    if dialect.format == "json_schema":
        completion["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": schema["title"], "strict": True, "schema": schema},
        }
    elif dialect.format == "json_object":
        completion["response_format"] = {"type": "json_object", "schema": schema}
    return completion
