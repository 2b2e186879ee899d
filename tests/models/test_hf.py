"""Folders:

bit-identical round trips on any mesh, and every way in which a folder can be wrong is named.
"""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from rewardjax.models import families, hf, reward, variants
from rewardjax.models.config import Compute
from rewardjax.parallel.mesh import AXES, Layout, make_mesh

TOKENS = dict(pad_token_id=1, eos_token_id=2)
TINY = [f"tiny-{family}" for family in families.FAMILIES]


def read_all(folder):
    """Every tensor of a folder by name."""
    return {
        name: tensor
        for file in sorted(folder.glob("*.safetensors"))
        for name, tensor in load_file(file).items()
    }


def assert_identical(a, b):
    assert a.keys() == b.keys()
    for name in a:
        assert a[name].dtype == b[name].dtype and a[name].shape == b[name].shape, name
        assert a[name].tobytes() == b[name].tobytes(), name


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """variant -> a folder with random tensors in Hugging Face's names and shapes, written
    without our code.
    """
    out = {}
    for variant in TINY:
        c, rng, folder = (
            variants.get(variant),
            np.random.default_rng(len(variant)),
            tmp_path_factory.mktemp(variant),
        )
        D, F, NH, KH, H = (
            c.width,
            c.mlp_width,
            c.heads * c.head_dim,
            c.kv_heads * c.head_dim,
            c.head_dim,
        )
        layer = {
            "input_layernorm.weight": (D,),
            "post_attention_layernorm.weight": (D,),
            "self_attn.q_proj.weight": (NH, D),
            "self_attn.k_proj.weight": (KH, D),
            "self_attn.v_proj.weight": (KH, D),
            "self_attn.o_proj.weight": (D, NH),
            "mlp.gate_proj.weight": (F, D),
            "mlp.up_proj.weight": (F, D),
            "mlp.down_proj.weight": (D, F),
        }
        if c.family == "qwen3":
            layer |= {"self_attn.q_norm.weight": (H,), "self_attn.k_norm.weight": (H,)}
        if c.family == "qwen2":
            layer |= {
                "self_attn.q_proj.bias": (NH,),
                "self_attn.k_proj.bias": (KH,),
                "self_attn.v_proj.bias": (KH,),
            }
        shapes = {
            "model.embed_tokens.weight": (c.vocab_size, D),
            "model.norm.weight": (D,),
            "score.weight": (1, D),
        }
        shapes |= {
            f"model.layers.{i}.{name}": shape
            for i in range(c.layers)
            for name, shape in layer.items()
        }
        save_file(
            {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()},
            folder / "model.safetensors",
        )
        fields = {
            "model_type": c.family,
            "architectures": ["XForSequenceClassification"],
            "vocab_size": c.vocab_size,
            "hidden_size": D,
            "intermediate_size": F,
            "num_hidden_layers": c.layers,
            "num_attention_heads": c.heads,
            "num_key_value_heads": c.kv_heads,
            "head_dim": H,
            "rms_norm_eps": c.norm_eps,
            "rope_theta": c.rope_theta,
            "tie_word_embeddings": c.tied,
            "max_position_embeddings": c.max_positions,
            "id2label": {"0": "LABEL_0"},
            **TOKENS,
            # What a family insists on: for some of these fields absence means another value.
            **{only.field: only.value for only in families.get(c.family).only},
        }
        if c.rope_scaling:
            fields["rope_scaling"] = {
                "rope_type": "llama3",
                "factor": 4.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 64,
            }
        (folder / "config.json").write_text(json.dumps(fields))
        out[variant] = folder
    return out


@pytest.fixture
def broken(folders, tmp_path):
    """Makes a copy of a folder with tensors and config fields changed (None removes)."""

    def make(tensors=(), config=(), variant="tiny-qwen3"):
        everything = read_all(folders[variant]) | dict(tensors)
        save_file(
            {name: tensor for name, tensor in everything.items() if tensor is not None},
            tmp_path / "model.safetensors",
        )
        fields = json.loads((folders[variant] / "config.json").read_text()) | dict(config)
        for field, value in dict(config).items():
            if value is None:
                del fields[field]
        (tmp_path / "config.json").write_text(json.dumps(fields))
        return tmp_path

    return make


