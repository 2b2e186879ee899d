"""Write the page of all logged figures, docs/metrics.md.

    python -m rewardjax.tools.metrics_page docs/metrics.md

A test compares the page with what this writes.
"""

import pathlib
from collections.abc import Iterator, Mapping

from rewardjax.command import errors
from rewardjax.reporting import metric_names

INTRODUCTION = """\
# Metrics

What `rewardjax train` logs: into `metrics.jsonl` of the run's folder, one JSON line for each step,
and into TensorBoard and Weights & Biases where `log.writers.tensorboard` and `log.writers.wandb`
say so. Those get the figures of a step as `train/NAME` and `speed/NAME`, and the whole config.
`log.writers.wandb` may be True, or the arguments of `wandb.init`: the run's name is otherwise that
of its folder, and the project `rewardjax`.

This page is written by `python -m rewardjax.tools.metrics_page docs/metrics.md`.
"""
PARTS = {
    "Of a step": ("", metric_names.STEP),
    "Speed": ("", metric_names.SPEED),
    "Of a held-out set": ("SET/", metric_names.PAIRS),
    "Of a benchmark, beside each of its parts": ("SET/", metric_names.BENCHMARK),
}


def page() -> Iterator[str]:
    """The lines of the page."""
    yield INTRODUCTION.rstrip()
    for heading, (prefix, meanings) in PARTS.items():
        yield f"\n## {heading}\n"
        yield from _table(prefix, meanings)


def _table(prefix: str, meanings: Mapping[str, str]) -> Iterator[str]:
    yield "| figure | what |"
    yield "| --- | --- |"
    for name, meaning in meanings.items():
        yield f"| `{prefix}{name}` | {meaning} |"


@errors.one_line("rewardjax.tools.metrics_page")
def main() -> None:
    """Run the command."""
    parser = errors.ArgumentParser(
        prog="python -m rewardjax.tools.metrics_page", description="Write the page of metrics."
    )
    parser.add_argument("page", type=pathlib.Path)
    parser.parse_args().page.write_text("\n".join(page()) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
