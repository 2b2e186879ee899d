"""From a config to a model and its tokenizer: those of a folder, or a variant from scratch.

A folder is one of Hugging Face, or the workdir of a run, whose newest checkpoint is the start.
"""

import dataclasses
import pathlib
from typing import Any

from rewardjax import assets
from rewardjax.data.chat import ChatTokenizer
from rewardjax.models import hf, reward, run_folder, variants, vocabulary
from rewardjax.models.config import Compute, DecoderConfig
from rewardjax.parallel.mesh import Layout
from rewardjax.reporting import run_record


def load_tokenizer(
    folder: str | None = None,
    pad_token: str | None = None,
    date: str | None = None,
    eos_token: str | None = None,
    *,
    model_folder: str | None = None,
) -> ChatTokenizer:
    """The tokenizer to train with.

    Args:
        folder: where the tokenizer lies, or ORG/NAME of the hub; None is the model's own folder.
        pad_token: the padding token, in place of the stored one.
        date: what a template that would print today's date prints, such as "26 Jul 2024".
        eos_token: the token at the end of a text, in place of the stored one.
        model_folder: the folder of the model that will read its ids, if there is one.

    Raises:
        ValueError: before any data is read, if there is no tokenizer, if its vocabulary is not that
            of the model in `model_folder`, or if its pad or EOS token would not do for a model that
            is saved.
    """
    if folder is None and model_folder is None:
        raise ValueError(
            "tokenizer.folder: a model from scratch (model.variant without model.folder) brings no "
            "tokenizer; name a folder that has one, such as 'assets:world'"
        )
    if model_folder is None:
        assert folder is not None, "one of the two is given"
        source = assets.resolve(folder, weights=False)
        tokenizer = ChatTokenizer.load(source, pad_token, date, eos_token)
        tokenizer.check_pad()
        return tokenizer
    home = run_folder.resolve(model_folder, weights=False)
    # Before the tokenizer: where the folder is not a whole model, its config tells why.
    decoder = decoder_in(home)
    with run_folder.tokenizer_of(home) as own:
        if folder is None and not vocabulary.has_tokenizer(own):
            raise ValueError(
                f"tokenizer.folder: {model_folder} has no {' or '.join(vocabulary.FILES)}; name "
                "the folder of the tokenizer that the model was trained with"
            )
        source = own
        if folder is not None:
            source = assets.resolve(folder, weights=False)
        tokenizer = ChatTokenizer.load(source, pad_token, date, eos_token)
        tokenizer.check_pad()
        vocabulary.refuse_other_size(tokenizer, decoder.vocab_size, model_folder)
        if source != own:
            vocabulary.refuse_other_tokens(source, own)
        return tokenizer


def build_model(
    compute: Compute,
    layout: Layout,
    seed: int,
    *,
    folder: str | None = None,
    init_head: bool = False,
    variant: str | None = None,
    changes: dict[str, Any] | None = None,
) -> reward.RewardModel:
    """A model from the weights in `folder`, or a `variant`, with `changes`, from scratch.

    That a folder holds the variant that is named beside it, and the tokenizer no ids beyond its
    embedding table, is checked before: see training/preflight.

    Args:
        compute: how it is run.
        layout: how its weights are spread over devices.
        seed: of what is initialized.
        folder: weights to start from: a Hugging Face folder, the workdir of a run, ORG/NAME of the
            hub or assets:world.
        init_head: whether a folder without a reward head is given a new one.
        variant: sizes by name, such as qwen3-0.6b: from scratch without a folder, checked with one.
        changes: sizes of the variant that are other ones.

    Raises:
        ValueError: where there is neither a folder nor a variant.
    """
    if folder is not None:
        home = run_folder.resolve(folder)
        if run_folder.is_run(home):
            return run_folder.load(home, decoder_in(home), compute, layout)
        return hf.load(home, compute, layout, init_head=init_head, seed=seed)
    decoder = decoder_config(variant=variant, changes=changes)
    return reward.init(decoder, compute, layout, seed)


def refuse_other_vocabulary(tokenizer: ChatTokenizer, decoder: DecoderConfig) -> None:
    """Raise ValueError when the tokenizer has ids that the embedding table does not."""
    # Such an id would read the table's last row without a word: JAX clamps indices.
    vocabulary.refuse_ids_beyond(
        tokenizer, decoder.vocab_size, "set model.changes.vocab_size to at least that many"
    )


def decoder_config(
    *,
    folder: str | None = None,
    init_head: bool = False,
    variant: str | None = None,
    changes: dict[str, Any] | None = None,
) -> DecoderConfig:
    """The decoder that `config.model` describes, without reading a weight.

    A folder is opened only where no variant is named, so that a config can be checked on a machine
    without the weights. Raises ValueError when neither is given. `init_head` is accepted so that
    the whole of `config.model` can be passed.
    """
    if variant is not None:
        # A config lists every field that can be changed; those that it leaves at None stay the
        # variant's.
        changed = {name: value for name, value in (changes or {}).items() if value is not None}
        return variants.get(variant, **changed)
    if folder is None:
        raise ValueError(
            "model: give `folder` (Hugging Face weights), `variant` (from scratch), or both "
            "(weights that must be of that variant)"
        )
    return decoder_in(run_folder.resolve(folder, weights=False))


def decoder_in(path: pathlib.Path) -> DecoderConfig:
    """The decoder of the model, or of the run, in a folder that `run_folder.resolve` gave.

    Raises FileNotFoundError or ValueError where there is neither.
    """
    if not run_folder.is_run(path):
        return hf.read_config(path)
    config = run_record.read_config(path)
    # A model's folder may have checkpoints of its maker's beside its weights.
    if "model" not in config:
        raise ValueError(
            f"{path / 'config.json'} is not the config of a run, and {path} has a folder "
            f"{run_folder.CHECKPOINTS} as the workdir of a run has; move that folder away to use "
            "the weights beside it"
        )
    return decoder_config(**config["model"])


def refuse_missing_weights(folder: str, init_head: bool = False) -> None:
    """Raise what `build_model` would raise for a folder, without reading a weight."""
    path = run_folder.resolve(folder)
    decoder_in(path)
    if run_folder.is_run(path):
        run_folder.refuse_unfinished(path)
    else:
        hf.check(path, init_head)


def refuse_other_decoder(folder: str, expected: DecoderConfig) -> None:
    """Raise ValueError naming every field in which the model in `folder` is not the config's."""
    there = dataclasses.asdict(decoder_config(folder=folder))
    differing = [
        f"{name} is {there[name]}, expected {value}"
        for name, value in dataclasses.asdict(expected).items()
        if there[name] != value
    ]
    if differing:
        raise ValueError(
            f"model.folder {folder} does not hold model.variant: {'; '.join(differing)}; change "
            "model.folder or set model.variant to None"
        )
