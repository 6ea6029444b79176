"""What the user asks to install: lines as people paste them, files, options, and the requirements in them."""
