"""Curation of your own files: real pairs, people who answer by file, judges on two servers.

    python -m experiments.curation_walk --data ../shared/data

prepares such files and goes through all of it; `data` is the folder that holds them. `url` says
where the judges are, and `added`, where it is given, where one more judge is.
"""

from rewardjax.config import Config, parse_arg
from rewardjax.curation.defaults import curation
from rewardjax.defaults import WORLD

# What the columns of PandaLM's three annotators mean. LLMBar's 1 and 2 are read by themselves.
ANNOTATORS = "{0: tie, 1: first, 2: second}"
LABELS = {"pandalm": ANNOTATORS}
NAMES = ("hh", "pandalm", "llmbar")


def get_config(arg: str | None = None) -> Config:
    args = parse_arg(arg, data="runs/walk/data", url="http://127.0.0.1:8100/v1", added="")
    config = curation()
    for name in NAMES:
        for entry in ("unverified", "wild"):
            path = f"{args.data}/{name}-{entry}.jsonl"
            source = dict(source=path, entry=entry, labels=LABELS.get(name))
            config.sources[f"{name}-{entry}"] = source
    servers = {"one": args.url, "two": args.url}
    if args.added:
        servers["three"] = args.added
    config.judges = tuple(
        dict(
            name=name,
            model=name,
            base_url=url,
            samples=2,
            max_tokens=200,
            price_input=0.1,
            price_output=0.4,
        )
        for name, url in servers.items()
    )
    # Five percent of checks would be a handful here, from which nobody learns anything.
    config.people.update(kind="files", annotators=("ana", "ben"), overlap=0.1, checks=0.1)
    config.stage1.update(iterations=1, first=160, budget=120)
    # A reward model this small, from scratch, is a stand-in for a real one: it takes minutes.
    train = config.train
    train.tokenizer.folder = WORLD
    train.model.update(folder=None, init_head=False, variant="tiny-qwen3")
    train.model.changes.update(vocab_size=1024, width=32, mlp_width=96)
    train.compute.update(dtype="float32", remat="none")
    train.data.max_length = 1024
    train.batch.update(pairs=16, row_length=1024, pairs_per_row=8, rows=2)
    train.epochs = 2.0
    train.schedule.peak = 2e-3
    train.eval_every = train.checkpoint.every = 10
    train.log.writers.tensorboard = False
    return config
