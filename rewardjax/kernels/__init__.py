"""Attention: one function, one mask, one backend per platform."""
