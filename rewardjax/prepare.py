"""Tokenize the data of a config before a slice is rented, on any machine with CPUs.

    python -m rewardjax.prepare --config=configs/gsm.py [--workers 16] [--shards 64]
        [--config.data.source=pairs.jsonl]
    python -m rewardjax.prepare --model Qwen/Qwen3-0.6B --data pairs.jsonl --held-out 5%
    ... --workers 64 --engine slurm --engine_options "{time: '4:00:00', partition: cpu}"

Training data and held-out sets go where `rewardjax.train` with the same config looks for them
(`data.cache`, which may be a gs:// address): it starts in seconds then. A command that was killed,
started again, makes the shards that are missing. The engines are datatrove's: the folder must be
one that all their machines see.
"""

import argparse
import importlib.util
import json
import os
import sys
from collections.abc import Sequence
from typing import Any

import yaml

from rewardjax import config as config_lib
from rewardjax import own_data
from rewardjax.command import errors
from rewardjax.io import storage

ENGINES = ("slurm", "ray")
# Flags that all verbs share -> the fields that they set here.
WORDS = {
    "model": "config.model.folder",
    "data": "config.data.source",
    "output": "config.data.cache",
}


@errors.one_line("rewardjax.prepare")
def main(argv: Sequence[str]) -> None:
    """Run the command."""
    args, overrides = _arguments(argv)
    # Here, so that a wrong flag is told before JAX has started; and on no accelerator, which
    # somebody else may be using.
    os.environ["JAX_PLATFORMS"] = "cpu"
    from rewardjax.models.build import load_tokenizer
    from rewardjax.training import data_sets
    from rewardjax.training.preflight import fields, machine

    config: config_lib.Config = config_lib.load(args.config, overrides)
    complaints = fields.check(config)
    spread = complaints.of(_spread, args)
    if not complaints:
        complaints.add(machine.caches(config, ""))
        complaints.add(machine.sources(config, ""))
    fields.without_echoes(config, complaints).refuse()
    tokenizer = load_tokenizer(model_folder=config.model.folder, **config.tokenizer)
    made: dict[str, Any] = {}
    for where, section in fields.data_sections(config):
        settings = section.to_dict() | {
            "workers": args.workers,
            "shards": args.shards,
            "spread": spread,
            # This is what training refuses in favor of.
            "most_untokenized": None,
        }
        pairs = data_sets.load_pairs(tokenizer, where, **settings)
        made[where] = {
            "folder": str(storage.path_of(section.cache) / pairs.fingerprint),
            "records": pairs.manifest["records"]["in"],
            "pairs": len(pairs),
            "tokens": pairs.manifest["tokens"]["shared"],
        }
    print(json.dumps(made))


def _arguments(argv: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """The arguments, and the changes of fields of the config among them."""
    parser = errors.ArgumentParser(
        prog="python -m rewardjax.prepare",
        description="Tokenize the training data and held-out sets of a config.",
    )
    parser.add_argument("--config", help="path of a training config: configs/gsm.py")
    parser.add_argument(
        "--workers",
        type=int,
        default=os.cpu_count(),
        help="processes at the same time (default: one for each core of this machine)",
    )
    parser.add_argument(
        "--shards", type=int, help="files that the data are in (default: what suits their size)"
    )
    parser.add_argument(
        "--engine", choices=ENGINES, help="whose machines do the work (default: this one)"
    )
    parser.add_argument(
        "--engine_options",
        default="{}",
        help="arguments of datatrove's executor, as in \"{time: '4:00:00', partition: cpu}\"",
    )
    args, rest = parser.parse_known_args(own_data.with_config(argv, WORDS))
    if unknown := [item for item in rest if not (item.startswith("--config.") and "=" in item)]:
        parser.error(
            f"unknown arguments {' '.join(unknown)}; a field of the config is changed with "
            "--config.FIELD=VALUE"
        )
    for name in ("workers", "shards"):
        value = getattr(args, name)
        if value is not None and value < 1:
            parser.error(f"--{name} {value}: at least 1")
    return args, [item.removeprefix("--config.") for item in rest]


def _spread(args: argparse.Namespace) -> Any:
    """What makes the shards on an engine; None for processes of this machine."""
    options = yaml.safe_load(args.engine_options)
    if not isinstance(options, dict):
        raise ValueError(
            f"--engine_options {args.engine_options!r}: names and values, as in "
            "\"{time: '4:00:00', partition: cpu}\""
        )
    if args.engine is None:
        if options:
            raise ValueError("--engine_options are an engine's: name it with --engine")
        return None
    if importlib.util.find_spec("datatrove") is None:
        raise ValueError(
            f"--engine {args.engine} needs datatrove: pip install 'rewardjax[curate]' (with Ray: "
            "'rewardjax[ray]')"
        )
    from rewardjax.data.cache.local_processes import PARTS
    from rewardjax.engine import executors, tokenizing

    # The same options as on this machine: so many at the same time, and some more to come.
    engine = executors.Engine(
        args.engine, PARTS * args.workers, {"workers": args.workers} | options
    )
    try:
        executors.check(engine)
    except ValueError as error:
        raise ValueError(str(error).replace("engine.options", "--engine_options")) from None
    return tokenizing.spread_over(engine)


if __name__ == "__main__":
    main(sys.argv[1:])
