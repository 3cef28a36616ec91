"""TOML as profiles need it: written, and read with the line on which each value stands."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping

import msgspec


def written(values: Mapping[str, object]) -> str:
    """Write nested mappings, lists and scalars as a TOML document; None is left out."""
    return "\n".join(_table(values, ())).strip() + "\n"


def _table(values: Mapping[str, object], path: tuple[str, ...]) -> Iterator[str]:
    inner = {key: value for key, value in values.items() if isinstance(value, Mapping)}
    plain = {key: value for key, value in values.items() if key not in inner and value is not None}
    if path and plain:
        yield from ("", f"[{'.'.join(map(_key, path))}]")
    yield from (f"{_key(key)} = {_value(value)}" for key, value in plain.items())
    for key, table in inner.items():
        yield from _table(table, (*path, key))


def _key(key: str) -> str:
    bare = key.isascii() and key.replace("_", "").replace("-", "").isalnum()
    return key if bare else _value(key)


def _value(value: object) -> str:
    # TOML's basic strings and lists are JSON's, apart from DEL.
    return msgspec.json.encode(value).decode().replace("\x7f", "\\u007f")


def leaves(
    values: Mapping[str, object], path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], object]]:
    """Yield every value of a document that is no table, with the keys that lead to it."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from leaves(value, (*path, key))
        else:
            yield (*path, key), value


def lines(text: str) -> dict[tuple[str, ...], int]:
    """Find the line, counted from 1, on which the statement of each value starts.

    The parser does not tell, so the document is read statement by statement: lines are added until what
    there is reads as TOML.
    """
    found: dict[tuple[str, ...], int] = {}
    read: list[str] = []
    start = 1
    for number, line in enumerate(text.splitlines(), start=1):
        read.append(line)
        try:
            document = tomllib.loads("\n".join(read))
        except tomllib.TOMLDecodeError:
            continue
        for path, _value in leaves(document):
            found.setdefault(path, start)
        start = number + 1
    return found
