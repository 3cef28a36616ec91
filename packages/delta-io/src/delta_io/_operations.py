"""What deltalake is asked to do for each kind of commit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from deltalake import (
    CommitProperties,
    DeltaTable,
    PostCommitHookProperties,
    WriterProperties,
    write_deltalake,
)
from msgspec import Struct

from delta_io._arguments import check_count
from delta_io._sound import quote
from delta_io.errors import OptionError

if TYPE_CHECKING:
    from delta_io._align import Aligned
    from delta_io._commit import Operation
    from delta_io._narrowing import Where


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


def delete(where: Where, properties: WriterProperties) -> Operation:
    """Return the operation that deletes rows."""

    def operation(handle: DeltaTable, commit: CommitProperties, hooks: PostCommitHookProperties) -> None:
        handle.delete(
            where.at(handle, commit),
            writer_properties=properties,
            commit_properties=commit,
            post_commithook_properties=hooks,
        )

    return operation


def update(updates: Mapping[str, str], where: Where, properties: WriterProperties) -> Operation:
    """Return the operation that updates rows."""
    if not updates:
        raise OptionError("nothing is to be updated", fix="Name at least one column and its new value.")

    def operation(handle: DeltaTable, commit: CommitProperties, hooks: PostCommitHookProperties) -> None:
        handle.update(
            updates={quote(name): sql for name, sql in updates.items()},
            predicate=where.at(handle, commit),
            writer_properties=properties,
            commit_properties=commit,
            post_commithook_properties=hooks,
        )

    return operation


def optimize(
    properties: WriterProperties, z_order_by: Sequence[str], target_file_bytes: int | None
) -> Operation:
    """Return the operation that puts files together, in an order if columns are named."""
    if target_file_bytes is not None:
        check_count(target_file_bytes, "the target size", least=1)

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
