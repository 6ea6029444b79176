"""Other trackers, one file each."""
