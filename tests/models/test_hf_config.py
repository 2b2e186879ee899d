import json

import pytest

from rewardjax.models import families, variants
from rewardjax.models.hf_config import read_config, write_config


@pytest.fixture
def folder(tmp_path):
    """Writes the config of a variant with fields changed (None removes) and returns its folder."""

    def make(changes=(), variant="llama3.2-1b"):
        fields = json.loads(
            write_config(
                variants.get(variant),
                dtype="bfloat16",
                pad_token_id=9,
                eos_token_id=[7, 8],
                bos_token_id=6,
            )
        )
        fields |= dict(changes)
        for field, value in dict(changes).items():
            if value is None:  # a null that was written stays: it may mean something else
                del fields[field]
        (tmp_path / "config.json").write_text(json.dumps(fields))
        return tmp_path

    return make


@pytest.mark.parametrize("variant", variants.VARIANTS)
def test_written_and_read_back(variant, folder):
    assert read_config(folder(variant=variant)) == variants.get(variant)


@pytest.mark.parametrize("variant", ["llama3.2-1b", "qwen3-8b"])
def test_both_spellings_of_the_rotary_fields_mean_the_same(variant, folder):
    raw = json.loads((folder(variant=variant) / "config.json").read_text())
    newer = (raw.get("rope_scaling") or {"rope_type": "default"}) | {
        "rope_theta": raw["rope_theta"]
    }
    assert read_config(
        folder({"rope_theta": None, "rope_scaling": None, "rope_parameters": newer}, variant)
    ) == variants.get(variant)


def test_transformers_reads_what_we_write(folder):
    transformers = pytest.importorskip("transformers")
    theirs = transformers.AutoConfig.from_pretrained(folder())
    assert theirs.rope_parameters == dict(
        rope_type="llama3",
        rope_theta=5e5,
        factor=32.0,
        low_freq_factor=1.0,
        high_freq_factor=4.0,
        original_max_position_embeddings=8192,
    )
    assert (theirs.num_labels, theirs.pad_token_id, theirs.eos_token_id) == (1, 9, [7, 8])
    assert (theirs.head_dim, theirs.tie_word_embeddings) == (64, True)
    assert str(theirs.dtype).endswith("bfloat16")


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"model_type": "gpt2"}, "model_type='gpt2'.*qwen3"),
        ({"model_type": None}, "model_type=None.*qwen3"),
        ({"hidden_act": "gelu"}, "hidden_act='gelu'.*'silu'"),
        ({"attention_bias": True}, "attention_bias=True"),
        ({"layer_types": ["full_attention", "sliding_attention"]}, "sliding_attention"),
        ({"quantization_config": {"bits": 4, "quant_method": "gptq"}}, "quant_method='gptq'"),
        ({"auto_map": {"AutoModel": "m.RewardModel"}}, "auto_map .* m.RewardModel .*delete auto_m"),
        (
            {"id2label": {"0": "bad", "1": "good"}},
            r"num_labels=2 \(id2label: bad, good\).*one output",
        ),
        ({"id2label": None, "num_labels": 3}, "num_labels=3"),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}, "'yarn'"),
        ({"rope_scaling": {"type": "linear", "factor": 4.0}}, "'linear'.*every reward"),
        ({"rope_scaling": {"type": "dynamic", "factor": 4.0}}, "'dynamic'.*remove it"),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 4.0}}, "low_freq_factor is missing"),
        ({"hidden_size": None}, "hidden_size is missing"),
    ],
    ids=str,
)
def test_what_we_would_compute_differently_is_refused_by_name(changes, message, folder):
    with pytest.raises(ValueError, match=f"config.json: .*{message}"):
        read_config(folder(changes))


@pytest.mark.parametrize("family", families.FAMILIES)
def test_every_field_that_a_family_insists_on_is_refused_with_another_value(family, folder):
    for only in families.get(family).only:
        with pytest.raises(ValueError, match=f"config.json: {only.field}='other' .*{only.value!r}"):
            read_config(folder({only.field: "other"}, f"tiny-{family}"))
        # A Mistral without a word about its sliding window has one, of 4096 tokens.
        if families.get(family).absent.get(only.field, only.value) != only.value:
            with pytest.raises(ValueError, match=f"config.json: {only.field}=.*{only.remedy[:20]}"):
                read_config(folder({only.field: None}, f"tiny-{family}"))


