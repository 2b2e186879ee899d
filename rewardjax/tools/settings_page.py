"""Write the page of all settings, docs/settings.md, out of the configs and docstrings.

    python -m rewardjax.tools.settings_page docs/settings.md

A test compares the page with what this writes.
"""

import pathlib
from collections.abc import Iterator

from rewardjax import defaults
from rewardjax.command import errors
from rewardjax.reporting import settings

INTRODUCTION = """\
# Settings

Every setting of a training and of an evaluation config, with its default.
`rewardjax train --show` prints those of a run: of a config, or without one of a run on data of
your own, with the changes of the command line. A setting is changed in a config file, by
`--set FIELD=VALUE` or by `--config.FIELD=VALUE`. `None` means what leaving the setting out means.

This page is written by `python -m rewardjax.tools.settings_page docs/settings.md`.
"""


def page() -> Iterator[str]:
    """The lines of the page."""
    yield INTRODUCTION
    yield "## Training\n"
    yield from settings.markdown(settings.of_defaults(defaults.training, defaults.TRAINING))
    yield "\n## Evaluation\n"
    yield from settings.markdown(settings.of_defaults(defaults.evaluation, defaults.EVALUATION))


@errors.one_line("rewardjax.tools.settings_page")
def main() -> None:
    """Run the command."""
    parser = errors.ArgumentParser(
        prog="python -m rewardjax.tools.settings_page", description="Write the page of settings."
    )
    parser.add_argument("page", type=pathlib.Path)
    parser.parse_args().page.write_text("\n".join(page()) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
