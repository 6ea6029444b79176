"""The hosts that colabkit knows, one file each."""
