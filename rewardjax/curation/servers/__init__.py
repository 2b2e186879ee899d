"""Servers that are paid by the request: what goes wrong with them, and what is done about it."""
