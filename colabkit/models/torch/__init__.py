"""Modules of torch in `train`: their data, their training, their classifier."""
