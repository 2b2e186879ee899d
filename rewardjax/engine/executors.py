"""Datatrove's executors, as the config's section `engine` names them."""

import dataclasses
import importlib
import importlib.util
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

EXECUTORS = {
    "local": "datatrove.executor.local:LocalPipelineExecutor",
    "slurm": "datatrove.executor.slurm:SlurmPipelineExecutor",
    "ray": "datatrove.executor.ray:RayPipelineExecutor",
}


@dataclasses.dataclass(frozen=True)
class Engine:
    """Where the work of a stage is done.

    Args:
        name: empty for in this process, or one of EXECUTORS: local, slurm, ray.
        tasks: into how many parts the work is split.
        options: further keyword arguments of that executor of datatrove.
    """

    name: str = ""
    tasks: int = 1
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        if self.name and self.name not in EXECUTORS:
            raise ValueError(f"engine.name = {self.name!r} is not one of {', '.join(EXECUTORS)}")
        if self.tasks < 1:
            raise ValueError(f"engine.tasks = {self.tasks}, must be at least 1")


def executor(engine: Engine, step: Callable, tasks: int, folder: pathlib.Path) -> Any:
    """A datatrove executor that runs a step as so many tasks, its logs in `folder`.

    Raises ValueError for options that it does not take.
    """
    if engine.name == "ray" and importlib.util.find_spec("ray") is None:
        raise ValueError("engine.name = 'ray' needs Ray: pip install 'rewardjax[ray]'")
    module, _, attribute = EXECUTORS[engine.name].partition(":")
    executor_class = getattr(importlib.import_module(module), attribute)
    try:
        made = executor_class([step], tasks=tasks, logging_dir=str(folder), **engine.options)
    except TypeError as error:
        raise ValueError(
            f"engine.options: {engine.name} does not take these fields: {error}"
        ) from error
    if engine.name == "slurm":
        # A second job that adds up counts of documents, of which there are none. Where a task
        # fails it would stay in the queue for ever.
        made.launch_merge_stats = _nothing
    return made


def check(engine: Engine) -> None:
    """Raise ValueError for options that its executor does not take, or without what it needs."""
    if engine.name:
        executor(engine, _nothing, engine.tasks, pathlib.Path("logs"))


def _nothing() -> None:
    pass
