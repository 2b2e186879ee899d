"""Curating preference pairs: who voted what, who agrees with whom, what is kept."""
