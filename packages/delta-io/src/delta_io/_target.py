"""What rows are written as: the columns they get, and how Parquet stores them."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Literal, cast

import pyarrow as pa

from delta_io._compute import pc
from delta_io._predicate import Compare, kind_of, leaves, parse, texts_in, typed_value
from delta_io._read import choose
from delta_io._schema import arrow_schema
from delta_io._sound import kinds_named
from delta_io.errors import OptionError, PredicateError, SchemaMismatchError, UnsupportedError
from delta_io.features import unwritable
from schema_spec import Check, Range, SpecError, TableSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from deltalake import WriterProperties

    from delta_io.features import FeaturePolicy, Protocol
    from delta_io.policy import WritePolicy
    from delta_io.snapshot import Snapshot
    from delta_io.storage import Location

_FIRST_YEAR: Final = 1678
_LAST_YEAR: Final = 2261
_CONSTRAINT: Final = "delta.constraints."
SchemaMode = Literal["merge", "overwrite"]

# Differences between table and contract that say something of the columns' values; the rest is for people.
_OF_VALUES = frozenset(
    (
        "column-added",
        "column-added-required",
        "type-widened",
        "type-narrowed",
        "type-changed",
        "type-incompatible",
        "semantic-dropped",
        "semantic-changed",
        "partitioning-changed",
    )
)


def check_contract(snapshot: Snapshot, contract: TableSpec) -> None:
    """Raise when a table breaks a contract beyond what the contract's evolution policy admits."""
    policy = contract.evolution
    wrong = [
        each
        for each in snapshot.spec.diff(contract).entries
        if not each.admitted(policy) and (policy == "strict" or each.kind in _OF_VALUES)
    ]
    if wrong:
        more = f", and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise SchemaMismatchError(
            f"the table breaks contract {contract.name!r}",
            "; ".join(map(str, wrong[:3])) + more + f'; the policy is "{policy}"',
            "Correct the contract, or the table.",
        )


def check_writable(protocol: Protocol, features: FeaturePolicy, location: Location) -> None:
    """Raise when the environment, or what deltalake knows, does not let a table be written."""
    features.check(protocol, "write", table=location.shown)
    feature = unwritable(protocol)
    if feature is not None:
        raise UnsupportedError(
            f"{location.shown!r} cannot be written",
            f"it has feature {feature!r}",
            "Write it by an engine that knows the feature.",
        )


def masked_columns(contract: TableSpec) -> frozenset[str]:
    """Return the columns whose values never show in errors."""
    return frozenset(each.name for each in contract.columns if each.metadata.get("masked"))


def check_stored(snapshot: Snapshot, location: Location) -> None:
    """Raise when a table has columns that no file may hold, or partitions that would be written wrong."""
    _check_partitions(snapshot, location)
    if any(_is_void(field.type) for field in snapshot.schema):
        raise UnsupportedError(
            f"{location.shown!r} cannot be written",
            "it has a column of type 'void'",
            "Drop the column by an engine that knows the type.",
        )


def _is_void(kind: pa.DataType) -> bool:
    return pa.types.is_null(kind) or any(_is_void(kind.field(at).type) for at in range(kind.num_fields))


def _check_partitions(snapshot: Snapshot, location: Location) -> None:
    """Raise when a partition is one whose value deltalake would write wrong."""
    partitions = snapshot._state.files["partition"] if snapshot.partition_by else None  # pyright: ignore[reportPrivateUsage] -- same package
    names = dict(zip(snapshot.schema.names, snapshot.file_columns, strict=True))
    for name in snapshot.partition_by:
        if partitions is None or not has_fraction(snapshot.schema.field(name).type):
            continue
        texts = pc.struct_field(partitions.combine_chunks(), [names[name]])
        if pc.any(pc.starts_with(texts, "-")).as_py():
            raise UnsupportedError(
                f"{location.shown!r} cannot be written",
                f"partition column {name!r} has negative fractions, which deltalake writes wrong",
                "Write its rows to a table that is partitioned by another column.",
            )


def check_set(names: Iterable[str], snapshot: Snapshot) -> None:
    """Raise when an expression would set a partition column whose values have to be looked at first."""
    for name in sorted({*names}.intersection(snapshot.partition_by)):
        if has_fraction(snapshot.schema.field(name).type):
            raise UnsupportedError(
                f"partition column {name!r} cannot be set by an expression",
                "deltalake writes negative numbers with a fraction wrong",
                "Write the rows anew: delete them, and append them with their new values.",
            )


def check_enforceable(contract: TableSpec) -> None:
    """Raise when a contract compares times with one that deltalake cannot compare rows with."""
    schema = contract.to_arrow()
    for each in contract.constraints:
        times = _checked_times(each.sql, schema) if isinstance(each, Check) else _bounding_times(each, schema)
        for time in times:
            if not _FIRST_YEAR <= time.year <= _LAST_YEAR:
                raise UnsupportedError(
                    f"constraint {each.name!r} of contract {contract.name!r} cannot be enforced",
                    f"it names {time.isoformat()}; deltalake compares times of SQL text in nanoseconds,"
                    f" which reach from {_FIRST_YEAR} to {_LAST_YEAR}",
                    "Leave the bound out, or name one in that range.",
                )


