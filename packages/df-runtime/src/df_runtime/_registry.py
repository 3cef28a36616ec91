"""The datasets of one session, kept at one version each while a query is planned."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Generator, Iterable, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import datetime

import pyarrow as pa

from datafusion_ext import Engine, EngineError
from delta_io import DeltaIoError, ScanConfig, Snapshot, StorageOptions, Table
from df_runtime._caches import CACHE_FUNCTIONS
from df_runtime._catalogs import Catalog
from df_runtime._definitions import Definition, read_definition, view_query
from df_runtime._diagnosis import Names, diagnose, unknown_table
from df_runtime._gate import Gate
from df_runtime._information_schema import described
from df_runtime._names import TableName
from df_runtime._references import FUNCTIONS_OF_TABLES, Text, needle
from df_runtime._resolve import Dataset, DeltaDataset, Rules, ViewDataset, resolve
from df_runtime._untyped import hint, untyped
from df_runtime.catalog import Tier
from df_runtime.errors import (
    DatasetUnsupportedError,
    DfRuntimeError,
    ParameterError,
    SqlError,
    SqlUnsupportedError,
    ViewCycleError,
)
from df_runtime.policy import SqlPolicy
from df_runtime.profile import RuntimeProfile


class _Entry:
    """A registered name; `ticket` orders concurrent looks at the table's log."""

    __slots__ = ("dataset", "needle", "stale", "ticket")

    def __init__(self, name: TableName, dataset: Dataset, ticket: int) -> None:
        self.dataset = dataset
        self.needle = needle(name.table)
        self.stale = False
        self.ticket = ticket


