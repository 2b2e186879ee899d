"""The complete curation config: every field that `curate run` reads, to be changed one by one."""

from collections.abc import Iterator

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


def section_functions() -> Iterator[tuple[str, Function]]:
    """Each section with a function whose docstring has sentences on its fields."""
    for section, functions in CURATION.items():
        for function in functions:
            yield section, function
    yield "embedder.server", Function("rewardjax.curation.retrieval.http_embedder:EmbeddingServer")
    yield "train", Function("rewardjax.defaults:training")
    for section, function in defaults.TRAINING.items():
        yield f"train.{section}", function


def curation() -> Config:
    """The config of `rewardjax curate run`.

    Fields:
        seed: of the pairs that are drawn, and of simulated people.
        sources: name -> a source of pairs: `source`, what data/sources opens; `entry`, one of
            unverified, wild and gold; and, where they are needed, its `split`, `columns` and
            `labels`.
        judges: dicts with the fields of judges.client.Judge, such as `name`, `model`, `base_url`,
            `prompt`, and `first` and `last`, the iterations in which it is asked.
        taggers: dicts like those of `judges`, of who describes pairs; empty: the judges do.
        panel.method: how the judges' votes are merged: consistency or dawid_skene.
        panel.threshold: of consistency: the share of a judge's own samples that its opinion must
            pass, else it abstains; None: 0.5.
        panel.certainty: of dawid_skene: the least probability of a side, else it is a tie; None:
            0.6.
        panel.smoothing: of dawid_skene: prior counts of each cell of a judge's confusion matrix;
            None: 1.
        panel.weights: of dawid_skene: voter (judge:NAME) -> how much its votes count.
        judging.quorum: judges that must have answered about a pair; None: half of the panel.
        judging.readable: least share of its questions that each judge must have answered so that
            it can be read, or the run pauses.
        judging.covered: least share of the pairs that must have a quorum, or the run pauses.
        tag: whether the taggers are asked for attributes before retrieval.
        shots: gold examples that a judge is shown, unless the judge has `shots` of its own.
        people.kind: simulated; or files: a queue is written, and `curate answers` takes what comes
            back.
        people.quota: of files: the share of a step's tasks that must be answered before it closes.
        people.suspend_below: an annotator whose accuracy on checks is below this gets no more
            tasks, and their votes do not count; None: nobody.
        people.suspend_after: checks that an annotator must have had before that.
        people.truth: what simulated people know: world, the oracle of the embedded world, or a
            JSONL file of pair_id and value.
        embedder.name: static or backbone (retrieval/embed.py), minilm or encoder
            (retrieval/encoder.py), or http (retrieval/http_embedder.py).
        embedder.width: numbers of a vector: of static ones, kept of a backbone's, or asked of a
            server; None: the model's own.
        embedder.folder: the model of a backbone or an encoder.
        calibrate: whether a reward model's p is sigmoid(margin / T), with T fitted on gold pairs
            that it was not trained on, before k(p) and stage2.band; False: T = 1, the paper's raw
            sigmoid, which depends on the scale that margins happen to have.
        stage1.iterations: how many follow the first one.
        stage1.first: pairs that the first iteration labels at random.
        stage1.budget: pairs to label per iteration; retrieval widens k_max until they are filled.
        stage1.human_share: the share of them that people label; judges label the others.
        stage1.select: how they are chosen: retrieval, uncertainty, diversity or random.
        stage1.k_max: neighbors that an error on gold pulls (paper, section 1.3).
        stage2.table: a preset of decision_tables.PRESETS, or rules of your own; empty for no Stage
            2.
        stage2.band: a reward model within this distance of p = 0.5 is even: it prefers neither
            response, in the probability that `calibrate` says.
        stage2.folds: in which the gold reward model is cross-fitted on its own training pairs, for
            its accuracy and its temperature; 0: neither is known.
        gates.best_accuracy: share of gold pairs that the best reward model must be right about;
            None turns a gate off.
        gates.gold_accuracy: share of gold pairs that the gold reward model must be right about.
        gates.agreement.models: share of the wild pool on which these two models must agree.
        gates.agreement.flips: share of flipped pairs whose new label the judges must confirm, where
            the table had them asked.
        gates.agreement.judges: share of wild pairs on which two judges must agree.
        gates.agreement.people: share of pairs on which two people must agree.
        gates.flipped: the most of the kept and flipped labels that may be flipped.
        gates.audit.pairs: so many pairs that would be kept, and so many that would be flipped, go
            to people first; 0: none.
        gates.audit.keep: the share of the pairs to be kept that people must confirm.
        gates.audit.flip: the share of the pairs to be flipped that people must confirm.
        budget.judges: dollars that judges may cost; None: no limit.
        budget.people: dollars that people may cost; None: no limit.
        prices.gold: dollars per pair of a label by a person (paper, appendix F).
        prices.silver: dollars per pair of a label by judges in Stage 1, where they have no token
            prices.
        prices.stage2: dollars per pair of a label by judges in Stage 2, where they have no token
            prices.
    """
    return ConfigDict(
        dict(
            seed=0,
            sources={},
            # cleaning.clean.clean
            clean=dict(
                benchmarks={},
                n=13,
                modes=("paper", "strict"),
                near=placeholder(float),
                pii=FieldReference("rewardjax.curation.cleaning.personal_data:find_pii"),
                # "pii" and "judge_directed" may be added; else they only flag.
                hold=("contaminated", "near_duplicate"),
            ),
            # engine.executors.Engine: where pairs are cleaned, tagged, judged and embedded.
            engine=dict(name="", tasks=1, options={}),
            judges=(),
            taggers=(),
            # judges.protocol.panel. Options of both methods side by side; one that the method does
            # not have is refused when it is set.
            panel=dict(
                method="consistency",
                threshold=placeholder(float),
                certainty=placeholder(float),
                smoothing=placeholder(float),
                weights={},
            ),
            # stages/quorum.py
            judging=dict(quorum=placeholder(int), readable=0.5, covered=0.9),
            tag=True,
            shots=4,
            people=dict(
                kind="simulated",
                quota=1.0,
                suspend_below=placeholder(float),
                suspend_after=10,
                # people.queue
                annotators=("one", "two"),
                overlap=0.1,
                checks=0.05,
                # people.simulate
                truth="world",
                accuracy=0.92,
                p_undecided=0.0,
            ),
            embedder=dict(
                name="static",
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
            calibrate=True,
            stage1=dict(
                iterations=2,
                first=500,
                budget=500,
                human_share=0.4,
                select="retrieval",
                k_max=8,
            ),
            stage2=dict(
                table=FieldReference("frugal", field_type=object),
                band=0.0,
                # K models of (K - 1) / K of the pairs each, so that 2 cost as much as training it
                # once more.
                folds=2,
            ),
            # What must be shown before Stage 2 turns labels (ledger/gates.py), or the run pauses.
            # Each is a share whose 95% interval must lie above the number; None turns a gate off.
            gates=dict(
                # The best RM's checkpoint was chosen on these pairs, so its share is a little too
                # high. 0.5: a coin's.
                best_accuracy=FieldReference(0.5),
                gold_accuracy=FieldReference(0.5),
                agreement=dict(
                    models=FieldReference(0.5),
                    flips=FieldReference(0.5),
                    # They are asked where models err, so what is usual depends on the table. Off
                    # until you have seen it.
                    judges=placeholder(float),
                    # Few pairs have two people, and how few is people.overlap.
                    people=placeholder(float),
                ),
                # An upper limit, by the share itself. The paper flips 14M of 40M; with more than
                # half, reversed labels or models are likelier than labels that bad.
                flipped=FieldReference(0.5),
                audit=dict(
                    # People's answers cost money and days; 100 of each show a precision to within
                    # 10 points.
                    pairs=0,
                    keep=FieldReference(0.5),
                    flip=FieldReference(0.5),
                ),
            ),
            budget=dict(judges=placeholder(float), people=placeholder(float)),
            prices=dict(gold=0.5, silver=0.05, stage2=0.01),
            train=defaults.training(),
        )
    )
