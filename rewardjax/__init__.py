"""Curate preference pairs; train, score, evaluate and export Bradley-Terry reward models."""
