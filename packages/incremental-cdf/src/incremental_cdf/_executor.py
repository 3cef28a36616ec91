"""Carrying a plan out: queries, then one commit."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import pyarrow as pa

from delta_io import Commit, DeltaIoError, Snapshot, Table, Transaction
from df_runtime import ExecutionError, ResourceError, Result, Session
from df_runtime.datasets import ArrowStreamExportable
from incremental_cdf._affected import KEYS
from incremental_cdf._block import RefusedError
from incremental_cdf._cursor import Consumed, Cursor, application_id
from incremental_cdf._names import pinned
from incremental_cdf._sources import CHANGES_GONE, Catalog, DataSource, TableSource, snapshot_size
from incremental_cdf._steps import CHANGED_KEYS, DIFFERENCE, ROWS, STORED, replacement_by
from incremental_cdf._target import same_columns
from incremental_cdf._types import key_predicate
from incremental_cdf.plan import SourcePlan, Strategy, ViewPlan
from incremental_cdf.view import View
from schema_spec import TableSpec

MAX_KEYS = 10_000
"""Most values of a key of one column that one commit replaces."""

MAX_COMPOSITE_KEYS = 1_000
"""Most values of a key of several columns: their condition takes the writer far longer."""

FEW_COMPOSITE_KEYS = 20
"""Up to this many values of a key of several columns are never worth a look for a column to stand for it."""

MAX_SHARING_ROWS = 100_000
"""Most unchanged rows that are written back so that one column can stand for a key of several."""

MAX_PREDICATE_CHARACTERS = 1_000_000

COMPARED_BYTES = 256 << 20
"""Results up to this size are compared with the stored rows, so that only what differs is written."""


class Outcome(NamedTuple):
    """What carrying out a plan came to."""

    strategy: Strategy
    code: str
    reason: str
    rows_in: int = 0
    rows_changed: int = 0
    bytes_read: int = 0
    commit_version: int | None = None


class _Work:
    """A session over the pinned versions of one plan, which adds up what its queries scan."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._results: list[Result] = []

    def run(self, query: str) -> Result:
        result = self.session.sql(query)
        self._results.append(result)
        return result

    @property
    def bytes_read(self) -> int:
        return sum(result.metrics.get("bytes_scanned", 0) for result in self._results)


