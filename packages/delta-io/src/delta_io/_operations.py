"""What deltalake is asked to do for each kind of commit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

import pyarrow as pa
from deltalake import (
    CommitProperties,
    DeltaTable,
    PostCommitHookProperties,
    TableFeatures,
    WriterProperties,
    write_deltalake,
)
from msgspec import Struct

from delta_io._generated import regenerated
from delta_io._read import quote
from delta_io.errors import OptionError, SchemaMismatchError

if TYPE_CHECKING:
    from delta_io._align import Aligned
    from delta_io._commit import Operation


_DEFAULT: Final = b"CURRENT_DEFAULT"


class Writing(Struct, frozen=True, kw_only=True):
    """How a write goes about it."""

    overwrite: bool = False
    predicate: str | None = None
    schema_mode: Literal["merge", "overwrite"] | None = None
    target_file_bytes: int | None = None


def check_mode(mode: str, predicate: str | None, *, replace_schema: bool) -> None:
    """Raise when the arguments of a write contradict each other."""
    if mode not in ("append", "overwrite", "error"):
        raise OptionError(f"unknown mode {mode!r}", fix="Use append, overwrite or error.")
    if predicate is not None and mode != "overwrite":
        raise OptionError(
            "a predicate goes with mode overwrite", f"the mode is {mode!r}", "Change one of them."
        )
    if replace_schema and (mode != "overwrite" or predicate is not None):
        raise OptionError(
            "columns are replaced together with all rows",
            f"the mode is {mode!r}" if predicate is None else "a predicate is given",
            "Use mode overwrite without a predicate.",
        )


def write(aligned: Aligned, writing: Writing, properties: WriterProperties) -> Operation:
    """Return the operation that writes rows."""

    def operation(handle: DeltaTable, commit: CommitProperties, hooks: PostCommitHookProperties) -> None:
        options: dict[str, Any] = {} if writing.predicate is None else {"predicate": writing.predicate}
        if writing.schema_mode is not None:
            options["schema_mode"] = writing.schema_mode
        write_deltalake(
            handle,
            aligned.reader(),
            mode="overwrite" if writing.overwrite else "append",
            target_file_size=writing.target_file_bytes,
            writer_properties=properties,
            commit_properties=commit,
            post_commithook_properties=hooks,
            **options,
        )

    return operation


def delete(predicate: str | None, properties: WriterProperties) -> Operation:
    """Return the operation that deletes rows."""

    def operation(handle: DeltaTable, commit: CommitProperties, hooks: PostCommitHookProperties) -> None:
        handle.delete(
            predicate,
            writer_properties=properties,
            commit_properties=commit,
            post_commithook_properties=hooks,
        )

    return operation


def update(updates: Mapping[str, str], predicate: str | None, properties: WriterProperties) -> Operation:
    """Return the operation that updates rows."""
    if not updates:
        raise OptionError("nothing is to be updated", fix="Name at least one column and its new value.")

    def operation(handle: DeltaTable, commit: CommitProperties, hooks: PostCommitHookProperties) -> None:
        handle.update(
            updates={quote(name): sql for name, sql in updates.items()},
            predicate=predicate,
            writer_properties=properties,
            commit_properties=commit,
            post_commithook_properties=hooks,
        )

    return operation


def optimize(
    properties: WriterProperties, z_order_by: Sequence[str], target_file_bytes: int | None
) -> Operation:
    """Return the operation that puts files together, in an order if columns are named."""

    def operation(handle: DeltaTable, commit: CommitProperties, hooks: PostCommitHookProperties) -> None:
        options: dict[str, Any] = {
            "target_size": target_file_bytes,
            "writer_properties": properties,
            "commit_properties": commit,
            "post_commithook_properties": hooks,
        }
        if z_order_by:
            handle.optimize.z_order(list(z_order_by), **options)
        else:
            handle.optimize.compact(**options)

    return operation


def add_features(features: Sequence[TableFeatures]) -> Operation:
    """Return the operation that adds protocol features."""

    def operation(handle: DeltaTable, commit: CommitProperties, hooks: PostCommitHookProperties) -> None:
        handle.alter.add_feature(
            list(features),
            allow_protocol_versions_increase=True,
            commit_properties=commit,
            post_commithook_properties=hooks,
        )

    return operation


def set_properties(properties: Mapping[str, str]) -> Operation:
    """Return the operation that sets table properties."""

    def operation(handle: DeltaTable, commit: CommitProperties, hooks: PostCommitHookProperties) -> None:
        handle.alter.set_table_properties(
            dict(properties),
            raise_if_not_exists=False,
            commit_properties=commit,
            post_commithook_properties=hooks,
        )

    return operation


def add_constraints(constraints: Mapping[str, str]) -> Operation:
    """Return the operation that has the table check conditions by name."""

    def operation(handle: DeltaTable, commit: CommitProperties, hooks: PostCommitHookProperties) -> None:
        if constraints:
            handle.alter.add_constraint(
                dict(constraints), commit_properties=commit, post_commithook_properties=hooks
            )

    return operation


def restore(version: int) -> Operation:
    """Return the operation that makes an earlier version the newest."""

    def operation(handle: DeltaTable, commit: CommitProperties, hooks: PostCommitHookProperties) -> None:
        if version < handle.version():
            handle.restore(version, commit_properties=commit, post_commithook_properties=hooks)

    return operation


class MergeRules(Struct, frozen=True, kw_only=True):
    """What a merge does with rows that match, and with those that don't."""

    on: tuple[str, ...]
    matched: Literal["update", "delete", "ignore"]
    not_matched: Literal["insert", "ignore"]
    not_matched_by_source: Literal["delete", "ignore"]
    delete_when: str | None

    def __post_init__(self) -> None:
        for name, allowed in (
            ("matched", ("update", "delete", "ignore")),
            ("not_matched", ("insert", "ignore")),
            ("not_matched_by_source", ("delete", "ignore")),
        ):
            if getattr(self, name) not in allowed:
                raise OptionError(
                    f"{name} is {getattr(self, name)!r}", fix=f"Use one of {', '.join(allowed)}."
                )
        if not self.on:
            raise OptionError("a merge has no key", fix="Name the columns that identify a row.")


