"""Where an evaluation is written, so that two models never share a folder."""

import pathlib
import re

from rewardjax.io import own_files

ROOT = pathlib.Path("runs/eval")
REMEDY = "remove it, or name another folder with --config.output=DIR"
# Names that every run has alike: runs/a/hf and runs/b/hf are two models, "hf" is neither.
COMMON = re.compile(
    r"hf|model|models|export|exported|checkpoint|checkpoints|ckpt|snapshots|best|final|last|latest"
    r"|(?:checkpoint|step|global_step|epoch)?[-_]?\d+|[0-9a-f]{40}",
    re.IGNORECASE,
)


def model_name(model: str | pathlib.Path) -> str:
    """The parts of a model's path that tell it from others: runs/a/hf is `a-hf`."""
    parts = pathlib.Path(model).resolve().parts
    named = len(parts) - 1
    while named > 1 and COMMON.fullmatch(parts[named]):
        named -= 1
    return "-".join(parts[named:])


def refuse_other_model(output: pathlib.Path, model: str, weights: str) -> None:
    """Raise ValueError where `output` holds the results of a model elsewhere with other weights.

    The same weights in a folder that was moved are the same model, and so is a run that went on.
    """
    file = output / "results.json"
    if not file.is_file():
        return
    record = own_files.read(file, ("path", "weights"), REMEDY)
    same_place = pathlib.Path(record["path"]).resolve() == pathlib.Path(model).resolve()
    if not same_place and record["weights"] != weights:
        raise ValueError(
            f"{output} holds the results of another model, {record['path']}: name another folder "
            "with --config.output=DIR"
        )


def refuse_part_of_whole(output: pathlib.Path) -> None:
    """Raise ValueError where `output` holds an evaluation on all examples.

    A first look at some of them would take the place of its scores and its report.
    """
    file = output / "results.json"
    if not file.is_file():
        return
    record = own_files.read(file, (), REMEDY)
    if not record.get("selected"):
        raise ValueError(
            f"{output} holds an evaluation on all examples: with --limit or --only NAME/CATEGORY "
            "name another folder with --config.output=DIR"
        )
