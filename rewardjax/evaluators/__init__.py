"""Scoring rules: pure functions from arrays of rewards and labels to plain dicts."""
