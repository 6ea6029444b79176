"""Exact resume for fastai."""
