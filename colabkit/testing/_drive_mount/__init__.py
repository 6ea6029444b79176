"""The mounted Drive of a `DriveFolder`: the cloud behind it, its program, and how it behaves."""
