"""Targets of push, one file each."""
