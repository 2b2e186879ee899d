"""Which texts share a run of n words? One exact index, for decontamination and for overlap checks.

The index is of the few texts that must not be met again (evaluation prompts); any number of others is looked up in it, at a cost that
does not depend on the size of the index. Hashes only propose: every hit is compared token by token, so there are no false ones.
"""

import dataclasses
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af"  # scripts without spaces, where \w+ would be a whole clause
TOKENS = {
    "paper": re.compile(
        r"\b\w\w+\b"
    ),  # of scikit-learn's CountVectorizer, as the paper's script has it: "7" and "a" do not count
    "strict": re.compile(
        rf"[{CJK}]|[^\W{CJK}]+|[^\w\s]"
    ),  # every word, number and mark counts; a CJK character is a word
}
UNKNOWN = (
    -1
)  # a token that no indexed text has, and the end of a text: no n-gram across it can match


class Match(NamedTuple):
    """An indexed text that shares n-grams with the one looked up: its number, how many distinct n-grams are shared, their share of all
    that the indexed text has (near 1: the text itself; near 0: a phrase or boilerplate), and the first of them as evidence."""

    text: int
    shared: int
    coverage: float
    ngram: str


@dataclasses.dataclass(frozen=True)
class Index:
    """n-grams of some texts. `hashes` [G] is sorted; `starts` [G] are places in `tokens`, `owners` [G] the numbers of the texts."""

    n: int
    mode: str
    vocabulary: dict[str, int]
    tokens: np.ndarray
    hashes: np.ndarray
    starts: np.ndarray
    owners: np.ndarray
    grams: np.ndarray  # [texts] distinct n-grams of each
    short: dict[str, list[int]]  # texts with fewer than n tokens, by those tokens

    @property
    def too_short(self) -> int:
        """How many of the texts have fewer than n tokens, and so no n-gram by which they could be found."""
        return sum(map(len, self.short.values()))


def tokenize(text: str, mode: str = "paper") -> list[str]:
    """Lower-cased tokens of a text by one of TOKENS. Raises ValueError for another mode."""
    if mode not in TOKENS:
        raise ValueError(f"tokens = {mode!r}, not one of {', '.join(TOKENS)}")
    return TOKENS[mode].findall(text.lower())


def build(texts: Iterable[str], n: int = 13, mode: str = "paper") -> Index:
    """The index of the n-grams of `texts`, in the order given (paper appendix: n = 13, any shared n-gram counts)."""
    if n < 1:
        raise ValueError(f"n = {n}: an n-gram has at least one token")
    vocabulary: dict[str, int] = {}
    ids: list[int] = []
    sizes: list[int] = []
    short: dict[str, list[int]] = {}
    for number, text in enumerate(texts):
        words = tokenize(text, mode)
        ids += [vocabulary.setdefault(word, len(vocabulary)) for word in words] + [UNKNOWN]
        sizes.append(len(words) + 1)
        if len(words) < n:
            short.setdefault(" ".join(words), []).append(number)
    tokens = np.array(ids, np.int32)
    starts, hashes = _hashes(tokens, n)
    owners = np.repeat(np.arange(len(sizes)), sizes)[starts]
    order = np.lexsort((starts, owners, hashes))
    starts, hashes, owners = starts[order], hashes[order], owners[order]
    first = np.r_[True, (hashes[1:] != hashes[:-1]) | (owners[1:] != owners[:-1])][
        : len(hashes)
    ]  # an n-gram counts once a text
    starts, hashes, owners = starts[first], hashes[first], owners[first]
    return Index(
        n,
        mode,
        vocabulary,
        tokens,
        hashes,
        starts,
        owners,
        np.bincount(owners, minlength=len(sizes)),
        short,
    )


def look_up(index: Index, texts: Sequence[str], *, short: bool = False) -> list[list[Match]]:
    """For each of `texts` the indexed texts that share an n-gram with it, the most shared first. Give some hundreds of texts at a time.

    short: texts with fewer than n tokens, which have no n-gram, match an indexed text with the very same tokens (shared 0, coverage 1,
    those tokens as evidence)."""
    words = [tokenize(text, index.mode) for text in texts]
    get = index.vocabulary.get
    tokens = np.array(
        [id for text in words for id in (*(get(word, UNKNOWN) for word in text), UNKNOWN)], np.int32
    )
    begins = np.cumsum([0] + [len(text) + 1 for text in words])
    starts, hashes = _hashes(tokens, index.n)
    low, high = (
        np.searchsorted(index.hashes, hashes, "left"),
        np.searchsorted(index.hashes, hashes, "right"),
    )
    hits = high - low
    at = np.repeat(
        starts, hits
    )  # one line for each pair of a looked-up and an indexed n-gram with equal hashes
    found = np.repeat(low - np.cumsum(hits) + hits, hits) + np.arange(hits.sum())
    window = np.arange(index.n)
    equal = np.all(
        tokens[at[:, None] + window] == index.tokens[index.starts[found][:, None] + window], axis=1
    )
    at, found = at[equal], found[equal]
    matches: list[list[Match]] = [[] for _ in texts]
    for number, text, place, shared in _by_text(
        np.searchsorted(begins, at, "right") - 1, index.owners[found], at, found
    ):
        place -= begins[number]
        evidence = " ".join(words[number][place : place + index.n])
        matches[number].append(Match(text, shared, shared / int(index.grams[text]), evidence))
    for number, text in enumerate(words if short else ()):
        if text and len(text) < index.n:
            evidence = " ".join(text)
            matches[number] = [
                Match(other, 0, 1.0, evidence) for other in index.short.get(evidence, ())
            ]
    return [sorted(found, key=lambda match: (-match.shared, match.text)) for found in matches]


def _hashes(tokens: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Starts and 64-bit hashes of the n-grams without UNKNOWN: sum of multiplier[j] * mixed(token[start + j]), modulo 2^64."""
    unknown = np.cumsum(np.r_[0, tokens == UNKNOWN])
    starts = (
        np.flatnonzero(unknown[n:] == unknown[:-n]) if len(tokens) >= n else np.empty(0, np.int64)
    )
    mixed = (tokens.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    mixed ^= mixed >> np.uint64(29)
    multipliers = np.random.default_rng(n).integers(2**64, size=n, dtype=np.uint64) | np.uint64(1)
    total = np.zeros(len(starts), np.uint64)
    for j in range(n):
        total += multipliers[j] * mixed[starts + j]
    return starts, total


def _by_text(numbers, owners, at, grams):
    """(looked-up text, indexed text, first place, distinct shared n-grams) for each pair of texts that share some."""
    if not len(at):
        return
    order = np.lexsort((at, owners, numbers))
    numbers, owners, at, grams = numbers[order], owners[order], at[order], grams[order]
    edges = np.flatnonzero(
        np.r_[True, (numbers[1:] != numbers[:-1]) | (owners[1:] != owners[:-1]), True]
    )
    for start, end in zip(edges[:-1], edges[1:], strict=True):
        yield (
            int(numbers[start]),
            int(owners[start]),
            int(at[start]),
            len(np.unique(grams[start:end])),
        )
