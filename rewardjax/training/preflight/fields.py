"""Checks of a training config's fields that need no file, no data and no device."""

import dataclasses
import math
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from rewardjax import config as config_lib
from rewardjax import defaults, evaluators
from rewardjax.command import errors
from rewardjax.config import Config
from rewardjax.data import spelling
from rewardjax.data.layouts import mapping
from rewardjax.data.pack import groups_per_row
from rewardjax.data.ranked import refuse_partial_groups
from rewardjax.data.tokenize import Settings
from rewardjax.evaluators.benchmarks import pairs
from rewardjax.kernels.attention import BACKENDS
from rewardjax.models import build
from rewardjax.models.decoder import REMAT
from rewardjax.scoring.contract import TOLERANCE
from rewardjax.training import losses, optim, profiler


class Range(NamedTuple):
    """The values that a number may have, and how a sentence says so."""

    text: str
    holds: Callable[[float], bool]


AT_LEAST_0 = Range("at least 0", lambda x: x >= 0)
AT_LEAST_1 = Range("at least 1", lambda x: x >= 1)
POSITIVE = Range("above 0", lambda x: x > 0)
DECAY = Range("at least 0 and below 1", lambda x: 0 <= x < 1)
SHARE = Range("between 0 and 1", lambda x: 0 <= x <= 1)

# Of fields that no function refuses before it is too late; None is always allowed.
RANGES = {
    "seed": AT_LEAST_0,
    "steps": AT_LEAST_0,
    "eval_every": AT_LEAST_1,
    "batch.pairs": AT_LEAST_1,
    "batch.row_length": AT_LEAST_1,
    "batch.pairs_per_row": AT_LEAST_1,
    "batch.rows": AT_LEAST_1,
    "batch.responses": Range("at least 2", lambda x: x >= 2),
    "optimizer.b1": DECAY,
    "optimizer.b2": DECAY,
    "optimizer.eps": POSITIVE,
    "optimizer.weight_decay": AT_LEAST_0,
    "optimizer.clip_norm": POSITIVE,
    "checkpoint.every": AT_LEAST_0,
    "checkpoint.minutes": AT_LEAST_0,
    "skips.in_a_row": AT_LEAST_0,
    "skips.share": SHARE,
    "recheck.every": AT_LEAST_0,
    "hang.minutes": AT_LEAST_0,
    # Orbax takes 0 and then keeps nothing: a finished run without a model.
    "checkpoint.keep.keep": AT_LEAST_1,
}
# A count is kept in 32 bits, and what is larger is a slip of the finger.
MOST_OF_ALL = 2**31 - 1
MOST = {
    "seed": 2**63 - 1,
    # The arrays of one row would fill a host's memory.
    "batch.row_length": 1 << 24,
    "workers": 4096,
}
RANGES_OF_DATA = {
    "workers": AT_LEAST_0,
    "max_dropped": SHARE,
    "most_untokenized": AT_LEAST_0,
}

CHOICES = {
    # Scores in any other dtype could not be checked against the score contract.
    "compute.dtype": tuple(TOLERANCE),
    "compute.remat": tuple(REMAT),
    "compute.attention": ("auto", *BACKENDS),
    "optimizer.mu_dtype": ("float32", "bfloat16"),
}

# A set's name is part of its figures' names (NAME/accuracy) and of the names of its pictures.
SET_NAME = re.compile(r"\w[\w.-]*")
# Of the figures of held-out pairs and benchmarks; of all others the highest is the best.
LOWER_IS_BETTER = ("ties", "nll", "brier", "ece", "label_ties", "unscored")
# What a data set must say for itself; `prepare` has defaults for the rest.
NEEDED_OF_DATA = ("source", "cache", "max_length")


def check(config: Config) -> errors.Complaints:
    """What is wrong with the fields of a training config."""
    complaints = errors.Complaints()
    complaints.add(other_fields(config))
    complaints.of(config_lib.resolve, config)
    # Fields that nothing reads would be unexpected arguments of the functions asked below.
    if complaints:
        return complaints
    for check in CHECKS:
        complaints.add(check(config))
    # Where the data decide on the number of steps it is known later: see tokenized.py.
    if config.steps > 0:
        complaints.add(check_length(config, config.steps))
    else:
        complaints.add(refusals(optim.make_schedule, total_steps=2**31, **config.schedule))
        complaints.add(refusals(profiler.parse_window, config.log.profile, 1, 2**31))
    return complaints


def check_length(config: Config, total_steps: int) -> Iterator[str]:
    """What is wrong with the fields of a run of that many steps."""
    yield from refusals(optim.make_schedule, total_steps=total_steps, **config.schedule)
    yield from profile_window(config, total_steps)
    yield from best_is_chosen(config, total_steps)


