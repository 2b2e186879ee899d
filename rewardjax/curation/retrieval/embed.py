"""Pairs as vectors, for retrieval: the text of the prompt and its attributes, never of the responses (paper, section 1.3).

Two embedders, both without a download: `static`, word and letter statistics on numpy; `backbone`, the last token's hidden state of a
decoder that this project can load (a Qwen3-Embedding folder is one). Any other is a name, a width and a function.
"""

import dataclasses
import functools
import pathlib
import re
import zlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse
from flax import nnx

from rewardjax import fingerprint
from rewardjax.curation.judges.attributes import FIELDS
from rewardjax.data.chat import ChatTokenizer
from rewardjax.data.groups import Message
from rewardjax.data.pack import TokenGroup
from rewardjax.data.splitmix import STEP, splitmix64
from rewardjax.models import checkpoint, hf
from rewardjax.models.config import Compute
from rewardjax.models.decoder import rms_norm
from rewardjax.parallel.mesh import Layout
from rewardjax.scoring import rows as scoring

BUCKETS = 2**16  # of hashed word and letter features
WORD = re.compile(r"[^\W_]+|[^\w\s]")


@dataclasses.dataclass(frozen=True)
class Embedder:
    """`embed`: texts -> float32 [n, width], rows of length 1 (or 0 for a text without content); `name` changes whenever a vector would."""

    name: str
    width: int
    embed: Callable[[Sequence[str]], np.ndarray]


def text_of(prompt: Sequence[Message], attributes: Mapping[str, Any] | None = None) -> str:
    """What is embedded: a line for each turn of the prompt, then one for each attribute that is known, as `field: value`."""
    known = attributes or {}
    lines = [f"{message['role']}: {message['content']}" for message in prompt]
    return "\n".join(lines + [f"{field}: {known[field]}" for field in FIELDS if known.get(field)])


# ---------------------------------------------------------------------------------------------------------------- static


def static(rarity: np.ndarray | None = None, width: int = 256) -> Embedder:
    """Words, neighboring words and 3- to 5-letter pieces, hashed and projected by random signs (Johnson-Lindenstrauss).

    A feature that a text has n times weighs (1 + ln n) * rarity; rarity [BUCKETS]: from `fit_rarity`, or 1 for all. The same vectors on
    every machine; cosines are off by about width ** -1/2. width: a multiple of 64."""
    if width < 64 or width % 64:
        raise ValueError(f"static embedder: width = {width}, must be a multiple of 64")
    rarity = np.ones(BUCKETS, np.float32) if rarity is None else np.asarray(rarity, np.float32)
    if rarity.shape != (BUCKETS,):
        raise ValueError(
            f"static embedder: rarity has shape {rarity.shape}, expected ({BUCKETS},): use fit_rarity"
        )
    name = f"static-{width}-{fingerprint.of_bytes(rarity.tobytes())}"
    return Embedder(
        name, width, lambda texts: unit(_counts(texts).multiply(rarity).tocsr() @ _signs(width))
    )


def fit_rarity(texts: Sequence[str]) -> np.ndarray:
    """Inverse document frequency [BUCKETS] float32 of features in `texts`: ln((1 + n) / (1 + texts that have it)), so that what
    every text says (the names of the attributes, for one) weighs nothing."""
    having = np.asarray((_counts(texts) > 0).sum(axis=0)).ravel()
    return np.log((1 + len(texts)) / (1 + having)).astype(np.float32)


def features(text: str) -> Counter[str]:
    """Words, neighboring words, and the 3- to 5-letter pieces of words in their boundaries, with how often each occurs."""
    words = WORD.findall(text.lower())
    pieces = [
        f"<{word}>"[i : i + n]
        for word in words
        for n in (3, 4, 5)
        for i in range(len(word) + 3 - n)
    ]
    return Counter(
        words
        + [f"{a} {b}" for a, b in zip(words, words[1:], strict=False)]
        + [f"#{piece}" for piece in pieces]
    )


