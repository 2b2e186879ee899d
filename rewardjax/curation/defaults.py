"""The complete curation config: every field that `curate run` reads, to be changed one by one."""

from ml_collections import ConfigDict, FieldReference
from ml_collections.config_dict import placeholder

from rewardjax import defaults
from rewardjax.config import Config
from rewardjax.defaults import Function

# Sections that are the keyword arguments of functions, each with what the stages pass themselves.
# What people are asked and how simulated ones answer stands in one section.
CURATION = {
    "clean": (Function("rewardjax.curation.cleaning.clean:clean", ("store", "engine", "running")),),
    "engine": (Function("rewardjax.engine.executors:Engine", ()),),
    "people": (
        Function("rewardjax.curation.people:queue", ("store", "pair_ids", "gold", "seed", "most")),
        Function("rewardjax.curation.people:simulate", ("tasks", "truth", "seed")),
    ),
}


def curation() -> Config:
    """Make the config. A section is the keyword arguments of the function named above it."""
    return ConfigDict(
        dict(
            seed=0,
            # Name -> dict(source=..., entry="unverified" | "wild" | "gold"), for
            # data.sources.open_source and intake.intake.take_in; split=... where the source has
            # several, columns=... and labels=... where only its owner knows what they mean.
            sources={},
            # cleaning.clean.clean
            clean=dict(
                benchmarks={},
                n=13,
                modes=("paper", "strict"),
                # Least similarity (0.8, say) of pairs of which only one stays; None: all stay.
                near=placeholder(float),
                pii=FieldReference("rewardjax.curation.cleaning.personal_data:find_pii"),
                # Checks whose findings keep a pair out until `curate review --restore`; add "pii"
                # or "judge_directed", which else are only flagged.
                hold=("contaminated", "near_duplicate"),
            ),
            # engine.executors.Engine: where pairs are cleaned, tagged, judged and embedded. "" in
            # this process; "local", "slurm" or "ray" with further options of that executor.
            engine=dict(name="", tasks=1, options={}),
            # judges.client.Judge, one dict each; `prompt` names what it is told (judge_prompts.py).
            # `first` and `last` are the iterations in which it is asked (stages/panels.py).
            judges=(),
            # The same for who describes pairs; empty: the judges do.
            taggers=(),
            # judges.protocol.panel. Options of both methods side by side; one that the method does
            # not have is refused when it is set.
            panel=dict(
                method="consistency",
                threshold=placeholder(float),
                certainty=placeholder(float),
                smoothing=placeholder(float),
                weights={},  # voter ("judge:NAME") -> how much it counts
            ),
            # How much of what the judges are asked must come to an answer (stages/quorum.py), or
            # the run pauses.
            judging=dict(
                # Judges that must have answered about a pair; None: half of the panel.
                quorum=placeholder(int),
                # Least share of its questions that each judge must have answered so that it can be
                # read, and of pairs that must have a quorum.
                readable=0.5,
                covered=0.9,
            ),
            # Whether the taggers are asked for attributes before retrieval.
            tag=True,
            # Gold examples that a judge is shown, unless the judge has `shots` of its own.
            shots=4,
            people=dict(
                # "simulated", or "files": a queue is written, and `curate answers` takes what
                # comes back.
                kind="simulated",
                # Of files: the share of a step's tasks that must be answered before it closes.
                quota=1.0,
                # An annotator whose accuracy on checks is below this, after `suspend_after` of
                # them, gets no more tasks, and their votes do not count. None: nobody.
                suspend_below=placeholder(float),
                suspend_after=10,
                # people.queue
                annotators=("one", "two"),
                overlap=0.1,
                checks=0.05,
                # What simulated people know: the world's oracle, or a JSONL file of pair_id and
                # value; and how often they say it (people.simulate).
                truth="world",
                accuracy=0.92,
                p_undecided=0.0,
            ),
            # "static" or "backbone" (retrieval/embed.py), "minilm" or "encoder"
            # (retrieval/encoder.py), or "http" (retrieval/http_embedder.py). Backbone and encoder
            # are models in `folder`.
            embedder=dict(
                name="static",
                # Numbers of a vector: of static ones, kept of a backbone's, or asked of a server;
                # None: the model's own.
                width=FieldReference(256),
                folder="",
                # retrieval.http_embedder.EmbeddingServer
                server=dict(
                    model="",
                    base_url="",
                    revision="",
                    batch=64,
                    max_in_flight=4,
                    timeout=120.0,
                    retries=9,
                    price_input=0.0,
                    key_env="OPENAI_API_KEY",
                    extra={},
                ),
            ),
            # Whether a reward model's p is sigmoid(margin / T), with T fitted on gold pairs that it
            # was not trained on, before k(p) and stage2.band. False: T = 1, the paper's raw
            # sigmoid, which depends on the scale that margins happen to have.
            calibrate=True,
            stage1=dict(
                # After the first, which labels `first` pairs at random.
                iterations=2,
                first=500,
                # Pairs to label per iteration. Retrieval widens k_max until they are filled.
                budget=500,
                human_share=0.4,
                # "retrieval", "uncertainty", "diversity" or "random".
                select="retrieval",
                # Neighbors that an error on gold pulls (paper, section 1.3).
                k_max=8,
            ),
            stage2=dict(
                # A preset of decision_tables.PRESETS, or rules of your own; "" for no Stage 2.
                table=FieldReference("frugal", field_type=object),
                # A reward model within this distance of p = 0.5 is `even`: either of them, in the
                # probability that `calibrate` says.
                band=0.0,
                # Folds in which the gold RM is cross-fitted on its own training pairs, for its
                # accuracy and its temperature: K models of (K - 1) / K of the pairs each, so that 2
                # cost as much as training it once more. 0: neither is known.
                folds=2,
            ),
            # What must be shown before Stage 2 turns labels (ledger/gates.py), or the run pauses.
            # Each is a share whose 95% interval must lie above the number; None turns a gate off.
            gates=dict(
                # Of gold pairs that the model is right about. The best RM's checkpoint was chosen
                # on them, so its share is a little too high. 0.5: a coin's.
                best_accuracy=FieldReference(0.5),
                gold_accuracy=FieldReference(0.5),
                agreement=dict(
                    # Gold RM and best RM about the wild pool.
                    models=FieldReference(0.5),
                    # Judges about the new label of a flip, where the table had them asked.
                    flips=FieldReference(0.5),
                    # Two judges about one wild pair: they are asked where models err, so what is
                    # usual depends on the table. Off until you have seen it.
                    judges=placeholder(float),
                    # Two people about one pair: few pairs have two, and how few is people.overlap.
                    people=placeholder(float),
                ),
                # The most of the kept and flipped labels that may be flipped: an upper limit, by
                # the share itself. The paper flips 14M of 40M; with more than half, reversed labels
                # or models are likelier than labels that bad.
                flipped=FieldReference(0.5),
                audit=dict(
                    # So many pairs that would be kept, and so many that would be flipped, go to
                    # people first. 0: none, as people's answers cost money and days; 100 of each
                    # show a precision to within 10 points.
                    pairs=0,
                    # The share of them that people confirm.
                    keep=FieldReference(0.5),
                    flip=FieldReference(0.5),
                ),
            ),
            # Dollars; None: no limit.
            budget=dict(judges=placeholder(float), people=placeholder(float)),
            # Dollars per pair (paper, appendix F): a label by a person, and by judges in Stage 1
            # and 2 where they have no token prices.
            prices=dict(gold=0.5, silver=0.05, stage2=0.01),
            # rewardjax.train; its data and held-out sets are filled in.
            train=defaults.training(),
        )
    )
