"""One HTTP client for all of colabkit."""