def _counts(texts: Sequence[str]) -> Any:
    """[texts, BUCKETS] sparse: 1 + ln n for a feature that occurs n times."""
    found = [features(text) for text in texts]
    bucket = [
        zlib.crc32(feature.encode("utf-8", "surrogatepass")) % BUCKETS
        for one in found
        for feature in one
    ]
    weight = 1 + np.log(np.array([n for one in found for n in one.values()], np.float32))
    ends = np.cumsum([0, *map(len, found)])
    counts = scipy.sparse.csr_matrix(
        (weight, bucket, ends), shape=(len(texts), BUCKETS), dtype=np.float32
    )
    counts.sum_duplicates()
    return counts


@functools.cache
def _signs(width: int) -> np.ndarray:
    """[BUCKETS, width] of +1 and -1 as float32: the bits of a counter, scrambled (splitmix64), the same everywhere and for ever."""
    counters = np.arange(BUCKETS * width // 64, dtype=np.uint64) * np.uint64(STEP)
    bits = np.unpackbits(splitmix64(counters).astype("<u8").view(np.uint8))
    return bits.reshape(BUCKETS, width).astype(np.float32) * 2 - 1


def unit(vectors: np.ndarray) -> np.ndarray:
    """Rows scaled to length 1, float32; a row of zeros stays."""
    vectors = np.asarray(vectors, np.float32)
    size = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.divide(vectors, size, out=np.zeros_like(vectors), where=size > 0)


# ---------------------------------------------------------------------------------------------------------------- backbone


def backbone(
    folder: str | pathlib.Path,
    *,
    width: int | None = None,
    max_length: int = 1024,
    rows: int = 8,
    dtype: str = "bfloat16",
) -> Embedder:
    """The final hidden state of a text's last token, its first `width` numbers (all of them by default), scaled to length 1.

    folder: a Hugging Face folder of any decoder that models/hf.py reads; a text is one user message in its chat template, and what is over
    `max_length` tokens loses its end. `rows`: rows of `max_length` tokens computed at a time on each device. Call within `jax.set_mesh`."""
    tokenizer = ChatTokenizer.load(folder)
    model = hf.load(folder, Compute(dtype=dtype, remat="none"), Layout(), init_head=True)
    graph, params = nnx.split(model, nnx.Param)
    full = model.decoder.config.width
    if width is not None and not 0 < width <= full:
        raise ValueError(f"backbone embedder: width = {width}, the model has {full}")
    weights = checkpoint.fingerprint(params["decoder"])
    about = {
        "weights": weights,
        "dtype": dtype,
        "max_length": max_length,
        "width": width or full,
        **tokenizer.fingerprints(),
    }

    @jax.jit
    def hidden(params: Any, batch: dict[str, jax.Array]) -> jax.Array:
        decoder = nnx.merge(graph, params).decoder
        x_BTD = decoder.hidden(
            batch["tokens"], batch["positions"], batch["see_from"], batch["see_to"]
        )
        z_BSD = jnp.take_along_axis(x_BTD, batch["score_at"][..., None], axis=1)
        return rms_norm(z_BSD, decoder.norm[...], decoder.config.norm_eps)

    def embed(texts: Sequence[str]) -> np.ndarray:
        mesh = jax.sharding.get_mesh()
        nothing = np.array([], np.int32)
        ids = [
            np.array(tokenizer.encode([{"role": "user", "content": text}])[:max_length], np.int32)
            for text in texts
        ]
        vectors = scoring.score_groups(
            hidden,
            params,
            [TokenGroup(nothing, [one]) for one in ids],
            row_length=max_length,
            rows=rows * mesh.shape["data"] * mesh.shape["fsdp"],
            bundles_per_row=max(1, max_length // 32),
            pad_id=tokenizer.pad_id,
            layout=Layout(),
        )
        return unit(np.concatenate([np.zeros((0, full)), *vectors])[:, :width])

    return Embedder(f"backbone-{fingerprint.of_json(about)}", width or full, embed)