@pytest.mark.parametrize("variant", TINY)
@pytest.mark.parametrize("shape", [(8, 1, 1), (2, 2, 2)], ids=str)
def test_round_trip_is_bit_identical(folders, variant, shape, tmp_path):
    with jax.set_mesh(make_mesh(*shape)):
        model = hf.load(folders[variant], Compute(), Layout())
        abstract = reward.abstract(variants.get(variant), Compute(), Layout())
        assert jax.tree.structure(model) == jax.tree.structure(abstract)  # config and all
        for leaf, wanted in zip(jax.tree.leaves(model), jax.tree.leaves(abstract), strict=True):
            assert leaf.sharding == wanted.sharding and leaf.dtype == jnp.float32
        hf.save(model, tmp_path, **TOKENS)
    assert_identical(read_all(tmp_path), read_all(folders[variant]))
    assert safe_open(tmp_path / "model.safetensors", framework="numpy").metadata() == {
        "format": "pt"
    }


def test_bfloat16_in_several_files_round_trips(folders, tmp_path, one_device):
    model = hf.load(folders["tiny-qwen3"], Compute(), Layout())
    first, second, single = (tmp_path / name for name in ("first", "second", "single"))
    hf.save(model, first, **TOKENS, dtype="bfloat16", shard_bytes=30_000)
    index = json.loads((first / "model.safetensors.index.json").read_text())
    assert len(set(index["weight_map"].values())) > 2
    assert set(index["weight_map"]) == set(read_all(first))
    assert index["metadata"]["total_size"] == sum(
        tensor.nbytes for tensor in read_all(first).values()
    )
    for file in first.glob("*.safetensors"):
        held = load_file(file)
        assert sum(tensor.nbytes for tensor in held.values()) <= 30_000 or len(held) == 1
        assert {index["weight_map"][name] for name in held} == {file.name}
    hf.save(
        hf.load(first, Compute(), Layout()), second, **TOKENS, dtype="bfloat16", shard_bytes=30_000
    )
    assert_identical(read_all(first), read_all(second))
    assert_identical(
        read_all(first),
        {
            name: tensor.astype(jnp.bfloat16)
            for name, tensor in read_all(folders["tiny-qwen3"]).items()
        },
    )
    # A later save leaves nothing of an earlier one behind.
    hf.save(model, first, **TOKENS)
    hf.save(model, single, **TOKENS)
    for folder in (first, single):
        assert sorted(path.name for path in folder.iterdir()) == [
            "config.json",
            "model.safetensors",
        ]


