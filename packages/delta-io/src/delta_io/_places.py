"""Where a file named in the log lies: below the table's folder, or anywhere by an absolute path."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final, cast
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.fs as pa_fs

from delta_io._compute import pc
from delta_io.errors import UnsupportedError
from delta_io.storage import Location

_URI: Final = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*://")
_FILE: Final = "file://"


def is_absolute(path: str) -> bool:
    """Tell whether a path from `placed` is a URI of its own."""
    return _URI.match(path) is not None


def placed(location: Location, raw: str) -> str:
    """Return a path of the log decoded, when it lies below the table's folder, else as an encoded URI."""
    if raw.startswith("file:/") and not raw.startswith(_FILE):
        return _FILE + raw.removeprefix("file:")
    if is_absolute(raw):
        return raw
    if not raw.startswith("/"):
        return unquote(raw)
    if location.local:
        return _FILE + raw
    raise UnsupportedError(
        f"a file of {location.shown!r} cannot be found",
        "the log holds an absolute path without a scheme",
        "Copy the table's files.",
    )


def decode_paths(location: Location, paths: pa.ChunkedArray[Any]) -> pa.StringArray:
    """Return paths of the log as `placed` does, one by one only where there is something to decode."""
    found = cast("pa.StringArray", paths.combine_chunks())
    absolute = pc.starts_with(found, "/")
    characters = (found.buffers()[2] or pa.py_buffer(b"")).to_pybytes()
    if b"%" not in characters and b":" not in characters and not pc.any(absolute).as_py():
        return found
    special = pc.or_(pc.or_(pc.match_substring(found, "%"), absolute), pc.match_substring(found, ":/"))
    decoded = pa.array([placed(location, path) for path in found.filter(special).to_pylist()], pa.string())
    return pc.replace_with_mask(found, special, decoded)


def open_file(location: Location, path: str) -> pa.NativeFile:
    """Open a file for reading at any position."""
    filesystem, name = _resolve(location, path)
    return filesystem.open_input_file(name)


def file_size(location: Location, path: str) -> int | None:
    """Return the size of a file, None when there is none."""
    filesystem, name = _resolve(location, path)
    return filesystem.get_file_info(name).size


def missing(location: Location, paths: Iterable[str]) -> list[str]:
    """Return those paths that no file has."""
    below: list[str] = []
    lost: list[str] = []
    for path in paths:
        if not is_absolute(path):
            below.append(path)
            continue
        filesystem, name = _resolve(location, path)
        if filesystem.get_file_info(name).type != pa_fs.FileType.File:
            lost.append(path)
    infos = location.filesystem.get_file_info(below) if below else []
    lost.extend(path for path, info in zip(below, infos, strict=True) if info.type != pa_fs.FileType.File)
    return lost


def _resolve(location: Location, path: str) -> tuple[pa_fs.FileSystem, str]:
    if not is_absolute(path):
        if location.local:
            return pa_fs.LocalFileSystem(), f"{location.uri}/{path}"
        return location.filesystem, path
    if path.startswith(_FILE):
        return pa_fs.LocalFileSystem(), unquote(path.removeprefix(_FILE))
    parent, _, name = path.rpartition("/")
    return Location(parent, location.options).filesystem, unquote(name)
