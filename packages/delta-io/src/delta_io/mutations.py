"""Mutations of a table: each is one commit, by one path, with one policy and one report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Literal

import pyarrow as pa
from msgspec.structs import replace

from delta_io import _operations
from delta_io._align import Aligned, as_reader
from delta_io._commit import Commit, Operation, Request, Transaction, run
from delta_io._read import choose
from delta_io._schema import arrow_schema
from delta_io.errors import DeltaIoError, OptionError, SchemaMismatchError, TableExistsError
from schema_spec import SpecError, TableSpec

if TYPE_CHECKING:
    from delta_io._handles import Handles
    from delta_io.policy import WritePolicy
    from delta_io.snapshot import Snapshot
    from delta_io.storage import Location

WriteMode = Literal["append", "overwrite", "error"]


class Mutations:
    """The mutations of a `Table`.

    Each takes, besides what it does: a ``transaction`` id, which makes it happen once; ``metadata``, recorded
    with the commit; and an ``expected_version``, which the commit has to follow or else conflict.
    """

    _location: Location
    _policy: WritePolicy
    _handles: Handles

    def snapshot(self, version: int | None = None, timestamp: datetime | str | None = None) -> Snapshot:
        """Pin a version of the table."""
        raise NotImplementedError

    def write(
        self,
        data: object,
        *,
        mode: WriteMode = "append",
        predicate: str | None = None,
        replace_schema: bool = False,
        transaction: Transaction | None = None,
        metadata: Mapping[str, str] | None = None,
        expected_version: int | None = None,
    ) -> Commit:
        """Write rows in one commit.

        Parameters
        ----------
        data : object
            Arrow data: anything with ``__arrow_c_stream__``, such as a table, a reader or a data frame.
            Columns are matched by name; missing ones get their default, or null; types are cast where no
            value changes.
        mode : {"append", "overwrite", "error"}, default "append"
            ``overwrite`` replaces the rows; ``error`` refuses a table that has any.
        predicate : str, optional
            With ``overwrite``, replace just the rows that satisfy it, by rows that satisfy it.
        replace_schema : bool, default False
            With ``overwrite`` of all rows, take the columns of the data in place of the table's.
        transaction : Transaction, optional
            Makes the write happen once.
        metadata : Mapping[str, str], optional
            Recorded with the commit.
        expected_version : int, optional
            Version the commit has to follow; if another one came between, it conflicts.

        Returns
        -------
        Commit
            What was done.

        Raises
        ------
        SchemaMismatchError
            When the data does not fit.
        ConstraintError
            When a row breaks a constraint of the table.
        ConflictError
            When another writer came first.
        TransactionAppliedError
            When the transaction has been written before.
        """
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
        snapshot = self.snapshot()
        if mode == "error" and snapshot.add_actions().num_rows:
            raise TableExistsError(f"{self._location.shown!r} has rows", fix="Use append or overwrite.")
        first = as_reader(data)
        if replace_schema:
            aligned = Aligned(data, _stored_schema(first.schema), snapshot.partition_by, first=first)
        else:
            defaults = {each.name: each.default for each in snapshot.spec.columns if each.default is not None}
            aligned = Aligned(data, snapshot.schema, snapshot.partition_by, first=first, defaults=defaults)
        del snapshot  # else the commit would have to keep its list of files
        operation = _operations.write(
            aligned,
            self._policy,
            overwrite=mode == "overwrite",
            predicate=predicate,
            replace_schema=replace_schema,
        )
        request = _request("writing", transaction, metadata, expected_version)
        return self._run_aligned(request, aligned, operation)

    def delete(
        self,
        predicate: str | None = None,
        *,
        transaction: Transaction | None = None,
        metadata: Mapping[str, str] | None = None,
        expected_version: int | None = None,
    ) -> Commit:
        """Delete rows in one commit.

        Parameters
        ----------
        predicate : str, optional
            SQL text that the rows satisfy; all rows when left out.
        transaction : Transaction, optional
            Makes the deletion happen once.
        metadata : Mapping[str, str], optional
            Recorded with the commit.
        expected_version : int, optional
            Version the commit has to follow.

        Returns
        -------
        Commit
            What was done; nothing is committed when no row satisfies the predicate.

        Raises
        ------
        PredicateError
            When the text is no predicate over the table's columns.
        ConflictError
            When another writer came first.
        """
        operation = _operations.delete(predicate, self._policy)
        return self._run(_request("deleting from", transaction, metadata, expected_version), operation)

    def update(
        self,
        updates: Mapping[str, str],
        predicate: str | None = None,
        *,
        transaction: Transaction | None = None,
        metadata: Mapping[str, str] | None = None,
        expected_version: int | None = None,
    ) -> Commit:
        """Update rows in one commit.

        Parameters
        ----------
        updates : Mapping[str, str]
            Columns, and SQL expressions for their new values.
        predicate : str, optional
            SQL text that the rows satisfy; all rows when left out.
        transaction, metadata, expected_version
            As in `write`.

        Returns
        -------
        Commit
            What was done; nothing is committed when no row satisfies the predicate.

        Raises
        ------
        PredicateError
            When a text does not fit the table's columns.
        ConstraintError
            When a row would break a constraint of the table.
        ConflictError
            When another writer came first.
        """
        choose(self.snapshot().schema, list(updates))
        operation = _operations.update(updates, predicate, self._policy)
        return self._run(_request("updating", transaction, metadata, expected_version), operation)

    def merge(
        self,
        source: object,
        *,
        on: str | Sequence[str],
        matched: Literal["update", "delete", "ignore"] = "update",
        not_matched: Literal["insert", "ignore"] = "insert",
        not_matched_by_source: Literal["delete", "ignore"] = "ignore",
        delete_when: str | None = None,
        transaction: Transaction | None = None,
        metadata: Mapping[str, str] | None = None,
        expected_version: int | None = None,
    ) -> Commit:
        """Merge rows by key in one commit.

        Parameters
        ----------
        source : object
            Arrow data, as in `write`; columns it lacks keep their values, or are null in inserted rows.
        on : str or Sequence[str]
            Key columns; a null key equals a null key.
        matched : {"update", "delete", "ignore"}, default "update"
            What happens to rows of the table that a source row matches.
        not_matched : {"insert", "ignore"}, default "insert"
            What happens to source rows that match nothing.
        not_matched_by_source : {"delete", "ignore"}, default "ignore"
            What happens to rows of the table that nothing matches.
        delete_when : str, optional
            SQL text over ``source`` and ``target``: matches that satisfy it are deleted, and source rows that
            do are not inserted.
        transaction, metadata, expected_version
            As in `write`.

        Returns
        -------
        Commit
            What was done.

        Raises
        ------
        SchemaMismatchError
            When the source does not fit.
        ConstraintError
            When several source rows match one row, or a row would break a constraint.
        ConflictError
            When another writer came first.
        """
        snapshot = self.snapshot()
        rules = _operations.MergeRules(
            on=(on,) if isinstance(on, str) else tuple(on),
            matched=matched,
            not_matched=not_matched,
            not_matched_by_source=not_matched_by_source,
            delete_when=delete_when,
        )
        reader = as_reader(source)
        columns = _operations.merge_columns(reader.schema, snapshot.schema, rules.on)
        aligned = Aligned(source, columns, snapshot.partition_by, first=reader)
        operation = _operations.merge(aligned, rules, columns.names, snapshot.schema, self._policy)
        del snapshot
        return self._run_aligned(
            _request("merging into", transaction, metadata, expected_version), aligned, operation
        )

    def restore(
        self,
        version: int | None = None,
        timestamp: datetime | str | None = None,
        *,
        transaction: Transaction | None = None,
        metadata: Mapping[str, str] | None = None,
        expected_version: int | None = None,
    ) -> Commit:
        """Make an earlier version the newest, in one commit.

        Parameters
        ----------
        version : int, optional
            The version to restore.
        timestamp : datetime or str, optional
            Instead of a version: the newest one that was committed by then.
        transaction, metadata, expected_version
            As in `write`.

        Returns
        -------
        Commit
            What was done; nothing is committed when that version is the newest.

        Raises
        ------
        VersionNotFoundError
            When the log cannot show it.
        StorageError
            When a file of that version is gone.
        """
        if version is None and timestamp is None:
            raise OptionError("nothing says what to restore", fix="Give a version or a timestamp.")
        target = self.snapshot(version, timestamp).version
        return self._run(
            _request("restoring", transaction, metadata, expected_version), _operations.restore(target)
        )

    def _run(self, request: Request, operation: Operation) -> Commit:
        commit, handle = run(self._location, self._policy, request, self._handles.take, operation)
        self._handles.give(handle)
        return commit

    def _run_aligned(self, request: Request, aligned: Aligned, operation: Operation) -> Commit:
        try:
            return self._run(replace(request, replayable=aligned.replayable), operation)
        except DeltaIoError:
            if aligned.error is not None:
                raise aligned.error from None
            raise


def _request(
    doing: str,
    transaction: Transaction | None,
    metadata: Mapping[str, str] | None,
    expected_version: int | None,
) -> Request:
    return Request(doing=doing, transaction=transaction, metadata=metadata, expected_version=expected_version)


def _stored_schema(given: pa.Schema) -> pa.Schema:
    """Return the columns that a table made of some data has."""
    try:
        return arrow_schema(str(TableSpec.from_arrow("data", given).to_delta()))
    except SpecError as error:
        raise SchemaMismatchError("the data cannot be stored", str(error), "Cast it.") from None
