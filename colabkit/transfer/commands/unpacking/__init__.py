"""Commands and calls that unpack archives: what each takes out of which archive, and where it goes."""
