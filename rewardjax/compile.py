"""Compile a config's step for a TPU slice, without the slice: what will it need there?

The step is that of training, scoring, or a search for neighbors:

    python -m rewardjax.compile --config=configs/skywork_v2/qwen3_8b.py --topology=v5p:4x4x4
    python -m rewardjax.compile --config=configs/skywork_v2/qwen3_8b.py --topology=v6e:8x8 --search
    python -m rewardjax.compile --config=configs/skywork_v2/qwen3_8b.py --topology=v5e:16x16 \
        --slices=2
    python -m rewardjax.compile --config=configs/curation/retrieval.py --topology=v5e:4x4 \
        --mode=retrieval

Needs libtpu (`pip install 'rewardjax[tpu]'`), no TPU. Memory and exchanges are read from the
compiled programs; times are predicted by a formula whose assumptions are printed with them.
`--json` prints one line with all of it. Fields of the config are changed with
--config.FIELD=VALUE; a config file that has `slices()` is asked for its settings for the topology.
"""

import json
import os
import sys
from typing import Any

# Before JAX is imported: the programs are compiled for the slice, whatever this machine has.
os.environ.setdefault("JAX_PLATFORMS", "cpu")

from rewardjax import config as config_lib  # noqa: E402
from rewardjax.aot import measure, retrieval, search  # noqa: E402
from rewardjax.aot.assumed_lengths import DISTRIBUTIONS  # noqa: E402
from rewardjax.aot.program import MODES  # noqa: E402
from rewardjax.aot.topology import describe  # noqa: E402
from rewardjax.command import dialect, errors  # noqa: E402
from rewardjax.training.preflight import fields  # noqa: E402

# Flags that all verbs share -> the fields that they set here.
WORDS = {"model": "config.model.folder", "data": "config.data.source"}


def load_config(
    path_with_arg: str, topology: str, slices: int, overrides: list[str]
) -> config_lib.Config:
    """The config, for slices of `topology` where its file names that as one of its slices.

    An argument that names a slice itself is left as it is.
    """
    # Most configs know no slices and take the topology as it is.
    path, _, arg = path_with_arg.partition(":")
    named = getattr(config_lib.load_module(path), "slices", lambda arg: ())(arg or None)
    if topology in named and "slice=" not in arg:
        arg = ",".join(filter(None, (arg, f"slice={topology}")))
        if slices > 1:
            arg += f",slices={slices}"
    return config_lib.load(f"{path}:{arg}", overrides)


@errors.one_line("rewardjax.compile")
def main(argv: list[str]) -> int:
    """Print what a config needs; the exit code is 0 where it fits and 1 where it does not."""
    parser = errors.ArgumentParser(
        prog="python -m rewardjax.compile",
        description="What a config needs on a TPU slice, without the slice.",
    )
    parser.add_argument(
        "--config",
        required=True,
        metavar="FILE[:ARG]",
        help="a training config; --config.FIELD=VALUE changes a field of it",
    )
    parser.add_argument(
        "--topology",
        required=True,
        metavar="KIND:SHAPE",
        help="such as v5e:4x4, v5p:4x4x4, v6e:8x8",
    )
    parser.add_argument(
        "--slices",
        type=int,
        default=1,
        metavar="N",
        help="N such slices, connected by the data-center network (default 1)",
    )
    parser.add_argument("--mode", choices=[*MODES, "retrieval"], default="train")
    parser.add_argument(
        "--lengths",
        choices=list(DISTRIBUTIONS),
        default="short",
        help="the kind of data to predict times for (default: short prompts)",
    )
    parser.add_argument(
        "--search",
        action="store_true",
        help="try mesh shapes, rows per chip and remat policies, and rank what fits",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON line and nothing else")
    args, rest = parser.parse_known_args(dialect.in_own_words(argv, WORDS))
    if unknown := [item for item in rest if not (item.startswith("--config.") and "=" in item)]:
        parser.error(
            f"unknown arguments {' '.join(unknown)}; a field of the config is changed with "
            "--config.FIELD=VALUE"
        )
    if args.search and args.mode == "retrieval":
        parser.error(
            "--search is for training and scoring: a search for neighbors has no settings to choose"
        )
    if args.slices > 1 and args.mode == "retrieval":
        parser.error("--slices is for training and scoring: a search for neighbors is on one slice")
    overrides = [item.removeprefix("--config.") for item in rest]
    complaints = errors.Complaints()
    topology = complaints.of(describe, args.topology, args.slices)
    config = complaints.of(load_config, args.config, args.topology, args.slices, overrides)
    # A config of retrieval is another one, with fields of its own.
    if config is not None and args.mode in MODES:
        complaints += fields.check(config)
    complaints.refuse()
    assert topology is not None, "its refusal would have been raised"
    # Each way to look at a config brings its own text for a reader.
    if args.mode == "retrieval":
        result, text = retrieval.measure(config, topology), retrieval.text
    elif args.search:
        result, text = search.search(config, topology, args.mode, args.lengths), search.text
    else:
        result, text = measure.measure(config, topology, args.mode, args.lengths), measure.text
    if args.json:
        print(json.dumps(_rounded({"config": args.config, **result})))
    else:
        print(text(result))
    # A script that asks for a verdict reads it from the exit code.
    return int(not result["fits"])


def _rounded(value: Any) -> Any:
    """Floats to six digits: nothing here is known better."""
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(item) for item in value]
    if isinstance(value, float):
        return float(f"{value:.6g}")
    return value


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
