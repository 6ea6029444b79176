"""Frozen records of named values, for the few places where importing `dataclasses` costs more than the work.

`dataclasses` imports `inspect`, 14 ms, and `detect()` has 20 ms in all. Elsewhere use a frozen dataclass.
"""

from __future__ import annotations

TYPE_CHECKING = False  # `typing` itself would cost 8 ms
if TYPE_CHECKING:
    from typing import Any, Self, dataclass_transform
else:

    def dataclass_transform(**_options):
        return lambda cls: cls


@dataclass_transform(kw_only_default=True, frozen_default=True)
class Record:
    """What a frozen, keyword-only dataclass is: annotate the fields, give defaults where there are any.

    A field whose name starts with an underscore is left out of `fields()`, of the text and of comparisons.

    Example:
        >>> class Disk(Record):
        ...     total: int
        ...     free: int = 0
        >>> Disk(total=10)
        Disk(total=10, free=0)
        >>> Disk(total=10) == Disk(total=10, free=0)
        True
    """

    if not TYPE_CHECKING:

        def __init__(self, **values: object) -> None:
            for name in self._fields():
                if name in values:
                    self.__dict__[name] = values.pop(name)
                elif hasattr(type(self), name):
                    self.__dict__[name] = getattr(type(self), name)
                else:
                    raise TypeError(f"{type(self).__name__} needs {name}=")
            if values:
                raise TypeError(f"{type(self).__name__} has no field {', '.join(sorted(values))}")

        def __setattr__(self, name: str, value: object) -> None:
            raise AttributeError(f"{type(self).__name__} is frozen: {name} cannot be set")

        def __delattr__(self, name: str) -> None:
            raise AttributeError(f"{type(self).__name__} is frozen: {name} cannot be deleted")

    @classmethod
    def _fields(cls) -> tuple[str, ...]:
        names: dict[str, None] = {}
        for base in reversed(cls.__mro__):
            names.update(dict.fromkeys(getattr(base, "__annotations__", ())))
        return tuple(names)

    def fields(self) -> dict[str, Any]:
        """Return the values by their names, in the order of the class."""
        return {name: self.__dict__[name] for name in self._fields() if not name.startswith("_")}

    def replace(self, **changes: Any) -> Self:
        """Return a copy with other values for some of its fields.

        Example:
            >>> class Disk(Record):
            ...     total: int
            ...     free: int
            >>> Disk(total=10, free=3).replace(free=2)
            Disk(total=10, free=2)
        """
        return type(self)(**{name: self.__dict__[name] for name in self._fields()} | changes)

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.fields() == self.fields()

    def __hash__(self) -> int:
        return hash((type(self), *self.fields().values()))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.fields().items())})"
