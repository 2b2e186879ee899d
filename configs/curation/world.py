"""Both stages of curation on the embedded world, with simulated people and scripted judges.

    python -m rewardjax.curation.judges.scripted_server --port 8100 \\
        --source "world:train?num=3000&seed=1" --source "world:train?num=3000&seed=1001" \\
        --judge sharp:accuracy=0.8 --judge longwinded:accuracy=0.75,length_bias=0.3 \\
        --judge lopsided:accuracy=0.75,position_bias=0.3 &
    python -m rewardjax.curate run runs/curation --config configs/curation/world.py --plan

`url` says where the judges are, `tiny` makes it a matter of seconds, with a model too small to
learn anything. `batches` is for judges that are asked by `curate batch`.
"""

from rewardjax.config import Config, parse_arg
from rewardjax.curation.defaults import curation
from rewardjax.defaults import WORLD

NAMES = ("sharp", "longwinded", "lopsided")
HARD, WILD = (
    "0.4*honest+0.2*random:0.5+0.4*style:1",
    "0.1*honest+0.4*random:0.5+0.5*style:1",
)  # about 27% and 41% wrong


def get_config(arg: str | None = None) -> Config:
    args = parse_arg(arg, tiny=False, batches=False, url="http://127.0.0.1:8100/v1", seed=1)
    config = curation()
    config.seed = args.seed
    num = 60 if args.tiny else 3000
    config.sources = {
        "hard": dict(
            source=f"world:train?num={num}&labels={HARD}&seed={args.seed}", entry="unverified"
        ),
        "wild": dict(
            source=f"world:train?num={num}&labels={WILD}&seed={args.seed + 1000}", entry="wild"
        ),
    }
    config.judges = tuple(
        dict(
            name=name,
            model=name,
            base_url=args.url,
            samples=2,
            max_tokens=200,
            price_input=0.1,
            price_output=0.4,
        )
        for name in NAMES
    )
    if args.batches:
        # No server is asked which format works, so it has to be said.
        config.judges = tuple(dict(judge, answer_format="json_schema") for judge in config.judges)
    train = config.train
    train.compute.update(dtype="float32", remat="none")
    train.data.max_length = 256
    train.batch.update(pairs=24, row_length=256, pairs_per_row=8, rows=4)
    train.schedule.peak = 1e-3
    train.eval_every = train.checkpoint.every = 10
    train.log.writers.tensorboard = False
    if args.tiny:
        config.stage1.update(iterations=1, first=24, budget=12)
        # The model learns nothing, so that no gate would let it decide.
        config.gates.update(best_accuracy=None, gold_accuracy=None, flipped=None)
        config.gates.agreement.update(models=None, flips=None)
        # A model from scratch brings no tokenizer of its own.
        train.tokenizer.folder = WORLD
        train.model.update(folder=None, init_head=False, variant="tiny-qwen3")
        train.model.changes.update(vocab_size=1024, width=16, mlp_width=32)
        train.batch.update(pairs=8, rows=8)
        train.eval_every = train.checkpoint.every = 2
    return config
