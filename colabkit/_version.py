"""The version, as a literal: reading it from the installed metadata costs 30 ms at import."""

__version__ = "0.2.0.dev0"
DISTRIBUTION = "colabkit"
