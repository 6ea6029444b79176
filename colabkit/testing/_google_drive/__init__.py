"""The double of Google Drive: its API, and the queries of its listings."""
