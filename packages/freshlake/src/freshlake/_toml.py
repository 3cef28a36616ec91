"""TOML text to msgspec structs, with errors that name the line and the closest key."""

from __future__ import annotations

import bisect
import re
import tomllib
from collections.abc import Mapping
from types import NoneType, UnionType
from typing import Any, Literal, TypeAlias, TypeVar, cast, get_args, get_origin, get_type_hints

import msgspec

from freshlake._names import closest, listing
from freshlake._source import SourceFile
from freshlake.errors import InputError, ProjectKeyError, ProjectSyntaxError, ProjectValueError

S = TypeVar("S", bound=msgspec.Struct)
KeyPath: TypeAlias = tuple[str | int, ...]

_POSITION = re.compile(r"\s*\(at (?:line (\d+), column (\d+)|end of document)\)$")
_SECTION = re.compile(r"\s*\[+\s*(.*)")


class TomlSource(msgspec.Struct, frozen=True, kw_only=True):
    """TOML text whose lines are those of a source file; its columns may be others."""

    source: SourceFile
    text: str
    syntax_error: type[InputError] = ProjectSyntaxError
    key_error: type[InputError] = ProjectKeyError
    value_error: type[InputError] = ProjectValueError
    exact_columns: bool = True

    def __repr__(self) -> str:
        return f"TomlSource({self.source.display!r})"

    def parse(self) -> dict[str, Any]:
        """Parse the document, or point to where it stops being TOML."""
        try:
            return tomllib.loads(self.text)
        except tomllib.TOMLDecodeError as error:
            raise self._syntax_error(error) from error
        except (ValueError, RecursionError) as error:
            message = "This is not usable TOML: a number is too long or values are nested too deeply."
            raise self.source.error(self.syntax_error, message) from error

    def _syntax_error(self, error: tomllib.TOMLDecodeError) -> InputError:
        message = str(error)
        line, column = self.text.rstrip().count("\n") + 1, None
        if (found := _POSITION.search(message)) is not None:
            message = message[: found.start()]
            if found[1] is not None:
                line, column = int(found[1]), int(found[2])
        text = f"This is not valid TOML: {message[:1].lower()}{message[1:]}."
        shown = column if self.exact_columns else None
        return self._at(self.syntax_error, text, line, shown)

    def line_of(self, path: KeyPath) -> int | None:
        """Find the line where the key at `path` begins; None when it is not there.

        The key begins on line n when n is the least number for which the shortest run of n or more leading
        lines that parses has the key. Adding lines never takes a key away, so n can be bisected.
        """
        lines = [f"{line}\n" for line in self.text.split("\n")]
        return _first_line_with(lines, path) if _has(_parsed(lines), path) else None

    def error(
        self,
        kind: type[InputError],
        message: str,
        path: KeyPath,
        *,
        code: str | None = None,
        suggestions: tuple[str, ...] = (),
    ) -> InputError:
        """Make an error that points at the key at `path`, or at the closest table around it."""
        line = next((at for n in range(len(path), 0, -1) if (at := self.line_of(path[:n]))), None)
        return self._at(kind, message, line, code=code, suggestions=suggestions)

    def _at(
        self,
        kind: type[InputError],
        message: str,
        line: int | None,
        column: int | None = None,
        *,
        code: str | None = None,
        suggestions: tuple[str, ...] = (),
    ) -> InputError:
        error = self.source.error(kind, message, line=line, column=column, code=code, suggestions=suggestions)
        if line is not None and self._may_hold_secrets(line):
            error.excerpt = None
        return error

    def _may_hold_secrets(self, line: int) -> bool:
        sections = (_SECTION.match(text) for text in reversed(self.text.split("\n")[:line]))
        section = next((found[1] for found in sections if found is not None), "")
        return "storage" in section or "storage" in self.text.split("\n")[line - 1]

    def decode(self, kind: type[S], data: object, path: KeyPath = ()) -> S:
        """Read `data` as a struct of type `kind`; `path` is where in the document it stands."""
        if not isinstance(data, Mapping):
            found = type(data).__name__
            raise self.error(self.value_error, f"{_dotted(path)} must be a table, not {found}.", path)
        values = cast("Mapping[str, object]", data)
        fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
        for key in values:
            if key not in fields:
                where = f"in [{_dotted(path)}]" if path else "at the top level"
                message = f'Unknown key "{key}" {where}; known here: {listing(fields)}.'
                raise self.error(self.key_error, message, (*path, key), suggestions=closest(key, fields))
        hints = get_type_hints(kind)
        decoded: dict[str, object] = {}
        for key, field in fields.items():
            if key in values:
                decoded[field.name] = self._value(hints[field.name], values[key], (*path, key))
            elif field.required:
                where = f"[{_dotted(path)}]" if path else "The file"
                raise self.error(self.key_error, f'{where} needs the key "{key}".', path)
        return kind(**decoded)

    def _value(self, declared: Any, value: object, path: KeyPath) -> object:
        kind = _written(declared)
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            return self.decode(kind, value, path)
        if get_origin(kind) is dict and isinstance(value, dict):
            inner = get_args(kind)[1]
            entries = cast("dict[str, object]", value)
            return {key: self._value(inner, entry, (*path, key)) for key, entry in entries.items()}
        if get_origin(kind) is Literal and value not in (choices := get_args(kind)):
            message = f"{_dotted(path)} must be one of {', '.join(choices)}, not {value!r}."
            near = closest(value, choices) if isinstance(value, str) else ()
            raise self.error(self.value_error, message, path, suggestions=near)
        try:
            return msgspec.convert(value, kind)
        except msgspec.ValidationError as error:
            raise self.error(self.value_error, f"{_dotted(path)}: {_lower(str(error))}.", path) from error


def _parsed(lines: list[str]) -> dict[str, Any] | None:
    try:
        return tomllib.loads("".join(lines))
    except (ValueError, RecursionError):
        return None


def _first_line_with(lines: list[str], path: KeyPath) -> int:
    def has(count: int) -> bool:
        while (document := _parsed(lines[:count])) is None:
            count += 1
        return _has(document, path)

    counts = range(len(lines) + 1)
    return bisect.bisect_left(counts, True, key=has)


def _has(data: object, path: KeyPath) -> bool:
    for key in path:
        if isinstance(key, int):
            if not isinstance(data, list) or key >= len(cast("list[object]", data)):
                return False
        elif not isinstance(data, dict) or key not in data:
            return False
        data = cast("Any", data)[key]
    return True


def _written(kind: Any) -> Any:
    """Leave out the null of an optional type: TOML has none."""
    kinds = [each for each in get_args(kind) if each is not NoneType] if get_origin(kind) is UnionType else []
    return kinds[0] if len(kinds) == 1 else kind


def _dotted(path: KeyPath) -> str:
    return ".".join(
        str(key) if isinstance(key, int) or re.fullmatch(r"[\w-]+", key) else f'"{key}"' for key in path
    )


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]
