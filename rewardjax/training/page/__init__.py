"""The page that a finished training run leaves: what came out, the hardest pairs, what went in."""
