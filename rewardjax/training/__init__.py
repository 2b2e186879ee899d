"""Training: the loop, a step, losses, the optimizer, checkpoints, metrics and the report of a run."""
