"""Ahead-of-time compilation: what a config costs on a TPU slice, found out on any machine."""
