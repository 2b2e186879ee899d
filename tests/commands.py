"""Commands as a user types them, many of them for the price of one start of Python."""

from benchmarks.forks import Ended, run_all

__all__ = ["Ended", "run_all"]
