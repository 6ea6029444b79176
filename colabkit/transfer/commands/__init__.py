"""Pasted commands: read, never run, into what they would fetch and where they would put it."""
