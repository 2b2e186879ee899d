"""The complete configs, for an experiment to change: all that `train` and `evaluate` read.

Most sections are the keyword arguments of one function, which the tables below name, so that a
misspelt field is an error and the function's docstring explains the fields. A field that may be
None has a type all the same, so that a flag can set it: `placeholder(int)` starts as None,
`FieldReference(1.0)` starts with a value and may be set to None. None is passed on like any other
value, and everywhere means what leaving the argument out means.
"""

import copy
from typing import Any, NamedTuple

from ml_collections import ConfigDict, FieldReference
from ml_collections.config_dict import placeholder

from rewardjax.config import Config

WORLD = "assets:world"  # the tokenizer and the pretrained backbone that ship with the package


class Function(NamedTuple):
    """The function whose keyword arguments a section holds, but for what the command passes."""

    name: str  # "module:function", not imported here: reading a config shall not start jax
    filled_in: tuple[str, ...] = ()  # what the command passes itself


TRAINING = {
    "tokenizer": Function("rewardjax.models.build:load_tokenizer", ("model_folder",)),
    "model": Function("rewardjax.models.build:build_model", ("compute", "layout", "seed")),
    "model.changes": Function("rewardjax.models.config:DecoderConfig", ("family", "rope_scaling")),
    "compute": Function("rewardjax.models.config:Compute"),
    "mesh": Function("rewardjax.parallel.mesh:make_mesh", ("devices",)),
    "data": Function("rewardjax.data.prepare:prepare", ("tokenizer", "shards", "spread")),
    "batch": Function(
        "rewardjax.data.pipeline:train_steps",
        (*("data", "seed", "num_steps", "first_step", "shard"), *("share", "threads", "prefetch")),
    ),
    "loss": Function("rewardjax.training.losses:get"),
    "schedule": Function("rewardjax.training.optim:make_schedule", ("total_steps",)),
    "optimizer": Function("rewardjax.training.optim:make_optimizer", ("schedule", "params")),
    "checkpoint.keep": Function(
        "rewardjax.models.checkpoints.checkpoints:open_checkpoints", ("folder",)
    ),
    "skips": Function(
        "rewardjax.training.faults.not_finite:SkipBudget", ("total_steps", "skipped")
    ),
    "recheck": Function("rewardjax.training.faults.silent_corruption:is_due", ("step",)),
    "hang": Function("rewardjax.parallel.watchdog:watching"),
    "log.writers": Function(
        "rewardjax.training.metrics:MetricWriter", ("workdir", "run", "start_step", "config")
    ),
}
EVALUATION = {
    "mesh": TRAINING["mesh"],
    "scorer": Function("rewardjax.scoring.model:load", ("folder", "mesh")),
    "counterfactual": Function(
        "rewardjax.evaluators.audits.run:counterfactual_of", ("examples", "score")
    ),
}