def _bounding_times(constraint: Any, schema: pa.Schema) -> Iterator[datetime]:
    """Yield the times that a constraint on one column names."""
    bounded = isinstance(constraint, Range)
    column = getattr(constraint, "column", "")
    path = (column,) if column in schema.names else tuple(column.split("."))
    if not column or not pa.types.is_timestamp(kind := kind_of(schema, path)):
        return
    for bound in (constraint.minimum, constraint.maximum) if bounded else getattr(constraint, "values", ()):
        time = typed_value(bound, kind) if isinstance(bound, str) else bound
        if isinstance(time, datetime):
            yield time


def _checked_times(sql: str, schema: pa.Schema) -> Iterator[datetime]:
    """Yield the times that a condition compares times with, and where it is not understood, all it names."""
    try:
        found = [each.value for each in leaves(parse(sql, schema)) if isinstance(each, Compare)]
    except PredicateError:
        if any(pa.types.is_timestamp(kind) for kind in kinds_named(sql, schema)):
            yield from (time for text in texts_in(sql) if (time := _time(text)) is not None)
        return
    yield from (value for value in found if isinstance(value, datetime))


def _time(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def has_fraction(kind: pa.DataType) -> bool:
    """Tell whether values of a type are exact numbers with a fraction."""
    return pa.types.is_decimal(kind) and cast("Any", kind).scale > 0


def as_contracted(schema: pa.Schema, contract: TableSpec) -> pa.Schema:
    """Return the columns with those that the contract wants filled marked as such."""
    filled = {each.name for each in contract.columns if not each.nullable}
    return pa.schema([each.with_nullable(each.nullable and each.name not in filled) for each in schema])


def check_constraints(snapshot: Snapshot, contract: TableSpec) -> None:
    """Raise when the contract has constraints that the table does not check."""
    missing = missing_constraints(snapshot, contract)
    if missing:
        raise SchemaMismatchError(
            f"the table does not check constraint {min(missing)!r} of contract {contract.name!r}",
            missing[min(missing)],
            "Call enforce_constraints() first.",
        )


def missing_constraints(snapshot: Snapshot, contract: TableSpec) -> dict[str, str]:
    """Return the conditions of the contract that the table's metadata does not have, by name."""
    stated = snapshot.properties
    return {
        name.removeprefix(_CONSTRAINT): sql
        for name, sql in contract.to_delta().configuration.items()
        if name.startswith(_CONSTRAINT) and stated.get(name) != sql
    }


def target_schema(
    snapshot: Snapshot, contract: TableSpec, given: pa.Schema, *, replace: bool
) -> tuple[pa.Schema, SchemaMode | None]:
    """Return the columns that rows are written with, and how they become the table's."""
    if replace:
        return _stored_schema(given), "overwrite"
    known = set(snapshot.schema.names)
    new = [each for each in contract.columns if each.name not in known and each.name in given.names]
    if not new:
        return snapshot.schema, None
    added = arrow_schema(str(TableSpec(contract.name, new).to_delta()))
    # Rows that are there already have no value for them.
    return pa.schema([*snapshot.schema, *(field.with_nullable(True) for field in added)]), "merge"


def defaults_of(contract: TableSpec, names: Iterable[str]) -> dict[str, Any]:
    """Return the defaults of some columns."""
    stated = {each.name: each.default for each in contract.columns if each.default is not None}
    return {name: stated[name] for name in names if name in stated}


def names_in_files(snapshot: Snapshot) -> dict[str, str]:
    """Return the names that columns have in the files, of those whose names differ."""
    pairs = zip(snapshot.schema.names, snapshot.file_columns, strict=True)
    return {name: in_files for name, in_files in pairs if name != in_files}


def parquet_properties(
    policy: WritePolicy,
    contract: TableSpec,
    schema: pa.Schema,
    partition_by: Sequence[str],
    names: Mapping[str, str],
) -> WriterProperties:
    """Return how the columns are stored; raise where a column cannot be stored as asked."""
    asked = policy.column_policies(contract)
    if asked:
        for field in choose(schema, list(asked)):
            if pa.types.is_nested(field.type) or field.name in partition_by:
                raise OptionError(
                    f"column {field.name!r} cannot be written by a policy of its own",
                    "the files do not hold it" if field.name in partition_by else f"it is {field.type}",
                    "Name columns of plain types that the table is not partitioned by.",
                )
    return policy.writer_properties(contract, names=names)


def _stored_schema(given: pa.Schema) -> pa.Schema:
    """Return the columns that a table made of some data has."""
    try:
        return arrow_schema(str(TableSpec.from_arrow("data", given).to_delta()))
    except SpecError as error:
        raise SchemaMismatchError("the data cannot be stored", str(error), "Cast it.") from None