def merge(
    aligned: Aligned,
    rules: MergeRules,
    columns: Sequence[str],
    table: pa.Schema,
    properties: WriterProperties,
) -> Operation:
    """Return the operation that merges rows by key; a null key equals a null key."""
    condition = " AND ".join(
        f"target.{quote(key)} IS NOT DISTINCT FROM source.{quote(key)}" for key in rules.on
    )
    given = {name: f"source.{quote(name)}" for name in columns}
    values = {quote(name): sql for name, sql in given.items()}
    kept = {name: f"target.{quote(name)}" for name in table.names}
    computed = {quote(name): sql for name, sql in regenerated(table, given, kept).items()}
    defaults = {
        quote(field.name): field.metadata[_DEFAULT].decode()
        for field in table
        if field.name not in columns and _DEFAULT in (field.metadata or {})
    }

    def operation(handle: DeltaTable, commit: CommitProperties, hooks: PostCommitHookProperties) -> None:
        merger = handle.merge(
            aligned.reader(),
            condition,
            source_alias="source",
            target_alias="target",
            writer_properties=properties,
            commit_properties=commit,
            post_commithook_properties=hooks,
        )
        if rules.delete_when is not None:
            merger = merger.when_matched_delete(rules.delete_when)
        if rules.matched == "delete":
            merger = merger.when_matched_delete()
        elif rules.matched == "update":
            merger = merger.when_matched_update(values | computed)
        if rules.not_matched == "insert":
            insert_when = f"NOT coalesce({rules.delete_when}, false)" if rules.delete_when else None
            merger = merger.when_not_matched_insert(values | defaults, insert_when)
        if rules.not_matched_by_source == "delete":
            merger = merger.when_not_matched_by_source_delete()
        merger.execute()

    return operation


def merge_columns(given: pa.Schema, table: pa.Schema, keys: Sequence[str]) -> pa.Schema:
    """Return the part of the table's schema that the source of a merge has."""
    for key in keys:
        for side, names in (("table", table.names), ("source", given.names)):
            if key not in names:
                raise SchemaMismatchError(
                    f"the {side} has no key column {key!r}",
                    f"it has {', '.join(names[:8])}",
                    "Check the names.",
                )
    return pa.schema([field for field in table if field.name in given.names])
