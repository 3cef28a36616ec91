"""Profiles from files, the environment and arguments, and where each value came from.

This is the only place that reads environment variables.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, cast

import msgspec

from delta_io import OptionError
from df_runtime import _toml
from df_runtime.errors import ProfileError
from df_runtime.profile_parts import Provenance

PREFIX: Final = "DF_RUNTIME_"
# Variables that say where to begin, and are no fields.
_BASE: Final = f"{PREFIX}BASE"
_FILE: Final = f"{PREFIX}FILE"

Values = dict[tuple[str, ...], object]


class Layers:
    """Values by path, each with where it came from; later layers win."""

    def __init__(self) -> None:
        self.values: Values = {}
        self.provenance: dict[tuple[str, ...], Provenance] = {}

    def add(self, path: tuple[str, ...], value: object, provenance: Provenance) -> None:
        """Set a value in place of what an earlier layer gave."""
        self.values[path] = value
        self.provenance[path] = provenance

    def nested(self) -> dict[str, object]:
        """All values as the tables of one document."""
        document: dict[str, object] = {}
        for path, value in self.values.items():
            table: dict[str, Any] = document
            for key in path[:-1]:
                table = table.setdefault(key, {})
            table[path[-1]] = value
        return document


def parse(text: str, place: str) -> tuple[str | None, Layers]:
    """Read a document: the ready-made profile that it starts from, and its values."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ProfileError(f"{place} is not TOML: {error}.") from error
    lines = _toml.lines(text)
    layers = Layers()
    base = document.pop("base", None)
    if base is not None and not isinstance(base, str):
        raise ProfileError(f"`base` in {place} must be the name of a profile, found {base!r}.")
    for path, value in _toml.leaves(document):
        layers.add(path, value, Provenance(kind="file", name=place, line=lines.get(path)))
    return base, layers


