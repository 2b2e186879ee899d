"""Decoders by name, over all families."""

import dataclasses

from rewardjax.models import families
from rewardjax.models.config import DecoderConfig

VARIANTS: dict[str, DecoderConfig] = {}
for family in families.FAMILIES.values():
    VARIANTS |= family.variants


def get(name: str, **changes) -> DecoderConfig:
    """The named config with fields replaced.

    Raises ValueError for an unknown name or family, TypeError for an unknown field.
    """
    if name not in VARIANTS:
        raise ValueError(f"unknown variant {name!r}; there are {', '.join(VARIANTS)}")
    config = dataclasses.replace(VARIANTS[name], **changes)
    families.get(config.family)  # here, rather than when the model is built
    return config
