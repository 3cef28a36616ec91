"""The ingest step: when it runs, and what stops it."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest

from delta_io import Table
from schema_spec import TableSpec

ORDERS = pa.schema(
    {"id": pa.int64(), "day": pa.date32(), "customer": pa.string(), "amount": pa.decimal128(12, 2)}
)


def test_ingest_comes_before_the_views(ingesting, document, command, strategies):
    report = document("run")
    assert report["ingest"]["tables"] == [
        {"name": "orders", "version": 1, "rows_inserted": 2, "rows_deleted": 0}
    ]
    assert report["ingest"]["notes"] == ["read some files"]
    assert strategies(report) == {"revenue": "full"}
    ingesting.write({"other/b.csv": "1,2026-01-01,Ada,9.00\n"})
    report = document("run", "--source", "other")
    assert report["ingest"]["tables"][0]["rows_inserted"] == 1
    assert document("query", "SELECT revenue FROM revenue")["rows"] == [{"revenue": "9.00"}]
    code, out, err = command("run")
    assert code == 0
    assert "noise" not in out
    assert "noise on standard output" in err
    assert "noise from a child" in err


def test_bad_input_stops_before_the_ingest_step(ingesting, refused):
    found = refused("run", "--source", "incomming")
    assert (found["code"], found["suggestions"]) == ("ingest-input", ["incoming"])
    assert refused("run", "--source", "incoming/a.csv")["code"] == "ingest-input"
    ingesting.write({"views/v.sql": "SELEC 1"})
    assert refused("run")["code"] == "sql-syntax"
    ingesting.write({"views/v.sql": "SELECT id\nFROM order"})
    refused("run")
    ingesting.write({"views/v.sql": "SELECT id\nFROM ordres"})
    found = refused("run")
    assert (found["code"], found["line"], found["suggestions"]) == ("sql-table-unknown", 2, ["orders"])
    ingesting.write({"views/v.sql": "SELECT * FROM revenue WHERE day IN (SELECT day FROM v)"})
    assert refused("run")["code"] == "incremental-view-cycle"


def test_columns_are_checked_against_contracts_before_the_ingest_step(
    ingesting, refused, document, strategies
):
    contract = TableSpec.from_arrow("orders", ORDERS).to_toml()
    project = Path("freshlake.toml").read_text()
    project = project.replace(
        'uri = "data/orders"', 'uri = "data/orders"\ncontract = "contracts/orders.toml"'
    )
    ingesting.write({"contracts/orders.toml": contract, "freshlake.toml": project})
    ingesting.write({"views/v.sql": "SELECT amuont FROM orders"})
    found = refused("run")
    assert (found["code"], found["file"]) == ("sql-column-unknown", str(Path("views/v.sql")))
    assert "amount" in found["suggestions"]
    ingesting.write({"views/v.sql": "SELECT amount FROM orders"})
    assert strategies(document("run")) == {"revenue": "full", "v": "full"}


def test_columns_without_a_contract_are_checked_after_the_ingest_step(ingesting, command):
    ingesting.write({"views/v.sql": "SELECT amuont FROM orders"})
    code, out, err = command("run")
    assert (code, out) == (2, "")
    assert err.splitlines()[-3].startswith(f"error: {Path('views/v.sql')}:1:8: ")
    assert Table.exists("data/orders")
    assert not Path("lake").exists()


@pytest.mark.parametrize(
    ("entry", "code"),
    [("no_such_module_here:run", 2), ("json:lods", 2), ("json:loads", 1)],
)
def test_ingest_entries_that_cannot_work(ingesting, command, entry, code):
    project = ingesting.project + f'[ingest]\nentry = "{entry}"\n'
    ingesting.write({"freshlake.toml": project})
    found, out, err = command("run", "--json")
    assert found == code
    assert json.loads(out)["error"]["message"] in err
