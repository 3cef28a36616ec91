"""A dictionary that does not change."""

from __future__ import annotations

from typing import Any, NoReturn


class FrozenDict(dict[str, Any]):
    """A dictionary that refuses changes, so that contracts can be shared and cached."""

    __slots__ = ()

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError("a contract does not change; make another one with msgspec.structs.replace")

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse  # pyright: ignore[reportAssignmentType] refused on purpose

    def __reduce__(self) -> tuple[Any, ...]:
        return (FrozenDict, (dict(self),))


EMPTY = FrozenDict()
# An ordinary column, with nothing but name, type, nullability and comment, has EMPTY for its metadata; any
# other without metadata has NOTHING. One look tells them apart, and contracts may have thousands of columns.
NOTHING = FrozenDict()
