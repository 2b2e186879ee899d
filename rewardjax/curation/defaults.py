"""The complete curation config: every field that `rewardjax.curate run` reads, for an experiment to change field by field."""

from ml_collections import ConfigDict, FieldReference
from ml_collections.config_dict import placeholder

from rewardjax import defaults
from rewardjax.config import Config


def curation() -> Config:
    """Each sub-config is the keyword arguments of the function or class named beside it, where one is."""
    return ConfigDict(
        dict(
            seed=0,
            sources={},  # name -> dict(source=..., entry="unverified" | "wild"): data.sources.open_source, intake.take_in
            clean=dict(
                benchmarks={},
                n=13,
                modes=("paper", "strict"),
                near=0.8,
                pii="rewardjax.curation.ledger.clean:find_pii",
                executor={},
            ),
            judges=(),  # client.Judge, one dict each; `prompt` names what it is told (judge_prompts.py)
            # protocol.panel. Options of both methods side by side; one that the method does not have is refused when it is set.
            panel=dict(
                method="consistency",
                threshold=placeholder(float),
                certainty=placeholder(float),
                smoothing=placeholder(float),
                weights={},  # voter ("judge:NAME") -> how much it counts
            ),
            tag=True,  # ask the judges for attributes before retrieval
            shots=4,  # gold examples that a judge is shown, unless the judge has `shots` of its own
            people=dict(
                kind="simulated",  # simulated: labeling.people; or files: a queue is written, and answers are waited for
                annotators=("one", "two"),
                overlap=0.1,  # humans.queue
                checks=0.05,
                truth="world",  # what a simulated annotator knows: the world's oracle, or a JSONL file of pair_id and value
                accuracy=0.92,
                p_undecided=0.0,
            ),
            embedder=dict(
                name="static", width=256, folder=""
            ),  # embed.static, or embed.backbone of `folder`
            stage1=dict(
                iterations=2, first=500, budget=500, human_share=0.4, select="retrieval", k_max=8
            ),
            stage2=dict(
                # A preset of decision_tables.PRESETS, or a tuple of rules; "" for no Stage 2.
                table=FieldReference("flip_both", field_type=object),
                band=0.0,
                # Of the gold RM on its own training pairs, for its temperature; 0: no cross-fit.
                folds=0,
            ),
            budget=dict(
                judges=placeholder(float), people=placeholder(float)
            ),  # dollars; None: no limit
            # Dollars per pair (paper, appendix F): a label by a person, and by judges in Stage 1 and 2 where they have no token prices.
            prices=dict(gold=0.5, silver=0.05, stage2=0.01),
            train=defaults.training(),  # rewardjax.train; its data and held-out sets are filled in
        )
    )
