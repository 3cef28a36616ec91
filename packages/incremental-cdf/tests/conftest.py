"""A small lake to keep views over, and an independent engine to compare them with."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from delta_io import Table
from df_runtime import Session, SessionFactory
from incremental_cdf import RefreshReport, View, ViewReport, Views
from schema_spec import TableSpec

Row = Mapping[str, Any]


class Lake:
    """Source tables and views below one folder."""

    def __init__(self, folder: Path, session: Session) -> None:
        self.folder = folder
        self.session = session
        self.tables: dict[str, Table] = {}
        self.views = Views([], session)
        self._definitions: dict[str, View] = {}

    def table(
        self, name: str, columns: Mapping[str, pa.DataType], rows: Iterable[Row] = (), **spec: Any
    ) -> Table:
        contract = TableSpec.from_arrow(name, pa.schema(list(columns.items())))
        if spec:
            contract = TableSpec(name, contract.columns, **spec)
        table = Table.create(str(self.folder / name), contract)
        self.tables[name] = table
        self.session.register(name, table)
        if rows := list(rows):
            self.insert(name, rows)
        return table

    def insert(self, name: str, rows: Sequence[Row]) -> None:
        table = self.tables[name]
        schema = pa.schema([field.with_nullable(True) for field in table.snapshot().schema])
        table.write(pa.Table.from_pylist([dict(row) for row in rows], schema=schema))

    def define(self, *views: tuple[str, str] | View, **options: Any) -> Views:
        made = [view if isinstance(view, View) else self.view(*view, **options) for view in views]
        self._definitions = {view.name: view for view in made}
        self.views = Views(made, self.session)
        return self.views

    def view(self, name: str, query: str, **options: Any) -> View:
        return View(name, query, str(self.folder / "views" / name), **options)

    def refresh(self) -> RefreshReport:
        return self.views.refresh()

    def refreshed(self, name: str) -> ViewReport:
        return self.refresh().view(name)

    def target(self, name: str) -> Table:
        return Table(self.folder / "views" / name)

    def rows(self, name: str) -> Counter[tuple[Any, ...]]:
        """The rows of a view's table, as a bag."""
        return bag(self.target(name).snapshot().to_reader().read_all())

    def expected(self, name: str) -> Counter[tuple[Any, ...]]:
        """What DuckDB makes of a view's query over the sources, views among them, as they are."""
        connection = duckdb.connect()
        for source, table in self.tables.items():
            connection.register(source, table.snapshot().to_reader().read_all())
        for other in self.views.names:
            view = self._definitions[other]
            if other == name:
                return bag(connection.sql(view.query).to_arrow_table())
            connection.execute(f'CREATE VIEW "{other}" AS {view.query}')
        raise KeyError(name)

    def check(self) -> None:
        """Every view holds exactly the rows that the independent engine computes."""
        for name in self.views.names:
            assert self.rows(name) == self.expected(name), name

    def optimize(self, name: str) -> int:
        """Rewrite a table's files the way another engine's OPTIMIZE does: no row changes."""
        table = self.tables[name]
        folder = Path(table.uri)
        version = table.snapshot().version + 1
        actions: list[dict[str, Any]] = [{"commitInfo": {"timestamp": 0, "operation": "OPTIMIZE"}}]
        for add in live_files(folder):
            moved = f"moved-{version}-{Path(add['path']).name}"
            shutil.copyfile(folder / add["path"], folder / moved)
            actions.append({"remove": {"path": add["path"], "deletionTimestamp": 0, "dataChange": False}})
            actions.append({"add": {**add, "path": moved, "dataChange": False}})
        log = folder / "_delta_log" / f"{version:020}.json"
        log.write_text("\n".join(json.dumps(action) for action in actions))
        return version


def live_files(folder: Path) -> list[dict[str, Any]]:
    """The add actions that no remove action has taken back."""
    live: dict[str, dict[str, Any]] = {}
    for log in sorted((folder / "_delta_log").glob("*.json")):
        for action in map(json.loads, log.read_text().splitlines()):
            if "remove" in action:
                live.pop(action["remove"]["path"], None)
        for action in map(json.loads, log.read_text().splitlines()):
            if "add" in action:
                live[action["add"]["path"]] = action["add"]
    return list(live.values())


def bag(table: pa.Table) -> Counter[tuple[Any, ...]]:
    columns = [column.to_pylist() for column in table.columns]
    return Counter(zip(*columns, strict=True))


@pytest.fixture(scope="session")
def factory() -> SessionFactory:
    return SessionFactory()


@pytest.fixture(scope="session")
def new_lake(factory: SessionFactory) -> Callable[[Path], AbstractContextManager[Lake]]:
    """Make a lake below a folder, for tests that need many."""

    @contextmanager
    def make(folder: Path) -> Generator[Lake]:
        with factory.open() as session:
            yield Lake(folder, session)

    return make


@pytest.fixture
def lake(tmp_path: Path, factory: SessionFactory) -> Iterator[Lake]:
    with factory.open() as session:
        yield Lake(tmp_path, session)


ORDERS = {"id": pa.int64(), "customer": pa.int64(), "amount": pa.decimal128(10, 2), "day": pa.string()}
CUSTOMERS = {"id": pa.int64(), "name": pa.string()}


@pytest.fixture
def shop(lake: Lake) -> Lake:
    """Orders with a NULL day, a duplicate and an unknown customer; customers, one without a name."""
    rows = [
        (1, 1, "1.50", "mon"),
        (2, 1, "2.00", "tue"),
        (3, 2, "4.00", None),
        (4, 9, "8.00", "tue"),
        (4, 9, "8.00", "tue"),
    ]
    orders = [dict(zip(ORDERS, (a, b, Decimal(c), d), strict=True)) for a, b, c, d in rows]
    lake.table("orders", ORDERS, orders)
    lake.table("customers", CUSTOMERS, [{"id": 1, "name": "ada"}, {"id": 2, "name": None}])
    return lake
