"""One envelope for each execution, and limits for every way in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from datafusion import col, udf

from delta_io import Table
from df_runtime import (
    Observability,
    QueryLimitError,
    Result,
    RuntimeProfile,
    Session,
    SessionFactory,
    SqlPolicy,
)
from schema_spec import TableSpec


@pytest.fixture
def watched(tmp_path: Path):
    rows = pa.table({"id": range(300)})
    table = Table.create(tmp_path / "t", TableSpec.from_arrow("t", rows.schema))
    for start in (0, 100, 200):
        table.write(rows.slice(start, 100))
    profile = RuntimeProfile(observability=Observability(keep_runs=99))
    with SessionFactory(profile).open() as session:
        session.register("t", table)
        yield session


def told(session: Session) -> list[tuple]:
    return [(run.lane, run.outcome, run.rows) for run in session.artifacts.runs]


def test_explain_analyze_is_a_run(watched: Session):
    result = watched.sql("SELECT id FROM t WHERE id >= 150")

    plans = result.explained(analyze=True)

    assert told(watched) == [("sql", "finished", 150)]
    (run,) = watched.artifacts.runs
    assert run == result.envelope
    assert (run.run_id, run.execution) == (plans.run_id, 1)
    assert (run.files_read, run.files_pruned) == (2, 1)
    assert run.timings.execute > 0
    assert plans.analyzed is not None
    assert "output_rows=150" in plans.analyzed
    result.to_arrow()
    assert [run.execution for run in watched.artifacts.runs] == [1, 2]


def test_explain_in_sql_is_a_run(watched: Session):
    watched.sql("EXPLAIN SELECT id FROM t").to_arrow()
    watched.sql("EXPLAIN ANALYZE SELECT id FROM t").to_arrow()

    assert [(run.lane, run.outcome, run.execution) for run in watched.artifacts.runs] == [
        ("sql", "finished", 1),
        ("sql", "finished", 1),
    ]
    watched.explain("SELECT id FROM t")
    assert len(watched.artifacts.runs) == 2


def test_explain_analyze_fails_as_a_run(watched: Session):
    with pytest.raises(Exception, match="Cast error"):
        watched.explain("SELECT CAST(concat('x', id) AS INT) FROM t", analyze=True)
    with pytest.raises(QueryLimitError):
        watched.explain("SELECT id FROM t", analyze=True, policy=SqlPolicy.read_only(max_rows=10))

    assert [(run.outcome, run.error_code) for run in watched.artifacts.runs] == [
        ("failed", "query-failed"),
        ("failed", "query-limit"),
    ]


def test_each_execution_of_a_prepared_statement_is_a_run(watched: Session):
    over = watched.prepare("over", "SELECT id FROM t WHERE id >= $least")
    for least in (200, 290):
        over.execute({"least": least}).to_arrow()
    policy = SqlPolicy(statements=True)
    watched.sql("PREPARE under AS SELECT id FROM t WHERE id < $1", policy=policy).to_arrow()
    watched.sql("EXECUTE under(2 + 3)", policy=policy).to_arrow()
    with pytest.raises(Exception, match="no value"):
        over.execute({})

    runs = watched.artifacts.runs
    assert told(watched) == [
        ("sql", "finished", 100),
        ("sql", "finished", 10),
        ("sql", "finished", 5),
        ("sql", "failed", 0),
    ]
    assert len({run.run_id for run in runs}) == 4
    assert [run.query_text for run in runs[:3:2]] == [
        "SELECT id FROM t WHERE id >= $least",
        "SELECT id FROM t WHERE id < $1",
    ]
    assert all(run.timings.gate > 0 for run in runs)


def test_what_the_session_asks_for_itself_is_told_nowhere(watched: Session):
    watched.functions()
    watched.settings()
    watched.tables()
    watched.artifacts.catalog()

    assert watched.artifacts.runs == ()


def test_the_lane_of_each_way_is_told(watched: Session):
    plan = watched.to_substrait("SELECT id FROM t WHERE id < 3").plan
    assert plan is not None
    files = SqlPolicy(files=True)
    data = watched.sql("SELECT id FROM t WHERE id < 3").plan_bytes()
    for result in (
        watched.substrait(plan),
        watched.dataframe(watched.context.table("t").filter(col("id") < 3)),
        watched.ibis(watched.table("t").limit(3)),
        watched.from_plan_bytes(data, policy=files),
    ):
        assert result.envelope.lane in {result.lane.name, "ibis"}
        result.to_arrow()

    assert told(watched) == [(lane, "finished", 3) for lane in ("substrait", "dataframe", "ibis", "bytes")]


def test_a_scan_of_no_file_tells_what_it_left_out(watched: Session):
    result = watched.sql("SELECT id FROM t WHERE id > 1000")

    assert result.to_arrow().num_rows == 0
    assert (result.envelope.files_read, result.envelope.files_pruned) == (0, 3)
    assert result.metrics["files_total"] == 3
    joined = watched.sql("SELECT count(*) AS n FROM t a LEFT JOIN t b ON a.id = b.id AND b.id > 1000")
    assert joined.to_arrow().to_pylist() == [{"n": 300}]
    assert (joined.envelope.files_read, joined.envelope.files_pruned) == (3, 3)
    data = result.plan_bytes()
    assert watched.from_plan_bytes(data, policy=SqlPolicy(files=True)).to_arrow().num_rows == 0


def substrait(session: Session, policy: SqlPolicy) -> Result:
    plan = session.to_substrait("SELECT id FROM t")
    return session.substrait(plan.plan or b"", policy=policy)


def neighbour(session: Session, policy: SqlPolicy) -> Result:
    same = udf(lambda x: x, [pa.int64()], pa.int64(), "immutable", "same")
    return session.dataframe(session.context.table("t").select(same(col("id"))), policy=policy)


WAYS: dict[str, Callable[[Session, SqlPolicy], Result]] = {
    "sql": lambda session, policy: session.sql("SELECT id FROM t", policy=policy),
    "prepared": lambda session, policy: session.prepare("p", "SELECT id FROM t", policy=policy).execute(),
    "substrait": substrait,
    "dataframe": lambda session, policy: session.dataframe(session.context.table("t"), policy=policy),
    "neighbour": neighbour,
    "ibis": lambda session, policy: session.ibis(session.table("t"), policy=policy),
    "bytes": lambda session, policy: session.from_plan_bytes(
        session.sql("SELECT id FROM t").plan_bytes(), policy=policy
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_rows_are_limited_whatever_way_a_query_comes(watched: Session, way: str):
    allowed = WAYS[way](watched, SqlPolicy(files=True, max_rows=300))
    assert allowed.to_arrow().num_rows == 300

    refused = WAYS[way](watched, SqlPolicy(files=True, max_rows=299))
    with pytest.raises(QueryLimitError):
        refused.to_arrow()
    assert refused.envelope.error_code == "query-limit"
