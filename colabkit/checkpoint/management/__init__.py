"""Runs seen from outside, and their end: listed, checked, packed, told of, removed."""
