"""Training: the loop, from a recipe to a model."""
