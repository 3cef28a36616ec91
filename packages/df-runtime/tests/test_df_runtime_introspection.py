"""What a session tells of itself, and what can be kept of it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pyarrow as pa
import pytest

from delta_io import Table
from df_runtime import (
    MetadataOffError,
    Observability,
    ParameterError,
    RuntimeProfile,
    Session,
    SessionFactory,
)
from schema_spec import ColumnSpec, SqlExpression, TableSpec

SPEC = TableSpec(
    "orders",
    [
        ColumnSpec("id", "string as NodeId", nullable=False, comment="the key"),
        ColumnSpec("amount", "decimal(10,2)", default="1.5"),
        ColumnSpec("note", "string", default="it's"),
        ColumnSpec("seen", "date", default=SqlExpression("current_date()")),
    ],
    primary_key=["id"],
    constraints={"positive": "amount > 0"},
    comment="what was ordered",
)
SECRET = "s3cr3t-m4rker"


@pytest.fixture
def orders(session: Session, tmp_path: Path) -> Session:
    table = Table.create(tmp_path / "orders", SPEC)
    amounts, days = pa.array([1, 2], pa.decimal128(10, 2)), pa.array([1, 2], pa.date32())
    table.write(pa.table({"id": ["a", "b"], "amount": amounts, "seen": days}))
    session.register("sales.orders", table)
    session.register("plain", pa.table({"x": [1]}))
    return session


def rows(session: Session, query: str) -> list[dict]:
    return session.sql(query).to_arrow().to_pylist()


def test_columns_carry_what_the_contract_says(orders: Session):
    found = rows(orders, "SELECT * FROM information_schema.columns WHERE table_name = 'orders'")

    told = {row["column_name"]: row for row in found}
    assert told["id"]["is_nullable"] == "NO"
    assert told["id"]["semantic_type"] == "NodeId"
    assert told["id"]["column_comment"] == "the key"
    assert told["amount"]["column_default"] == "CAST('1.50' AS DECIMAL(10,2))"
    assert told["note"]["column_default"] == "'it''s'"
    assert told["seen"]["column_default"] == "current_date()"
    plain = rows(orders, "SELECT is_nullable FROM information_schema.columns WHERE table_name = 'plain'")
    assert plain == [{"is_nullable": "YES"}]


def test_constraints_are_told(orders: Session):
    query = """
        SELECT c.constraint_name, c.constraint_type, c.enforced, k.column_name, x.check_clause
        FROM information_schema.table_constraints c
        LEFT JOIN information_schema.key_column_usage k USING (constraint_name)
        LEFT JOIN information_schema.check_constraints x ON x.constraint_name = c.constraint_name
        WHERE c.table_schema = 'sales' ORDER BY 1
    """
    key, check = rows(orders, query)

    assert list(key.values()) == ["orders_pkey", "PRIMARY KEY", "NO", "id", None]
    assert list(check.values()) == ["positive", "CHECK", "YES", None, "amount > 0"]
    helped = {each.name: each for each in orders.constraints()}
    assert helped["orders_pkey"].columns == ("id",)
    assert helped["orders_pkey"].table == "sales.orders"
    assert helped["positive"].condition == "amount > 0"


def test_a_contract_s_ddl_and_where_the_table_is_are_told(orders: Session, tmp_path: Path):
    (told,) = rows(orders, "SELECT * FROM information_schema.table_contracts")

    assert told["version"] == 1
    assert told["uri"].endswith("/orders")
    assert told["table_comment"] == "what was ordered"
    assert TableSpec.from_ddl(told["ddl"]).columns == SPEC.columns
    assert told["schema_identity_hash"] == orders.resolution("sales.orders").schema_identity_hash


def test_what_is_told_is_listed_and_follows_the_tables(orders: Session):
    names = {row["table_name"] for row in rows(orders, "SELECT table_name FROM information_schema.tables")}
    assert {"orders", "plain", "table_constraints", "key_column_usage", "columns"} <= names

    orders.deregister("sales.orders")

    assert orders.constraints() == ()
    assert rows(orders, "SELECT * FROM information_schema.table_contracts") == []


def test_nothing_stays_in_the_engine(orders: Session):
    before = orders.tables()
    orders.constraints()
    with pytest.raises(Exception, match="nosuch"):
        orders.sql("SELECT nosuch FROM information_schema.columns")

    assert orders.tables() == before
    standard = orders.sql("SHOW COLUMNS FROM plain").schema
    assert "semantic_type" not in standard.names


def test_functions_and_settings(session: Session):
    functions = session.functions()

    assert functions["sum"].kinds == ("aggregate",)
    assert functions["row_number"].kinds == ("window",)
    assert functions["generate_series"].kinds == ("scalar", "table")
    assert not functions["random"].deterministic
    found = functions["strpos"].signatures
    assert {each.arguments for each in found} == {(("str", "String"), ("substr", "String"))}
    assert list(functions) == sorted(functions)
    settings = session.settings()
    assert settings["datafusion.execution.batch_size"] == "8192"
    assert settings["datafusion.catalog.information_schema"] == "true"


def test_without_information_schema_they_say_so():
    with SessionFactory(RuntimeProfile(information_schema=False)).open() as session:
        for ask in (session.functions, session.settings, session.constraints, session.artifacts.catalog):
            with pytest.raises(MetadataOffError):
                ask()


def test_snapshots_of_the_catalog_have_hashes(orders: Session):
    first = {each.name: each for each in orders.artifacts.catalog()}
    again = {each.name: each for each in orders.artifacts.catalog()}

    assert set(first) >= {"tables", "columns", "routines", "parameters", "df_settings", "table_constraints"}
    assert {name: each.digest for name, each in first.items()} == {
        name: each.digest for name, each in again.items()
    }
    assert any(row["column_name"] == "amount" for row in msgspec.json.decode(first["columns"].content))
    orders.register("more", pa.table({"y": [1]}))
    later = {each.name: each.digest for each in orders.artifacts.catalog()}
    assert later["tables"] != first["tables"].digest
    assert later["routines"] == first["routines"].digest


def test_caches_fill_after_a_scan(orders: Session):
    empty = msgspec.json.decode(orders.artifacts.caches().content)
    orders.sql("SELECT sum(amount) FROM sales.orders").to_arrow()
    full = msgspec.json.decode(orders.artifacts.caches().content)
    orders.sql("SELECT sum(amount) FROM sales.orders").to_arrow()
    used = msgspec.json.decode(orders.artifacts.caches().content)

    assert empty["file_metadata"]["entries"] == 0
    assert full["file_metadata"]["entries"] == 1
    assert full["file_metadata"]["bytes"] > 0
    assert used["file_metadata"]["hits"] > full["file_metadata"]["hits"]


def test_caches_are_a_table_of_sql(orders: Session):
    query = "SELECT * FROM session_caches() WHERE cache = 'file_metadata'"
    (empty,) = rows(orders, query)
    orders.sql("SELECT sum(amount) FROM sales.orders").to_arrow()
    (full,) = rows(orders, query)

    assert (empty["entries"], full["entries"]) == (0, 1)
    assert 0 < full["bytes"] <= full["limit_bytes"]
    assert {row["cache"] for row in rows(orders, "SELECT cache FROM session_caches()")} == {
        "file_metadata",
        "file_statistics",
        "list_files",
    }
    with pytest.raises(ParameterError, match="without arguments"):
        orders.sql("SELECT * FROM session_caches('x')")


def test_the_plan_cache_is_among_them():
    class Shelf:
        def take(self, inputs):
            return None

        def keep(self, inputs, plan, *, size_bytes):
            raise AssertionError("what is of its moment is not kept")

        def stats(self):
            return {"entries": 3, "hits": 2}

    with SessionFactory(plan_cache=Shelf()).open() as session:
        (plans,) = rows(session, "SELECT * FROM session_caches() WHERE cache = 'plans'")

    assert (plans["entries"], plans["hits"], plans["misses"]) == (3, 2, None)


def test_an_ephemeral_session_fills_no_caches(tmp_path: Path):
    table = Table.create(tmp_path / "t", TableSpec("t", [ColumnSpec("id", "long")]))
    table.write(pa.table({"id": [1]}))
    with SessionFactory().ephemeral() as session:
        session.register("t", table)
        session.sql("SELECT * FROM t").to_arrow()
        caches = msgspec.json.decode(session.artifacts.caches().content)

    assert all(cache["entries"] == cache["limit_bytes"] == 0 for cache in caches.values())


def test_the_configuration_is_an_artifact(tmp_path: Path):
    found = RuntimeProfile.resolve(environ={"DF_RUNTIME_BATCH_SIZE": "512"}, base="service")
    with SessionFactory(found).open() as session:
        artifact = session.artifacts.configuration()
        content = msgspec.json.decode(artifact.content)
    with SessionFactory(found).open() as session:
        assert session.artifacts.configuration().digest == artifact.digest

    assert content["profile"]["batch_size"] == 512
    assert content["profile_hash"] == found.profile.identity_hash
    assert content["provenance"]["batch_size"] == "environment DF_RUNTIME_BATCH_SIZE"
    assert content["settings"]["datafusion.execution.batch_size"] == "512"
    assert content["versions"]["datafusion"]


def test_artifacts_are_kept_in_a_delta_table(tmp_path: Path):
    profile = RuntimeProfile(observability=Observability(keep_runs=5))
    with SessionFactory(profile).open() as session:
        session.register("t", pa.table({"word": [SECRET]}))
        result = session.sql("SELECT * FROM t WHERE word = $w", params={"w": SECRET})
        result.to_arrow()
        artifacts = session.artifacts
        seen = [*artifacts.plans(result.plan()), artifacts.run(result.envelope), artifacts.configuration()]
        artifacts.store(tmp_path / "artifacts", seen)
        commit = artifacts.store(Table(tmp_path / "artifacts"), [artifacts.caches()])
        session.register("artifacts", tmp_path / "artifacts")
        kept = rows(session, "SELECT * FROM artifacts ORDER BY kind, name")
        of_run = rows(session, f"SELECT DISTINCT kind FROM artifacts WHERE run_id = '{result.run_id}'")

    assert commit.version == 2
    assert [(row["kind"], row["name"]) for row in kept] == [
        ("caches", "session"),
        ("configuration", "session"),
        ("plan", "logical"),
        ("plan", "optimized"),
        ("plan", "physical"),
        ("plan", "substrait"),
        ("run", "envelope"),
    ]
    assert {row["kind"] for row in of_run} == {"plan", "run"}
    physical = msgspec.json.decode(kept[4]["content"])
    assert physical["query_text"] == "SELECT * FROM t WHERE word = $w"
    assert physical["nodes"][0]["metrics"]["output_rows"] == 1
    assert SECRET not in str(kept)


def test_information_schema_tells_how_each_name_was_resolved(orders: Session) -> None:
    orders.register("numbers", pa.table({"n": [1, 2]}))
    orders.register("few", "SELECT n FROM numbers LIMIT 1")
    told = {row["table_name"]: row for row in rows(orders, "SELECT * FROM information_schema.datasets")}
    assert (told["numbers"]["kind"], told["few"]["kind"]) == ("arrow", "view")
    for row in told.values():
        parts = (row[each] for each in ("table_catalog", "table_schema", "table_name"))
        found = orders.resolution(".".join(f'"{part}"' for part in parts))
        shared = ("kind", "provider", "pinned", "uri", "version", "table_id", "files", "rows", "query")
        assert {each: row[each] for each in shared} == {each: getattr(found, each) for each in shared}
        assert tuple(row["depends"]) == found.depends
    listed = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'information_schema'"
    assert "datasets" in {row["table_name"] for row in rows(orders, listed)}
    assert "datasets" in {each.name for each in orders.artifacts.catalog()}


@pytest.mark.parametrize(
    ("function", "cache"),
    [
        ("metadata_cache", "file_metadata"),
        ("statistics_cache", "file_statistics"),
        ("list_files_cache", "list_files"),
    ],
)
def test_each_cache_has_a_function(orders: Session, function: str, cache: str) -> None:
    assert rows(orders, f"SELECT * FROM {function}()") == rows(
        orders, f"SELECT * FROM session_caches() WHERE cache = '{cache}'"
    )
    with pytest.raises(ParameterError):
        orders.sql(f"SELECT * FROM {function}('x')")
