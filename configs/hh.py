"""A small reward model from scratch on human preferences about harmlessness.

The data are multi-turn dialogues with two last answers.

    python -m rewardjax.train --config=configs/hh.py --workdir=runs/hh

Reads the harmless-base test split and the real Qwen3 tokenizer from `../shared/data`; dialogues are
split by their prompt. 2,000 pairs are few for a model that has never read: docs/log.md has what it
reaches.
"""

import pathlib

from rewardjax.config import Config, load_module, parse_arg
from rewardjax.defaults import held_out

gsm = load_module(pathlib.Path(__file__).with_name("gsm.py"))  # the same model and split


def get_config(arg: str | None = None) -> Config:
    args = parse_arg(arg, tiny=False, shared="../shared/data", epochs=2.0)
    config = gsm.get_config(
        f"shared={args.shared},epochs={args.epochs}" + (",tiny" if args.tiny else "")
    )
    config.data.update(
        source=f"{args.shared}/hh_harmless/test.jsonl.gz", pairs_per_group=None, max_length=1024
    )
    config.batch.update(pairs=32, row_length=2048, pairs_per_row=16, rows=2)
    config.schedule.peak = 5e-4
    config.evals = {"heldout": held_out(config, part=(gsm.HELD_OUT, 1.0))}
    return config
