"""Readers of pictures of digits: CSV, IDX and folders of pictures; what is wrong is named by its place."""
