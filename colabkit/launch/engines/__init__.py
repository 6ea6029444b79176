"""Supervisors other than our own that can run the workers of a launch, one file each."""
