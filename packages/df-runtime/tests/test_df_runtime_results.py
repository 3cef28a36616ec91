from __future__ import annotations

import io

import pyarrow as pa
import pytest

from df_runtime import ExecutionError, ResourceError, RuntimeProfile, SessionFactory, StreamConsumedError

DATA = pa.table({"id": [1, 2, 3], "name": ["a", None, "c"]})


@pytest.fixture
def result(session):
    session.register("t", DATA)
    return session.sql("SELECT id, name FROM t ORDER BY id")


def test_every_way_out_has_the_same_rows(result):
    assert result.to_arrow().equals(DATA)
    assert result.to_reader().read_all().equals(DATA)
    assert pa.table(result).equals(DATA)
    assert result.to_polars().rows() == [(1, "a"), (2, None), (3, "c")]
    assert result.to_pandas()["id"].tolist() == [1, 2, 3]


def test_text_leaves_as_plain_strings(result):
    assert result.schema == DATA.schema
    assert result.to_arrow().schema == DATA.schema


def test_another_library_reads_the_stream(result):
    duckdb = pytest.importorskip("duckdb")
    rows = result  # DuckDB finds it by its name

    assert duckdb.sql("SELECT sum(id) FROM rows").fetchall() == [(6,)]
    assert rows is result


def test_a_result_is_a_table_of_the_next_query(session, result):
    session.register("u", result)

    assert session.sql("SELECT count(*) AS n FROM u").to_arrow().to_pylist() == [{"n": 3}]


def test_nothing_runs_before_it_is_asked_for(session):
    result = session.sql("SELECT CAST(x AS INT) AS n FROM (VALUES ('no')) AS t(x)")

    assert result.schema.names == ["n"]
    with pytest.raises(ExecutionError, match=r"\[query-failed\]"):
        result.to_arrow()


def test_run_ids_differ(session):
    assert session.sql("SELECT 1").run_id != session.sql("SELECT 1").run_id


def test_metrics_are_of_the_latest_run(result):
    assert result.metrics == {} or result.metrics.get("output_rows", 0) == 0
    result.to_arrow()
    assert result.metrics["output_rows"] == 3


def test_plans_are_texts(session, result):
    plan = result.plan()

    assert plan.query == result.query
    assert "TableScan: t" in plan.logical
    assert "SortExec" in plan.physical
    assert plan.analyzed is None
    assert [dataset.name for dataset in plan.datasets] == ['"datafusion"."public"."t"']
    assert "output_rows" in (session.explain(result.query, analyze=True).analyzed or "")


def test_show_prints_the_first_rows(result):
    out = io.StringIO()
    result.show(2, file=out)

    assert out.getvalue().splitlines() == [
        "id | name",
        "---+-----",
        " 1 | a",
        " 2 | NULL",
        "(first 2 rows)",
    ]


def test_a_stream_is_read_once(session):
    session.register("s", pa.RecordBatchReader.from_batches(DATA.schema, DATA.to_batches()))

    assert session.sql("SELECT count(*) AS n FROM s").to_arrow().to_pylist() == [{"n": 3}]
    with pytest.raises(StreamConsumedError, match=r"\[query-stream-consumed\]"):
        session.sql("SELECT count(*) AS n FROM s").to_arrow()


def test_a_query_over_the_memory_limit_says_what_to_raise(tmp_path):
    profile = RuntimeProfile(memory_limit_bytes=200_000, target_partitions=1)
    with SessionFactory(profile).open() as session:
        query = "SELECT array_agg(value) AS all FROM generate_series(1, 1000000) GROUP BY value % 7"
        with pytest.raises(ResourceError, match="memory_limit_bytes"):
            session.sql(query).to_arrow()


def test_a_result_outlives_its_session():
    with SessionFactory().open() as session:
        session.register("t", DATA)
        result = session.sql("SELECT sum(id) AS total FROM t")
    assert result.to_arrow().to_pylist() == [{"total": 6}]


def test_a_name_that_arrow_cannot_pass_on_is_an_error_of_ours(session):
    result = session.sql('SELECT 1 AS "a\0b"')
    for way in (result.to_arrow, lambda: result.schema, result.show):
        with pytest.raises(ExecutionError, match="Null byte"):
            way()
