"""A run's checkpoints: what is written is verified, and what is damaged is set aside."""
