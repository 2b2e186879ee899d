"""Train a Bradley-Terry reward model.

    python -m rewardjax.train --model Qwen/Qwen3-0.6B --data pairs.jsonl --held-out 5% \
        --output runs/mine
    python -m rewardjax.train --config configs/gsm.py --output runs/gsm --set schedule.peak=1e-4
    python -m rewardjax.train --config configs/gsm.py --show

The loop is in `training/loop.py`. A run that finds checkpoints in its workdir (`--workdir` is
another word for `--output`) continues where they end. Without a config, `own_data.py` is it.
`--show` prints every setting, with a sentence on it and where its value came from.
"""

import json
import sys
import time

from absl import app, flags, logging
from ml_collections import config_flags

from rewardjax import config as config_lib
from rewardjax import defaults, own_data
from rewardjax.command import errors, terminal

# Flags that all verbs share -> the fields that they set here.
WORDS = {"model": "config.model.folder", "data": "config.data.source", "output": "workdir"}


def main(argv: list[str]) -> None:
    """Run the command."""
    began = time.monotonic()
    if flags.FLAGS.show:
        show()
        return
    if not flags.FLAGS.workdir:
        raise ValueError("--output FOLDER (or --workdir) is missing: where the run is kept")
    # Here, so that a wrong flag is told before JAX has started.
    import jax

    from rewardjax.parallel import distributed
    from rewardjax.training import loop

    logging.set_verbosity(logging.WARNING)  # Orbax reports every file it writes
    distributed.initialize()
    summary = loop.run(flags.FLAGS.config, flags.FLAGS.workdir, began)
    if jax.process_index() == 0:
        print(json.dumps(summary))


def show() -> None:
    """Print every setting of the config."""
    from rewardjax.reporting import settings

    file = config_flags.get_config_filename(flags.FLAGS["config"])
    functions = defaults.TRAINING.items()
    shown = settings.of_config(flags.FLAGS.config, file, defaults.training, functions)
    terminal.show(settings.text(shown))


if __name__ == "__main__":
    with errors.one_line("rewardjax.train"):
        # config_flags looks at what Python was started with.
        sys.argv[1:] = own_data.with_config(sys.argv[1:], WORDS)
        config_flags.DEFINE_config_file(
            "config",
            None,
            "Path of a config file, with its argument: configs/gsm.py:tiny",
            lock_config=True,
        )
        flags.DEFINE_string(
            "workdir",
            None,
            "Where checkpoints, metrics, plots and the report go; the same folder again resumes.",
        )
        flags.DEFINE_bool("show", False, "Print every setting and stop.")
        app.run(main, flags_parser=config_lib.parse_flags)
