"""Command line: tokenizer, train, export."""

import argparse
import pathlib

from rewardjax.command import errors
from rewardjax.data.world.tasks import TASKS
from rewardjax.tools.pretrain_world.export import export
from rewardjax.tools.pretrain_world.tokenizer import (
    TOKENIZER_NUM,
    train_tokenizer,
    write_tokenizer,
)
from rewardjax.tools.pretrain_world.train import train

# Whole numbers of `train` that need no explanation beyond their name.
INTEGERS = {
    "steps": 7000,
    "seed": 0,
    "width": 128,
    "layers": 7,
    "heads": 4,
    "kv_heads": 2,
    "mlp_width": 320,
    "rows": 12,
    "length": 192,
    "warmup": 50,
    "decay": 1500,
    "save_every": 100,
}


@errors.one_line("rewardjax.tools.pretrain_world")
def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="python -m rewardjax.tools.pretrain_world",
        description="Pretrain the world's tokenizer and language model.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    _add_tokenizer(commands)
    _add_train(commands)
    _add_export(commands)
    arguments = vars(parser.parse_args())
    command = arguments.pop("command")
    if command == "tokenizer":
        # No option: `export` records this seed and number as those of the shipped tokenizer.
        tokenizer = train_tokenizer(seed=0, num=TOKENIZER_NUM)
        write_tokenizer(tokenizer, pathlib.Path(arguments["output"]))
    elif command == "train":
        train(**arguments)
    else:
        export(**arguments)


def _add_tokenizer(commands) -> None:
    parser = commands.add_parser("tokenizer", help="train the tokenizer")
    parser.add_argument("--output", required=True)


def _add_train(commands) -> None:
    parser = commands.add_parser(
        "train",
        help="train the backbone, or go on",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "--output", required=True, help="a folder with tokenizer.json; state and log go there too"
    )
    parser.add_argument("--learning_rate", type=float, default=6e-3)
    parser.add_argument(
        "--repeat",
        type=float,
        default=0.2,
        help="share of the corpus that asks to repeat something",
    )
    parser.add_argument(
        "--tasks",
        default="+".join(TASKS),
        help="the tasks that the rest of the corpus is about, joined by +",
    )
    parser.add_argument(
        "--wrong_weight",
        type=float,
        default=2.0,
        help="weight of the probe that says where an answer goes wrong",
    )
    for name, default in INTEGERS.items():
        parser.add_argument(f"--{name}", type=int, default=default)


def _add_export(commands) -> None:
    parser = commands.add_parser("export", help="write the newest state as a Hugging Face folder")
    parser.add_argument("--run", required=True)
    parser.add_argument("--output", required=True)


if __name__ == "__main__":
    main()
