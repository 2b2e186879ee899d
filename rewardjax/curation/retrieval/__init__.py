"""Embeddings, nearest neighbors, and which pairs to label next."""
