"""Which texts share a run of words with a benchmark prompt, and with which one."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypedDict

from rewardjax.data import formats, ngrams, spelling
from rewardjax.data.layouts import fields
from rewardjax.data.sources import open_named

# Texts looked up at a time: all their n-grams are in memory at once.
BATCH = 500
# Matches per text and mode that are kept as evidence.
SHOWN_MATCHES = 3


class BenchmarkPrompt(TypedDict):
    """A prompt turn that people wrote for a benchmark."""

    benchmark: str
    id: str
    text: str


class Hit(TypedDict):
    """A benchmark prompt that a text shares n-grams with, and how many."""

    # Without the text of the prompt: evidence is copied into reports, which people may publish.
    benchmark: str
    id: str
    # A name of ngrams.TOKENS.
    mode: str
    shared: int
    # Share of the prompt's n-grams.
    coverage: float
    # The first that is shared.
    ngram: str


def read_prompts(benchmarks: Mapping[str, str | Mapping[str, str]]) -> list[BenchmarkPrompt]:
    """Every prompt turn that people wrote for the benchmarks, name -> source.

    Raises:
        ValueError: that names a record without a prompt.
    """
    prompts = []
    for name, entry in sorted(benchmarks.items()):
        described = spelling.of_entry(f"clean.benchmarks.{name}")
        source = open_named(entry, described)
        columns = None
        if not isinstance(entry, str):
            columns = entry.get("columns")
        names = formats.meaning(source, columns)
        before = len(prompts)
        for row, record in enumerate(map(names.apply, source)):
            for text in _turns(record, f"benchmark {name}: {entry}, row {row}"):
                id = str(record.get("id", row))
                prompts.append(BenchmarkPrompt(benchmark=name, id=id, text=text))
        # Nothing would be found in any pair, and that would read as if nothing was there.
        if len(prompts) == before:
            raise ValueError(
                f"clean.benchmarks.{name}: {entry} has no prompt that a user wrote; remove it, or "
                "name the split that has some"
            )
    return prompts


def _turns(record: Mapping[str, Any], where: str) -> list[str]:
    """The turns of a record's prompt that people wrote."""
    present = [record[key] for key in fields.PROMPTS if record.get(key) is not None]
    if not present:
        raise ValueError(f"{where}: no prompt; it needs one of {', '.join(fields.PROMPTS)}")
    prompt = present[0]
    if isinstance(prompt, str):
        return [prompt]
    return [message["content"] for message in prompt if message.get("role") == "user"]


def find(
    texts: Sequence[str], prompts: Sequence[BenchmarkPrompt], *, n: int, modes: Sequence[str]
) -> Iterator[list[Hit]]:
    """Yield the hits of each text, in order; empty where it shares nothing.

    A prompt that is too short for an n-gram is met by a text of the same words.

    Args:
        texts: to be looked up.
        prompts: that must not be met.
        n: words of a run.
        modes: how a text is cut into words, names of ngrams.TOKENS.
    """
    if not prompts:
        # Nothing to meet: to cut every text into words would take a quarter of cleaning.
        yield from ([] for _ in texts)
        return
    prompt_texts = [prompt["text"] for prompt in prompts]
    indices = {mode: ngrams.build(prompt_texts, n, mode) for mode in modes}
    for first in range(0, len(texts), BATCH):
        batch = texts[first : first + BATCH]
        hits: list[list[Hit]] = [[] for _ in batch]
        for mode, index in indices.items():
            for i, matches in enumerate(ngrams.look_up(index, batch, short=True)):
                for match in matches[:SHOWN_MATCHES]:
                    hits[i].append(_hit(prompts[match.text], mode, match))
        yield from hits


def _hit(prompt: BenchmarkPrompt, mode: str, match: ngrams.Match) -> Hit:
    return Hit(
        benchmark=prompt["benchmark"],
        id=prompt["id"],
        mode=mode,
        shared=match.shared,
        coverage=round(match.coverage, 4),
        ngram=match.ngram,
    )
