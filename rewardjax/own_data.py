"""The config of a run on data of one's own, which `rewardjax.train` reads where none is named.

    rewardjax train --model Qwen/Qwen3-0.6B --data pairs.jsonl --held-out 5%

`configs/pairs.py` is a template for whoever wants a file to keep and change.
"""

import pathlib
from collections.abc import Mapping, Sequence

from rewardjax.command import dialect
from rewardjax.config import Config, parse_arg
from rewardjax.defaults import training

HELD_OUT = "held-out"  # the flag


def get_config(arg: str | None = None) -> Config:
    """The config; `held_out=0.05` is the share of prompts that accuracy is measured on."""
    return own_data(parse_arg(arg, held_out=0.05).held_out)


def own_data(held_out: float) -> Config:
    """A training config whose held-out set is a part of whatever `data.source` will be.

    held_out: the share of prompts, by hash; 0 for no held-out set.

    Raises ValueError for a share that leaves nothing to train on.
    """
    if not 0 <= held_out < 1:
        raise ValueError(f"held_out = {held_out}: a share of the prompts, from 0 to below 1")
    config = training()
    # A pair holds two responses; longer ones are dropped, counted and told.
    config.data.update(max_length=2048, max_pair_length=4096)
    # Rows are as long and as many as the data need.
    config.batch.update(pairs=64, row_length=None, pairs_per_row=None, rows=None)
    # Of a model that was trained before. The shipped one is small and takes a hundred times more.
    config.schedule.peak = 1e-5
    if held_out:
        config.data.part = (0.0, 1.0 - held_out)
        config.evals = {"heldout": _same_data(config, (1.0 - held_out, 1.0))}
    return config


def _same_data(config: Config, part: tuple[float, float]) -> Config:
    """The section `data` for another part of the prompts, following every change made to it."""
    section = type(config)()
    for name in config.data:
        if name != "part":
            section[name] = config.data.get_oneway_ref(name)
    section.part = part
    return section


# ------------------------------------------------------------------ the command line


def with_config(arguments: Sequence[str], words: Mapping[str, str]) -> list[str]:
    """The arguments of a command in its own words, with this config where no other is named.

    words: a flag that all verbs share -> the command's own, as for `dialect.in_own_words`.

    Raises ValueError where neither a config nor data and a model are named.
    """
    arguments = dialect.in_own_words(arguments, {**words, HELD_OUT: HELD_OUT})
    share = dialect.value_of(arguments, HELD_OUT)
    arguments = [each for each in arguments if dialect.split(each)[0] != HELD_OUT]
    has_config = dialect.value_of(arguments, dialect.CONFIG) is not None
    if has_config and share is not None:
        raise ValueError(
            f"--{HELD_OUT} is for runs without --config: a config names its held-out sets (evals)"
        )
    if has_config or dialect.asks_for_help(arguments):
        return arguments
    missing = [f"--{name}" for name in ("model", "data") if not _has(arguments, words[name])]
    if missing and "--show" not in arguments:
        raise ValueError(
            f"{' and '.join(missing)} missing: a run without --config FILE needs --model DIR (or "
            "ORG/NAME, or assets:world) and --data SOURCE; configs/pairs.py is a template"
        )
    arg = ""
    if share is not None:
        arg = f":held_out={share_of(share)}"
    return [f"--{dialect.CONFIG}={pathlib.Path(__file__)}{arg}", *arguments]


def _has(arguments: Sequence[str], name: str) -> bool:
    return dialect.value_of(arguments, name) is not None


def share_of(text: str) -> float:
    """The share of prompts that `5%` or `0.05` spells.

    Raises ValueError for any other text.
    """
    try:
        share = float(text.removesuffix("%"))
    except ValueError:
        raise ValueError(f"--{HELD_OUT} {text}: a share of the prompts, as in 5% or 0.05") from None
    if text.endswith("%"):
        share /= 100
    return share
