"""Doubles that behave like the real thing, for the tests of colabkit and of those who build on it."""