@pytest.mark.parametrize("family", families.FAMILIES)
def test_a_field_that_is_absent_means_what_transformers_takes_it_to_mean(family, folder):
    """Also where that is not `none`:

    a Qwen3 without head_dim has heads of 128, whatever its width.
    """
    transformers = pytest.importorskip("transformers")
    sizes = dict(hidden_size=1024, num_attention_heads=32)
    theirs = getattr(transformers, f"{families.get(family).architecture}Config")(**sizes)
    absent = dict(head_dim=None, num_key_value_heads=None)
    ours = read_config(folder(sizes | absent, variant=f"tiny-{family}"))
    assert ours.kv_heads == theirs.num_key_value_heads
    assert ours.head_dim == getattr(theirs, "head_dim", 1024 // 32)  # Qwen2's has no such field
    assumed = {only.field: only.value for only in families.get(family).only}
    for field, value in {**assumed, **families.get(family).absent}.items():
        assert getattr(theirs, field, value) == value, field


def test_a_llama_of_2023_is_read_as_transformers_reads_it(folder):
    """Its config lacks what was then the only value."""
    transformers = pytest.importorskip("transformers")
    absent = ("rope_theta", "rope_scaling", "head_dim", "max_position_embeddings", "rms_norm_eps")
    path = folder(dict.fromkeys(absent) | {"pretraining_tp": 1, "max_sequence_length": 2048})
    ours, theirs = read_config(path), transformers.AutoConfig.from_pretrained(path)
    assert ours.rope_theta == theirs.rope_parameters["rope_theta"] == 1e4
    assert ours.rope_scaling is None and ours.norm_eps == theirs.rms_norm_eps == 1e-6
    assert ours.max_positions == theirs.max_position_embeddings == 2048
    with pytest.raises(ValueError, match="no rope_theta"):
        read_config(folder({"rope_theta": None}, variant="qwen3-8b"))


@pytest.mark.parametrize("whole", [False, True])
def test_a_folder_with_an_adapter_names_its_base(folder, tmp_path, whole):
    if whole:
        folder()
    adapter = {"peft_type": "LORA", "base_model_name_or_path": "Qwen/Qwen3-0.6B"}
    (tmp_path / "adapter_config.json").write_text(json.dumps(adapter))
    with pytest.raises(ValueError, match="adapter .* of Qwen/Qwen3-0.6B.*merge_and_unload"):
        read_config(tmp_path)


@pytest.mark.parametrize(
    "changes", [{"pad_token_id": 7}, {"eos_token_id": 9}, {"pad_token_id": None}]
)
@pytest.mark.parametrize("architecture", ["LlamaForCausalLM", "LlamaForSequenceClassification"])
def test_any_pad_token_is_read(changes, architecture, folder):
    """Rewards are read by length; what is written must not mislead others, and has a pad token."""
    read = read_config(folder(changes | {"architectures": [architecture]}))
    assert read == variants.get("llama3.2-1b")


@pytest.mark.parametrize("eos", [9, [7, 9]])
def test_a_pad_token_that_ends_a_text_is_not_written(eos):
    config = variants.get("llama3.2-1b")
    with pytest.raises(ValueError, match="pad_token_id=9 .*eos_token_id=.*9.*special token"):
        write_config(config, dtype="bfloat16", pad_token_id=9, eos_token_id=eos, bos_token_id=6)


def test_files_that_cannot_be_read_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="config.json"):
        read_config(tmp_path)
    (tmp_path / "adapter_model.safetensors").touch()
    with pytest.raises(FileNotFoundError, match="this folder has adapter_model.safetensors"):
        read_config(tmp_path)
    for text, message in (("{", "not JSON"), ("[]", "not a JSON object")):
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(ValueError, match=f"config.json: .*{message}"):
            read_config(tmp_path)


def test_code_of_a_folder_that_is_no_model_is_passed_over(folder):
    """Configs and tokenizers may have code of their own beside a plain model."""
    assert read_config(folder({"auto_map": {"AutoConfig": "c.Config"}})).family == "llama"
