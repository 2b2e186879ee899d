"""Training: the loop, a step, losses, the optimizer, metrics and the report of a run."""
