"""Tables of pandas as arrays and plain values, with the names of their axes and the types of their columns."""

from __future__ import annotations

from typing import Any

import numpy as np

from colabkit.errors import CheckpointError

_PLAIN = (str, bool, int, float, type(None), np.generic)


def encode(value: Any, place: str) -> list[Any]:
    """Take a DataFrame or a Series apart.

    Args:
        value: The table.
        place: Where it is in the state, for messages.

    Raises:
        CheckpointError: It holds Python objects, or has a type that would not come back.
    """
    from pandas import testing

    is_series = type(value).__name__ == "Series"
    columns = [value] if is_series else [value.iloc[:, at] for at in range(value.shape[1])]
    for each in columns:
        _check(each, place)
    header = ["name", value.name] if is_series else _encode_index(value.columns)
    content = [header, _encode_index(value.index), [_encode_array(each.array) for each in columns]]
    compare = testing.assert_series_equal if is_series else testing.assert_frame_equal
    try:
        compare(decode(content), value, check_exact=True)
    except (AssertionError, TypeError, ValueError) as error:
        kinds = ", ".join(dict.fromkeys(str(each.dtype) for each in columns))
        raise CheckpointError(
            f"{place} cannot be saved",
            why=f"this table would not come back as it is; its types are {kinds}",
            hint="convert it first, as with .astype(str) or .reset_index()",
        ) from error
    return content


def decode(content: Any) -> Any:
    """Put together what `encode` took apart."""
    import pandas as pd

    header, index, columns = content
    arrays, rows = [_decode_array(each) for each in columns], _decode_index(index)
    if header[0] == "name":
        return pd.Series(arrays[0], index=rows, name=header[1], copy=True)
    frame = pd.DataFrame(dict(enumerate(arrays)), index=rows, copy=True)
    frame.columns = _decode_index(header)
    return frame


def _check(column: Any, place: str) -> None:
    if column.dtype.kind == "O" and not all(isinstance(item, _PLAIN) for item in column.astype(object)):
        from pandas import isna

        if not all(isinstance(item, _PLAIN) or isna(item) is True for item in column.array):
            raise CheckpointError(
                f"{place} cannot be saved",
                why=f"the column {column.name!r} holds Python objects",
                hint="convert it first, as with .astype(str)",
            )


def _encode_array(array: Any) -> list[Any]:
    kind = str(array.dtype)
    if hasattr(array, "categories"):
        return ["category", array.codes, _encode_array(array.categories.array), bool(array.ordered)]
    if hasattr(array.dtype, "numpy_dtype") and hasattr(array, "_mask"):
        return ["masked", kind, array.to_numpy(array.dtype.numpy_dtype, na_value=0), np.asarray(array.isna())]
    if array.dtype.kind == "O":
        return ["objects", kind, [None if gone else item for item, gone in zip(array, array.isna(), strict=True)]]
    if getattr(array.dtype, "tz", None) is not None:
        return ["moments", kind, array.tz_convert("UTC").tz_localize(None).to_numpy()]
    return ["numpy", array.to_numpy()]


def _decode_array(content: Any) -> Any:
    import pandas as pd

    match content:
        case ["category", codes, categories, ordered]:
            made = pd.Index(_decode_array(categories))
            return pd.Categorical.from_codes(codes, categories=made, ordered=ordered)
        case ["masked", kind, values, mask]:
            array = pd.array(np.array(values), dtype=kind)
            array[np.array(mask)] = pd.NA
            return array
        case ["objects", "object", items]:
            return np.array([*items, None], object)[:-1]
        case ["objects", kind, items]:
            return pd.array(items, dtype=kind)
        case ["moments", kind, values]:
            return pd.DatetimeIndex(values, tz="UTC").astype(kind).array
    return np.array(content[1])


def _encode_index(index: Any) -> list[Any]:
    if hasattr(index, "levels"):
        levels = [_encode_array(index.get_level_values(at).array) for at in range(index.nlevels)]
        return ["levels", levels, list(index.names)]
    if type(index).__name__ == "RangeIndex":
        return ["range", [index.start, index.stop, index.step], index.name]
    return ["values", _encode_array(index.array), index.name, getattr(index, "freqstr", None)]


def _decode_index(content: Any) -> Any:
    import pandas as pd

    kind, values, names, *freq = content
    if kind == "levels":
        return pd.MultiIndex.from_arrays([_decode_array(each) for each in values], names=names)
    if kind == "range":
        return pd.RangeIndex(*values, name=names)
    array = _decode_array(values)
    if freq and freq[0]:
        return pd.DatetimeIndex(array, freq=freq[0], name=names)
    return pd.Index(array, name=names, dtype=object if values[:2] == ["objects", "object"] else None)
