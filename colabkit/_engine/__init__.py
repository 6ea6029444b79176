"""The range engine: bytes to disk and back, resumable and verified."""
