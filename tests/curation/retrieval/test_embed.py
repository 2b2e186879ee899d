"""Embedders: like texts lie side by side, a text has one vector, and a name means one function."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer

from rewardjax.curation.retrieval import embed
from rewardjax.data.chat import ChatTokenizer
from rewardjax.models import hf
from rewardjax.models.config import Compute
from rewardjax.parallel.mesh import AXES, Layout

TEXTS = [
    "What is 3 + 4?",
    "What is 3 + 5?",
    "Reverse the word lamp.",
    "Reverse the word camp.",
    "Name a city in France.",
]


def test_static_embedder_puts_like_beside_like():
    found = embed.static(embed.fit_rarity(TEXTS)).embed(TEXTS)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    similarity = found @ found.T - 2 * np.eye(len(TEXTS))
    assert similarity.argmax(axis=1)[:4].tolist() == [1, 0, 3, 2]
    np.testing.assert_array_equal(
        embed.static(embed.fit_rarity(TEXTS)).embed(TEXTS[2:3])[0], found[2]
    )  # alone as in company


def test_static_embedder_is_pinned():
    """The hashing is part of every stored vector: this changes only with the embedder's name."""
    one = embed.static(width=64)
    vector = one.embed(["What is 3 + 4?"])[0]
    assert one.name == "static-64-5bb444a709fbba2b"
    np.testing.assert_allclose(
        vector[:6],
        [0.047511, -0.095023, 0.237557, -0.142534, 0.142534, -0.142534],
        atol=1e-4,
    )
    assert one.embed([""]).tolist() == [[0.0] * 64]
    assert embed.static(embed.fit_rarity(TEXTS), 64).name != one.name
    assert one.embed([]).shape == (0, 64)
    with pytest.raises(ValueError, match="width = 0"):
        embed.static(width=0)
    with pytest.raises(ValueError, match="use fit_rarity"):
        embed.static(np.ones(5))


def test_pieces_of_words_are_those_of_scikit_learn():
    texts = [
        "",
        " ",
        "a",
        "Ab  ab\tAB\n\nabcdefgh",
        "Straße İstanbul \U0001f600 你好世界 \x00 e\u0301",
    ]
    texts += TEXTS
    expected = HashingVectorizer(
        analyzer="char_wb",
        ngram_range=(3, 5),
        n_features=embed.BUCKETS // 2,
        alternate_sign=False,
        norm=None,
        dtype=np.float32,
    ).transform(texts)
    counts = embed._piece_counts(texts)
    for part in ("indptr", "indices", "data"):
        np.testing.assert_array_equal(getattr(counts, part), getattr(expected, part))


def test_the_dense_projection_gives_the_numbers_of_scikit_learn():
    projected = embed._projection(64).transform(embed._counts(TEXTS))
    np.testing.assert_array_equal(embed.static(width=64).embed(TEXTS), embed.unit(projected))


def test_rarity_is_the_inverse_document_frequency():
    texts = ["red house", "red river", "red mountain"]
    weighted = embed._counts(texts).multiply(embed.fit_rarity(texts)).toarray()
    counts = embed._counts(texts).toarray()
    in_all, in_one = (counts > 0).sum(axis=0) == 3, (counts > 0).sum(axis=0) == 1
    assert in_all.any() and not weighted[:, in_all].any()
    np.testing.assert_allclose(weighted[:, in_one], counts[:, in_one] * np.log(4 / 2), atol=1e-6)


def test_how_many_texts_are_in_memory_does_not_show(monkeypatch):
    rarity = embed.fit_rarity(iter(TEXTS))
    vectors = embed.static(rarity).embed(TEXTS)
    # To the bit, as scikit-learn has it: the name of an embedder is a hash of it.
    idf = TfidfTransformer().fit(embed._counts(TEXTS)).idf_
    np.testing.assert_array_equal(rarity, (idf - 1).astype(np.float32))
    monkeypatch.setattr(embed, "TEXTS", 2)
    np.testing.assert_array_equal(embed.fit_rarity(iter(TEXTS)), rarity)
    np.testing.assert_array_equal(embed.static(rarity).embed(TEXTS), vectors)


def test_cosines_survive_the_projection():
    texts = [
        f"{a} {b}"
        for a in ("red", "green", "blue", "black")
        for b in ("house", "river", "mountain", "garden", "window")
    ]
    counts = embed.unit(embed._counts(texts).toarray())
    found = embed.static(width=1024).embed(texts)
    np.testing.assert_allclose(found @ found.T, counts @ counts.T, atol=4 / np.sqrt(1024))


def test_text_of_names_roles_and_attributes_and_no_response():
    prompt = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi?"}]
    attributes = {
        "controversiality": "Low",
        "task_category": "Math",
        "annotation_guideline": "",
        "evidence": "secret",
    }
    assert (
        embed.text_of(prompt, attributes)
        == "system: Be brief.\nuser: Hi?\ntask_category: Math\ncontroversiality: Low"
    )


def test_backbone_embedder_pools_the_last_token(exported):
    with jax.set_mesh(jax.make_mesh((2, 4, 1), AXES)):
        whole = embed.backbone(exported, dtype="float32", max_length=64, rows=1)
        found = whole.embed(TEXTS)
        cut = embed.backbone(exported, dtype="float32", max_length=64, rows=1, width=8)
        np.testing.assert_allclose(cut.embed(TEXTS), embed.unit(found[:, :8]), atol=1e-6)
        assert cut.name != whole.name and found.shape == (len(TEXTS), whole.width)
    with jax.set_mesh(jax.make_mesh((1, 1, 1), AXES, devices=jax.devices()[:1])):
        decoder = hf.load(exported, Compute(dtype="float32", remat="none"), Layout()).decoder
        for text, vector in zip(TEXTS, found, strict=True):
            ids = jnp.array(
                [ChatTokenizer.load(exported).encode([{"role": "user", "content": text}])]
            )
            place = jnp.arange(ids.shape[1])[None]
            alone = decoder(ids, place, place * 0, place)[0, -1]
            np.testing.assert_allclose(vector, embed.unit(np.asarray(alone)), atol=1e-5)
        with pytest.raises(ValueError, match="width = 99"):
            embed.backbone(exported, width=99)
