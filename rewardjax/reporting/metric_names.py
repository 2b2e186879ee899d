"""What is logged while training, and what each figure means.

A name without a slash is a step's; SET/FIGURE is that of a held-out set or benchmark. In
`metrics.jsonl` names stand as they are here; TensorBoard and Weights & Biases, which group by what
is before the slash, get a step's under `train/` and `speed/`.
"""

STEP = {
    "loss": "mean loss over the step's pairs, or ranked groups",
    "accuracy": "share of the step's pairs whose chosen response scores strictly higher",
    "ties": "share of the step's pairs with two equal rewards",
    "margin": "mean difference of rewards, chosen minus rejected",
    "reward": "mean reward of all responses of the step",
    "grad_norm": "global norm of the gradients, before clipping",
    "skipped": "1 where the update was left out because loss or gradients were not finite, else 0",
    "skipped_records": "numbers of the records of such a step, in the source",
    "lr": "learning rate of the step's update",
}
SPEED = {
    "pairs_per_second": "pairs of all hosts per second, evaluations and saves left out",
    "useful_tokens_per_second": "tokens per second, a prefix that two responses share counted once",
    "padded_tokens_per_second": "slots of rows per second, padding among them",
    "mfu": "useful FLOPs per second over the devices' peak (arXiv 2204.02311, appendix B)",
}
PAIRS = {
    "pairs": "pairs with a preference; all other figures are of these",
    "label_ties": "pairs whose label is no preference, left out of the other figures",
    "accuracy": "share whose preferred response scores strictly higher",
    "ties": "share with two equal rewards, which are wrong in `accuracy`",
    "accuracy_ties_half": "accuracy where equal rewards count one half",
    "wilson_low": "lower end of the 95% interval of `accuracy`",
    "wilson_high": "upper end of the 95% interval of `accuracy`",
    "margin_mean": "mean difference of rewards, signed towards the preferred response",
    "margin_std": "standard deviation of that difference",
    "nll": "negative log likelihood of the labels; 0.693 without any knowledge",
    "brier": "squared error of the predicted probability; 0.25 without any knowledge",
    "ece": "expected calibration error: mean gap of confidence and frequency",
    "chosen_mean": "mean reward of chosen responses",
    "chosen_std": "standard deviation of the rewards of chosen responses",
    "chosen_min": "lowest reward of a chosen response",
    "chosen_max": "highest reward of a chosen response",
    "rejected_mean": "mean reward of rejected responses",
    "rejected_std": "standard deviation of the rewards of rejected responses",
    "rejected_min": "lowest reward of a rejected response",
    "rejected_max": "highest reward of a rejected response",
    "length_slope": "reward per 100 tokens of response, beyond what being preferred explains",
    "length_accuracy": "what preferring the longer response would score",
}
BENCHMARK = {
    "headline": "the benchmark's own figure",
    "ties": "responses with equal rewards, as the benchmark counts them",
    "unscored": "examples without a score; they count as wrong",
}
# What a report calls those whose name is short for something.
TITLES = {
    "label_ties": "labels without a preference",
    "ties": "equal rewards",
    "accuracy_ties_half": "accuracy, equal rewards one half",
    "wilson_low": "accuracy, 95% interval from",
    "wilson_high": "accuracy, 95% interval to",
    "margin_mean": "margin, mean",
    "margin_std": "margin, standard deviation",
    "nll": "negative log likelihood",
    "brier": "Brier score",
    "ece": "calibration error",
    "length_slope": "reward for length",
    "length_accuracy": "accuracy of the longer response",
}
STATISTICS = {"mean": "mean", "std": "standard deviation", "min": "lowest", "max": "highest"}


def title(figure: str) -> str:
    """What a report calls a figure of a held-out set or benchmark."""
    if figure in TITLES:
        return TITLES[figure]
    kind, _, statistic = figure.partition("_")
    if kind in ("chosen", "rejected") and statistic in STATISTICS:
        return f"reward of {kind} responses, {STATISTICS[statistic]}"
    return figure.replace("_", " ")


def meaning(figure: str, of_benchmark: bool) -> str:
    """What a figure of a held-out set or of a benchmark is, in a sentence."""
    if not of_benchmark:
        return PAIRS[figure]
    # Beside the figures that all benchmarks have stand the parts of this one.
    return BENCHMARK.get(figure, "a part of the benchmark")


def grouped(name: str) -> str:
    """The name under which a figure is shown where names are grouped."""
    if "/" in name:
        return name
    if name in SPEED:
        return f"speed/{name}"
    return f"train/{name}"
