"""From a config to a model: weights of a folder, or a variant from scratch."""

import dataclasses
from typing import Any

from rewardjax import assets
from rewardjax.data.chat import ChatTokenizer
from rewardjax.models import hf, reward, variants
from rewardjax.models.config import Compute, DecoderConfig
from rewardjax.parallel.mesh import Layout


def build_model(
    tokenizer: ChatTokenizer,
    compute: Compute,
    layout: Layout,
    seed: int,
    *,
    folder: str | None = None,
    init_head: bool = False,
    variant: str | None = None,
    changes: dict[str, Any] | None = None,
) -> reward.RewardModel:
    """A model from a Hugging Face `folder` (its head initialized only with `init_head`), or a `variant`, with `changes`, from scratch. With
    both, the folder must hold that variant."""
    decoder = decoder_config(folder=folder, variant=variant, changes=changes)
    if folder is None:
        model = reward.init(decoder, compute, layout, seed)
    else:
        refuse_other_decoder(folder, decoder)
        model = hf.load(assets.resolve(folder), compute, layout, init_head=init_head, seed=seed)
    if tokenizer.vocab_size > model.decoder.config.vocab_size:
        raise ValueError(
            f"model: the tokenizer has {tokenizer.vocab_size} tokens, the embedding table {model.decoder.config.vocab_size}; "
            f"set model.changes.vocab_size to at least that many"
        )
    return model


def decoder_config(
    *,
    folder: str | None = None,
    init_head: bool = False,
    variant: str | None = None,
    changes: dict[str, Any] | None = None,
) -> DecoderConfig:
    """The decoder that `config.model` describes, without reading a weight; a folder is opened only where no variant is named."""
    if variant is not None:
        # A config lists every field that can be changed; those that it leaves at None stay the variant's.
        changed = {name: value for name, value in (changes or {}).items() if value is not None}
        return variants.get(variant, **changed)
    if folder is None:
        raise ValueError(
            "model: give `folder` (Hugging Face weights), `variant` (from scratch), or both (weights that must be of that variant)"
        )
    return hf.read_config(assets.resolve(folder))


def refuse_other_decoder(folder: str, expected: DecoderConfig) -> None:
    """Raise ValueError naming every field in which the model in `folder` is not what the config says it is."""
    found, wanted = (
        dataclasses.asdict(hf.read_config(assets.resolve(folder))),
        dataclasses.asdict(expected),
    )
    if differing := [
        f"{name} is {found[name]}, expected {wanted[name]}"
        for name in wanted
        if found[name] != wanted[name]
    ]:
        raise ValueError(
            f"model.folder {folder} does not hold model.variant: {'; '.join(differing)}; change model.folder or set model.variant to None"
        )
