"""A small shop to try the command on."""

from __future__ import annotations

import datetime as dt
import json
import sys
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import settings

from delta_io import Table
from freshlake.cli import main
from schema_spec import TableSpec

# A machine under load is no defect.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
ORDERS = pa.schema(
    {"id": pa.int64(), "day": pa.date32(), "customer": pa.string(), "amount": pa.decimal128(12, 2)}
)
PROJECT = """\
[project]
name = "shop"
lake = "lake"

[tables.orders]
uri = "data/orders"
"""
REVENUE = """\
-- freshlake: key = ["day"]
SELECT day, count(*) AS orders, sum(amount) AS revenue
FROM orders
GROUP BY day
"""
BIG_DAYS = "SELECT day FROM revenue WHERE revenue > 100\n"
INGEST = """\
import os
from datetime import date
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
from delta_io import Table
from freshlake import IngestContext, IngestedTable, IngestInputError, IngestReport
from schema_spec import TableSpec

SCHEMA = pa.schema(
    {"id": pa.int64(), "day": pa.date32(), "customer": pa.string(), "amount": pa.decimal128(12, 2)}
)


def run(context: IngestContext) -> IngestReport:
    print("noise on standard output")
    os.system("echo noise from a child")
    files = sorted(Path(str(context.options["source"])).glob("*.csv"))
    if not files:
        raise IngestInputError("The source holds no .csv files.")
    uri = context.tables["orders"]
    rows = [line.split(",") for file in files for line in file.read_text().splitlines()]
    data = pa.Table.from_pylist(
        [
            {"id": int(i), "day": date.fromisoformat(day), "customer": who, "amount": Decimal(amount)}
            for i, day, who, amount in rows
        ],
        schema=SCHEMA,
    )
    if not Table.exists(uri):
        Table.create(uri, TableSpec.from_arrow("orders", SCHEMA))
    commit = Table(uri).write(data, mode="overwrite")
    context.progress("orders", len(files), len(files))
    table = IngestedTable(name="orders", version=commit.version, rows_inserted=data.num_rows)
    return IngestReport(tables=(table,), seconds=0.1, notes=("read some files",))
"""


class Shop:
    """A project in a directory, with a table of orders that is written as told."""

    project = PROJECT

    def __init__(self, root):
        self.root = root

    def write(self, files):
        for name, content in files.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")

    def sell(self, *orders):
        """Append orders of (id, day of January, amount), with Ada as the customer, or of (…, customer)."""
        rows = [
            {"id": number, "day": dt.date(2026, 1, day), "customer": "Ada", "amount": Decimal(amount)}
            | ({"customer": customer[0]} if customer else {})
            for number, day, amount, *customer in orders
        ]
        uri = str(self.root / "data" / "orders")
        if not Table.exists(uri):
            Table.create(uri, TableSpec.from_arrow("orders", ORDERS))
        return Table(uri).write(pa.Table.from_pylist(rows, schema=ORDERS))

    def tree(self):
        return {
            str(path): path.stat().st_mtime_ns
            for path in self.root.rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }


@pytest.fixture
def empty(tmp_path, monkeypatch):
    """An empty working directory, to write a project into."""
    monkeypatch.chdir(tmp_path)
    return Shop(tmp_path)


@pytest.fixture
def shop(empty):
    """A working directory with two views over three orders; nothing was run yet."""
    empty.write({"freshlake.toml": PROJECT, "views/revenue.sql": REVENUE, "views/big_days.sql": BIG_DAYS})
    empty.sell((1, 1, "50.00"), (2, 1, "70.00"), (3, 2, "9.99", None))
    return empty


@pytest.fixture
def ingesting(empty, monkeypatch):
    """A project with an ingest step, whose module has a name of its own, and no table yet."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    module = f"ingest_{abs(hash(str(empty.root)))}"
    project = PROJECT + f'[ingest]\nentry = "{module}:run"\noptions = {{ source = "incoming" }}\n'
    files = {f"{module}.py": INGEST, "freshlake.toml": project, "views/revenue.sql": REVENUE}
    empty.write({**files, "incoming/a.csv": "1,2026-01-01,Ada,5.00\n2,2026-01-02,Bo,6.00\n"})
    return empty


@pytest.fixture
def command(capfd):
    """Run the command in this process; gives the exit code and both streams."""

    def run(*arguments):
        capfd.readouterr()
        code = main([str(argument) for argument in arguments])
        captured = capfd.readouterr()
        assert "Traceback" not in captured.err
        return code, captured.out, captured.err

    return run


@pytest.fixture
def document(command):
    """Run a command with --json and expect exactly one document."""

    def run(*arguments, code=0):
        found, out, err = command(*arguments, "--json")
        assert found == code, err
        assert out.count("\n") == 1
        return json.loads(out)

    return run


@pytest.fixture
def refused(empty, command):
    """Run a command that must be refused, with and without --json, writing nothing; gives the error."""

    def run(*arguments):
        before = empty.tree()
        code, out, err = command(*arguments)
        assert (code, out) == (2, "")
        assert err.startswith("error: ")
        assert err.count("error: ") == 1
        code, out, again = command(*arguments, "--json")
        assert (code, again) == (2, err)
        assert empty.tree() == before
        found = json.loads(out)["error"]
        assert found["message"] in err
        places = [str(found[key]) for key in ("file", "line") if found[key] is not None]
        return {**found, "text": err, "place": ":".join(places).replace("\\", "/")}

    return run


def _strategies(document):
    return {view["name"]: view["strategy"] for view in document["views"]}


@pytest.fixture
def strategies():
    """Name the strategy of each view in the document of a plan or a run."""
    return _strategies
