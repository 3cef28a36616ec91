"""ScanConfig: how one table is scanned, as data with a stable identity."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Any, Final, cast

import msgspec
import pyarrow as pa
from msgspec import Struct, msgpack
from msgspec.structs import force_setattr

from delta_io.errors import OptionError

_FORMAT: Final = "delta_io.scan/1"


class ScanConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a table is scanned. Options belong to one table; none is a setting of a session.

    Values are brought into one form when the object is made, so equal configurations are equal objects with
    equal hashes, in every process and on every machine.

    Parameters
    ----------
    file_column : str, optional
        Name of an additional text column with the path of each row's file, as in `Snapshot.add_actions`.
    row_index_column : str, optional
        Name of an additional long column with each row's position in its file, from 0, deleted rows
        counted.
    view_types : bool, optional
        Hand out texts and binaries as Arrow's view types (True) or not (False); the engine chooses when left
        out.
    wrap_partition_values : bool, default False
        Hand out partition columns dictionary-encoded, one entry per file.
    pushdown : bool, optional
        Evaluate predicates while Parquet is decoded (True) or on whole batches (False); the engine chooses
        when left out. Rows are the same either way.
    schema : pyarrow.Schema, optional
        Columns to show in place of the table's, by name; the table's own when left out.
    files : Sequence[str], optional
        Read these files of the snapshot only: paths as `Snapshot.add_actions` gives them.
    version : int, optional
        Version to read; the newest when left out.
    timestamp : datetime or str, optional
        Instead of a version: the newest one committed by then. Without a zone it is read as UTC.

    Raises
    ------
    OptionError
        When a value makes no sense, or two contradict each other.

    Examples
    --------
    >>> config = ScanConfig(file_column="_file", files=["b.parquet", "a.parquet", "a.parquet"])
    >>> config.files
    ('a.parquet', 'b.parquet')
    >>> config == ScanConfig(files=("a.parquet", "b.parquet"), file_column="_file")
    True
    >>> config.identity_hash[:12]
    '5bfa0499cb81'
    >>> ScanConfig.from_options({"file_column": "_file", "pushdown": "false"})
    ScanConfig(file_column='_file', pushdown=False)
    """

    file_column: str | None = None
    row_index_column: str | None = None
    view_types: bool | None = None
    wrap_partition_values: bool = False
    pushdown: bool | None = None
    schema: pa.Schema | None = None
    files: Sequence[str] | None = None
    version: int | None = None
    timestamp: datetime | str | None = None

    def __post_init__(self) -> None:
        for name in ("file_column", "row_index_column"):
            _require(name, getattr(self, name), str)
            if getattr(self, name) == "":
                raise OptionError(f"{name} is empty", fix="Give the column a name, or leave it out.")
        for name in ("view_types", "pushdown"):
            _require(name, getattr(self, name), bool)
        if not isinstance(self.wrap_partition_values, bool):  # pyright: ignore[reportUnnecessaryIsInstance] -- callers may be untyped
            raise _wrong_type("wrap_partition_values", self.wrap_partition_values, bool)
        _require("schema", self.schema, pa.Schema)
        _require("version", self.version, int)
        force_setattr(self, "files", _file_list(self.files))
        force_setattr(self, "timestamp", _in_utc(self.timestamp))
        self._check_together()

    def _check_together(self) -> None:
        if self.version is not None and self.version < 0:
            raise OptionError("version is negative", f"it is {self.version}", "Count versions from 0.")
        if self.version is not None and self.timestamp is not None:
            raise OptionError("version and timestamp are both given", fix="Give one of them.")
        added = [name for name in (self.file_column, self.row_index_column) if name is not None]
        taken = [*added, *(self.schema.names if self.schema is not None else ())]
        folded = [name.casefold() for name in taken]
        twice = next((name for name in taken if folded.count(name.casefold()) > 1), None)
        if twice is not None:
            raise OptionError(f"two columns of the scan are called {twice!r}", fix="Rename one of them.")

    @property
    def added_columns(self) -> pa.Schema:
        """The columns that the scan adds behind the table's: the file's path, then the row's position."""
        named = ((self.file_column, pa.string()), (self.row_index_column, pa.int64()))
        return pa.schema([pa.field(name, kind, nullable=False) for name, kind in named if name is not None])

    @property
    def payload(self) -> Mapping[str, object]:
        """What differs from the defaults, by option, as plain values of JSON and msgpack.

        A schema is a list of ``[name, type, nullable, metadata]``, a timestamp its ISO text in UTC.
        """
        found: dict[str, object] = {}
        for name in sorted(_OPTIONS):
            value = getattr(self, name)
            if value is not None and (value is not False or name in _TRISTATE):
                found[name] = _plain(value)
        return found

    @property
    def identity_hash(self) -> str:
        """Hexadecimal SHA-256 of the payload as canonical msgpack."""
        return hashlib.sha256(msgpack.encode((_FORMAT, list(self.payload.items())))).hexdigest()

    @classmethod
    def from_options(cls, options: Mapping[str, str]) -> ScanConfig:
        """Read the options of a ``CREATE EXTERNAL TABLE`` statement.

        Parameters
        ----------
        options : Mapping[str, str]
            Texts by the names of the parameters: ``true`` or ``false``, numbers, ISO times, a JSON list of
            ``files``, and the ``schema`` as base64 of its Arrow IPC message. Names and the two words may be
            in any case.

        Returns
        -------
        ScanConfig
            The configuration.

        Raises
        ------
        OptionError
            When an option is unknown, given twice, or its text cannot be read.

        Examples
        --------
        >>> ScanConfig.from_options({"version": "7", "files": '["a.parquet"]'})
        ScanConfig(files=('a.parquet',), version=7)
        """
        given: dict[str, Any] = {}
        for key, text in options.items():
            name = key.lower()
            if name not in _OPTIONS:
                raise OptionError(f"unknown scan option {key!r}", _near(name), f"Use {', '.join(_OPTIONS)}.")
            if name in given:
                raise OptionError(f"scan option {name!r} is given twice", fix="Give it once.")
            _require(name, text, str)
            try:
                given[name] = _OPTIONS[name](text)
            except (ValueError, binascii.Error, msgspec.MsgspecError, pa.ArrowException) as error:
                raise OptionError(f"scan option {name!r} cannot be read", str(error) or repr(text)) from None
        return cls(**given)

    def to_options(self) -> dict[str, str]:
        """Return the configuration as options of a statement; `from_options` reads them back.

        Returns
        -------
        dict[str, str]
            Texts by option, those that differ from the defaults, in the order of their names.

        Examples
        --------
        >>> ScanConfig(row_index_column="_row", view_types=False).to_options()
        {'row_index_column': '_row', 'view_types': 'false'}
        """
        return {name: _text(getattr(self, name)) for name in self.payload}

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in _OPTIONS if name in self.payload)
        return f"ScanConfig({shown})"


