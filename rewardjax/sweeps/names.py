"""What varies between trials, in words that fit a file name, a table and a plot."""

import json
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from rewardjax import config as config_lib

# A file name may have 255 bytes; this leaves a listing readable.
MOST_LETTERS = 60
# Of the trial's id: 16 million values, and the folder's config.json has the whole of it.
HASH_DIGITS = 6
# Between these the parts of a source, a path or a model's name begin and end.
DELIMITERS = "&?/:, "


def values_of(
    overrides: Mapping[str, Any], resolved: Mapping[str, Any], keys: Sequence[str]
) -> dict[str, Any]:
    """The values of dotted `keys` in a trial; one that it does not override is the config's."""
    defaults = config_lib.fields(resolved)
    return {key: overrides.get(key, defaults.get(key)) for key in keys}


def varied(trials: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> list[str]:
    """The fields in which trials (overrides, resolved) differ, in the order of the overrides."""
    keys: dict[str, None] = {}
    for overrides, _ in trials:
        keys |= dict.fromkeys(overrides)
    different = []
    for key in keys:
        # As text, because 1 == True in Python, and a list cannot be in a set.
        values = {as_key(values_of(*trial, [key])[key]) for trial in trials}
        if len(values) > 1:
            different.append(key)
    return different


def as_key(value: Any) -> str:
    """A value as text that is the same only for the same value."""
    return json.dumps(value, sort_keys=True, default=str)


def short_fields(keys: Sequence[str]) -> dict[str, str]:
    """Dotted field -> its last part, or all of it where two fields end alike."""
    lasts = [key.rpartition(".")[2] for key in keys]
    short = {}
    for key, last in zip(keys, lasts, strict=True):
        short[key] = last
        if lasts.count(last) > 1:
            short[key] = key
    return short


def short_values(values: Sequence[Any]) -> list[str]:
    """The values [n] as text [n], strings without the parts that all of them begin and end with.

    `world:train?num=9&labels=honest` and `...&labels=random:0.3` are `labels=honest` and
    `labels=random:0.3`.
    """
    texts = [text_of(value) for value in values]
    if len(set(texts)) < 2 or not all(isinstance(value, str) for value in values):
        return texts
    start = _end_of_whole_parts(os.path.commonprefix(texts))
    backward = os.path.commonprefix([text[start:][::-1] for text in texts])
    end = _end_of_whole_parts(backward)
    short = [text[start : len(text) - end] for text in texts]
    # One value may be the beginning of another: a label of no letters would name nothing.
    if not all(short):
        return texts
    return short


def text_of(value: Any) -> str:
    """A value as people write it in a config: `1e-3`, `0.25`, `(0.0, 0.5)`."""
    if isinstance(value, float):
        return _text_of_float(value)
    if isinstance(value, (list, tuple)):
        return f"({', '.join(map(text_of, value))})"
    return str(value)


def folder_name(number: int, identifier: str, parts: Mapping[str, str]) -> str:
    """`03-peak=1e-3,seed=1-4f2a9c`: the trial's number, what varies, the start of its id.

    `parts`: short name of a field -> short value. What a file system or a shell might read as
    something else becomes an underscore.
    """
    settings = ",".join(f"{field}={value}" for field, value in parts.items())
    # The brackets of a list tell nothing that its commas do not.
    plain = re.sub(r"[()\[\]]", "", settings).replace(", ", ",")
    safe = re.sub(r"[^A-Za-z0-9.,=+-]+", "_", plain)[:MOST_LETTERS].rstrip(",=._-")
    return "-".join(filter(None, (f"{number:02d}", safe, identifier[:HASH_DIGITS])))


def _text_of_float(value: float) -> str:
    if value == 0 or abs(value) >= 0.01:
        return f"{value:g}"
    # Learning rates: 0.0003 is counted with a finger, 3e-4 is read.
    mantissa, _, exponent = f"{value:.5e}".partition("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"


def _end_of_whole_parts(text: str) -> int:
    """How many letters of `text` end with a delimiter: what follows is a part cut in two."""
    return max(text.rfind(delimiter) for delimiter in DELIMITERS) + 1