def read_file(path: str | os.PathLike[str]) -> tuple[str | None, Layers]:
    """Read a file, as `parse`."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ProfileError(f"Cannot read the profile {str(path)!r}: {error}.") from error
    return parse(text, str(path))


class Environment:
    """The variables that begin with `DF_RUNTIME_`."""

    def __init__(self, environ: Mapping[str, str] | None) -> None:
        everything = os.environ if environ is None else environ
        self._mine = {key: value for key, value in everything.items() if key.startswith(PREFIX)}

    @property
    def base(self) -> str | None:
        """The ready-made profile to start from."""
        return self._mine.get(_BASE)

    @property
    def file(self) -> str | None:
        """The file to read."""
        return self._mine.get(_FILE)

    def layers(self, fields: Mapping[str, type]) -> Layers:
        """Read what variables give to fields, such as `DF_RUNTIME_CACHES__PLANS` to `caches.plans`."""
        layers = Layers()
        known = {variable_of(path): path for path in paths(fields)}
        for variable, text in sorted(self._mine.items()):
            if variable in {_BASE, _FILE}:
                continue
            path = known.get(variable)
            if path is None:
                raise ProfileError(_unknown("environment variable", variable, [*known, _BASE, _FILE]))
            provenance = Provenance(kind="environment", name=variable)
            for inner, value in _variable(path, text, provenance):
                layers.add(inner, value, provenance)
        return layers


def _variable(
    path: tuple[str, ...], text: str, provenance: Provenance
) -> Iterable[tuple[tuple[str, ...], object]]:
    """Read the values of a variable: several where it is a table."""
    if path != ("settings",):
        return [(path, _Text(text))]
    try:
        table = tomllib.loads(f"settings = {text}")
    except tomllib.TOMLDecodeError as error:
        raise ProfileError(f"{text!r} from {provenance} is no TOML table: {error}.") from error
    return _toml.leaves(table)


class _Text(str):
    """Text of a variable, which may stand for a number, a truth value or a list."""

    __slots__ = ()


def variable_of(path: tuple[str, ...]) -> str:
    """Name the variable that stands for a field."""
    return PREFIX + "__".join(path).upper()


def paths(fields: Mapping[str, type], prefix: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """All fields, those of the parts of a profile included."""
    found: list[tuple[str, ...]] = []
    for name, kind in fields.items():
        if issubclass(kind, msgspec.Struct):
            found += paths(fields_of(kind), (*prefix, name))
        else:
            found.append((*prefix, name))
    return found


def fields_of(kind: type[msgspec.Struct]) -> dict[str, type]:
    """List the fields of a struct with the struct or plain type of each."""
    return {field.encode_name: _plain_type(field.type) for field in msgspec.structs.fields(kind)}


def _plain_type(annotation: Any) -> type:
    return annotation if isinstance(annotation, type) else object


def check_known(values: Iterable[tuple[str, ...]], fields: Mapping[str, type], place: str) -> None:
    """Refuse paths that lead to no field, with the closest one."""
    for path in values:
        at: Mapping[str, type] = fields
        for depth, key in enumerate(path):
            if key not in at:
                prefix = ".".join(path[:depth])
                where = f"{place} has no field" if not prefix else f"`{prefix}` in {place} has no field"
                raise ProfileError(_unknown(where, key, list(at), quote="`"))
            kind = at[key]
            if not issubclass(kind, msgspec.Struct):
                break
            at = fields_of(kind)


def _unknown(what: str, name: str, known: list[str], *, quote: str = "") -> str:
    close = difflib.get_close_matches(name, known, n=1)
    shown = [f"{quote}{each}{quote}" for each in (close or sorted(known))]
    hint = f"Did you mean {shown[0]}?" if close else f"Known fields: {', '.join(shown)}."
    start = what if what.endswith("field") else f"There is no {what}"
    return f"{start} {name!r}. {hint}"


def converted(layers: Layers, kind: type[msgspec.Struct]) -> Any:
    """Make the profile, and name the place of a value that does not fit."""
    for path, value in layers.values.items():
        layers.values[path] = _typed(value, path, layers, kind)
    try:
        return msgspec.convert(layers.nested(), kind)
    except msgspec.ValidationError as error:
        raise ProfileError(f"The profile does not fit: {error}{_place(layers, str(error))}.") from error
    except OptionError as error:  # of the rules for features
        raise ProfileError(f"The profile does not fit: {str(error).rpartition(' [')[0]}") from error


def _place(layers: Layers, message: str) -> str:
    """Find the source of the value that a message such as `… - at `$.caches.plans`` is about."""
    found = message.rpartition("`$.")[2].rstrip("`")
    for path, provenance in layers.provenance.items():
        if found == ".".join(path) or found.startswith(".".join(path) + "["):
            return f", from {provenance}"
    return ""


def _typed(value: object, path: tuple[str, ...], layers: Layers, kind: type[msgspec.Struct]) -> object:
    if path == ("timeout",):
        return _duration(value, layers.provenance[path])
    if not isinstance(value, _Text):
        return value
    wanted = _annotation(kind, path)
    try:
        return _from_text(str(value), wanted)
    except msgspec.ValidationError as error:
        place = layers.provenance[path]
        raise ProfileError(f"The profile does not fit: {value!r} from {place}: {error}.") from error


def _from_text(text: str, wanted: Any) -> object:
    """Read a variable: nothing for no value, words separated by commas, or a scalar."""
    if text == "" and _takes_none(wanted):
        return None
    if "frozenset" in str(wanted):
        return [word.strip() for word in text.split(",") if word.strip()]
    return msgspec.convert(text, wanted, strict=False)


def _takes_none(wanted: Any) -> bool:
    return type(None) in getattr(wanted, "__args__", ())


def _annotation(kind: type[msgspec.Struct], path: tuple[str, ...]) -> Any:
    wanted: Any = kind
    for key in path:
        wanted = next(f.type for f in msgspec.structs.fields(wanted) if f.encode_name == key)
    return wanted


def _duration(value: object, provenance: Provenance) -> object:
    if isinstance(value, str) and str(value) == "":
        return None
    try:
        seconds = float(cast("str", value)) if isinstance(value, (str, int, float)) else value
    except ValueError:
        return str(value)
    if isinstance(value, bool) or not isinstance(seconds, float):
        return value
    try:
        return timedelta(seconds=seconds)
    except (OverflowError, ValueError) as error:
        raise ProfileError(f"`timeout` is no duration: {value!r} from {provenance}: {error}.") from error
