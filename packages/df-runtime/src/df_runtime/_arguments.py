"""Arguments of the wrong type, refused where they come in."""

from __future__ import annotations

from collections.abc import Collection
from functools import cache
from typing import Any

import msgspec

from df_runtime.errors import ArgumentError, ProfileError


def expect(name: str, value: object, kinds: type | tuple[type, ...], what: str) -> None:
    """Refuse a value that is of none of the kinds; a bool is no number."""
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in _all(kinds)):
        raise ArgumentError(f"`{name}` takes {what}, found {_described(value)}.")


def check_fields(struct: msgspec.Struct) -> None:
    """Refuse fields of the wrong type, which msgspec only looks at when it decodes.

    Raises
    ------
    ProfileError
        A field has a value of another type.
    """
    for field in _fields(type(struct)):
        value: Any = getattr(struct, field.name)
        try:
            fits = msgspec.convert(value, field.type) == value or isinstance(value, Collection)
        except msgspec.ValidationError:
            fits = False
        if not fits:
            raise ProfileError(
                f"`{field.name}` of {type(struct).__name__} has the wrong type: {_described(value)}."
            )


@cache
def _fields(kind: type[msgspec.Struct]) -> tuple[msgspec.structs.FieldInfo, ...]:
    # Reading annotations takes longer than all else that a session does for a text it knows.
    return msgspec.structs.fields(kind)


def _all(kinds: type | tuple[type, ...]) -> tuple[type, ...]:
    return kinds if isinstance(kinds, tuple) else (kinds,)


def _described(value: object) -> str:
    return "None" if value is None else f"{repr(value)[:40]} of type {type(value).__name__}"
