"""Mutations of a table: each is one commit, by one path, with one policy and one report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from msgspec.structs import replace

from delta_io import _operations
from delta_io._align import Aligned, as_reader
from delta_io._commit import Commit, Operation, Request, Transaction, run
from delta_io._enabling import Feature, enabling
from delta_io._generated import regenerated
from delta_io._merging import MergeClause, merge, merge_columns, merge_rules, sound_rules
from delta_io._narrowing import narrowed
from delta_io._ordering import Order
from delta_io._read import check_replaceable, check_rewritable, choose, for_engine
from delta_io._sound import Sound, null_fields
from delta_io._target import (
    as_contracted,
    check_constraints,
    check_enforceable,
    check_set,
    check_stored,
    check_writable,
    defaults_of,
    masked_columns,
    missing_constraints,
    names_in_files,
    parquet_properties,
    target_schema,
)
from delta_io.errors import DeltaIoError, OptionError, TableExistsError

if TYPE_CHECKING:
    from deltalake import WriterProperties

    from delta_io._handles import Handles
    from delta_io.features import FeaturePolicy
    from delta_io.policy import WritePolicy
    from delta_io.snapshot import Snapshot
    from delta_io.storage import Location
    from schema_spec import TableSpec

WriteMode = Literal["append", "overwrite", "error"]


class Mutations:
    """The mutations of a `Table`.

    Each takes, besides what it does: a ``transaction`` id, which makes it happen once; ``metadata``, recorded
    with the commit; and an ``expected_version``, which the commit has to follow or else conflict.
    """

    _location: Location
    _policy: WritePolicy
    _handles: Handles
    _spec: TableSpec | None
    _features: FeaturePolicy

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
            ``overwrite`` replaces the rows; ``error`` refuses a table that has any. Columns of the data that
            only the contract has are added to the table, as far as the contract's evolution policy admits.
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
        _operations.check_mode(mode, predicate, replace_schema=replace_schema)
        snapshot = self._to_write()
        if mode == "overwrite":
            check_replaceable(snapshot, self._location, predicate)
        contract = self._contract(snapshot)
        if mode == "error" and snapshot.add_actions().num_rows:
            raise TableExistsError(f"{self._location.shown!r} has rows", fix="Use append or overwrite.")
        first = as_reader(data)
        schema, schema_mode = target_schema(snapshot, contract, first.schema, replace=replace_schema)
        aligned = Aligned(
            data,
            as_contracted(schema, contract),
            snapshot.partition_by,
            first=first,
            defaults={} if replace_schema else defaults_of(contract, schema.names),
            order=Order(self._policy, schema, snapshot.partition_by),
            masked=masked_columns(contract),
        )
        replaced = for_engine(predicate, snapshot)
        writing = _operations.Writing(
            overwrite=mode == "overwrite",
            predicate=None if replaced is None else replaced.sql,
            schema_mode=schema_mode,
            target_file_bytes=self._policy.target_file_bytes,
        )
        names = {} if replace_schema else names_in_files(snapshot)
        properties = parquet_properties(self._policy, contract, schema, snapshot.partition_by, names)
        request = self._request(
            "writing" if predicate is None else "replacing rows of",
            contract,
            names,
            (transaction, metadata, expected_version),
            predicate=(predicate, replaced),
            sorted_by=aligned.sorted_by if predicate is None else tuple,  # else others are written as well
        )
        del snapshot  # else the commit would have to keep its list of files
        operation = _operations.write(aligned, writing, properties)
        return self._run_aligned(request, aligned, operation, rewriting=writing.overwrite)

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
        snapshot = self._to_write()
        check_replaceable(snapshot, self._location, predicate)
        contract, names, properties = self._prepared(snapshot)
        deleted = for_engine(predicate, snapshot)
        asked = (transaction, metadata, expected_version)
        request = self._request("deleting from", contract, names, asked, predicate=(predicate, deleted))
        operation = _operations.delete(narrowed(predicate, deleted, snapshot), properties)
        del snapshot
        return self._run(request, operation)

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
        snapshot = self._to_write()
        choose(snapshot.schema, list(updates))
        check_rewritable(snapshot, self._location, predicate)
        check_set(updates, snapshot)
        updates = {**updates, **regenerated(snapshot.schema, updates, {})}
        updates = {name: null_fields(value, snapshot.schema) for name, value in updates.items()}
        contract, names, properties = self._prepared(snapshot)
        updated = for_engine(predicate, snapshot)
        asked = (transaction, metadata, expected_version)
        request = self._request("updating", contract, names, asked, predicate=(predicate, updated))
        operation = _operations.update(updates, narrowed(predicate, updated, snapshot), properties)
        del snapshot
        return self._run(request, operation)

    def merge(
        self,
        source: object,
        *,
        on: str | Sequence[str],
        condition: str | None = None,
        matched: Literal["update", "delete", "ignore"] | Sequence[MergeClause] = "update",
        not_matched: Literal["insert", "ignore"] | Sequence[MergeClause] = "insert",
        not_matched_by_source: Literal["delete", "ignore"] | Sequence[MergeClause] = "ignore",
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
            Columns that only the contract has are added to the table. Where a clause has a condition or
            values, the source may have other columns, for them.
        on : str or Sequence[str]
            Key columns; a null key equals a null key.
        condition : str, optional
            SQL text over ``source`` and ``target`` that matches have to satisfy besides.
        matched : {"update", "delete", "ignore"} or Sequence[MergeClause], default "update"
            What happens to rows of the table that a source row matches.
        not_matched : {"insert", "ignore"} or Sequence[MergeClause], default "insert"
            What happens to source rows that match nothing.
        not_matched_by_source : {"delete", "ignore"} or Sequence[MergeClause], default "ignore"
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
        snapshot = self._to_write()
        rules = merge_rules(
            on,
            condition,
            delete_when,
            matched=matched,
            not_matched=not_matched,
            not_matched_by_source=not_matched_by_source,
        )
        check_set(rules.expressions, snapshot)
        reader = as_reader(source)
        check_rewritable(snapshot, self._location, None)
        contract, names, properties = self._prepared(snapshot)
        table, schema_mode = target_schema(snapshot, contract, reader.schema, replace=False)
        columns = merge_columns(reader.schema, table, rules)
        rules, reason = sound_rules(rules, columns, table)
        aligned = Aligned(
            source, columns, snapshot.partition_by, first=reader, masked=masked_columns(contract)
        )
        operation = merge(aligned, rules, columns, table, properties, new_columns=schema_mode is not None)
        request = self._request(
            "merging into",
            contract,
            names,
            (transaction, metadata, expected_version),
            predicate=(condition, Sound(sql="", reason=reason)),
        )
        del snapshot
        return self._run_aligned(request, aligned, operation)

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
        snapshot = self._to_write()
        check_replaceable(snapshot, self._location, None)
        contract = self._contract(snapshot)
        del snapshot
        request = self._request("restoring", contract, {}, (transaction, metadata, expected_version))
        return self._run(request, _operations.restore(target))

    def enable(
        self,
        feature: Feature,
        *,
        metadata: Mapping[str, str] | None = None,
        expected_version: int | None = None,
    ) -> Commit:
        """Enable a protocol feature in one commit; features that the table has already are kept.

        Parameters
        ----------
        feature : str
            ``changeDataFeed``; ``appendOnly``, which also refuses deletions from then on; ``columnMapping``
            by name, where columns keep the names they have in the files; ``deletionVectors``,
            ``v2Checkpoint``, ``timestampNtz`` or ``variantType``.
        metadata, expected_version
            As in `write`.

        Returns
        -------
        Commit
            What was done; nothing is committed when the table has the feature.

        Raises
        ------
        UnsupportedError
            When the feature cannot be enabled by this writer, such as type widening, or the storage has no
            conditional puts.
        ConflictError
            When another writer came first.
        """
        snapshot = self._to_write()
        operation = enabling(feature, snapshot, self._location)
        request = self._request(
            "enabling a feature of", snapshot.spec, {}, (None, metadata, expected_version)
        )
        del snapshot
        return self._run(request, operation, rewriting=False)

    def enforce_constraints(
        self, *, metadata: Mapping[str, str] | None = None, expected_version: int | None = None
    ) -> Commit:
        """Have the table check the constraints of its contract that it does not check yet, in one commit.

        Parameters
        ----------
        metadata, expected_version
            As in `write`.

        Returns
        -------
        Commit
            What was done; nothing is committed when the table checks all of them.

        Raises
        ------
        ConstraintError
            When a row that is there breaks one.
        ConflictError
            When another writer came first.
        """
        snapshot = self._to_write()
        contract = self._spec if self._spec is not None else snapshot.spec
        check_enforceable(contract)
        operation = _operations.add_constraints(missing_constraints(snapshot, contract))
        request = self._request("constraining", contract, {}, (None, metadata, expected_version))
        del snapshot
        return self._run(request, operation, rewriting=False)

    def _to_write(self) -> Snapshot:
        """Return the newest version, which the environment and its own features have to let us write."""
        snapshot = self.snapshot()
        check_writable(snapshot.protocol, self._features, self._location)
        check_stored(snapshot, self._location)
        return snapshot

    def _contract(self, snapshot: Snapshot) -> TableSpec:
        """Return the contract that what is written has to fulfil."""
        if self._spec is None:
            return snapshot.spec
        check_constraints(snapshot, self._spec)
        return self._spec

    def _prepared(self, snapshot: Snapshot) -> tuple[TableSpec, Mapping[str, str], WriterProperties]:
        contract, names = self._contract(snapshot), names_in_files(snapshot)
        properties = parquet_properties(self._policy, contract, snapshot.schema, snapshot.partition_by, names)
        return contract, names, properties

    def _request(
        self,
        doing: str,
        contract: TableSpec,
        names: Mapping[str, str],
        asked: tuple[Transaction | None, Mapping[str, str] | None, int | None],
        *,
        predicate: tuple[str | None, Sound | None] = (None, None),
        sorted_by: Callable[[], tuple[str, ...]] = tuple,
    ) -> Request:
        return Request(
            doing=doing,
            transaction=asked[0],
            metadata=asked[1],
            expected_version=asked[2],
            masked=masked_columns(contract),
            look_for_bloom_filters=self._policy.asks_for_bloom_filters(contract),
            names_in_files=names,
            rewritten=None if predicate[1] is None else predicate[1].reason,
            predicate=predicate[0],
            sorted_by=sorted_by,
        )

    def _run(self, request: Request, operation: Operation, *, rewriting: bool = True) -> Commit:
        take = self._handles.take_to_rewrite if rewriting else self._handles.take
        commit, handle = run(self._location, self._policy, request, take, operation)
        self._handles.give(handle)
        return commit

    def _run_aligned(
        self, request: Request, aligned: Aligned, operation: Operation, *, rewriting: bool = True
    ) -> Commit:
        try:
            request = replace(request, replayable=aligned.replayable)
            return self._run(request, operation, rewriting=rewriting)
        except DeltaIoError:
            if aligned.error is not None:
                raise aligned.error from None
            raise
