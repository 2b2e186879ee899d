"""A reward model from preference pairs of your own: copy this file and change it.

    python -m rewardjax.train --config=configs/pairs.py --workdir=runs/pairs \
        --model Qwen/Qwen3-0.6B --data pairs.jsonl

`held_out=0.1` measures accuracy on a tenth of the prompts, which training does not see. Without a
file of one's own, `--held-out 10%` says the same.
"""

from rewardjax.config import Config, parse_arg
from rewardjax.own_data import own_data


def get_config(arg: str | None = None) -> Config:
    args = parse_arg(arg, held_out=0.05)
    config = own_data(args.held_out)
    # What one usually changes first; `rewardjax train --show` prints the rest.
    config.epochs = 1.0
    config.schedule.peak = 1e-5
    config.batch.pairs = 64
    config.eval_every = 50
    return config
