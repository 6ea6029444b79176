"""google.colab.data_table: tables as the notebook shows them."""

from __future__ import annotations

from typing import Any

__all__ = ["DataTable", "disable_dataframe_formatter", "enable_dataframe_formatter"]


class DataTable:
    """Shows a data frame as it is.

    Args:
        dataframe: The table.
        options: What Colab's own takes; nothing of it is needed.
    """

    max_rows = 20_000
    max_columns = 20

    def __init__(self, dataframe: Any, *options: Any, **more: Any) -> None:
        del options, more
        self._dataframe = dataframe

    def _repr_html_(self) -> Any:
        show = getattr(self._dataframe, "_repr_html_", None)
        return show() if show is not None else None

    def __repr__(self) -> str:
        return repr(self._dataframe)


def enable_dataframe_formatter() -> None:
    """Do nothing: a data frame shows itself."""


def disable_dataframe_formatter() -> None:
    """Do nothing."""
