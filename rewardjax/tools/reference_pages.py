"""Write the pages that list what the code says of itself: docs/settings.md and docs/metrics.md.

    python -m rewardjax.tools.reference_pages docs

A test compares the pages with what this writes.
"""

import pathlib
from collections.abc import Callable, Iterator, Mapping

from rewardjax import defaults
from rewardjax.command import errors
from rewardjax.curation import defaults as curation_defaults
from rewardjax.reporting import metric_names, settings

SETTINGS = """\
# Settings

Every setting of a training, an evaluation and a curation config, with its default.
`rewardjax train --show` prints those of a run: of a config, or without one of a run on data of
your own, with the changes of the command line; `rewardjax evaluate --show` does so for an
evaluation, and `rewardjax curate run FOLDER --config FILE --show` for a curation. A setting is
changed in a config file or by `--set FIELD=VALUE`; `train` and `evaluate` also take
`--config.FIELD=VALUE`. `None` means what leaving the setting out means.

This page is written by `python -m rewardjax.tools.reference_pages docs`.
"""
METRICS = """\
# Metrics

What `rewardjax train` logs: into `metrics.jsonl` of the run's folder, one JSON line for each step,
figures of held-out sets on lines of their own (step 0 is the model before training, and has no
other line), and into TensorBoard and Weights & Biases where `log.writers.tensorboard` and
`log.writers.wandb` say so. Those get the figures of a step as `train/NAME` and `speed/NAME`, and
the whole config. `log.writers.wandb` may be True, or the arguments of `wandb.init`: the run's name
is otherwise that of its folder, and the project `rewardjax`.

This page is written by `python -m rewardjax.tools.reference_pages docs`.
"""
PARTS = {
    "Of a step": ("", metric_names.STEP),
    "Speed": ("", metric_names.SPEED),
    "Of a held-out set": ("SET/", metric_names.PAIRS),
    "Of a benchmark, beside each of its parts": ("SET/", metric_names.BENCHMARK),
}


def settings_page() -> Iterator[str]:
    """The lines of the page of settings."""
    yield SETTINGS
    yield "## Training\n"
    training = defaults.TRAINING.items()
    yield from settings.markdown(settings.of_defaults(defaults.training, training))
    yield "\n## Evaluation\n"
    evaluation = defaults.EVALUATION.items()
    yield from settings.markdown(settings.of_defaults(defaults.evaluation, evaluation))
    yield "\n## Curation\n"
    yield "`train.NAME` is the setting NAME of a training, for the reward models on the way.\n"
    curation = curation_defaults.section_functions()
    shown = settings.of_defaults(curation_defaults.curation, curation)
    yield from settings.markdown([each for each in shown if not each.name.startswith("train.")])


def metrics_page() -> Iterator[str]:
    """The lines of the page of metrics."""
    yield METRICS.rstrip()
    for heading, (prefix, meanings) in PARTS.items():
        yield f"\n## {heading}\n"
        yield from _table(prefix, meanings)


def _table(prefix: str, meanings: Mapping[str, str]) -> Iterator[str]:
    yield "| figure | what |"
    yield "| --- | --- |"
    for name, meaning in meanings.items():
        yield f"| `{prefix}{name}` | {meaning} |"


PAGES: dict[str, Callable[[], Iterator[str]]] = {
    "settings.md": settings_page,
    "metrics.md": metrics_page,
}


@errors.one_line("rewardjax.tools.reference_pages")
def main() -> None:
    """Run the command."""
    parser = errors.ArgumentParser(
        prog="python -m rewardjax.tools.reference_pages",
        description="Write the pages of settings and metrics.",
    )
    parser.add_argument("folder", type=pathlib.Path)
    folder = parser.parse_args().folder
    for name, page in PAGES.items():
        (folder / name).write_text("\n".join(page()) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