# Steps below which a run whose length follows from its data is warned about, and a batch that is
# small, as in TRL's defaults.
FEW_STEPS, SMALL_BATCH = 20, 8


def warnings_of_length(config: Config, total_steps: int) -> Iterator[str]:
    """What such a run does otherwise than its config seems to say."""
    if config.steps and config.epochs != defaults.training().epochs:
        yield f"warning: steps = {config.steps} decides, epochs = {config.epochs} is not used"
    pairs = config.batch.pairs
    # Somebody's first run on a few hundred pairs: with the batch of a large one it learns nothing.
    if not config.steps and total_steps < FEW_STEPS and pairs > SMALL_BATCH:
        steps = total_steps * pairs // SMALL_BATCH
        yield (
            f"warning: {total_steps} steps of {pairs} pairs are few to learn from; "
            f"--set batch.pairs={SMALL_BATCH} makes about {steps} of the same data"
        )
    best, every = config.checkpoint.keep.best, config.checkpoint.every
    if best is not None and not 0 < every < total_steps:
        yield (
            f"warning: checkpoint.keep.best = {best!r} has one checkpoint to choose from, that of "
            f"the last step: checkpoint.every = {every}, the run has {total_steps} steps"
        )


def refusals(function: Callable[..., object], *args: object, **kwargs: object) -> list[str]:
    """The sentences with which a function of another module refuses its arguments."""
    refused = errors.Complaints()
    refused.of(function, *args, **kwargs)
    return refused.sentences()


# ------------------------------------------------------------------ names and numbers


def other_fields(config: Config) -> Iterator[str]:
    """Fields that nothing reads, and needed ones that are not there."""
    fields = defaults.training()
    yield from config_lib.other_fields(config, fields)
    for name, section in config.evals.items():
        yield from config_lib.other_fields(section, fields.data, f"evals.{name}.")
        for field in NEEDED_OF_DATA:
            if field not in section:
                yield (
                    f"evals.{name}.{field} is not there; `held_out(config, source=...)` of "
                    "rewardjax.defaults makes a whole section"
                )


def ranges(config: Config) -> Iterator[str]:
    """Numbers that lie outside of what makes sense."""
    yield from _out_of_range(config, RANGES)
    for where, section in data_sections(config):
        yield from _out_of_range(section, RANGES_OF_DATA, f"{where}.")
    if not config.steps and config.epochs <= 0:
        yield (
            f"steps = 0 and epochs = {config.epochs}: no step would be taken; set steps, or set "
            "epochs above 0"
        )


def choices(config: Config) -> Iterator[str]:
    """Names that are none of those there are."""
    for field, names in CHOICES.items():
        value = _value(config, field)
        if value is not None and value not in names:
            near = config_lib.suggestion(value, names)
            yield f"{field} = {value!r}{near}: choose one of {', '.join(names)}"


def _out_of_range(section: Config, ranges: dict[str, Range], where: str = "") -> Iterator[str]:
    for field, allowed in ranges.items():
        value = _value(section, field)
        if value is None:
            continue
        most = MOST.get(field, MOST_OF_ALL)
        if not allowed.holds(value):
            yield f"{where}{field} = {value} must be {allowed.text}"
        elif value > most:
            yield f"{where}{field} = {value} must be at most {most:,}"


def _value(section: Config, field: str) -> Any:
    """The value of a dotted field; None where the section leaves it to a default."""
    value = section
    for part in field.split("."):
        value = value.get(part)
    return value


def data_sections(config: Config) -> Iterator[tuple[str, Config]]:
    """Each section that names data, training's first, and where it stands in the config."""
    yield "data", config.data
    for name, section in config.evals.items():
        yield f"evals.{name}", section


def without_echoes(config: Config, complaints: errors.Complaints) -> errors.Complaints:
    """The complaints without those on a held-out set that say again what is wrong with the data.

    A held-out set that is another part of the training data has their mistakes too.
    """
    echoes = [
        f"evals.{name}" for name, section in config.evals.items() if _follows(section, config)
    ]
    sentences = complaints.sentences()
    kept = errors.Complaints()
    for sentence in sentences:
        of_data = sentence
        for where in echoes:
            of_data = of_data.replace(where, "data")
        if of_data == sentence or of_data not in sentences:
            kept.add([sentence])
    if len(kept) == len(sentences):
        return complaints
    return kept


def _follows(section: Config, config: Config) -> bool:
    """Whether a held-out set is another part of the training data."""
    return all(section.get(field) == config.data[field] for field in config.data if field != "part")


# ------------------------------------------------------------------ data, loss, model


def data_settings(config: Config) -> Iterator[str]:
    """Settings of tokenization, and what columns and labels mean."""
    names = [field.name for field in dataclasses.fields(Settings)]
    for where, section in data_sections(config):
        settings = {name: section[name] for name in names if name in section}
        yield from (f"{where}.{complaint}" for complaint in refusals(Settings, **settings))
        for complaint in refusals(mapping.read, section.get("columns"), section.get("labels")):
            yield spelling.of_entry(where).of(complaint)


