"""The tabs of the panel, a file each."""
