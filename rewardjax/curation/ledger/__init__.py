"""The append-only record of everything said about a pair, and what is derived from it."""