def test_a_language_model_gets_a_head_only_when_asked(broken, folders, one_device):
    vocabulary_head = np.ones((512, 48), np.float32)
    folder = broken(
        {"score.weight": None, "lm_head.weight": vocabulary_head},
        {"architectures": ["Qwen3ForCausalLM"], "id2label": None},
    )
    with pytest.raises(ValueError, match="score.weight.*init_head=True"):
        hf.load(folder, Compute(), Layout())
    a, b, other = (
        hf.load(folder, Compute(), Layout(), init_head=True, seed=seed).head[...]
        for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(a, b)
    assert np.any(a != other) and 0.5 < np.std(a) * 7 < 2  # 7 = sqrt(width + 1)
    kept = hf.load(folders["tiny-qwen3"], Compute(), Layout(), init_head=True).head[...]
    np.testing.assert_array_equal(kept, read_all(folders["tiny-qwen3"])["score.weight"][0])


@pytest.mark.parametrize(
    "tensors, message",
    [
        (
            {"model.layers.1.mlp.up_proj.weight": None},
            "1 tensors are missing.*model.layers.1.mlp.up_proj.weight",
        ),
        (
            {"model.layers.2.mlp.up_proj.weight": np.ones((96, 48), np.float32)},
            "1 tensors are not part.*model.layers.2.mlp.up_proj.weight",
        ),
        ({"model.extra.weight": np.ones((512, 48), np.float32)}, "not part.*model.extra.weight"),
        (
            {"model.layers.0.self_attn.o_proj.weight": np.ones((64, 48), np.float32)},
            r"o_proj.weight has shape \(64, 48\).*\(48, 64\)",
        ),
        (
            {"score.weight": np.ones((2, 48), np.float32)},
            r"score.weight has shape \(2, 48\), 2 outputs per response.*\(1, 48\)",
        ),
        ({"model.norm.weight": np.ones(48, np.int8)}, "model.norm.weight is I8"),
    ],
    ids=str,
)
def test_wrong_tensors_are_named(broken, tensors, message, one_device):
    with pytest.raises(ValueError, match=message):
        hf.load(broken(tensors), Compute(), Layout())


def bare(tensors):
    """Changes that take the prefix of the decoder's tensors away."""
    inside = [name for name in tensors if name.startswith("model.")]
    gone = dict.fromkeys(inside)
    return gone | {name.removeprefix("model."): tensors[name] for name in inside}


@pytest.mark.parametrize(
    "changes",
    [
        lambda _: {"model.layers.1.self_attn.rotary_emb.inv_freq": np.ones(8, np.float32)},
        lambda _: {"lm_head.weight": np.ones((512, 48), np.float32)},
        lambda _: {"score.bias": np.zeros(1, np.float32)},
        bare,
        lambda tensors: bare(tensors) | {"rotary_emb.inv_freq": np.ones(8, np.float32)},
    ],
    ids=["inv_freq", "both heads", "zero bias", "no prefix", "no prefix, inv_freq"],
)
def test_what_transformers_passes_over_changes_nothing(changes, broken, folders, one_device):
    folder = broken(changes(read_all(folders["tiny-qwen3"])))
    ours, plain = (hf.load(path, Compute(), Layout()) for path in (folder, folders["tiny-qwen3"]))
    jax.tree.map(np.testing.assert_array_equal, jax.tree.leaves(ours), jax.tree.leaves(plain))


@pytest.mark.parametrize(
    "names, message",
    [
        (["value_head.weight"], r"value_head.weight \[1, 48\]; rename its weight to score.weight"),
        (["v_head.summary.weight", "v_head.summary.bias"], "v_head.summary.weight .*zero"),
        (["score.modules_to_save.default.weight"], "score.modules_to_save.default.weight"),
    ],
    ids=str,
)
@pytest.mark.parametrize("init_head", [False, True])
def test_a_trained_head_of_another_name_is_named_and_never_replaced(
    names, message, init_head, broken, folders, one_device
):
    head = read_all(folders["tiny-qwen3"])["score.weight"]
    added = {name: head if name.endswith("weight") else np.ones(1, np.float32) for name in names}
    folder = broken({"score.weight": None, **added})
    with pytest.raises(ValueError, match=message) as refusal:
        hf.load(folder, Compute(), Layout(), init_head=init_head)
    assert "init_head" not in str(refusal.value)


def test_heads_that_cannot_be_read_say_what_they_are(broken, one_device):
    folder = broken({"score.weight": None, "regression_layer.weight": np.ones((5, 48), np.float32)})
    with pytest.raises(ValueError, match="regression_layer.weight .*keep one row"):
        hf.load(folder, Compute(), Layout(), init_head=True)
    with pytest.raises(ValueError, match=r"score.bias is \[0.25\]; a reward head has no bias"):
        hf.load(broken({"score.bias": np.full(1, 0.25, np.float32)}), Compute(), Layout())
    lora = {"base_model.model.model.layers.0.mlp.up_proj.lora_A.weight": np.ones((4, 48))}
    with pytest.raises(ValueError, match="lora_A.weight .*not merged.*merge_and_unload"):
        hf.load(broken(lora), Compute(), Layout())
    layers = {f"score.{i}.weight": np.ones((48, 48), np.float32) for i in (0, 2)}
    with pytest.raises(ValueError, match=r"score.0.weight \[48, 48\].*more than one layer"):
        hf.load(broken({"score.weight": None, **layers}), Compute(), Layout(), init_head=True)
    folder = broken({"score.weight": None})
    (folder / "value_head.safetensors").touch()
    with pytest.raises(ValueError, match="head is in value_head.safetensors"):
        hf.load(folder, Compute(), Layout(), init_head=True)


def test_files_that_are_missing_or_damaged_are_named(folders, tmp_path, one_device):
    with pytest.raises(FileNotFoundError, match="config.json"):
        hf.load(tmp_path, Compute(), Layout())
    (tmp_path / "config.json").write_text((folders["tiny-qwen3"] / "config.json").read_text())
    with pytest.raises(FileNotFoundError, match="neither model.safetensors.*fetch the weights"):
        hf.load(tmp_path, Compute(), Layout())
    whole = (folders["tiny-qwen3"] / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="model.safetensors: not a readable"):
        hf.load(tmp_path, Compute(), Layout())
    (tmp_path / "model.safetensors").write_bytes(whole)
    (tmp_path / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": {"model.extra.weight": "model.safetensors"}})
    )
    with pytest.raises(ValueError, match="model.extra.weight is not in model.safetensors"):
        hf.load(tmp_path, Compute(), Layout())
    index = {"weight_map": {"model.norm.weight": "model-00002-of-00002.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(FileNotFoundError, match="00002-of-00002.safetensors: not there, though"):
        hf.load(tmp_path, Compute(), Layout())
    (tmp_path / "model.safetensors.index.json").unlink()
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
    (tmp_path / "model.safetensors").write_text(pointer)
    with pytest.raises(ValueError, match="a Git LFS pointer.*git lfs pull"):
        hf.load(tmp_path, Compute(), Layout())


@pytest.mark.parametrize(
    "names, message",
    [
        (["pytorch_model.bin"], "pickled, in pytorch_model.bin: .*save_pretrained"),
        (["pytorch_model-00001-of-00002.bin"], "pickled, in pytorch_model-00001-of-00002.bin"),
        (["pytorch_model.bin", "value_head.bin"], "pytorch_model.bin and the trained head in val"),
        (["rm-Q4_K.gguf"], "rm-Q4_K.gguf is llama.cpp's format"),
        (["model-00001-of-00002.safetensors"], "00001-of-00002.safetensors is there without its i"),
    ],
    ids=str,
)
def test_weights_in_another_format_are_named_with_the_remedy(
    names, message, folders, tmp_path, one_device
):
    (tmp_path / "config.json").write_text((folders["tiny-qwen3"] / "config.json").read_text())
    for name in names:
        (tmp_path / name).touch()
    with pytest.raises(FileNotFoundError, match=message):
        hf.load(tmp_path, Compute(), Layout())


def test_tensors_of_a_wrapper_or_of_a_quantized_model_are_named(broken, folders, one_device):
    tensors = read_all(folders["tiny-qwen3"])
    wrapped = dict.fromkeys(tensors) | {f"pretrained_model.{k}": v for k, v in tensors.items()}
    with pytest.raises(ValueError, match="inside a wrapper .pretrained_model.model.embed_tokens"):
        hf.load(broken(wrapped), Compute(), Layout(), init_head=True)
    packed = {"model.layers.0.mlp.up_proj.qweight": np.ones((4, 4), np.int32)}
    with pytest.raises(ValueError, match="up_proj.qweight belongs to a quantized weight"):
        hf.load(broken(packed), Compute(), Layout())


def test_save_refuses_before_it_writes(folders, tmp_path, one_device):
    model = reward.abstract(variants.get("tiny-qwen3"), Compute(), Layout())
    with pytest.raises(ValueError, match="float16.*bfloat16"):
        hf.save(model, tmp_path / "x", **TOKENS, dtype="float16")
    with pytest.raises(ValueError, match="pad_token_id=2 .*eos_token_id=2.*special token"):
        hf.save(model, tmp_path / "x", pad_token_id=2, eos_token_id=2)
    assert not (tmp_path / "x").exists()


def test_a_host_reads_only_the_part_that_it_holds(folders, monkeypatch):
    """With weights split over 8 devices, no read of a matrix is of more than an eighth of it."""
    seen = []
    original = hf.to_ours
    monkeypatch.setattr(
        hf,
        "to_ours",
        lambda rule, block, size: (seen.append((rule, block.size)), original(rule, block, size))[1],
    )
    with jax.set_mesh(jax.make_mesh((1, 8, 1), AXES)):
        hf.load(folders["tiny-llama"], Compute(), Layout())
    size = hf.sizes(variants.get("tiny-llama"))
    for rule, read in seen:
        if len(rule.ours) > 1:
            assert read * 8 == np.prod(hf.their_shape(rule, size)), rule.name