def _boolean(text: str) -> bool:
    words = {"true": True, "false": False}
    if text.lower() not in words:
        raise ValueError(f"{text!r} is neither true nor false")
    return words[text.lower()]


def _file_texts(text: str) -> list[str]:
    return msgspec.json.decode(text, type=list[str])


def _schema_of(text: str) -> pa.Schema:
    return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(text, validate=True)))


_OPTIONS: Final[Mapping[str, Callable[[str], object]]] = {
    "file_column": str,
    "row_index_column": str,
    "view_types": _boolean,
    "wrap_partition_values": _boolean,
    "pushdown": _boolean,
    "schema": _schema_of,
    "files": _file_texts,
    "version": int,
    "timestamp": datetime.fromisoformat,
}
_TRISTATE: Final = frozenset({"view_types", "pushdown"})


def _require(name: str, value: object, kind: type) -> None:
    if value is not None and (not isinstance(value, kind) or (kind is int and isinstance(value, bool))):
        raise _wrong_type(name, value, kind)


def _wrong_type(name: str, value: object, kind: type) -> OptionError:
    return OptionError(f"{name} is no {kind.__name__}", f"it is {value!r}", "Correct it, or leave it out.")


def _near(name: str) -> str:
    near = get_close_matches(name, _OPTIONS, n=1)
    return f"the closest is {near[0]!r}" if near else ""


def _file_list(files: Sequence[str] | None) -> tuple[str, ...] | None:
    if files is None:
        return None
    listed: list[object] = [files] if isinstance(files, str) else list(files)
    if isinstance(files, str) or not all(isinstance(each, str) for each in listed):
        raise OptionError("files is no list of paths", f"it is {files!r}", "Give a list of texts.")
    return tuple(sorted(set(cast("list[str]", listed))))


def _in_utc(timestamp: datetime | str | None) -> datetime | None:
    try:
        moment = datetime.fromisoformat(timestamp) if isinstance(timestamp, str) else timestamp
    except ValueError:
        raise OptionError(
            f"timestamp {timestamp!r} cannot be read", fix="Write it as 2026-01-31T12:00:00Z."
        ) from None
    _require("timestamp", moment, datetime)
    if moment is None:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _plain(value: object) -> object:
    if isinstance(value, pa.Schema):
        return [_plain_field(field) for field in cast("pa.Schema", value)]
    if isinstance(value, datetime):
        return value.isoformat()
    return list(cast("tuple[str, ...]", value)) if isinstance(value, tuple) else value


def _plain_field(field: pa.Field[Any]) -> list[object]:
    metadata = [
        [key.decode(errors="backslashreplace"), text.decode(errors="backslashreplace")]
        for key, text in (field.metadata or {}).items()
    ]
    return [field.name, _plain_type(field.type), field.nullable, sorted(metadata)]


def _plain_type(kind: pa.DataType) -> object:
    if isinstance(kind, pa.BaseExtensionType):
        return ["extension", kind.extension_name, _plain_type(kind.storage_type)]
    if pa.types.is_dictionary(kind):
        return ["dictionary", _plain_type(kind.index_type), _plain_type(kind.value_type), kind.ordered]
    if not kind.num_fields:
        return str(kind)
    name = str(kind).partition("<")[0].partition("[")[0]
    if pa.types.is_fixed_size_list(kind):
        name = f"{name}[{kind.list_size}]"
    return [name, [_plain_field(kind.field(index)) for index in range(kind.num_fields)]]


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, pa.Schema):
        return base64.b64encode(cast("pa.Schema", value).serialize().to_pybytes()).decode("ascii")
    if isinstance(value, tuple):
        return msgspec.json.encode(value).decode()
    return value.isoformat() if isinstance(value, datetime) else str(value)
