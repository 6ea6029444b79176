"""Exact resume for Keras."""
