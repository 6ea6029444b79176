"""uv and pip behind one interface."""
