"""Copies of a run on a storage that lasts."""
