"""Which texts share a run of n words? One exact index, for decontamination and for overlap checks.

The index is of the few texts that must not be met again (evaluation prompts); any number of others
is looked up in it, at a cost that does not depend on the size of the index. Hashes only propose:
every hit is compared token by token, so there are no false ones.
"""

import dataclasses
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

# Scripts without spaces, where \w+ would be a whole clause.
CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af"
TOKENS = {
    # Of scikit-learn's CountVectorizer, as the paper's script has it: "7" and "a" do not count.
    "paper": re.compile(r"\b\w\w+\b"),
    # Every word, number and mark counts; a CJK character is a word.
    "strict": re.compile(rf"[{CJK}]|[^\W{CJK}]+|[^\w\s]"),
}
# A token that no indexed text has, and the end of a text: no n-gram across it can match.
UNKNOWN = -1


class Match(NamedTuple):
    """An indexed text that shares n-grams with the one looked up.

    `coverage` near 1: the text itself; near 0: a phrase or boilerplate.
    """

    text: int  # its number in the index
    shared: int  # distinct n-grams that both have
    coverage: float  # their share of all that the indexed text has
    ngram: str  # the first of them, as evidence


@dataclasses.dataclass(frozen=True)
class Index:
    """The G distinct n-grams of each of some texts, sorted by hash."""

    n: int
    mode: str
    vocabulary: dict[str, int]
    tokens: np.ndarray  # of all texts one after another, UNKNOWN between them
    hashes: np.ndarray  # [G] uint64, ascending
    starts: np.ndarray  # [G]: where an n-gram begins in `tokens`
    owners: np.ndarray  # [G]: number of the text that has it
    grams: np.ndarray  # [texts] distinct n-grams of each
    short: dict[str, list[int]]  # texts with fewer than n tokens, by those tokens


def tokenize(text: str, mode: str = "paper") -> list[str]:
    """Lower-cased tokens of a text by one of TOKENS. Raises ValueError for another mode."""
    if mode not in TOKENS:
        raise ValueError(f"tokens = {mode!r}, not one of {', '.join(TOKENS)}")
    return TOKENS[mode].findall(text.lower())


def build(texts: Iterable[str], n: int = 13, mode: str = "paper") -> Index:
    """The index of the n-grams of `texts`, in the order given.

    The paper's appendix has n = 13, and any shared n-gram counts. Raises ValueError where n is
    below 1.
    """
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
    # An n-gram counts once per text, however often the text repeats it.
    first = np.ones(len(hashes), bool)
    first[1:] = (hashes[1:] != hashes[:-1]) | (owners[1:] != owners[:-1])
    starts, hashes, owners = starts[first], hashes[first], owners[first]
    grams = np.bincount(owners, minlength=len(sizes))
    return Index(n, mode, vocabulary, tokens, hashes, starts, owners, grams, short)


def look_up(index: Index, texts: Sequence[str], *, short: bool = False) -> list[list[Match]]:
    """For each of `texts` the indexed texts that share an n-gram with it, the most shared first.

    Give some hundreds of texts at a time. short: texts with fewer than n tokens, which have no
    n-gram, match an indexed text with the very same tokens (shared 0, coverage 1, those tokens as
    evidence).
    """
    words = [tokenize(text, index.mode) for text in texts]
    ids: list[int] = []
    begins = [0]  # of each text in `tokens`
    for text in words:
        ids += [index.vocabulary.get(word, UNKNOWN) for word in text] + [UNKNOWN]
        begins.append(len(ids))
    tokens = np.array(ids, np.int32)
    at, grams = _common(index, tokens)

    matches: list[list[Match]] = [[] for _ in texts]
    numbers = np.searchsorted(begins, at, "right") - 1
    for number, text, place, shared in _by_text(numbers, index.owners[grams], at, grams):
        place -= begins[number]
        evidence = " ".join(words[number][place : place + index.n])
        matches[number].append(Match(text, shared, shared / int(index.grams[text]), evidence))
    if short:
        for number, text in enumerate(words):
            # A text without tokens is in every text and says nothing.
            if text and len(text) < index.n:
                evidence = " ".join(text)
                same = index.short.get(evidence, ())
                matches[number] = [Match(other, 0, 1.0, evidence) for other in same]
    for of_text in matches:
        of_text.sort(key=lambda match: (-match.shared, match.text))
    return matches


def _common(index: Index, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Every n-gram of `tokens` that is in the index: where it begins, and which of the index it is.

    Both [H], one entry for each indexed text that has it.
    """
    starts, hashes = _hashes(tokens, index.n)
    low = np.searchsorted(index.hashes, hashes, "left")
    hits = np.searchsorted(index.hashes, hashes, "right") - low
    at = np.repeat(starts, hits)
    # low, low + 1, ... for as many hits as each has, without a loop over n-grams.
    grams = np.repeat(low - np.cumsum(hits) + hits, hits) + np.arange(hits.sum())
    # Equal hashes only propose: the tokens themselves decide, so that a collision costs time, not
    # truth.
    window = np.arange(index.n)
    looked_up_HN = tokens[at[:, None] + window]
    indexed_HN = index.tokens[index.starts[grams][:, None] + window]
    equal = np.all(looked_up_HN == indexed_HN, axis=1)
    return at[equal], grams[equal]


def _hashes(tokens: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Starts [G] and 64-bit hashes [G] of the n-grams without UNKNOWN.

    A hash is the sum over j < n of multiplier[j] * mixed(token[start + j]), modulo 2^64.
    """
    # Where the count of UNKNOWN does not grow over n tokens there is none among them.
    unknown = np.cumsum(np.r_[0, tokens == UNKNOWN])
    starts = np.flatnonzero(unknown[n:] == unknown[: max(0, len(unknown) - n)])
    # Ids are small and dense; mixed, their sums spread over all 64 bits.
    mixed = (tokens.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    mixed ^= mixed >> np.uint64(29)
    multipliers = np.random.default_rng(n).integers(2**64, size=n, dtype=np.uint64) | np.uint64(1)
    total = np.zeros(len(starts), np.uint64)
    for j in range(n):
        total += multipliers[j] * mixed[starts + j]
    return starts, total


def _by_text(
    numbers: np.ndarray, owners: np.ndarray, at: np.ndarray, grams: np.ndarray
) -> Iterator[tuple[int, int, int, int]]:
    """(looked-up text, indexed text, first place, distinct shared n-grams) of texts sharing some.

    numbers, owners, at, grams [H]: of each shared n-gram the two texts, its place and its number.
    """
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
