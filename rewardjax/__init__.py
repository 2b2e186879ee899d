"""rewardjax: curate preference pairs; train, score, evaluate and serve Bradley-Terry reward models in JAX."""
