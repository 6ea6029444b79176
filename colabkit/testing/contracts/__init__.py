"""Contract tests that implementations inherit."""
