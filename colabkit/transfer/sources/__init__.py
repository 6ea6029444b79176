"""Sources of fetch, one file each."""
