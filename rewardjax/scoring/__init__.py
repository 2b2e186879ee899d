"""From a trained model to rewards: packed rows, saved models, the contract that pins a score."""
