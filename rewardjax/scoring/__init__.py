"""From a trained model to rewards: packed rows, models as they were saved, and the contract that pins a score."""