class Executor:
    """Carries out the plan of one view.

    Parameters
    ----------
    catalog : Catalog
        What names mean.
    view : View
    plan : ViewPlan
        Its sources are at known versions.
    """

    def __init__(self, catalog: Catalog, view: View, plan: ViewPlan, stored: pa.Schema) -> None:
        self._catalog = catalog
        self._view = view
        self._plan = plan
        self._stored = stored

    def run(self) -> Outcome:
        """Compute what the plan says and commit it.

        Returns
        -------
        Outcome

        Raises
        ------
        RefusedError
            The plan turned out to be impossible; the view has to be recomputed.
        ConflictError
            Somebody else committed to the view's table; nothing was written.
        """
        if self._plan.strategy == "none":
            return Outcome("none", self._plan.code, self._plan.reason)
        with self._catalog.session.sibling() as session:
            work = _Work(session)
            for source in self._plan.sources:
                session.register(source.name, self._contents(source, source.new))
            outcome = (
                self._affected_keys(work) if self._plan.strategy == "affected_keys" else self._full(work)
            )
            return outcome._replace(bytes_read=work.bytes_read)

    def _contents(self, plan: SourcePlan, version: int | None) -> Snapshot | ArrowStreamExportable:
        source = self._source(plan)
        if isinstance(source, DataSource):
            return source.data
        assert version is not None  # only data in memory has no version
        return source.at(version)

    def _source(self, plan: SourcePlan) -> TableSource | DataSource:
        source = self._catalog.source(plan.name, self._view.name)
        assert source is not None  # parents are refreshed before
        return source

    # Recomputing

    def _full(self, work: _Work) -> Outcome:
        table = self._opened()
        rows_in = sum(source.rows or 0 for source in self._plan.sources)
        rows = _bounded(work.run(self._plan.step("rows")))
        if isinstance(rows, pa.Table) and self._can_compare(table):
            work.session.register(ROWS, rows)
            work.session.register(STORED, table.snapshot(version=self._plan.view_version))
            changed = _weight(work.run(self._plan.step("difference")).to_arrow())
            if changed == 0:
                return self._unchanged(table, rows_in)
            commit = self._replace_all(table, rows)
        else:
            before = self._rows_before(table)
            commit = self._replace_all(table, rows)
            changed = before + commit.rows
        return self._done(commit, rows_in, changed)

    def _can_compare(self, table: Table) -> bool:
        """Whether the table has rows of the same columns to compare with."""
        if self._plan.view_version is None or not self._has_step("difference"):
            return False
        return same_columns(table.snapshot(version=self._plan.view_version).schema, self._stored)

    def _has_step(self, name: str) -> bool:
        return any(step.name == name for step in self._plan.steps)

    def _rows_before(self, table: Table) -> int:
        version = self._plan.view_version
        return snapshot_size(table.snapshot(version=version)).rows if version is not None else 0

    def _replace_all(self, table: Table, rows: pa.Table | pa.RecordBatchReader) -> Commit:
        found = table.snapshot(version=self._plan.view_version or 0)
        return table.write(
            rows.cast(self._stored),
            mode="overwrite",
            replace_schema=not same_columns(found.schema, self._stored),
            transaction=self._transaction(table),
            metadata=self._cursor(table).to_metadata(),
            expected_version=self._plan.view_version or 0,
        )

    def _opened(self) -> Table:
        table = self._catalog.open_target(self._view)
        if table is not None:
            return table
        spec = TableSpec.from_arrow(self._view.name, self._stored)
        try:
            return Table.create(self._view.target, spec, storage_options=self._catalog.storage_options)
        except DeltaIoError:
            # Whoever creates it at the same moment wins; the commit that follows tells who fills it.
            table = self._catalog.open_target(self._view)
            if table is None:
                raise
            return table

    # Recomputing the rows of affected keys

    def _affected_keys(self, work: _Work) -> Outcome:
        table = self._opened()
        rows_in = self._register_changes(work)
        if rows_in == 0:
            reason = "Nothing to do: what was committed to its sources changed no rows."
            return Outcome("none", "no-data-change", reason)
        keys = self._keys(work)
        if keys.num_rows == 0:
            return self._unchanged(table, rows_in)
        work.session.register(KEYS, keys)
        rows = _bounded(work.run(self._plan.step("rows")))
        if not isinstance(rows, pa.Table) or not self._has_step("difference"):
            return self._replace_keys(table, keys, rows, rows_in, None)
        work.session.register(ROWS, rows)
        work.session.register(STORED, table.snapshot(version=self._plan.view_version))
        difference = work.run(self._plan.step("difference")).to_arrow()
        if difference.num_rows == 0:
            return self._unchanged(table, rows_in)
        work.session.register(DIFFERENCE, difference)
        changed_keys = work.run(self._plan.step("changed_keys")).to_arrow()
        work.session.register(CHANGED_KEYS, changed_keys)
        stand_in = self._stand_in(work, changed_keys.num_rows)
        step = "replacement" if stand_in is None else replacement_by(stand_in)
        replacement = work.run(self._plan.step(step)).to_arrow()
        return self._replace_keys(
            table, changed_keys, replacement, rows_in, _weight(difference), stand_in=stand_in
        )

    def _stand_in(self, work: _Work, changed: int) -> int | None:
        """Position of the key's column that few unchanged rows share with changed keys, if there is one."""
        if changed <= FEW_COMPOSITE_KEYS or not self._has_step("sharing"):
            return None
        counted = work.run(self._plan.step("sharing")).to_arrow().to_pylist()
        best = min(counted, key=lambda row: (row["sharing"], row["place"]))
        return best["place"] if best["sharing"] <= MAX_SHARING_ROWS + changed else None

    def _keys(self, work: _Work) -> pa.Table:
        try:
            return work.run(self._plan.step("keys")).to_arrow()
        except ResourceError:
            raise
        except ExecutionError as error:
            # Vacuum takes files of old versions away while the log still lists them.
            reason = f"its sources cannot be read as they were ({str(error).splitlines()[0]})"
            raise RefusedError("old-version-unreadable", reason) from error

    def _register_changes(self, work: _Work) -> int:
        """Make the changes, and what they are joined with, known to the queries for keys."""
        total = 0
        for plan in self._plan.sources:
            source = self._source(plan)
            assert isinstance(source, TableSource)  # data in memory is never followed
            assert plan.new is not None
            work.session.register(pinned(plan.name, "new"), source.at(plan.new))
            if plan.state == "unchanged" or plan.old is None:
                continue
            try:
                changes = source.changes(plan.old, plan.new)
                work.session.register(pinned(plan.name, "changed"), changes.rows())
                work.session.register(pinned(plan.name, "old"), source.at(plan.old))
                total += changes.count()
            except CHANGES_GONE as error:
                reason = f"the changes of {plan.name} since version {plan.old} cannot be read ({error})"
                raise RefusedError("changes-unavailable", reason) from error
        return total

    def _replace_keys(
        self,
        table: Table,
        keys: pa.Table,
        rows: pa.Table | pa.RecordBatchReader,
        rows_in: int,
        changed: int | None,
        *,
        stand_in: int | None = None,
    ) -> Outcome:
        commit = table.write(
            rows,
            mode="overwrite",
            predicate=self._predicate(keys, range(len(self._plan.key)) if stand_in is None else (stand_in,)),
            transaction=self._transaction(table),
            metadata=self._cursor(table).to_metadata(),
            expected_version=self._plan.view_version,
        )
        return self._done(commit, rows_in, commit.rows if changed is None else changed)

    def _predicate(self, keys: pa.Table, positions: Sequence[int]) -> str:
        """Write the condition on the key's columns at some positions."""
        names = [self._plan.key[position] for position in positions]
        types = [self._stored.field(name).type for name in names]
        try:
            columns = [keys.column(position).to_pylist() for position in positions]
        except (ValueError, OverflowError) as error:
            reason = f"a key has a value that cannot be written into a condition exactly ({error})"
            raise RefusedError("key-type", reason) from error
        values = list(dict.fromkeys(zip(*columns, strict=True)))
        most = MAX_KEYS if len(names) == 1 else MAX_COMPOSITE_KEYS
        if len(values) > most:
            reason = f"{len(values):,} keys changed, more than the {most:,} that one commit replaces"
            raise RefusedError("too-many-keys", reason)
        predicate = key_predicate(names, types, values)
        if len(predicate) > MAX_PREDICATE_CHARACTERS:
            reason = f"the condition on {len(values):,} changed keys takes {len(predicate):,} characters"
            raise RefusedError("too-many-keys", reason)
        return predicate

    # Committing

    def _unchanged(self, table: Table, rows_in: int) -> Outcome:
        """Remember that the sources' new versions were seen, without touching rows."""
        outcome = Outcome(
            self._plan.strategy,
            "result-unchanged",
            f"{self._plan.reason.rstrip('.')}, and its rows turned out to be the same.",
            rows_in=rows_in,
        )
        if not self._moves():
            return outcome
        commit = table.write(
            self._stored.empty_table(),
            mode="append",
            transaction=self._transaction(table),
            metadata=self._cursor(table).to_metadata(),
            expected_version=self._plan.view_version,
        )
        return outcome._replace(commit_version=commit.version)

    def _moves(self) -> bool:
        """Whether the cursor would be another one than the view's table has."""
        return self._plan.code not in ("volatile", "source-unversioned") or any(
            source.state not in ("unchanged", "unversioned") for source in self._plan.sources
        )

    def _done(self, commit: Commit, rows_in: int, changed: int) -> Outcome:
        plan = self._plan
        return Outcome(
            plan.strategy,
            plan.code,
            plan.reason,
            rows_in=rows_in,
            rows_changed=changed,
            commit_version=commit.version,
        )

    def _transaction(self, table: Table) -> Transaction:
        return Transaction(app_id=application_id(self._view.name), version=self._refresh_number(table))

    def _refresh_number(self, table: Table) -> int:
        last = table.transaction_version(application_id(self._view.name))
        return 1 if last is None else last + 1

    def _cursor(self, table: Table) -> Cursor:
        return Cursor(
            view=self._view.name,
            definition=self._plan.definition,
            strategy=self._plan.strategy,
            code=self._plan.code,
            refresh=self._refresh_number(table),
            sources={
                source.name: Consumed(version=source.new, table_id=source.table_id)
                for source in self._plan.sources
            },
        )


def _bounded(result: Result) -> pa.Table | pa.RecordBatchReader:
    """Read a result into memory if it is small enough to be compared; else give all of it as a stream."""
    batches: list[pa.RecordBatch] = []
    size = 0
    reader = result.to_reader()
    for batch in reader:
        batches.append(batch)
        size += batch.nbytes
        if size > COMPARED_BYTES:
            return pa.RecordBatchReader.from_batches(reader.schema, itertools.chain(batches, reader))
    return pa.Table.from_batches(batches, schema=reader.schema)


def _weight(difference: pa.Table) -> int:
    return sum(abs(weight) for weight in difference.column(difference.num_columns - 1).to_pylist())
