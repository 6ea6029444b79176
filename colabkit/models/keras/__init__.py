"""Keras models in `train`: their training, its data, its callbacks."""
