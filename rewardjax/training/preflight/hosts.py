"""Whether all hosts of a job train the same thing, in the same folders."""

import pathlib
from collections.abc import Mapping

from rewardjax.command import errors
from rewardjax.config import Config
from rewardjax.data import spelling
from rewardjax.data.cache import file_hashes
from rewardjax.data.sources import open_source
from rewardjax.parallel import in_common
from rewardjax.training.preflight.fields import data_sections


def refuse(config: Config, workdir: str | pathlib.Path, complaints: errors.Complaints) -> None:
    """Raise errors.Refusal for `complaints`, and in a job for those of all its hosts together."""
    shared: dict[str, str | pathlib.Path] = {"--workdir": workdir}
    for where, section in data_sections(config):
        # Most data sets have the cache of the training data.
        cache = section.get("cache")
        if cache is not None and cache not in shared.values():
            shared[f"{where}.cache"] = cache
    values = in_common.fields_of(config)
    in_common.refuse(complaints, values, shared, lambda: _data(config))


def _data(config: Config) -> Mapping[str, str]:
    """The fingerprint of each data set."""
    fingerprints = {}
    for where, section in data_sections(config):
        source = open_source(
            section.source, split=section.get("split"), spelling=spelling.of_entry(where)
        )
        fingerprints[f"the data {section.source}"] = file_hashes.of_source(source, section.cache)
    return fingerprints
