"""The checkpoint file, its names, delta checkpoints."""
