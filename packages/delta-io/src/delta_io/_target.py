"""What rows are written as: the columns they get, and how Parquet stores them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import pyarrow as pa

from delta_io._read import choose
from delta_io._schema import arrow_schema
from delta_io.errors import OptionError, SchemaMismatchError, UnsupportedError
from delta_io.features import unwritable
from schema_spec import SpecError, TableSpec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from deltalake import WriterProperties

    from delta_io.features import FeaturePolicy, Protocol
    from delta_io.policy import WritePolicy
    from delta_io.snapshot import Snapshot
    from delta_io.storage import Location

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


def check_types(schema: pa.Schema, location: Location) -> None:
    """Raise when a table has columns that no file may hold, which deltalake would put there."""
    if any(_is_void(field.type) for field in schema):
        raise UnsupportedError(
            f"{location.shown!r} cannot be written",
            "it has a column of type 'void'",
            "Drop the column by an engine that knows the type.",
        )


def _is_void(kind: pa.DataType) -> bool:
    return pa.types.is_null(kind) or any(_is_void(kind.field(at).type) for at in range(kind.num_fields))


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
