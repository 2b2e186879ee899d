"""The ablations of the curation pipeline on the embedded world; `python -m
experiments.curation_ablation` runs them all.

    curves       original, filtered and flipped at the seed, each iteration and Stage 2, with people and without (the paper's figure 7)
    protocol     who labels iteration 1: nobody, judges, people, both, both with retrieval (figure 8)
    selection    retrieval against random, uncertainty and diversity at one budget
    filters      Stage 2 by the gold RM alone, the best RM alone, both
    quantity     more pairs at a fixed quality of labels

The backbone has read right and wrong answers: 72 pairs of which a third are wrong at random take a
reward model to its ceiling. What can mislead it is a pattern, so original labels err toward style,
as people's and models' preferences do, and so do the judges, less.

A field is read by `experiments/ablation/pipeline.py`. Label qualities are specifications of
`rewardjax/data/world/labels.py`.
"""

from ml_collections import ConfigDict

from rewardjax.config import Config, chain, fixed, parse_arg, product
from rewardjax.config import sweep as vary

SEEDS = tuple(range(4, 10))  # those before were looked at when the settings below were chosen
HARD, WILD = (
    "0.2*honest+0.8*style:1",
    "0.1*honest+0.1*random:0.5+0.8*style:1",
)  # about 34% and 40% wrong, mostly for style
JUDGE = "0.5*style:0.9+0.5*random:0.3"  # about a third wrong; what three of them share is the weakness for style


def get_config(arg: str | None = None) -> Config:
    args = parse_arg(arg, scale=1.0)
    return ConfigDict(
        dict(
            scale=args.scale,  # of every number of pairs below
            experiment="pipeline",  # or "labels": unverified.num pairs labeled by unverified.labels, no curation
            seed=0,
            backbone="assets:world",
            heldout=400,
            people=True,
            unverified=dict(num=600, labels=HARD),
            wild=dict(num=240, labels=WILD),
            voters=dict(
                human="random:0.08", judges=(JUDGE, JUDGE, JUDGE)
            ),  # world.opinion, world.panel
            stage1=dict(
                iterations=2, first=72, budget=60, human_share=0.4, select="retrieval", k_max=8
            ),
            stage2=dict(table="flip_both"),  # a preset of curation/decide.py; "" leaves Stage 2 out
            model=dict(
                epochs=1.0, batch=6, rate=1e-4
            ),  # models.train; at 1e-3 more pairs made worse models, 90% right as they were
            sets=("original", "filtered", "flipped"),  # what reward models are trained on
            measure="all",  # stages after which they are; or "last"
        )
    ).lock()


ITERATION_1 = fixed(**{"stage1.iterations": 1, "stage2.table": "", "measure": "last"})


def sweep_curves():
    people = fixed(people=True)
    without = fixed(people=False, sets=("filtered", "flipped"), **{"stage2.table": "no_human"})
    return product(vary("seed", SEEDS), chain(people, without))


def sweep_protocol():
    labelers = chain(
        fixed(
            people=False, sets=("original", "filtered"), **{"stage1.select": "random"}
        ),  # unverified pairs; judged pairs
        fixed(
            people=True,
            sets=("filtered",),
            **{"stage1.select": "random", "stage1.human_share": 1.0},
        ),
        fixed(people=True, sets=("filtered", "flipped"), **{"stage1.select": "random"}),
        fixed(people=True, sets=("filtered", "flipped"), **{"stage1.select": "retrieval"}),
    )
    return product(vary("seed", SEEDS), ITERATION_1, labelers)


def sweep_selection():
    strategies = vary("stage1.select", ("retrieval", "random", "uncertainty", "diversity"))
    return product(
        vary("seed", SEEDS), ITERATION_1, fixed(sets=("filtered", "flipped")), strategies
    )


def sweep_filters():
    tables = vary("stage2.table", ("gold_rm", "best_rm", "both_rms"))
    return product(vary("seed", SEEDS), fixed(measure="last", sets=("filtered", "flipped")), tables)


def sweep_quantity():
    numbers, qualities = (
        vary("unverified.num", (60, 120, 240, 480)),
        vary("unverified.labels", (WILD, "random:0.1")),
    )
    return product(vary("seed", SEEDS), fixed(experiment="labels"), qualities, numbers)