class Registry:
    """Names and what they are bound to in the engine.

    A provider that the engine knows is bound to one snapshot. Following a table means to register a newer
    snapshot in its place, and a view, which the engine binds to the providers that it was planned over, is
    registered again when one of them was replaced.
    """

    def __init__(self, engine: Engine, profile: RuntimeProfile) -> None:
        self._engine = engine
        self._profile = profile
        self._entries: dict[TableName, _Entry] = {}
        self._catalogs: dict[str, Catalog] = {}
        self._found: set[TableName] = set()
        self._tickets = itertools.count(1)
        self._lock = threading.RLock()
        # Functions that the session brought along.
        self.tiers: dict[str, Tier] = dict.fromkeys((*FUNCTIONS_OF_TABLES, *CACHE_FUNCTIONS), "python")
        self._rules = Rules(profile.features, profile.evolution)
        self.gate = Gate(engine, profile, self.diagnosed)

    def read_name(self, text: str) -> TableName:
        """Read a name with the defaults of the profile."""
        profile = self._profile
        normalize = profile.normalize_identifiers
        return TableName.parse(text, catalog=profile.catalog, schema=profile.schema, normalize=normalize)

    def put(
        self,
        text: str,
        source: object,
        *,
        version: int | None,
        timestamp: datetime | str | None,
        scan: ScanConfig | None = None,
        policy: SqlPolicy | None = None,
    ) -> None:
        """Bind a name, in place of what it was bound to; `policy` is what the query of a view may hold."""
        name = self.read_name(text)
        ticket = next(self._tickets)
        known = list(self._entries)
        dataset = resolve(
            source,
            version=version,
            timestamp=timestamp,
            scan=scan,
            rules=self._rules,
            known=known,
            read_name=self.read_name,
        )
        if not isinstance(dataset, ViewDataset):
            with self._lock:
                self._bind(name, dataset, ticket)
            return
        with self.settled(dataset.query) as scope:
            self._refuse_cycle(name, dataset)
            self._check_view(name, dataset, scope, policy or self._profile.policy)
            self._bind(name, dataset, ticket)

    def _check_view(
        self, name: TableName, view: ViewDataset, scope: Mapping[TableName, Dataset], policy: SqlPolicy
    ) -> None:
        try:
            report = self.gate.check(view.query, policy, scope)
        except SqlError as error:
            error.message = f"View {self._relative(name)}: {error.message}"
            raise
        if report.parameters:
            raise ParameterError(
                f"View {self._relative(name)} has the parameter ${report.parameters[0]}, and nobody gives "
                "views values. Write the value, or prepare the query as a statement.",
                query=view.query,
            )

    def _bind(self, name: TableName, dataset: Dataset, ticket: int) -> None:
        self._attach(name, dataset)
        self._entries[name] = _Entry(name, dataset, ticket)
        self._mark_dependents({name})

    def _attach(self, name: TableName, dataset: Dataset) -> None:
        try:
            dataset.attach(self._engine, name)
        except EngineError as error:
            if not isinstance(dataset, ViewDataset):
                raise DatasetUnsupportedError(
                    f"The engine cannot take {name.quoted()}: {error.message}."
                ) from error
            raise self.diagnosed(error, dataset.query, view=name) from error

    def unplanned(self, error: EngineError, query: str, row: pa.RecordBatch | None) -> DfRuntimeError:
        """Say why a query cannot be planned, with these values of its parameters or with none."""
        found = untyped(error, query, row)
        if found is None:
            found = self.diagnosed(error, query)
            if told := hint(error, query):
                found.message = f"{found.message.rstrip()} {told}"
        return found

    def diagnosed(self, error: EngineError, query: str, *, view: TableName | None = None) -> DfRuntimeError:
        """Say what is wrong with a query in terms of the tables it can see."""
        found = diagnose(error, query, self._names())
        if view is not None:
            found.message = f"View {self._relative(view)}: {found.message}"
        return found

    def _names(self) -> Names:
        return Names(self._engine, sorted(map(self.read_name, self._engine.tables())), self._relative)

    def _relative(self, name: TableName) -> str:
        return name.relative(catalog=self._profile.catalog, schema=self._profile.schema)

    def remove(self, text: str) -> bool:
        """Forget a name; tell whether it was known."""
        name = self.read_name(text)
        with self._lock:
            self._mark_dependents({name})
            known = self._entries.pop(name, None) is not None
            return self._engine.deregister(name.quoted()) or known

    def define(self, definition: Definition, policy: SqlPolicy) -> bool:
        """Do what a statement says; tell whether that is the session's and not the engine's to do."""
        if definition.what in {"drop table", "drop view"}:
            return self._drop(definition)
        source = definition.query
        if definition.what == "view":
            query = view_query(definition)
            if query is None:
                return False
            source = query
        elif definition.what != "external":
            return False
        if self._exists(definition.name) and not definition.replace:
            if definition.lenient:
                return True
            name = self._relative(self.read_name(definition.name))
            advice = "Write CREATE OR REPLACE, IF NOT EXISTS, or another name."
            raise SqlError(f"{name} is there already. {advice}")
        self.put(definition.name, source, version=None, timestamp=None, policy=policy)
        return True

    def _exists(self, text: str) -> bool:
        if self.get(text) is not None:
            return True
        try:
            self._engine.schema(self.read_name(text).quoted())
        except EngineError:
            return False
        return True

    def _drop(self, definition: Definition) -> bool:
        dataset = self.get(definition.name)
        if dataset is None:
            if definition.lenient or self._exists(definition.name):
                return False
            raise unknown_table(definition.query, definition.name, self._names())
        name = self.read_name(definition.name)
        is_view = isinstance(dataset, ViewDataset)
        if is_view != (definition.what == "drop view"):
            kind = "view" if is_view else "table"
            raise SqlError(f"{self._relative(name)} is a {kind}. Write DROP {kind.upper()}.")
        if name in self._found:
            raise SqlUnsupportedError(
                f"{self._relative(name)} comes from its catalog, which would find it again. Remove it there."
            )
        return self.remove(definition.name)

    def reconcile(self, query: str) -> None:
        """Forget what a statement that the engine has run dropped, or gave another meaning."""
        definition = read_definition(query)
        with self._lock:
            gone = set(self._entries).difference(map(self.read_name, self._engine.tables()))
            if definition is not None and definition.what == "made" and definition.replace:
                gone.add(self.read_name(definition.name))
            self._mark_dependents(gone)
            for name in gone:
                self._entries.pop(name, None)

    def put_catalog(self, catalog: Catalog) -> None:
        """Make a catalog known, in place of one of its name."""
        with self._lock:
            self._catalogs[catalog.catalog] = catalog

    def discover(self, query: str | None) -> None:
        """Bind the tables of catalogs that a text names, all of them for None, and forget those that went.

        A table that can't be opened is an error for a text that names it.
        """
        text = None if query is None else Text(query)
        shows_all = text is None or text.mentions("information_schema") or text.mentions("show")
        default = self._profile.catalog

        def wanted(name: str) -> bool:
            return shows_all or text is None or text.mentions(needle(name))

        for catalog in list(self._catalogs.values()):
            named = shows_all or catalog.catalog == default
            if not named and text is not None and not text.mentions(catalog.catalog.lower()):
                continue
            tables = catalog.tables(wanted)
            for name, source in tables.items():
                if name not in self._entries:
                    self._bind_found(name, source, required=not shows_all)
            # Tables of a schema that the text leaves out were not looked for.
            schemas = {each.schema for each in self._found if wanted(each.schema)} | {self._profile.schema}
            missing = [each for each in self._found - tables.keys() if each.catalog == catalog.catalog]
            self._forget(each for each in missing if each.schema in schemas and wanted(each.table))

    def _forget(self, gone: Iterable[TableName]) -> None:
        for name in list(gone):
            self._found.discard(name)
            self.remove(name.quoted())

    def _bind_found(self, name: TableName, source: object, *, required: bool) -> None:
        ticket = next(self._tickets)
        try:
            dataset = resolve(source, rules=self._rules, known=list(self._entries), read_name=self.read_name)
            with self._lock:
                if name not in self._entries:
                    self._bind(name, dataset, ticket)
                    self._found.add(name)
        except (DfRuntimeError, DeltaIoError):
            # Where all tables are shown, one that can't be read must not hide the others.
            if required:
                raise

    def get(self, text: str) -> Dataset | None:
        """Find what a name is bound to."""
        if self.read_name(text) not in self._entries and self._catalogs:
            self.discover(self.read_name(text).quoted())
        entry = self._entries.get(self.read_name(text))
        return None if entry is None else entry.dataset

    def clear(self) -> None:
        """Forget everything; what runs keeps what it reads."""
        with self._lock:
            self._catalogs.clear()
            self._found.clear()
            for name in self._entries:
                self._engine.deregister(name.quoted())
            self._entries.clear()

    def ordered(self) -> dict[TableName, Dataset]:
        """All bindings, views after what they read."""
        with self._lock:
            ordered: dict[TableName, Dataset] = {}
            for name in self._entries:
                self._visit(name, ordered)
            return ordered

    @contextmanager
    def settled(self, query: str | None) -> Generator[Mapping[TableName, Dataset]]:
        """Bring every dataset that the query may read to its newest version, and hold it there.

        The look at the tables' logs happens before the lock is taken: a slow store holds up its own query
        only.

        Yields
        ------
        mapping of TableName to Dataset
            All datasets whose names occur in the text, or in the views that occur in it; None stands for all
            names.
        """
        if self._catalogs:
            self.discover(query)
        ticket = next(self._tickets)
        fresh = self._look(self._in_scope(query))
        with self._lock:
            self._advance(fresh, ticket)
            scope = self._in_scope(query)
            self._rebind_views(scope)
            with self._described(query):
                yield {name: self._entries[name].dataset for name in scope}

    def _described(self, query: str | None) -> AbstractContextManager[None]:
        profile = self._profile
        if query is None or not profile.information_schema or not Text(query).mentions("information_schema"):
            return nullcontext()
        datasets = {name: entry.dataset for name, entry in self._entries.items()}
        return described(self._engine, query, datasets, profile.catalog, self.tiers)

    def _in_scope(self, query: str | None) -> frozenset[TableName]:
        entries = dict(self._entries)
        if query is None:
            return frozenset(entries)
        text = Text(query)
        # These show every table, whatever their text names.
        if text.mentions("information_schema") or text.mentions("show"):
            return frozenset(entries)
        found: set[TableName] = set()
        pending = [name for name, entry in entries.items() if text.mentions(entry.needle)]
        while pending:
            name = pending.pop()
            if name in entries and name not in found:
                found.add(name)
                pending.extend(entries[name].dataset.depends)
        return frozenset(found)

    def _look(self, names: frozenset[TableName]) -> dict[TableName, tuple[Table, Snapshot]]:
        """Read the newest snapshots, one for each table even where it has several names.

        With other options of the storage, such as its endpoint, a URI stands for another table.
        """
        by_place: dict[tuple[str, StorageOptions], Snapshot] = {}
        found: dict[TableName, tuple[Table, Snapshot]] = {}
        for name in names:
            entry = self._entries.get(name)
            if entry is None or not isinstance(entry.dataset, DeltaDataset) or entry.dataset.follows is None:
                continue
            table = entry.dataset.follows
            place = table.uri, entry.dataset.snapshot.storage_options
            if place not in by_place:
                by_place[place] = table.snapshot()
            found[name] = table, by_place[place]
        return found

    def _advance(self, fresh: Mapping[TableName, tuple[Table, Snapshot]], ticket: int) -> None:
        moved: set[TableName] = set()
        try:
            for name, (table, snapshot) in fresh.items():
                entry = self._entries.get(name)
                # Another thread may have looked later, or given the name to something else.
                if entry is None or entry.ticket > ticket or not isinstance(entry.dataset, DeltaDataset):
                    continue
                if entry.dataset.follows is table:
                    self._bind_snapshot(name, entry, entry.dataset.advanced(snapshot), moved)
                    entry.ticket = ticket
        finally:
            self._mark_dependents(moved)

    def _bind_snapshot(
        self, name: TableName, entry: _Entry, dataset: DeltaDataset, moved: set[TableName]
    ) -> None:
        if dataset is not entry.dataset:
            self._attach(name, dataset)
            entry.dataset = dataset
            moved.add(name)

    def _mark_dependents(self, moved: set[TableName]) -> None:
        pending = set(moved)
        while pending:
            changed = pending.pop()
            for name, entry in self._entries.items():
                if changed in entry.dataset.depends and not entry.stale:
                    entry.stale = True
                    pending.add(name)

    def _rebind_views(self, names: frozenset[TableName]) -> None:
        """Plan stale views anew, those that others read first."""
        ordered: dict[TableName, Dataset] = {}
        for name in names:
            self._visit(name, ordered)
        for name, dataset in ordered.items():
            entry = self._entries[name]
            if entry.stale:
                self._attach(name, dataset)
                entry.stale = False

    def _visit(
        self, name: TableName, ordered: dict[TableName, Dataset], path: tuple[TableName, ...] = ()
    ) -> None:
        entry = self._entries.get(name)
        if entry is None or name in ordered or name in path:
            return
        for dependency in sorted(entry.dataset.depends):
            self._visit(dependency, ordered, (*path, name))
        ordered[name] = entry.dataset

    def _refuse_cycle(self, name: TableName, view: ViewDataset) -> None:
        pending = list(view.depends) if view.exact else []
        seen: set[TableName] = set()
        while pending:
            dependency = pending.pop()
            if dependency == name:
                raise ViewCycleError(
                    f"View {self._relative(name)} would read itself; "
                    "register it under a name that its query does not use."
                )
            entry = self._entries.get(dependency)
            if entry is None or dependency in seen:
                continue
            seen.add(dependency)
            if not isinstance(entry.dataset, ViewDataset) or entry.dataset.exact:
                pending.extend(entry.dataset.depends)
