"""Train a Bradley-Terry reward model.

    python -m rewardjax.train --config=configs/gsm.py --workdir=runs/gsm
    [--config.schedule.peak=1e-4]

The loop is in `training/loop.py`. A run that finds checkpoints in its workdir continues where they
end.
"""

import json
import time

from absl import app, flags, logging
from ml_collections import config_flags

from rewardjax import config as config_lib
from rewardjax.command import errors


def main(argv: list[str]) -> None:
    """Run the command."""
    began = time.monotonic()
    # Here, so that a wrong flag is told before JAX has started.
    import jax

    from rewardjax.parallel import distributed
    from rewardjax.training import loop

    logging.set_verbosity(logging.WARNING)  # Orbax reports every file it writes
    distributed.initialize()
    summary = loop.run(flags.FLAGS.config, flags.FLAGS.workdir, began)
    if jax.process_index() == 0:
        print(json.dumps(summary))


if __name__ == "__main__":
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
    flags.mark_flags_as_required(["config", "workdir"])
    with errors.one_line("rewardjax.train"):
        app.run(main, flags_parser=config_lib.parse_flags)
