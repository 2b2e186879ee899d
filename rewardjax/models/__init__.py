"""Backbones and reward models: a decoder, a file per family, Hugging Face folders, checkpoints."""
