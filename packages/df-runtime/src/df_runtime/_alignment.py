"""How the columns of a Delta table are shown: as they are, by a contract, or as a schema asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pyarrow as pa

from df_runtime.datasets import AdaptedColumn
from df_runtime.errors import DatasetSourceError, DatasetUnsupportedError
from schema_spec import Alignment, SpecError, TableSpec, render_sql

if TYPE_CHECKING:
    from delta_io import Snapshot


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """Columns in place of those of the snapshot.

    Attributes
    ----------
    schema : pyarrow.Schema
        The columns.
    expressions : tuple of str
        SQL text for each of them, over the columns of the snapshot.
    adapted : tuple of AdaptedColumn
        What differs from the snapshot.
    """

    schema: pa.Schema
    expressions: tuple[str, ...]
    adapted: tuple[AdaptedColumn, ...]


def shown_columns(snapshot: Snapshot, contract: TableSpec | None, schema: pa.Schema | None) -> Shown | None:
    """Align a snapshot with a schema, else with a contract; None where its columns are shown as they are."""
    if schema is not None:
        return _by_schema(snapshot, schema)
    if contract is None:
        return None
    try:
        return _by_contract(snapshot, contract)
    except SpecError as error:
        raise DatasetUnsupportedError(
            f"{snapshot.uri} at version {snapshot.version} does not fit its contract: {error}"
        ) from error


def _by_contract(snapshot: Snapshot, contract: TableSpec) -> Shown | None:
    """Align with a contract. Columns that it lacks are left out only where its policy lets them be."""
    actual = snapshot.spec
    extra: list[pa.Field] = []
    if contract.evolution in ("additive", "widening"):
        names = contract.alignment(actual, policy="any").extra
        extra = [snapshot.schema.field(name) for name in names]
        known = [column for column in actual.columns if column.name not in names]
        actual = TableSpec(contract.name, known) if known else actual
    alignment = contract.alignment(actual)
    shown = pa.schema([*contract.to_arrow(), *extra])
    if alignment.is_identity and shown.names == snapshot.schema.names:
        return None
    return _shown(alignment, shown, tuple(_quoted(field.name) for field in extra))


def _by_schema(snapshot: Snapshot, schema: pa.Schema) -> Shown | None:
    if schema.equals(snapshot.schema, check_metadata=True):
        return None
    stored = [field.with_type(_stored_type(field.type)) for field in schema]
    try:
        wanted = TableSpec.from_arrow("schema", pa.schema(stored))
        alignment = wanted.alignment(snapshot.spec, policy="any")
    except SpecError as error:
        raise DatasetSourceError(
            f"The schema of the scan does not fit {snapshot.uri} at version {snapshot.version}: {error}"
        ) from error
    return _shown(alignment, schema)


def _shown(alignment: Alignment, schema: pa.Schema, extra: tuple[str, ...] = ()) -> Shown:
    expressions = tuple(render_sql(column.expression) for column in alignment.columns)
    adapted = tuple(
        AdaptedColumn(name=column.name, action=column.action, expression=sql, reason=column.reason)
        for column, sql in zip(alignment.columns, expressions, strict=True)
        if column.action != "as_is"
    )
    return Shown(schema=schema, expressions=(*expressions, *extra), adapted=adapted)


def _stored_type(kind: pa.DataType) -> pa.DataType:
    """Return the type in which Delta stores what a type holds; itself where there is no other."""
    if isinstance(kind, pa.BaseExtensionType):
        return kind
    if pa.types.is_dictionary(kind):
        return _stored_type(kind.value_type)
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind):
        return pa.binary()
    if pa.types.is_timestamp(kind):
        return pa.timestamp("us", kind.tz and "UTC")
    return kind


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
