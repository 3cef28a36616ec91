"""`--as-of`: which version of which table or view a query reads."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import msgspec

from freshlake._names import closest, listing
from freshlake.errors import QueryInputError, SelectionError

_VERSION = re.compile(r"(?:([^=]*)=)?\s*(-?\d+)\s*")
_LARGEST_VERSION = 2**63 - 1


class AsOf(msgspec.Struct, frozen=True, kw_only=True):
    """The version for every table and view a query names, and those for single ones; None is the newest."""

    everywhere: int | None = None
    by_name: Mapping[str, int] = {}

    def version(self, name: str) -> int | None:
        """Give the version to read of a table or view; None is the newest."""
        return self.by_name.get(name, self.everywhere)


def parse_as_of(texts: Iterable[str], known: Iterable[str]) -> AsOf:
    """`VERSION` for all that a query names, `NAME=VERSION` for one; the latter goes before the former."""
    names = tuple(known)
    everywhere: int | None = None
    by_name: dict[str, int] = {}
    for text in texts:
        name, version = _parse_one(text)
        if name is not None and name not in names:
            message = f'--as-of: the project has no table or view "{name}"; it has {listing(names)}.'
            raise SelectionError(message, suggestions=closest(name, names))
        if name in by_name or (name is None and everywhere is not None):
            raise QueryInputError(f"--as-of: {text} comes after another version for the same; give one.")
        if name is None:
            everywhere = version
        else:
            by_name[name] = version
    return AsOf(everywhere=everywhere, by_name=by_name)


def _parse_one(text: str) -> tuple[str | None, int]:
    found = _VERSION.fullmatch(text)
    if found is None or len(found[2]) > len(str(_LARGEST_VERSION)):
        raise QueryInputError(f'--as-of takes a version such as 7, or NAME=VERSION; "{text}" is neither.')
    version = int(found[2])
    if not 0 <= version <= _LARGEST_VERSION:
        raise QueryInputError(f"--as-of: versions are counted from 0; {version} is none.")
    return None if found[1] is None else found[1].strip(), version
