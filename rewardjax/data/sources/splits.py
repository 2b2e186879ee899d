"""Which of a source's splits is meant."""

import pathlib


class SplitError(ValueError):
    """A split that must be named, or that there is not; speaks of the field `data.split`."""


def choose(splits: list[str], split: str | None, where: pathlib.Path | str) -> str:
    """`split`, or the only one. Raises SplitError with the splits there are."""
    if split is None and len(splits) == 1:
        return splits[0]
    if split not in splits:
        raise SplitError(
            f"split = {split!r}: {where} has the splits {', '.join(splits)}; choose one, as in "
            f"data.split={splits[-1]}"
        )
    return split
