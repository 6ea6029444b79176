"""What stands in for google.colab, with its own signatures."""

from __future__ import annotations

__all__: list[str] = []
