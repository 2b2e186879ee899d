"""What a benchmark does not ask: biases, effects of empty changes, overlap with training data."""
