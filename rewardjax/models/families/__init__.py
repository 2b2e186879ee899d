"""The backbones that there are: one file each, and this table of them.

A backbone is a new file beside these (its FAMILY says all there is to say, see models/family.py)
and a line below.
"""

from rewardjax.models.families import llama, mistral, qwen2, qwen3
from rewardjax.models.family import Family

# Written out, so that reading it is enough to know what is supported; no family enters by being
# imported somewhere.
FAMILIES = {
    "qwen3": qwen3.FAMILY,
    "llama": llama.FAMILY,
    "qwen2": qwen2.FAMILY,
    "mistral": mistral.FAMILY,
}


def get(name: str | None) -> Family:
    """The family of that name, Hugging Face's `model_type`.

    Raises ValueError for one that is not implemented.
    """
    if name not in FAMILIES:
        raise ValueError(f"family {name!r} is not implemented; choose one of {', '.join(FAMILIES)}")
    return FAMILIES[name]
