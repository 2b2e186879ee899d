"""One module per benchmark: its original files in, the numbers of its reference implementation out.

A benchmark is a module of this folder, named in `evaluators.NAMES`, with everything that
`Benchmark` lists; nothing else in the package knows its name. The rest is optional: a module that
also fits `HasSections` or `HasCurves` draws pictures of its own into the report, one that fits
`HasResampling` has intervals in less time, one that fits `HasTruncation` says what its reference
implementation does with long conversations, and one that fits `HasPublished` reads the scores that
others published for its examples.
"""

import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from rewardjax.data.groups import Group
from rewardjax.evaluators.records import Examples, Item, Result, Rewards
from rewardjax.evaluators.stored_rewards import Scores
from rewardjax.reporting.page import Section

# (name of the file, drawing function with an argument `path`, its other arguments) -> the PNG file
Draw = Callable[..., pathlib.Path]


@runtime_checkable
class Benchmark(Protocol):
    """What every module of this folder that is a benchmark provides.

    TITLE: its name in tables and figures.
    SOURCE: where a person gets its files, and their license.
    HUB: the address that `load` can read from the hub, `hf://ORG/NAME`; None where it has none.
    CHANCE: the headline of a scorer that knows nothing, in [0, 1]; None where it depends on the
        examples (`summarize` then puts it into the result).
    """

    TITLE: str
    SOURCE: str
    HUB: str | None
    CHANCE: float | None

    def load(self, path: str, **settings: Any) -> Examples:
        """Read the original files: a file, a folder, `hf://ORG/NAME` or `assets:benchmarks/NAME`.

        Raises FileNotFoundError where there is none, and ValueError where no record is one of this
        benchmark; a single record that cannot be used is listed in `left_out`.
        """
        ...

    def summarize(self, items: Sequence[Item], rewards: Rewards) -> Result:
        """The benchmark's numbers from rewards [K] per item, NaN where a response has no score.

        Needs no text and no model, so that numbers can be recomputed from stored rewards. Equal
        rewards are treated as the reference implementation treats them, and counted.
        """
        ...

    def better(self, item: Item, responses: int) -> list[tuple[int, int]]:
        """Pairs (better, worse) of the indices of an item's K `responses`, by its label.

        None where the label is a tie. Calibration, length, bias and the comparison of models are
        computed from these pairs.
        """
        ...


class Truncation(NamedTuple):
    """What a reference implementation's tokenizer does with a conversation that is too long.

    side: "left" or "right", where tokens are taken, of the response too. max_length: its default.
    """

    side: str
    max_length: int


@runtime_checkable
class HasCategories(Protocol):
    """A benchmark whose categories are others than the subsets of its items."""

    def categories(self, item: Item) -> list[str]:
        """What else `--only` may call an item's category, beside its subset."""
        ...


@runtime_checkable
class HasTruncation(Protocol):
    """A benchmark whose published numbers were measured on truncated conversations."""

    TRUNCATION: Truncation


class Published(NamedTuple):
    """What somebody else's model gave the responses of an item.

    id: of the item. rewards: [K], in the order of its responses. model: where the record names it.
    group: the texts that were scored, None where the record does not hold them.
    """

    id: str
    rewards: list[float]
    model: str | None = None
    group: Group | None = None


@runtime_checkable
class HasPublished(Protocol):
    """A benchmark whose examples others have scored, and whose scores lie in public files."""

    def published(self, record: dict[str, Any]) -> Published | None:
        """What a record of such a file says of an item; None for records of another kind."""
        ...


@runtime_checkable
class HasWithheld(Protocol):
    """A benchmark of which some texts must not be shown, such as a test set that is kept secret.

    WITHHELD: the subsets of those texts.
    """

    WITHHELD: tuple[str, ...]


class Evaluated(NamedTuple):
    """A model's rewards on one benchmark, for the pictures that the benchmark draws itself."""

    model: str
    title: str  # of the config's entry: a benchmark may stand in a config more than once
    result: Result
    scores: Scores


@runtime_checkable
class HasSections(Protocol):
    """A benchmark with a part of the report to itself."""

    def sections(self, evaluated: Sequence[Evaluated], draw: Draw) -> list[Section]:
        """Sections about this benchmark, from what was evaluated on it; none without a number."""
        ...


@runtime_checkable
class HasCurves(Protocol):
    """A benchmark whose prompts have enough responses for best-of-N curves."""

    def curves(self, evaluated: Sequence[Evaluated]) -> dict[str, dict[str, Mapping[str, Any]]]:
        """Curves of `stats.best_of_n.curve` for the report, by title of the prompts, by scorer."""
        ...


class Resampling(NamedTuple):
    """A benchmark's headline of examples drawn again, without its whole rule each time.

    headline: of indices [n] of items, of which some are there several times. clusters: [N] what is
    drawn as a whole, where that is not the prompt.
    """

    headline: Callable[[np.ndarray], float | None]
    clusters: Sequence[str] | None = None


@runtime_checkable
class HasResampling(Protocol):
    """A benchmark whose rule is slow, or is not a rule of one item at a time."""

    def resampling(self, items: Sequence[Item], rewards: Rewards) -> Resampling:
        """The headline of `summarize` for many draws of the same items."""
        ...
