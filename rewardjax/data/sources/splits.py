"""Which of a source's splits is meant."""

import pathlib


def choose(splits: list[str], split: str | None, where: pathlib.Path | str) -> str:
    """`split`, or the only one. Raises ValueError with the splits there are."""
    if split is None and len(splits) == 1:
        return splits[0]
    if split not in splits:
        raise ValueError(
            f"split = {split!r}: {where} has the splits {', '.join(splits)}; choose one: "
            f"data.split={splits[-1]} in a config, --split {splits[-1]} for a command"
        )
    return split