def training() -> Config:
    """The config of `rewardjax.train`.

    Fields:
        seed: of the weights that are initialized and of the order of the pairs.
        steps: optimizer steps of the run; 0 for as many as the epochs need.
        epochs: how often each pair is used.
        evals: name -> a held-out set, with the fields of `data`.
        benchmarks: name -> a benchmark to follow while training: `benchmark`, its module, and the
            arguments of that module's load.
        eval_every: steps between evaluations; there is one before the first step and one after
            the last too, whatever this is.
        checkpoint.every: steps between checkpoints; 0 for none by number. The last step has one.
        checkpoint.minutes: between checkpoints; 0 for none by the clock.
        log.profile: first:last, the steps that are recorded for TensorBoard's profiler.
    """
    return ConfigDict(
        dict(
            seed=0,
            tokenizer=dict(
                folder=placeholder(str),
                pad_token=placeholder(str),
                date=placeholder(str),
                eos_token=placeholder(str),
            ),
            model=dict(
                folder=FieldReference(WORLD),
                init_head=True,
                variant=placeholder(str),
                changes=dict(  # of the variant
                    vocab_size=placeholder(int),
                    width=placeholder(int),
                    mlp_width=placeholder(int),
                    layers=placeholder(int),
                    heads=placeholder(int),
                    kv_heads=placeholder(int),
                    head_dim=placeholder(int),
                    rope_theta=placeholder(float),
                    norm_eps=placeholder(float),
                    tied=placeholder(bool),
                    max_positions=placeholder(int),
                ),
            ),
            compute=dict(dtype="bfloat16", remat="full", scan=True, attention="auto"),
            mesh=dict(data=-1, fsdp=1, tensor=1),
            data=dict(
                source="",
                max_length=1024,
                max_pair_length=placeholder(int),
                over_long="drop",
                pairs_per_group=placeholder(int),
                # Any value is taken and `open_source` says what is wrong with it: this was the
                # name of `part` once, and a tuple here deserves a better answer than its type.
                split=placeholder(object),
                part=(0.0, 1.0),
                columns=placeholder(object),
                labels=placeholder(object),
                max_dropped=0.2,
                seed=0,
                cache="runs/cache",
                workers=0,
                # More is for `rewardjax.prepare`, on a machine without idle accelerators.
                most_untokenized=FieldReference(1_000_000),
            ),
            # None of the three for rows: as the data need it and memory allows
            # (training/preflight/row_fit.py and row_memory.py).
            batch=dict(
                pairs=256,
                row_length=FieldReference(1024),
                pairs_per_row=FieldReference(32),
                rows=FieldReference(8),
                responses=2,
            ),
            steps=0,
            epochs=1.0,
            # Options of all losses side by side. One that the named loss does not have is refused
            # when it is set.
            loss=dict(
                name="bradley_terry",
                margin_scale=placeholder(float),
                temperature=placeholder(float),
                label_smoothing=placeholder(float),
                centering=placeholder(float),
                rao_kupper=placeholder(float),
                davidson=placeholder(float),
                gamma=placeholder(float),
                gap=placeholder(float),
                t=placeholder(float),
                length_weight=placeholder(float),
            ),
            schedule=dict(
                name="linear",
                peak=1e-4,
                warmup_steps=placeholder(int),
                warmup_fraction=FieldReference(0.05),
                end_fraction=0.0,
            ),
            optimizer=dict(
                b1=0.9,
                b2=0.999,
                eps=1e-8,
                weight_decay=0.0,
                clip_norm=FieldReference(1.0),
                mu_dtype=FieldReference("float32"),
                freeze=(),
                lr_factors=(),
                decay_exclude=placeholder(tuple),
            ),
            evals={},  # see `held_out`
            benchmarks={},  # see `evaluators.load`
            eval_every=100,
            checkpoint=dict(every=0, minutes=20.0, keep=dict(keep=2, best=placeholder(str))),
            # Steps that are not finite: their updates are left out, so many may be.
            skips=dict(in_a_row=3, share=0.001),
            recheck=dict(every=0),
            hang=dict(minutes=30.0),
            log=dict(
                # Arguments of `wandb.init` are a value too.
                writers=dict(tensorboard=True, wandb=FieldReference(False, field_type=object)),
                profile="",
            ),
        )
    )


def held_out(config: Config, **changes: Any) -> Config:
    """The training data's settings with `changes`: the usual way to name a held-out set."""
    data = copy.deepcopy(config.data)  # a copy that keeps the types of fields that hold None
    data.update(changes)
    return data


def evaluation() -> Config:
    """The config of `rewardjax.evaluate`, without benchmarks.

    Fields:
        model: a Hugging Face folder, ORG/NAME of the hub, or the workdir of a run.
        name: what tables call the model; by default the folder's name.
        output: the folder of results; by default runs/eval/NAME, such as quickstart-hf for
            runs/quickstart/hf.
        max_length: tokens of one conversation; 0 for the contract's.
        over_long: "left" takes the prompt's oldest tokens away; "drop" leaves such responses
            without a score; "reference" cuts where and at the length that each benchmark's own code
            does (`max_length` overrules it), for reproducing published numbers.
        only: NAME or NAME/CATEGORY of benchmarks; () for all.
        limit: examples of each benchmark; 0 for all.
        benchmarks: name -> `benchmark`, its module, and the arguments of that module's load.
        overlap: name of training data -> the arguments of audits.overlap.open_training, to look for
            prompts that benchmarks share with them.
        against: output folders of other evaluations, to compare with in the report.
    """
    return ConfigDict(
        dict(
            model="",
            name="",
            output="",
            mesh=dict(data=-1, fsdp=1, tensor=1),
            scorer=dict(dtype=placeholder(str), step=placeholder(int), tokens_per_device=16_384),
            max_length=0,
            over_long="left",
            only=(),
            limit=0,
            benchmarks={},
            counterfactual=dict(benchmarks=(), most=200),
            overlap={},
            against=(),
        )
    )
