"""What a benchmark does not ask: biases, sensitivity to changes that should not matter, overlap with training data."""
