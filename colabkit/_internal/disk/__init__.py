"""Files and folders of this machine: atomic writes, locks, hashes, paths, compressed streams."""
