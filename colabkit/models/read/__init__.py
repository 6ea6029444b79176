"""Readers of pictures of digits: CSV, IDX, `.npz`, folders of images and arrays; what is wrong is named by its place."""
