"""Pairs as vectors, for retrieval: the text of the prompt and its attributes.

Never of the responses (paper, section 1.3). Two embedders, both without a download: `static`, word
and letter statistics of scikit-learn; `backbone`, the last token's hidden state of a decoder that
this project can load (a Qwen3-Embedding folder is one). Any other is a name, a width and a
function.
"""

import dataclasses
import functools
import itertools
import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse
from flax import nnx
from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer
from sklearn.random_projection import SparseRandomProjection
from sklearn.utils import murmurhash3_32

from rewardjax import assets, fingerprint
from rewardjax.curation.judges.attributes import FIELDS
from rewardjax.data.chat import ChatTokenizer
from rewardjax.data.groups import Message
from rewardjax.data.pack import TokenGroup
from rewardjax.models import hf
from rewardjax.models.checkpoints import tree_fingerprint
from rewardjax.models.config import Compute
from rewardjax.parallel.mesh import Layout
from rewardjax.scoring import rows as scoring

# Hashed features: words and pairs of neighboring words share one half, pieces of words the other.
BUCKETS = 2**16
# Letters of a piece of a word.
PIECES = (3, 4, 5)
# Texts whose features are in memory at a time, some thousand numbers each.
TEXTS = 512


@dataclasses.dataclass(frozen=True)
class Embedder:
    """A function from texts to vectors.

    `embed`: texts -> float32 [n, width], rows of length 1 (0 for a text without content). `name`
    changes whenever a vector would.
    """

    name: str
    width: int
    embed: Callable[[Sequence[str]], np.ndarray]


def text_of(prompt: Sequence[Message], attributes: Mapping[str, Any] | None = None) -> str:
    """What is embedded of a pair, line by line.

    A line for each turn of the prompt, then one for each attribute that has a value, as
    `field: value`.
    """
    attributes = attributes or {}
    lines = [f"{message['role']}: {message['content']}" for message in prompt]
    lines += [f"{field}: {attributes[field]}" for field in FIELDS if attributes.get(field)]
    return "\n".join(lines)


# ------------------------------------------------------------------ static


def static(rarity: np.ndarray | None = None, width: int = 256) -> Embedder:
    """Words, pairs of neighboring words and 3- to 5-letter pieces, hashed and projected at random.

    A feature that occurs n times in a text weighs (1 + ln n) * rarity. The same vectors on every
    machine; cosines are off by about width ** -1/2 (Johnson and Lindenstrauss, 1984).

    Args:
        rarity: float32 [BUCKETS], from `fit_rarity`; by default 1 for all.
        width: of the vectors.

    Raises:
        ValueError: for a width below 1 or a rarity of another shape.
    """
    if width < 1:
        raise ValueError(f"static embedder: width = {width}, must be at least 1")
    if rarity is None:
        rarity = np.ones(BUCKETS)
    rarity = np.asarray(rarity, np.float32)
    if rarity.shape != (BUCKETS,):
        raise ValueError(
            f"static embedder: rarity has shape {rarity.shape}, expected ({BUCKETS},): "
            "use fit_rarity"
        )
    # Not scaled to length 1 here: that is done once, at the end.
    weighting: Any = TfidfTransformer(sublinear_tf=True)
    weighting.norm = None
    weighting.idf_ = rarity.astype(np.float64)
    signs = _projection(width).components_
    # [BUCKETS, width], dense: the same sums in the same order as `projection.transform`, in less
    # than half the time, for two thirds of the places that are zero.
    columns = np.ascontiguousarray(signs.toarray().T, np.float32)

    def embed(texts: Sequence[str]) -> np.ndarray:
        vectors = np.zeros((len(texts), width), np.float32)
        for first in range(0, len(texts), TEXTS):
            weighed = weighting.transform(_counts(texts[first : first + TEXTS]))
            vectors[first : first + TEXTS] = unit(weighed @ columns)
        return vectors

    # Of the projection too: another release of scikit-learn may draw another one.
    state = rarity.tobytes() + signs.indices.tobytes() + np.sign(signs.data).tobytes()
    return Embedder(f"static-{width}-{fingerprint.of_bytes(state)}", width, embed)


def fit_rarity(texts: Iterable[str]) -> np.ndarray:
    """Inverse document frequency of the features in `texts`, float32 [BUCKETS].

    ln((1 + n) / (1 + texts that have it)): what every text says, such as the names of the
    attributes, weighs nothing. The texts are read once and none is kept.
    """
    remaining = iter(texts)
    total, having = 0, np.zeros(BUCKETS, np.int64)
    while batch := list(itertools.islice(remaining, TEXTS)):
        total += len(batch)
        # A row of a sparse matrix has each of its features once.
        having += np.bincount(_counts(batch).indices, minlength=BUCKETS)
    if not total:
        return np.zeros(BUCKETS, np.float32)
    # In float32, as scikit-learn's TfidfTransformer computes it: vectors depend on every bit.
    share = np.full(BUCKETS, 1 + total, np.float32) / (1 + having).astype(np.float32)
    # scikit-learn adds 1, so that what every text says still counts; here it is taken off again.
    return (np.log(share) + np.float32(1)) - np.float32(1)


def _counts(texts: Sequence[str]) -> Any:
    """How often each feature occurs in each text, sparse [texts, BUCKETS]."""
    # Without alternating signs: where two features share a bucket their counts would cancel.
    hashed: dict[str, Any] = {
        "n_features": BUCKETS // 2,
        "alternate_sign": False,
        "norm": None,
        "dtype": np.float32,
    }
    # A mark is a word too: "3 + 4" and "3 - 4" are different tasks.
    words = HashingVectorizer(
        analyzer="word", ngram_range=(1, 2), token_pattern=r"[^\W_]+|[^\w\s]", **hashed
    )
    return scipy.sparse.hstack([words.transform(texts), _piece_counts(texts)], format="csr")


