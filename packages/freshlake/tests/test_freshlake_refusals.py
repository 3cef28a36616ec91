"""Wrong input: exit code 2, one message, nothing written."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from delta_io import Table
from freshlake.cli import main
from schema_spec import TableSpec

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
CASES = [
    ("views/v.sql", "-- freshlake: key = ['id']\n\nSELECT id FRM orders", "sql-syntax", 3, "^"),
    ("views/v.sql", "SELECT id\nFROM ordres", "sql-table-unknown", 2, '"orders"'),
    ("views/v.sql", "SELECT id,\n  amuont\nFROM orders", "sql-column-unknown", 2, "amount"),
    ("views/v.sql", "SELECT summ(id)\nFROM orders", "sql-function-unknown", 1, "sum"),
    ("views/v.sql", "SELECT id FROM orders; SELECT 1", "sql-multiple-statements", 1, "SELECT"),
    ("views/v.sql", "DROP TABLE orders", "sql-not-allowed", 1, "SELECT"),
    ("views/v.sql", "EXPLAIN SELECT 1", "incremental-view-syntax", 1, "SELECT"),
    ("views/v.sql", "SELECT * FROM v", "incremental-view-cycle", 1, "itself"),
    ("views/big_days.sql", "SELECT * FROM revenue, big_days", "incremental-view-cycle", 1, "itself"),
    ("views/v.sql", "\n-- freshlake: key = ['days']\nSELECT day FROM orders", "view-file", 2, '"day"'),
    ("views/v.sql", "-- freshlake: depends = ['revenu']\nSELECT 1 AS x", "view-file", 1, '"revenue"'),
    ("views/v.sql", "SELECT id, id FROM orders", None, 1, "id"),
    ("views/revenue.py", "def revenue(): ...", "view-python-unsupported", None, "SQL"),
    ("freshlake.toml", PROJECT + "[tables.gone]\nuri = 'gone'\n", "project-table", 7, "gone"),
    ("freshlake.toml", PROJECT + "[tables.odd]\nuri = 'views'\n", "delta-not-a-table", 7, "odd"),
    ("freshlake.toml", PROJECT + "[project]\n", "project-syntax", 7, ""),
    ("freshlake.toml", PROJECT + "[tables.revenue]\nuri = 'x'\n", "project-name", 7, "revenue"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[1][-25:])
def test_wrong_projects_are_refused_before_anything_is_written(shop, refused, case):
    file, text, code, line, says = case
    shop.write({file: text})
    for name in ("run", "plan", "verify", "status"):
        found = refused(name)
        assert code is None or found["code"] == code
        assert found["place"] == (file if line is None else f"{file}:{line}")
        assert says in found["text"]


def test_views_that_need_each_other(shop, refused):
    names = {"a": "b", "b": "c", "c": "a"}
    shop.write({f"views/{name}.sql": f"SELECT * FROM {read}" for name, read in names.items()})
    found = refused("run")
    assert (found["code"], found["place"]) == ("incremental-view-cycle", "views/a.sql:1")
    assert "a -> b -> c -> a" in found["message"]


def test_a_lake_that_holds_something_else(shop, refused):
    shop.write({"lake/revenue/a.txt": "text"})
    found = refused("run")
    assert (found["code"], found["file"]) == ("view-target-not-delta", str(Path("views/revenue.sql")))


def test_a_table_at_odds_with_its_contract(shop, refused):
    contract = 'name = "orders"\n[[columns]]\nname = "amount"\ntype = "string"\n'
    project = PROJECT + 'contract = "contracts/orders.toml"\n'
    shop.write({"contracts/orders.toml": contract, "freshlake.toml": project})
    found = refused("run")
    assert (found["code"], found["place"]) == ("delta-schema-mismatch", "freshlake.toml:5")
    assert "amount" in found["message"]


def test_a_table_that_no_view_wrote_is_left_alone(shop, refused):
    foreign = Table.create(str(shop.root / "lake" / "revenue"), TableSpec.from_arrow("x", ORDERS))
    foreign.write(Table("data/orders").snapshot().to_reader())
    assert refused("run")["code"] == "incremental-target-foreign"


def test_no_project(empty, refused):
    found = refused("run", "--project", empty.root)
    assert found["code"] == "project-missing"


@pytest.mark.parametrize(
    "arguments",
    [
        ["rnu"],
        ["run", "--selct", "x"],
        ["query"],
        ["run", "--project"],
        ["query", "SELECT 1", "--limit", "x"],
    ],
)
def test_wrong_command_lines(empty, command, arguments):
    code, out, err = command(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    code, out, _ = command(arguments[0], "--json", *arguments[1:])
    assert code == 2
    assert json.loads(out)["error"]["code"] == "command-line"


def test_secrets_are_not_shown(shop, capfd, monkeypatch):
    monkeypatch.setenv("SHOP_KEY", "hunter2-from-env")
    secrets = '[storage]\nsecret = "${SHOP_KEY}"\npassword = "hunter2-in-file"\n'
    shop.write({"freshlake.toml": shop.project + secrets})
    shop.write({"views/v.sql": "SELECT 'hunter2-in-file' FROM orders WHERE nope = 'hunter2-from-env'"})
    for arguments in (["run"], ["run", "--json"], ["plan", "--debug"], ["status"]):
        assert main(arguments) == 2
        out, err = capfd.readouterr()
        assert "hunter2" not in out + err
        assert "***" in err


def test_debug_shows_where_an_error_arose(shop, capfd):
    shop.write({"freshlake.toml": "[project"})
    assert main(["run", "--debug"]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert "Traceback" in err
    assert any(line.startswith("error: freshlake.toml:1:") for line in err.splitlines())


_texts = st.text(st.characters(codec="utf-8"), max_size=40)
_WORDS = """\
SELECT|FROM orders|FROM revenue|*|id|day,|WHERE|(|)|;|GROUP BY 1|/*|'|"|$1|WITH x AS|UNION ALL|--|\x00|é
-- freshlake: key = ['day']|-- freshlake: refresh = 'strict'|[project]|name = 'x'|[tables.orders]|uri = '/x'
[storage]|a = '${HOME}'|[ingest]|entry = 'json:loads'"""
_lines = st.sampled_from([word for line in _WORDS.split("\n") for word in line.split("|")])
_files = st.one_of(_texts, st.lists(_lines, max_size=12).map("\n".join))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(project=st.one_of(st.just(PROJECT), _files, _files.map(lambda text: PROJECT + text)), view=_files)
def test_any_project_is_run_or_refused(shop, command, project, view):
    (shop.root / "freshlake.toml").write_text(project, encoding="utf-8")
    (shop.root / "views" / "fuzz.sql").write_text(view, encoding="utf-8")
    code, out, err = command("plan", "--json")
    assert code in {0, 2}
    found = json.loads(out)
    assert ("error" in found) == (code == 2)
    assert "defect" not in err
