"""The card of a data set's repository, README.md: which files are which split of which part.

    ---
    configs:
    - config_name: helpful
      data_files:
      - {split: train, path: "helpful/train-*.parquet"}
    ---

Parts ("configurations") of one repository are data sets of their own, with columns of their own.
https://huggingface.co/docs/hub/datasets-manual-configuration
"""

import pathlib
from typing import Any

import yaml

from rewardjax.io import foreign_files

CARD = "README.md"
DEFAULT = "default"


def splits(folder: pathlib.Path) -> dict[str, list[str]]:
    """The patterns of each split that the card of `folder` declares; none without such a card.

    A split of one configuration among several is called CONFIGURATION/SPLIT, but for those of the
    default one.
    """
    declared: dict[str, list[str]] = {}
    configurations = _front_matter(folder / CARD).get("configs")
    if not isinstance(configurations, list):
        return declared
    for configuration in configurations:
        # One that leaves its files to their names leaves all to them.
        if not isinstance(configuration, dict) or "data_files" not in configuration:
            return {}
        name = str(configuration.get("config_name", DEFAULT))
        is_plain = len(configurations) == 1 or name == DEFAULT or configuration.get(DEFAULT)
        inside = pathlib.PurePath(str(configuration.get("data_dir") or ""))
        for split, patterns in _data_files(configuration["data_files"]):
            if not is_plain:
                split = f"{name}/{split}"
            # A pattern that begins with a slash begins at the repository, too.
            places = [str(inside / pattern.lstrip("/")) for pattern in patterns if pattern]
            declared.setdefault(split, []).extend(places)
    return declared


def _front_matter(card: pathlib.Path) -> dict[str, Any]:
    """The YAML at the head of a card, empty where there is none that can be read."""
    try:
        text = foreign_files.read_text(card)
        _, head, _ = text.split("---", 2)
        values = yaml.safe_load(head)
    # A README of people's own is no card, and nothing to complain about.
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return {}
    if isinstance(values, dict):
        return values
    return {}


def _data_files(value: Any) -> list[tuple[str, list[str]]]:
    """(split, patterns) of `data_files`: one pattern, a list of them, or one entry per split."""
    if isinstance(value, str):
        return [("train", [value])]
    if not isinstance(value, list):
        return []
    entries = []
    for entry in value:
        if isinstance(entry, str):
            entry = {"split": "train", "path": entry}
        patterns = entry.get("path", [])
        if isinstance(patterns, str):
            patterns = [patterns]
        entries.append((str(entry.get("split", "train")), patterns))
    return entries
