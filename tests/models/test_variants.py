import dataclasses

import jax
import pytest

from rewardjax.models import families, reward, variants
from rewardjax.models.config import Compute, DecoderConfig
from rewardjax.parallel.mesh import Layout

# Parameters of the published language models, as the hub counts their safetensors (a vocabulary
# head that is tied counted once).
PUBLISHED = {
    "qwen3-0.6b": 596_049_920,
    "qwen3-1.7b": 1_720_574_976,
    "qwen3-4b": 4_022_468_096,
    "qwen3-8b": 8_190_735_360,
    "llama3.1-8b": 8_030_261_248,
    "llama3.2-1b": 1_235_814_400,
    "llama3.2-3b": 3_212_749_824,
    "qwen2.5-0.5b": 494_032_768,
    "qwen2.5-1.5b": 1_543_714_304,
    "qwen2.5-3b": 3_085_938_688,
    "qwen2.5-7b": 7_615_616_512,
    "mistral-7b-v0.2": 7_241_732_096,
    "mistral-7b-v0.3": 7_248_023_552,
}


def backbone(config):
    """Parameters without any head."""
    return reward.count_parameters(reward.abstract(config, Compute(), Layout())) - config.width


def test_every_published_variant_is_counted():
    assert set(PUBLISHED) == {name for name in variants.VARIANTS if not name.startswith("tiny")}


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameter_counts_are_the_published_ones(name, one_device):
    config = variants.get(name)
    vocabulary_head = 0 if config.tied else config.vocab_size * config.width
    assert backbone(config) + vocabulary_head == PUBLISHED[name]


@pytest.mark.parametrize("name", families.FAMILIES)
def test_a_family_is_listed_by_its_name_and_has_a_tiny_variant(name):
    family = families.get(name)
    assert family.name == name and f"tiny-{name}" in family.variants
    assert all(config.family == name for config in family.variants.values())


def test_qwen3_8b_without_its_vocabulary_head(one_device):
    # Model card of Qwen3-8B: 6.95 billion parameters outside the embeddings.
    config = variants.get("qwen3-8b")
    assert round(backbone(config) / 1e9, 2) == 7.57
    assert round((backbone(config) - config.vocab_size * config.width) / 1e9, 2) == 6.95


def test_the_largest_variants_fit_a_mesh_of_many_axes():
    with jax.set_mesh(jax.make_mesh((1, 4, 2), ("data", "fsdp", "tensor"))):
        model = reward.abstract(variants.get("qwen3-8b"), Compute(), Layout())
    assert model.decoder.layers.mlp.gate.get_value().sharding.shard_shape((36, 4096, 12288)) == (
        36,
        1024,
        6144,
    )


def test_changes_and_typos():
    assert variants.get("tiny-qwen3", layers=3) == dataclasses.replace(
        variants.VARIANTS["tiny-qwen3"], layers=3
    )
    with pytest.raises(ValueError, match="qwen3-7b.*qwen3-8b"):
        variants.get("qwen3-7b")
    with pytest.raises(TypeError, match="n_layers"):
        variants.get("tiny-qwen3", n_layers=3)


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(family="gpt2"), "gpt2.*qwen3"),
        (dict(heads=3), "heads=3.*kv_heads=2"),
        (dict(head_dim=15), "head_dim=15.*even"),
    ],
)
def test_impossible_sizes_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        variants.get("tiny-qwen3", **change)


def test_a_config_is_hashable():
    assert len({variants.get("tiny-llama"), DecoderConfig(**vars(variants.get("tiny-llama")))}) == 1
