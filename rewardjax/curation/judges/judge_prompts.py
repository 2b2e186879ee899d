"""What judges are told: the prompts that ship with the package, and those that a user writes.

A prompt is a TOML file. A judge names it (`Judge(prompt=...)`, in a config `dict(name=...,
prompt=...)`) by its path or, where it lies in SHIPPED, by its stem, so that two prompts may sit on
one panel:

    instructions = '''
    You compare two candidate replies ...
    '''

    [criteria]                        # may be left out, and so may any category
    Math = "the right result; ..."

Whatever a prompt says, the answer is asked for in the words of prompts.JUDGE_ANSWER, since only an
answer of that form can be read.
"""

import dataclasses
import pathlib
import tomllib
from collections.abc import Mapping

from rewardjax import assets
from rewardjax.curation.judges.attributes import TAXONOMIES

# Text files and not strings in a module: words that are sent as they stand are easier to write,
# read and compare without quotes, escapes and a margin, and a user's prompt is the same kind of
# thing as ours.
SHIPPED = assets.resolve("assets:judge_prompts")


@dataclasses.dataclass(frozen=True)
class JudgePrompt:
    """A judge's instructions, and what to look for in a pair by its task category (`criteria`).

    The instructions are the system message. The criterion of a pair's category stands beside the
    pair, where it has attributes and `criteria` holds its category.
    """

    instructions: str
    criteria: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        # An empty system message or a criterion that no pair can have would go unnoticed.
        if not isinstance(self.instructions, str) or not self.instructions.strip():
            raise ValueError("instructions are missing")
        if unknown := set(self.criteria) - set(TAXONOMIES["task_category"]):
            categories = ", ".join(TAXONOMIES["task_category"])
            raise ValueError(f"criteria: {min(unknown)!r} is not one of {categories}")


def judge_prompt(name: str) -> JudgePrompt:
    """The prompt NAME of SHIPPED, or the one in the TOML file of that path.

    Raises ValueError where there is no such file, and where it is not a prompt.
    """
    path = pathlib.Path(name)
    if path.suffix != ".toml":
        path = SHIPPED / f"{name}.toml"
    if not path.is_file():
        names = ", ".join(sorted(file.stem for file in SHIPPED.glob("*.toml")))
        raise ValueError(f"prompt {name!r} is not one of {names}, and not the path of a .toml file")
    try:
        return JudgePrompt(**tomllib.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"prompt {path}: {error}; it needs `instructions` and may have [criteria]"
        ) from None
