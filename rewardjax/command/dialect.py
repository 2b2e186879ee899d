"""The flags that all verbs share, in the words of a verb whose settings are a config.

    --model DIR  --data SOURCE  --output FOLDER  --set FIELD=VALUE  --config FILE[:ARG]

Such a verb reads `--config.FIELD=VALUE`, and `--config` before them; so `--data pairs.jsonl`
becomes `--config.data.source=pairs.jsonl`. Verbs without a config name these flags themselves.
"""

from collections.abc import Mapping, Sequence

CONFIG, SET = "config", "set"


def in_own_words(arguments: Sequence[str], words: Mapping[str, str]) -> list[str]:
    """The arguments of a command (without its name), the shared flags among them as its own.

    Args:
        arguments: as they were typed; a flag's value follows it, or an equals sign.
        words: a flag that is shared -> the command's own one, both without dashes.

    Raises:
        ValueError: for one that has no value.
    """
    config, others = [], []
    rest = iter(arguments)
    for argument in rest:
        name, equals, value = split(argument)
        if name not in (CONFIG, SET, *words):
            others.append(argument)
            continue
        if not equals:
            # What follows as the next flag is no value of this one; a number may have one dash.
            value = next(rest, "--")
            if value.startswith("--"):
                raise ValueError(f"--{name} needs a value: --{name} {_example(name)}")
        if name == CONFIG:
            config.append(f"--{CONFIG}={value}")
        elif name == SET:
            others.append(f"--{CONFIG}.{_assignment(value)}")
        else:
            others.append(f"--{words[name]}={value}")
    return config + others


def split(argument: str) -> tuple[str, str, str]:
    """Name, equals sign and value of `--NAME=VALUE`; the last two empty where they are missing.

    What is no flag has the name "".
    """
    if not argument.startswith("-"):
        return "", "", ""
    return argument.removeprefix("-").removeprefix("-").partition("=")


def value_of(arguments: Sequence[str], name: str) -> str | None:
    """The value of `--NAME=VALUE` among the arguments, the last where there are several."""
    for argument in reversed(arguments):
        own, equals, value = split(argument)
        if own == name and equals:
            return value
    return None


def asks_for_help(arguments: Sequence[str]) -> bool:
    """Whether nothing is wanted but help."""
    return any(split(argument)[0] in ("help", "helpshort", "helpfull") for argument in arguments)


def _assignment(text: str) -> str:
    if "=" not in text:
        raise ValueError(f"--{SET} {text}: a field and its value, as in --{SET} seed=1")
    return text


def _example(name: str) -> str:
    examples = {CONFIG: "configs/gsm.py", SET: "schedule.peak=1e-5", "held-out": "5%"}
    return examples.get(name, name.upper())
