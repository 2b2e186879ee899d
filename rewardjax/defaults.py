"""The complete training config: every field that `rewardjax.train` reads, for an experiment to change field by field."""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from rewardjax.config import Config

WORLD = "assets:world"  # the tokenizer and the pretrained backbone that ship with the package


def training() -> Config:
    """Each sub-config is the keyword arguments of the function named beside it."""
    return ConfigDict(
        dict(
            seed=0,
            tokenizer=dict(folder=WORLD),  # data.chat.ChatTokenizer.load
            model=dict(
                folder=WORLD, init_head=True, variant=None, changes=None
            ),  # train.build_model
            compute=dict(
                dtype="bfloat16", remat="full", scan=True, attention="auto"
            ),  # models.config.Compute
            mesh=dict(data=-1, fsdp=1, tensor=1),  # mesh.make_mesh
            data=dict(
                source="",
                max_length=1024,
                max_pair_length=None,
                over_long="drop",
                pairs_per_group=None,
                split=(0.0, 1.0),
                cache="runs/cache",
            ),  # data.tokenize.prepare
            batch=dict(
                pairs=256, row_length=1024, pairs_per_row=32, rows=8
            ),  # data.pipeline.train_steps
            steps=0,  # 0: as many as `epochs` need
            epochs=1.0,
            loss=dict(name="bradley_terry"),  # losses.get
            schedule=dict(name="linear", peak=1e-4, warmup_fraction=0.05),  # optim.make_schedule
            optimizer=dict(
                weight_decay=0.0, clip_norm=1.0, mu_dtype="float32"
            ),  # optim.make_optimizer
            evals={},  # name -> data.tokenize.prepare, all held-out sets
            benchmarks={},  # name -> evaluators.load, all benchmarks to follow during training
            eval_every=100,
            checkpoint=dict(
                every=0, keep=dict(keep=2, best=None)
            ),  # every: steps, 0 for the last step only; keep: checkpoint.open_manager
            log=dict(writers=dict(tensorboard=True, wandb=False)),  # metrics.MetricWriter
        )
    )


def held_out(config: Config, **changes) -> dict:
    """The training data's settings with `changes`: the usual way to name a held-out set."""
    return {**config.data.to_dict(), **changes}


def evaluation() -> Config:
    """The complete config of `rewardjax.evaluate`, without benchmarks."""
    return ConfigDict(
        dict(
            model="",  # a Hugging Face folder, or the workdir of a run
            name="",  # what tables call the model; default: the folder's name
            output="",  # default: runs/eval/ and the folder's name
            mesh=dict(data=-1, fsdp=1, tensor=1),  # mesh.make_mesh
            scorer=dict(
                dtype=placeholder(str), step=placeholder(int), tokens_per_device=16_384
            ),  # scorer.load; dtype: the contract's
            max_length=0,  # tokens of one conversation; 0: the contract's
            over_long="left",  # as the references: the prompt's oldest tokens go; "drop" leaves such responses without a score
            benchmarks={},  # name -> evaluators.load
            counterfactual=dict(
                benchmarks=(), most=200
            ),  # evaluators.audit.counterfactual_of: on which of the benchmarks
            overlap={},  # name of training data -> data.sources.open_source
            against=(),  # output folders of other evaluations, to compare with in the report
        )
    )
