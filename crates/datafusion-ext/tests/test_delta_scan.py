"""Scans of snapshots handed over as Arrow: the rows of the files, and only the files that matter."""

from __future__ import annotations

import datetime as dt
import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datafusion_ext import DeltaScan, Engine, EngineError

SCHEMA = pa.schema(
    [("id", pa.int64()), ("part", pa.string()), ("x", pa.float64()), ("at", pa.timestamp("us", tz="UTC"))]
)
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def bounds(column: pa.ChunkedArray, pick: object) -> object:
    """Bounds as a Delta writer records them: without NULL and NaN, timestamps cut to milliseconds."""
    values = [v for v in column.to_pylist() if v is not None and not (isinstance(v, float) and math.isnan(v))]
    if not values:
        return None
    bound = pick(values)
    return (
        bound.replace(microsecond=bound.microsecond // 1000 * 1000)
        if isinstance(bound, dt.datetime)
        else bound
    )


def add_action(root: Path, number: int, rows: pa.Table, part: str | None) -> dict[str, object]:
    data = rows.drop_columns(["part"])
    path = f"part {number}%20.parquet"
    pq.write_table(data, root / path)
    return {
        "path": path,
        "size_bytes": (root / path).stat().st_size,
        "modification_time": 0,
        "num_records": rows.num_rows,
        "partition": {"part": part},
        "min": {name: bounds(data[name], min) for name in data.column_names},
        "max": {name: bounds(data[name], max) for name in data.column_names},
        "null_count": {name: data[name].null_count for name in data.column_names},
    }


def file_list(actions: Sequence[Mapping[str, object]]) -> pa.Table:
    typed = pa.struct([field for field in SCHEMA if field.name != "part"])
    counts = pa.struct([(field.name, pa.int64()) for field in typed])
    schema = pa.schema(
        [
            ("path", pa.string()),
            ("size_bytes", pa.int64()),
            ("modification_time", pa.int64()),
            ("num_records", pa.int64()),
            ("partition", pa.struct([("part", pa.string())])),
            ("min", typed),
            ("max", typed),
            ("null_count", counts),
        ]
    )
    return pa.Table.from_pylist(list(actions), schema=schema)


def engine_over(root: Path, actions: Sequence[Mapping[str, object]]) -> Engine:
    engine = Engine({"datafusion.execution.target_partitions": "3"})
    engine.register_delta("t", DeltaScan(str(root), SCHEMA, file_list(actions), partition_columns=["part"]))
    return engine


row = st.fixed_dictionaries(
    {
        "id": st.none() | st.integers(-5, 5),
        "x": st.none() | st.sampled_from([-0.0, 0.0, 1.5, -1.5, math.nan, math.inf, -math.inf]),
        "at": st.none() | st.integers(-3000, 3000).map(lambda us: EPOCH + dt.timedelta(microseconds=us)),
    }
)
part_value = st.sampled_from([None, "", "a", "b c", "ü%20/="])
file_rows = st.tuples(part_value, st.lists(row, min_size=1, max_size=5))

PREDICATES = [
    "id = 3",
    "id > 2 OR id IS NULL",
    "id NOT IN (1, 2)",
    "part = 'a'",
    "part IS NULL",
    "part <> 'a' AND id < 0",
    "part LIKE '%c' OR x > 1",
    "x > 1",
    "x < 0",
    "x = 'NaN'::double",
    "NOT (x <= 1)",
    "at > '1970-01-01T00:00:00.001500Z'::timestamptz",
    "at <= '1969-12-31T23:59:59.998700Z'::timestamptz",
    "at IS NULL AND x IS NOT NULL",
]


def canonical(table: pa.Table) -> list[str]:
    return sorted(repr(row) for row in table.select(["id", "part", "x", "at"]).to_pylist())


@settings(max_examples=60, deadline=None)
@given(files=st.lists(file_rows, max_size=5), predicate=st.sampled_from(PREDICATES))
def test_pruning_never_changes_an_answer(files: list[tuple[str | None, list[dict]]], predicate: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        tables = [
            pa.Table.from_pylist([{**row, "part": part} for row in rows], schema=SCHEMA)
            for part, rows in files
        ]
        actions = [
            add_action(root, number, table, part)
            for number, (table, (part, _)) in enumerate(zip(tables, files, strict=True))
        ]
        everything = pa.concat_tables([*tables, SCHEMA.empty_table()])
        plain = Engine()
        plain.register_batches("t", everything)
        engine = engine_over(root, actions)
        for query in ("SELECT * FROM t", f"SELECT * FROM t WHERE {predicate}"):
            assert canonical(pa.table(engine.sql(query))) == canonical(pa.table(plain.sql(query)))
        totals = f"SELECT count(*), count(x), min(id), max(id), min(part) FROM t WHERE {predicate}"
        assert pa.table(engine.sql(totals)).to_pylist() == pa.table(plain.sql(totals)).to_pylist()


@pytest.fixture
def three_files(tmp_path: Path) -> list[dict[str, object]]:
    def rows(start: int, part: str | None) -> pa.Table:
        return pa.Table.from_pylist(
            [{"id": start + i, "part": part, "x": float(i), "at": EPOCH} for i in range(10)], schema=SCHEMA
        )

    parts = ["a", "b", None]
    return [add_action(tmp_path, n, rows(n * 10, part), part) for n, part in enumerate(parts)]


def files_in_plan(engine: Engine, query: str) -> int:
    return engine.sql(query).explain()["physical"].count(".parquet")


def test_only_files_that_may_match_are_planned(tmp_path: Path, three_files: list[dict[str, object]]) -> None:
    engine = engine_over(tmp_path, three_files)
    assert files_in_plan(engine, "SELECT x FROM t") == 3
    assert files_in_plan(engine, "SELECT x FROM t WHERE id IN (3, 7)") == 1
    assert files_in_plan(engine, "SELECT x FROM t WHERE part = 'b'") == 1
    assert files_in_plan(engine, "SELECT x FROM t WHERE id > 100") == 0
    assert files_in_plan(engine, "SELECT x FROM t LIMIT 5") == 1


def test_counts_and_extremes_come_from_the_log(tmp_path: Path, three_files: list[dict[str, object]]) -> None:
    engine = engine_over(tmp_path, three_files)
    query = engine.sql("SELECT count(*) AS n, min(id) AS low, max(id) AS high FROM t")
    assert "DataSourceExec" not in query.explain()["physical"]
    assert pa.table(query).to_pylist() == [{"n": 30, "low": 0, "high": 29}]


def test_missing_statistics_keep_the_file(tmp_path: Path, three_files: list[dict[str, object]]) -> None:
    three_files[0].update(num_records=None, min=None, max=None, null_count=None)
    engine = engine_over(tmp_path, three_files)
    assert pa.table(engine.sql("SELECT count(*) AS n FROM t WHERE id = 5")).to_pylist() == [{"n": 1}]
    assert pa.table(engine.sql("SELECT count(*) AS n, max(id) AS m FROM t")).to_pylist() == [
        {"n": 30, "m": 29}
    ]


def test_dynamic_filters_of_a_kept_plan_follow_each_run(
    tmp_path: Path, three_files: list[dict[str, object]]
) -> None:
    engine = engine_over(tmp_path, three_files)
    engine.register_batches("keys", pa.table({"k": [12]}))
    query = engine.sql("SELECT count(*) AS n FROM t WHERE id IN (SELECT k FROM keys)")
    assert "DynamicFilter" in query.explain()["physical"]
    for _ in range(2):
        assert pa.table(query).to_pylist() == [{"n": 1}]
        pruned = {name: n for name, n in query.metrics().items() if name.endswith("_pruned")}
        assert sum(pruned.values()) > 0, pruned


def test_a_column_added_later_is_null_in_older_files(tmp_path: Path) -> None:
    old = pa.table({"id": [1]})
    new = pa.table({"extra": ["e"], "id": [2]})
    actions = []
    for number, rows in enumerate((old, new)):
        pq.write_table(rows, tmp_path / f"{number}.parquet")
        size = (tmp_path / f"{number}.parquet").stat().st_size
        actions.append(
            {"path": f"{number}.parquet", "size_bytes": size, "modification_time": 0, "num_records": 1}
        )
    schema = pa.schema([("id", pa.int64()), ("extra", pa.string())])
    engine = Engine()
    engine.register_delta("t", DeltaScan(str(tmp_path), schema, pa.Table.from_pylist(actions)))
    result = pa.table(engine.sql("SELECT id, extra FROM t ORDER BY id")).to_pylist()
    assert result == [{"id": 1, "extra": None}, {"id": 2, "extra": "e"}]


def test_an_empty_table_has_its_columns(tmp_path: Path) -> None:
    engine = engine_over(tmp_path, [])
    assert pa.table(engine.sql("SELECT * FROM t")).schema == SCHEMA
    assert pa.table(engine.sql("SELECT count(*) AS n FROM t")).to_pylist() == [{"n": 0}]


def test_what_cannot_be_scanned_is_refused(tmp_path: Path, three_files: list[dict[str, object]]) -> None:
    def code_of(schema: pa.Schema, files: pa.Table, **options: object) -> str:
        with pytest.raises(EngineError) as caught:
            DeltaScan(str(tmp_path), schema, files, **options)
        return caught.value.code

    files = file_list(three_files)
    vector = pa.array([None, {"cardinality": 1}, None], pa.struct([("cardinality", pa.int64())]))
    assert code_of(SCHEMA, files.append_column("deletion_vector", vector)) == "engine-scan-input"
    assert code_of(SCHEMA, files.drop_columns(["path"])) == "engine-scan-input"
    assert code_of(SCHEMA, files, partition_columns=["nope"]) == "engine-scan-input"


def test_a_missing_file_is_an_error_and_not_fewer_rows(
    tmp_path: Path, three_files: list[dict[str, object]]
) -> None:
    engine = engine_over(tmp_path, three_files)
    (tmp_path / str(three_files[1]["path"])).unlink()
    query = engine.sql("SELECT sum(x) FROM t")
    with pytest.raises(pa.ArrowException):
        pa.table(query)
    assert query.last_error is not None
    assert query.last_error.code in {"engine-storage", "engine-execution"}


@pytest.mark.parametrize("partitions", [1, 2, 7])
def test_partitioned_tables_need_no_repartitioning_by_their_partitions(
    tmp_path: Path, partitions: int
) -> None:
    parts = [None, "a", "b", "c", "a", None]
    actions = [
        add_action(
            tmp_path,
            number,
            pa.Table.from_pylist(
                [{"id": number * 10 + i, "part": part, "x": None, "at": None} for i in range(5)],
                schema=SCHEMA,
            ),
            part,
        )
        for number, part in enumerate(parts)
    ]
    table = DeltaScan(str(tmp_path), SCHEMA, file_list(actions), partition_columns=["part"])
    settings = {"datafusion.execution.target_partitions": str(partitions)}
    kept = Engine({**settings, "datafusion.optimizer.preserve_file_partitions": "1"})
    spread = Engine(settings)
    for engine in (kept, spread):
        engine.register_delta("t", table)
        engine.register_batches("names", pa.table({"p": ["a", "b", "x", None], "n": [1, 2, 3, 4]}))
    queries = [
        "SELECT part, count(*) AS n, sum(id) AS s FROM t GROUP BY part",
        "SELECT a.part, a.id + b.id AS s FROM t a JOIN t b ON a.part = b.part",
        "SELECT id, n FROM t JOIN names ON part = p",
        "SELECT part, id % 2 AS odd, count(*) AS n FROM t WHERE id > 12 GROUP BY part, id % 2",
        "SELECT id, row_number() OVER (PARTITION BY part ORDER BY id) AS n FROM t",
    ]
    for query in queries:
        found, expected = (pa.table(engine.sql(query)).to_pylist() for engine in (kept, spread))
        assert sorted(map(repr, found)) == sorted(map(repr, expected)), query
    assert "RepartitionExec" not in kept.sql(queries[0]).explain()["physical"]
