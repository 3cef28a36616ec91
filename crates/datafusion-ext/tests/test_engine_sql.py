"""What a SQL text may be, what comes back, and how errors point at it."""

from __future__ import annotations

import pyarrow as pa
import pytest

from datafusion_ext import Engine, EngineError


@pytest.fixture
def engine() -> Engine:
    engine = Engine({"datafusion.execution.target_partitions": "2"})
    engine.register_batches("t", pa.table({"id": [1, 2, 3], "name": ["a", None, "ü"]}))
    return engine


def rows(engine: Engine, query: str, **options: object) -> list[dict[str, object]]:
    return pa.table(engine.sql(query, **options)).to_pylist()


def failure(engine: Engine, query: str) -> EngineError:
    with pytest.raises(EngineError) as caught:
        engine.sql(query)
    return caught.value


def test_a_result_keeps_plain_types_and_nulls(engine: Engine) -> None:
    result = pa.table(engine.sql("SELECT id, name, [name] AS names FROM t ORDER BY id"))
    assert result.schema.field("name").type == pa.string()
    assert result.to_pylist()[1] == {"id": 2, "name": None, "names": [None]}


def test_the_schema_is_known_before_the_run(engine: Engine) -> None:
    query = engine.sql("SELECT id, name FROM t")
    assert pa.schema(query.schema) == pa.schema([("id", pa.int64()), ("name", pa.string())])
    assert query.tables() == ["t"]


def test_a_query_runs_as_often_as_asked(engine: Engine) -> None:
    query = engine.sql("SELECT t.id FROM t JOIN t AS u ON t.id = u.id ORDER BY t.id DESC LIMIT 2")
    assert [pa.table(query).column(0).to_pylist() for _ in range(3)] == [[3, 2]] * 3


def test_parameters_are_values_and_never_text(engine: Engine) -> None:
    hostile = "a' OR '1'='1"
    named = pa.table({"name": [hostile], "least": [1]})
    assert rows(engine, "SELECT id FROM t WHERE name = $name AND id >= $least", params=named) == []
    assert rows(engine, "SELECT $1 + 1 AS x", params=pa.table({"1": [41]})) == [{"x": 42}]


def test_parameters_must_be_one_row(engine: Engine) -> None:
    with pytest.raises(EngineError, match="must be one row, and these are 2"):
        engine.sql("SELECT $1", params=pa.table({"1": [1, 2]}))


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("SELECT id\nFROM t\nWHERE nme = 'a'", ("engine-column-unknown", 3, 7, "nme")),
        ("SELECT id\nFROM\n  tt", ("engine-table-unknown", 3, 3, "tt")),
        ("SELECT\n lenght(name) FROM t", ("engine-function-unknown", 2, 2, "lenght")),
        ("SELECT id\nFROM t GROUP id", ("engine-sql-syntax", 2, 8, None)),
        ("SELECT id FROM t CROSS JOIN t AS u", ("engine-column-ambiguous", 1, 8, "id")),
        ("SELECT * FROM generate_serie(1, 3)", ("engine-function-unknown", 1, 15, "generate_serie")),
    ],
)
def test_errors_point_at_the_place(
    engine: Engine, query: str, expected: tuple[str, int, int, str | None]
) -> None:
    error = failure(engine, query)
    assert (error.code, error.line, error.column, error.name) == expected
    assert str(error).endswith(f"[{error.code}]")


@pytest.mark.parametrize(
    "query",
    [
        "COPY t TO 'out.csv'",
        "CREATE EXTERNAL TABLE x STORED AS PARQUET LOCATION '/tmp'",
        "CREATE EXTERNAL TABLE x STORED AS NOTHING LOCATION '/tmp'",
        "CREATE TABLE x AS SELECT 1",
        "CREATE VIEW x AS SELECT 1",
        "CREATE FUNCTION f(DOUBLE) RETURNS DOUBLE RETURN $1",
        "DELETE FROM t",
        "DROP TABLE t",
        "EXPLAIN ANALYZE COPY t TO 'out.csv'",
        "EXPLAIN INSERT INTO t VALUES (4, 'd')",
        "INSERT INTO t VALUES (4, 'd')",
        "PREPARE p AS SELECT 1",
        "RESET datafusion.execution.batch_size",
        "SELECT * INTO x FROM t",
        "SET datafusion.execution.batch_size = 1",
        "START TRANSACTION",
        "UPDATE t SET id = 1",
    ],
)
def test_only_queries_run_by_default(
    engine: Engine, query: str, tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(str(tmp_path))
    before = (engine.tables(), engine.settings())
    assert failure(engine, query).code == "engine-not-allowed"
    assert (engine.tables(), engine.settings()) == before


def test_several_statements_are_refused(engine: Engine) -> None:
    assert failure(engine, "SELECT 1; DROP TABLE t").code == "engine-sql-syntax"


def test_files_are_not_tables(engine: Engine) -> None:
    assert failure(engine, "SELECT * FROM '/etc/passwd'").code == "engine-table-unknown"


def test_definitions_take_effect_where_allowed(engine: Engine) -> None:
    engine.sql("CREATE VIEW v AS SELECT max(id) AS highest FROM t", allow_ddl=True)
    assert rows(engine, "SELECT highest FROM v") == [{"highest": 3}]


def test_a_call_that_fits_no_signature_is_not_called_a_defect(engine: Engine) -> None:
    error = failure(engine, "SELECT sum(name) FROM t")
    assert error.code == "engine-plan"
    assert "bug" not in error.message


def test_settings_are_checked() -> None:
    with pytest.raises(EngineError) as caught:
        Engine({"datafusion.execution.batch_sise": "1"})
    assert (caught.value.code, caught.value.name) == ("engine-settings", "datafusion.execution.batch_sise")


def test_information_schema_lists_tables_and_functions(engine: Engine) -> None:
    tables = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
    assert rows(engine, tables) == [{"table_name": "t"}]
    assert {"sum", "length", "row_number", "generate_series"} <= set(engine.functions())
    listed = {*engine.functions(), *(routine["name"] for routine in engine.routines())}
    assert not [name for name in listed if name.startswith("__")]


def test_explain_shows_each_stage_and_what_a_run_did(engine: Engine) -> None:
    plans = engine.sql("SELECT sum(id) FROM t").explain(analyze=True)
    texts = {name: text for name, text in plans.items() if isinstance(text, str)}
    assert sorted(texts) == ["analyzed", "logical", "optimized", "physical"]
    assert "TableScan: t" in plans["logical"]
    assert "AggregateExec" in plans["physical"]
    assert "output_rows" in str(plans["analyzed"])