def loss(config: Config) -> Iterator[str]:
    """The loss, its options, and what a loss that ranks groups asks of data and rows."""
    refused = errors.Complaints()
    loss = refused.of(losses.get, **config.loss)
    yield from refused.sentences()
    if loss is None or loss.reads.unit != "groups":
        return
    yield from refusals(refuse_partial_groups, config.data)
    if config.batch.pairs_per_row is not None:
        yield from refusals(groups_per_row, config.batch.pairs_per_row, config.batch.responses)


def model(config: Config) -> Iterator[str]:
    """The decoder, as far as it can be told without opening a folder."""
    changes = {name: value for name, value in config.model.changes.items() if value is not None}
    # A folder is opened where no variant is named, and this machine may not have it.
    if config.model.variant is not None or config.model.folder is None:
        yield from (f"model: {complaint}" for complaint in refusals(_decoder, config))
    elif changes:
        yield (
            f"model.changes.{', '.join(changes)}: changes of model.variant, which is not set, so "
            f"that model.folder = {config.model.folder!r} alone decides; leave them out"
        )


def _decoder(config: Config) -> None:
    build.decoder_config(**config.model)


# ------------------------------------------------------------------ evaluation and checkpoints


def sets(config: Config) -> Iterator[str]:
    """Names of held-out sets and benchmarks, and the arguments of the latter."""
    for section in ("evals", "benchmarks"):
        for name in config[section]:
            if not SET_NAME.fullmatch(name):
                yield (
                    f"{section}.{name}: the name is part of file names; use letters, digits, _, - "
                    "and . only"
                )
    for name in set(config.evals) & set(config.benchmarks):
        yield f"evals.{name} and benchmarks.{name} would write the same figures; rename one of them"
    for name, kwargs in config.benchmarks.items():
        if "benchmark" not in kwargs:
            yield (
                f"benchmarks.{name}.benchmark is not there; name one of "
                f"{', '.join(evaluators.NAMES)}, or a file of your own"
            )
            continue
        for complaint in refusals(evaluators.refuse_other_arguments, **kwargs):
            yield f"benchmarks.{name}: {complaint}"


def best_figure(config: Config) -> Iterator[str]:
    """Whether `checkpoint.keep.best` is a figure that an evaluation will have."""
    best = config.checkpoint.keep.best
    if best is None:
        return
    field = f"checkpoint.keep.best = {best!r}"
    names = [*config.evals, *config.benchmarks]
    if not names:
        yield f"{field}: nothing is evaluated; add a set to evals or benchmarks, or set it to None"
        return
    name, _, figure = best.partition("/")
    if name not in names:
        near = config_lib.suggestion(name, names)
        yield (
            f"{field}: nothing that is evaluated is called {name!r}{near}; write SET/FIGURE, where "
            f"SET is one of {', '.join(names)}"
        )
    elif name in config.evals and figure not in pairs.figure_names():
        near = config_lib.suggestion(figure, pairs.figure_names())
        yield (
            f"{field}: held-out pairs have no figure {figure!r}{near}; there are "
            f"{', '.join(pairs.figure_names())}"
        )
    elif figure in LOWER_IS_BETTER:
        yield (
            f"{field} would keep the worst checkpoint: the highest figure is kept, and {figure} is "
            "better when it is low; use an accuracy or a headline"
        )


def best_is_chosen(config: Config, total_steps: int) -> Iterator[str]:
    """Whether some checkpoint before the last has figures of its own step."""
    every, eval_every = config.checkpoint.every, config.eval_every
    if config.checkpoint.keep.best is None or not 0 < every < total_steps or eval_every < 1:
        return
    if math.lcm(every, eval_every) >= total_steps:
        yield (
            f"checkpoint.keep.best: of a run of {total_steps} steps with checkpoint.every = "
            f"{every} and eval_every = {eval_every} only the last checkpoint is evaluated, and is "
            f"best without a rival; make eval_every a divisor of checkpoint.every"
        )


def profile_window(config: Config, total_steps: int) -> Iterator[str]:
    """Whether the window of `log.profile` has a step of the run."""
    refused = errors.Complaints()
    window = refused.of(profiler.parse_window, config.log.profile, 1, total_steps)
    yield from refused.sentences()
    if window is not None and config.log.profile and not window:
        yield (
            f"log.profile = {config.log.profile!r}: the run has {total_steps} steps, so that "
            "nothing would be recorded; name earlier ones"
        )


CHECKS: tuple[Callable[[Config], Iterable[str]], ...] = (
    ranges,
    choices,
    data_settings,
    loss,
    model,
    sets,
    best_figure,
)
