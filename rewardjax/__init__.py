"""Curate preference pairs; train, score, evaluate and export Bradley-Terry reward models.

From Python: `rewardjax.load("runs/mine").rewards("What is 2 + 3?", ["5", "6"])` scores, and
`rewardjax.fit(records, model="assets:world", output="runs/mine")` trains on a list of dicts
(docs/python.md).
"""

from typing import Any

__all__ = ["fit", "load"]


def __getattr__(name: str) -> Any:
    """The names of `__all__`, imported when they are first used (PEP 562)."""
    # Not above: every command imports the package, and JAX takes seconds to start.
    if name == "fit":
        from rewardjax.fitting import fit

        return fit
    if name == "load":
        from rewardjax.scoring.model import load

        return load
    raise AttributeError(f"module 'rewardjax' has no attribute {name!r}")