def _piece_counts(texts: Sequence[str]) -> scipy.sparse.csr_matrix:
    """How often each piece of a word occurs in each text, sparse [texts, BUCKETS / 2].

    What `HashingVectorizer(analyzer="char_wb", ngram_range=(3, 5))` counts.
    """
    starts = np.zeros(len(texts) + 1, np.int64)
    places = [np.zeros(0, np.int32)]
    for row, text in enumerate(texts):
        of_words = [_pieces_of(word) for word in text.lower().split()]
        places += of_words
        starts[row + 1] = starts[row] + sum(map(len, of_words))
    place = np.concatenate(places)
    ones = np.ones(len(place), np.float32)
    counts = scipy.sparse.csr_matrix((ones, place, starts), (len(texts), BUCKETS // 2))
    # In order too: the projection adds numbers up in the order in which it meets them.
    counts.sum_duplicates()
    return counts


# A text repeats words, and a language does: to hash all pieces of a word again took half of the
# time of an embedding.
@functools.lru_cache(maxsize=2**16)
def _pieces_of(word: str) -> np.ndarray:
    """The features of the 3 to 5 letters long pieces of a word between blanks, int32 [pieces]."""
    padded = f" {word} "
    places = []
    for size in PIECES:
        for start in range(len(padded) - size + 1):
            hashed = murmurhash3_32(padded[start : start + size], seed=0)
            places.append(abs(int(hashed)) % (BUCKETS // 2))
    return np.array(places, np.int32)


@functools.cache
def _projection(width: int) -> SparseRandomProjection:
    """Random signs at a third of the places [width, BUCKETS] (Achlioptas 2003)."""
    # A third and not fewer, scikit-learn's default: a text has some hundred features only, and with
    # one place in 256 most of them would not reach a number of the vector.
    settings: dict[str, Any] = {
        "n_components": width,
        "density": 1 / 3,
        "dense_output": True,
        "random_state": 0,
    }
    projection = SparseRandomProjection(**settings)
    return projection.fit(scipy.sparse.csr_matrix((1, BUCKETS), dtype=np.float32))


def unit(vectors: np.ndarray) -> np.ndarray:
    """Rows scaled to length 1, float32; a row of zeros stays."""
    vectors = np.asarray(vectors, np.float32)
    size = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.divide(vectors, size, out=np.zeros_like(vectors), where=size > 0)


# ------------------------------------------------------------------ backbone


def backbone(
    folder: str | pathlib.Path,
    *,
    width: int | None = None,
    max_length: int = 1024,
    rows: int = 8,
    dtype: str = "bfloat16",
) -> Embedder:
    """The final hidden state of a text's last token, scaled to length 1.

    A text is one user message in the model's chat template. Call within `jax.set_mesh`.

    Args:
        folder: a Hugging Face folder of any decoder that `models.hf` reads.
        width: how many of the first numbers are kept; by default all.
        max_length: tokens; a longer text loses its end.
        rows: rows of `max_length` tokens computed at a time on each device.
        dtype: of the computation.

    Raises:
        ValueError: for a width that the model does not have.
    """
    folder = assets.resolve(str(folder))
    tokenizer = ChatTokenizer.load(folder)
    model = hf.load(folder, Compute(dtype=dtype, remat="none"), Layout(), init_head=True)
    graph, params = nnx.split(model, nnx.Param)
    full = model.decoder.config.width
    if width is None:
        width = full
    if not 0 < width <= full:
        raise ValueError(f"backbone embedder: width = {width}, the model has {full}")
    state = {
        "weights": tree_fingerprint.of_tree(params["decoder"]),
        "dtype": dtype,
        "max_length": max_length,
        "width": width,
        **tokenizer.fingerprints(),
    }

    @jax.jit
    def hidden(params: Any, batch: dict[str, jax.Array]) -> jax.Array:
        """Hidden states where texts end, [B, S, D]."""
        decoder = nnx.merge(graph, params).decoder
        x_BTD = decoder.hidden(
            batch["tokens"], batch["positions"], batch["see_from"], batch["see_to"]
        )
        z_BSD = jnp.take_along_axis(x_BTD, batch["score_at"][..., None], axis=1)
        return decoder.normalized(z_BSD)

    def embed(texts: Sequence[str]) -> np.ndarray:
        mesh = jax.sharding.get_mesh()
        # Each text is a group of one response and no prefix: packed as for scoring.
        groups = []
        for text in texts:
            ids = tokenizer.encode([{"role": "user", "content": text}])[:max_length]
            groups.append(TokenGroup(np.array([], np.int32), [np.array(ids, np.int32)]))
        vectors = scoring.score_groups(
            hidden,
            params,
            groups,
            row_length=max_length,
            rows=rows * mesh.shape["data"] * mesh.shape["fsdp"],
            # Texts are seldom shorter than 32 tokens: more slots would mostly stay empty.
            pairs_per_row=max(1, max_length // 32),
            pad_id=tokenizer.pad_id,
            layout=Layout(),
        )
        return unit(np.concatenate([np.zeros((0, full)), *vectors])[:, :width])

    return Embedder(f"backbone-{fingerprint.of_json(state)}", width, embed)
