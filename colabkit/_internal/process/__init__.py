"""Threads, programs and ports of this machine, and what clashes in one process."""
