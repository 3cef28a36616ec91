"""What rows are written as: the columns they get, and how Parquet stores them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import pyarrow as pa

from delta_io._read import choose
from delta_io._schema import arrow_schema
from delta_io.errors import OptionError, SchemaMismatchError
from schema_spec import SpecError, TableSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deltalake import WriterProperties

    from delta_io.policy import WritePolicy
    from delta_io.snapshot import Snapshot

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


def parquet_properties(
    policy: WritePolicy, contract: TableSpec, schema: pa.Schema, partition_by: Sequence[str]
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
    return policy.writer_properties(contract)


def _stored_schema(given: pa.Schema) -> pa.Schema:
    """Return the columns that a table made of some data has."""
    try:
        return arrow_schema(str(TableSpec.from_arrow("data", given).to_delta()))
    except SpecError as error:
        raise SchemaMismatchError("the data cannot be stored", str(error), "Cast it.") from None
