"""Datasets as users name and see them."""

from __future__ import annotations

import os
from datetime import datetime
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias, runtime_checkable

import msgspec

from delta_io import ChangeSet, ScanConfig, Snapshot, Table

if TYPE_CHECKING:
    from sqlglot import exp


@runtime_checkable
class ArrowStreamExportable(Protocol):
    """Anything that hands out its rows through the Arrow C stream interface."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Export the rows as a stream."""
        ...


DatasetSource: TypeAlias = (
    "str | os.PathLike[str] | Table | Snapshot | ChangeSet | exp.Expr | ArrowStreamExportable"
)
DatasetKind: TypeAlias = Literal["delta", "changes", "arrow", "stream", "view"]


class DatasetIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """What makes two scans of a dataset the same scan.

    Parameters
    ----------
    name : str
        Complete name in the session, every part in quotes.
    kind : str
        `delta`, `view`, or one of the kinds that live in one session only.
    uri : str
        Where the table lies; empty for a view.
    version : int, optional
        Version of the Delta table.
    table_id : str, optional
        Identifier of the Delta table, which tells it from another one made anew at the same place.
    schema_identity_hash : str, optional
        Identity of the schema at that version.
    definition : str, optional
        Text of a view.
    scan : str, optional
        Identity of how the table is scanned, where that is not as it is.
    """

    name: str
    kind: DatasetKind
    uri: str = ""
    version: int | None = None
    table_id: str | None = None
    schema_identity_hash: str | None = None
    definition: str | None = None
    scan: str | None = None


class AdaptedColumn(msgspec.Struct, frozen=True, kw_only=True):
    """A column that a scan shows otherwise than the table has it.

    Parameters
    ----------
    name : str
        Name of the column.
    action : str
        What was done: `renamed`, `cast` (cannot fail), `checked` (fails where a value does not fit),
        `default`, `generated`, `null` or `nested` (a struct put together anew).
    expression : str
        SQL text over the columns of the table.
    reason : str
        One sentence.
    """

    name: str
    action: str
    expression: str
    reason: str


class DatasetResolution(msgspec.Struct, frozen=True, kw_only=True):
    """How a name was resolved for the latest query that used it.

    Parameters
    ----------
    name : str
        The name as SQL needs it written.
    kind : {"delta", "changes", "arrow", "stream", "view"}
        What was registered.
    provider : {"native", "memory", "stream", "view"}
        How the engine reads it: its own Parquet scan, batches in memory, a stream that is read once, or a
        query.
    pinned : bool
        Whether every query sees the same version.
    uri : str, optional
        Where the table lies.
    version : int, optional
        Version of the table.
    timestamp : datetime, optional
        When that version was committed.
    table_id, schema_identity_hash : str, optional
        Identity of the table and of its schema.
    files, rows, bytes : int, optional
        Size of the dataset where it is known without reading it.
    query : str, optional
        Text of a view.
    depends : tuple of str
        Names that a view reads.
    scan : ScanConfig, optional
        How the table is scanned, where options were given.
    scan_identity_hash : str, optional
        `ScanConfig.identity_hash` of how a Delta table is scanned, options given or not.
    features : tuple of str
        Features that the table asks of its readers.
    environment : str, optional
        Name of the feature policy that let the table in.
    evolution : str, optional
        The most that the table may differ from its contract, where one was given: what the contract admits,
        or the profile if that is less.
    adapted : tuple of AdaptedColumn
        Columns that a contract or a schema shows otherwise than the table has them.
    """

    name: str
    kind: DatasetKind
    provider: Literal["native", "memory", "stream", "view"]
    pinned: bool = True
    uri: str | None = None
    version: int | None = None
    timestamp: datetime | None = None
    table_id: str | None = None
    schema_identity_hash: str | None = None
    files: int | None = None
    rows: int | None = None
    bytes: int | None = None
    query: str | None = None
    depends: tuple[str, ...] = ()
    scan: ScanConfig | None = None
    scan_identity_hash: str | None = None
    features: tuple[str, ...] = ()
    environment: str | None = None
    evolution: str | None = None
    adapted: tuple[AdaptedColumn, ...] = ()
