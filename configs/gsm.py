"""A small reward model from scratch on grade-school maths, right over wrong solutions.

Up to 44 models answered each problem.

    python -m rewardjax.train --config=configs/gsm.py --workdir=runs/gsm

Reads the ZeroEval responses and the real Qwen3 tokenizer from `../shared/data`; problems are split,
never responses. About 3 minutes on 2 CPU cores (docs/log.md has the result). `python -m
benchmarks.best_of_n` draws the best-of-N curve of the run.
"""

from rewardjax.config import Config, parse_arg
from rewardjax.defaults import held_out, training

HELD_OUT = 0.85  # prompts whose hash falls beyond this fraction are held out


def get_config(arg: str | None = None) -> Config:
    args = parse_arg(arg, tiny=False, shared="../shared/data", epochs=1.0)
    config = training()
    config.tokenizer.update(folder=f"{args.shared}/tokenizers/qwen3", pad_token="<|vision_pad|>")
    config.model.update(folder=None, init_head=False, variant="tiny-qwen3")
    config.model.changes.update(
        vocab_size=151_680, width=128, mlp_width=384, layers=4, heads=4, kv_heads=2, head_dim=32
    )
    config.compute.update(dtype="float32", remat="none")
    config.data.update(
        source=f"{args.shared}/zeroeval/gsm_responses.jsonl.gz",
        max_length=512,
        pairs_per_group=1 if args.tiny else 4,
        part=(0.0, HELD_OUT),
    )
    config.batch.update(pairs=32, row_length=1024, pairs_per_row=16, rows=4)
    config.epochs = args.epochs
    config.steps = 4 if args.tiny else 0
    config.schedule.update(name="cosine", peak=1e-3, warmup_fraction=0.1)
    config.optimizer.weight_decay = 0.1
    config.evals = {
        "heldout": held_out(config, part=(HELD_OUT, 1.0), pairs_per_group=2 if args.tiny else 4)
    }
    config.eval_every = 2 if args.tiny else 25
    config.checkpoint.update(
        every=2 if args.tiny else 25, keep=dict(keep=2, best="heldout/accuracy")
    )
    return config
