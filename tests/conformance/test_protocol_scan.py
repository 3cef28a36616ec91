"""Tables written by hand, for what the published ones do not have, through sessions."""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from _delta_log import add, write_log, write_vector
from delta_io import DeltaIoError
from df_runtime import RuntimeProfile, SessionFactory
from df_runtime.session import Session


@pytest.fixture(params=[1, 2, 7])
def session(request: pytest.FixtureRequest) -> Session:
    settings = {"datafusion.optimizer.repartition_file_min_size": "1"}
    return SessionFactory(RuntimeProfile(target_partitions=request.param, settings=settings)).open()


def answer(session: Session, query: str) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in session.sql(query).to_arrow().to_pylist()]


def one_file(
    table: Path, rows: pa.Table, bounds: Sequence[Mapping[str, object]], **more: Any
) -> dict[str, object]:
    path = table / "0.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(rows, path, row_group_size=3)
    return add(path.name, size=path.stat().st_size, rows=rows.num_rows, bounds=bounds, **more)


@pytest.mark.parametrize("feature", ["catalogManaged", "geospatial", "featureOfTheFuture"])
def test_features_that_nobody_knows_are_named(tmp_path: Path, feature: str) -> None:
    write_log(tmp_path / "t", {"id": "long"}, [], features=[feature])
    with pytest.raises(DeltaIoError, match=feature):
        SessionFactory().open().register("t", str(tmp_path / "t"))


@pytest.mark.parametrize("kind", ["interval", "geometry"])
def test_types_that_nobody_knows_are_named(tmp_path: Path, kind: str) -> None:
    write_log(tmp_path / "t", {"id": "long", "x": kind}, [])
    with pytest.raises(DeltaIoError, match=kind):
        SessionFactory().open().register("t", str(tmp_path / "t"))


VALUES: list[tuple[str, str, object, str]] = [
    ("string", "é/=% b€", "é/=% b€", "p = 'é/=% b€'"),
    ("long", "-9223372036854775808", -(2**63), "p < -1"),
    ("integer", "7", 7, "p IN (1, 7)"),
    ("short", "-3", -3, "p = -3"),
    ("byte", "127", 127, "p > 126"),
    ("float", "0.5", 0.5, "p = 0.5"),
    ("double", "Infinity", math.inf, "p > 1e300"),
    ("boolean", "true", True, "p"),
    ("date", "0001-01-01", dt.date(1, 1, 1), "p < DATE '1970-01-01'"),
    (
        "timestamp",
        "2024-02-29 23:59:59.999999",
        dt.datetime(2024, 2, 29, 23, 59, 59, 999999, dt.UTC),
        "p > '2024-01-01T00:00:00Z'",
    ),
    (
        "timestamp_ntz",
        "9999-12-31 23:59:59.999999",
        dt.datetime(9999, 12, 31, 23, 59, 59, 999999),
        "p > '2300-01-01'::timestamp(6)",
    ),
    ("decimal(38,10)", "-1.0000000001", Decimal("-1.0000000001"), "p < -1"),
    ("binary", "\u0000a", b"\x00a", "p = X'0061'"),
]


@pytest.mark.parametrize("case", VALUES, ids=lambda case: case[0])
def test_partition_values(tmp_path: Path, session: Session, case: tuple[str, str, object, str]) -> None:
    kind, text, value, predicate = case
    table = tmp_path / "t"
    actions: list[Mapping[str, object]] = []
    for number, partition in enumerate((text, None, "")):
        folder = f"p={number}%20 é"
        (table / folder).mkdir(parents=True)
        pq.write_table(pa.table({"id": [2 * number, 2 * number + 1]}), table / folder / "0.parquet")
        action = add(
            f"p={number}%2520%20%C3%A9/0.parquet",
            size=(table / folder / "0.parquet").stat().st_size,
            rows=2,
            bounds=[{"id": 2 * number}, {"id": 2 * number + 1}],
        )
        actions.append({**action, "partitionValues": {"p": partition}})
    write_log(table, {"id": "long", "p": kind}, actions, partition_by=["p"], features=["timestampNtz"])
    session.register("t", str(table))
    absent = [(each,) for each in range(2, 6)]
    assert answer(session, "SELECT id FROM t WHERE p IS NULL ORDER BY id") == absent
    assert answer(session, f"SELECT id, p FROM t WHERE {predicate} ORDER BY id") == [(0, value), (1, value)]
    assert answer(session, "SELECT count(*), count(p) FROM t") == [(6, 2)]
    if kind != "boolean":
        assert answer(session, "SELECT min(p), max(p) FROM t") == [(value, value)]
    assert sorted(answer(session, "SELECT p, count(*) FROM t GROUP BY p"), key=str) == sorted(
        [(value, 2), (None, 4)], key=str
    )
    assert answer(session, "SELECT count(*) FROM t a JOIN t b ON a.p = b.p") == [(4,)]


ROWS = pa.table(
    {
        "id": pa.array([5, 1, None, 7, 3, 9, 8], pa.int64()),
        "x": pa.array([1.5, math.nan, None, -0.0, 2.0, 3.0, 0.0]),
        "s": ["b" * 40, "a", None, "c" * 33, "", "z" * 50, "é"],
        "at": pa.array([1_500, 999, None, 2_999, 0, 7, 8], pa.timestamp("us", "UTC")),
    }
)
KINDS = {"id": "long", "x": "double", "s": "string", "at": "timestamp"}
BOUNDS = [
    {"id": 1, "x": 0.0, "s": "", "at": "1970-01-01T00:00:00.000Z"},
    {"id": 9, "x": 3.0, "s": "z" * 32, "at": "1970-01-01T00:00:00.002Z"},
]
ASKED = [
    "SELECT count(*), count(id), min(id), max(id) FROM {t}",
    "SELECT min(x), max(x), count(x) FROM {t}",
    "SELECT min(s), max(s) FROM {t}",
    "SELECT min(at), max(at) FROM {t}",
    "SELECT count(*) FROM {t} WHERE x > 3",
    "SELECT count(*) FROM {t} WHERE s > '" + "z" * 32 + "'",
    "SELECT count(*) FROM {t} WHERE at > arrow_cast(2500, 'Timestamp(µs, \"UTC\")')",
    "SELECT count(*) FROM {t} WHERE s LIKE 'zz%' OR id IS NULL",
    "SELECT count(*) FROM {t} WHERE id IN (" + ", ".join(map(str, range(9, 60))) + ")",
]


def same_answers(session: Session, rows: pa.Table) -> None:
    session.register("model", rows)
    for text in ASKED:
        found, expected = (repr(answer(session, text.format(t=name))) for name in ("t", "model"))
        assert found == expected, text


@pytest.mark.parametrize("missing", [None, "numRecords", "minValues", "nullCount"])
def test_what_statistics_do_not_say_is_not_taken_from_them(
    tmp_path: Path, session: Session, missing: str | None
) -> None:
    action = one_file(tmp_path / "t", ROWS, BOUNDS)
    stats = json.loads(str(action["stats"]))
    stats["nullCount"] = dict.fromkeys(KINDS, 1)
    stats.pop(missing, None)
    write_log(tmp_path / "t", KINDS, [{**action, "stats": json.dumps(stats)}])
    session.register("t", str(tmp_path / "t"))
    same_answers(session, ROWS)


def test_extremes_of_deleted_rows_are_not_answers(tmp_path: Path, session: Session) -> None:
    table = tmp_path / "t"
    table.mkdir()
    vector = write_vector(table, [1, 2, 5])
    write_log(table, KINDS, [one_file(table, ROWS, BOUNDS, vector=vector)], features=["deletionVectors"])
    session.register("t", str(table))
    same_answers(session, ROWS.take(pa.array([0, 3, 4, 6])))
    for limit in (1, 3, 10):
        assert len(answer(session, f"SELECT id FROM t LIMIT {limit}")) == min(limit, 4)


def test_wide_bounds_are_not_answers(tmp_path: Path, session: Session) -> None:
    action = one_file(tmp_path / "t", pa.table({"id": [3, 4]}), [{"id": 1}, {"id": 9}])
    wide = str(action["stats"]).replace('"tightBounds": true', '"tightBounds": false')
    assert wide != action["stats"]
    write_log(tmp_path / "t", {"id": "long"}, [{**action, "stats": wide}])
    session.register("t", str(tmp_path / "t"))
    assert answer(session, "SELECT count(*), min(id), max(id) FROM t") == [(2, 3, 4)]
    assert answer(session, "SELECT id FROM t WHERE id > 3") == [(4,)]


def test_an_empty_file_has_no_extremes(tmp_path: Path, session: Session) -> None:
    action = one_file(tmp_path / "t", pa.table({"id": pa.array([], pa.int64())}), [{}, {}])
    write_log(
        tmp_path / "t",
        {"id": "long", "p": "integer"},
        [{**action, "partitionValues": {"p": "7"}}],
        partition_by=["p"],
    )
    session.register("t", str(tmp_path / "t"))
    assert answer(session, "SELECT count(*), min(p), max(p), max(id) FROM t") == [(0, None, None, None)]


def test_decimals_are_compared_as_decimals(tmp_path: Path, session: Session) -> None:
    values = [Decimal("123456.79"), Decimal("-99999999.99"), Decimal("1.10"), None]
    rows = pa.table({"x": pa.array(values, pa.decimal128(10, 2))})
    write_log(tmp_path / "t", {"x": "decimal(10,2)"}, [one_file(tmp_path / "t", rows, [{}, {}])])
    session.register("t", str(tmp_path / "t"))
    session.register("m", rows)
    for name in ("t", "m"):
        for value in values[:3]:
            for predicate in (
                "x = {}",
                "{} = x",
                "x IN (7, {})",
                "x BETWEEN {} AND {}",
                "x IS NOT DISTINCT FROM {}",
            ):
                text = f"SELECT x FROM {name} WHERE {predicate.replace('{}', str(value))}"
                assert answer(session, text) == [(value,)], text
        assert answer(session, f"SELECT count(*) FROM {name} WHERE x <> 123456.79") == [(2,)]
        assert answer(session, f"SELECT x = 1.1 FROM {name} WHERE x > 1.0 AND x < 2.5") == [(True,)]
        assert answer(session, f"SELECT x FROM {name} WHERE x >= 123456.795") == []
        inner = f"SELECT 1 FROM {name} b WHERE a.x = 123456.79 AND b.x = a.x"
        correlated = f"SELECT x FROM {name} a WHERE EXISTS ({inner})"
        assert answer(session, correlated) == [(values[0],)]


def test_columns_of_no_type_are_nulls(tmp_path: Path, session: Session) -> None:
    action = one_file(tmp_path / "t", pa.table({"id": [1, 2]}), [{"id": 1}, {"id": 2}])
    write_log(tmp_path / "t", {"id": "long", "v": "void"}, [action])
    session.register("t", str(tmp_path / "t"))
    assert answer(session, "SELECT * FROM t ORDER BY id") == [(1, None), (2, None)]
    assert answer(session, "SELECT count(*), count(v) FROM t WHERE v IS NULL AND id > 1") == [(1, 0)]


def test_statistics_of_numbers_of_4_bytes_bound_those_of_8(tmp_path: Path, session: Session) -> None:
    narrow = pa.array([0.1, 0.7, -0.1], pa.float32())
    action = one_file(tmp_path / "t", pa.table({"x": narrow}), [{"x": -0.1}, {"x": 0.7}])
    write_log(tmp_path / "t", {"x": "float"}, [action], features=["typeWidening"])
    log = tmp_path / "t" / "_delta_log" / f"{0:020}.json"
    changes = {"delta.typeChanges": [{"toType": "double", "fromType": "float", "tableVersion": 1}]}
    old = json.dumps(json.dumps({"type": "float", "nullable": True, "metadata": {}})[1:-1])[1:-1]
    new = json.dumps(json.dumps({"type": "double", "nullable": True, "metadata": changes})[1:-1])[1:-1]
    assert old in log.read_text()
    log.write_text(log.read_text().replace(old, new))
    session.register("t", str(tmp_path / "t"))
    session.register("m", pa.table({"x": narrow.cast(pa.float64())}))
    for predicate in ("x < -0.1", "x <= -0.10000000149011612", "x = -0.10000000149011612", "x > 0.1"):
        found, expected = (answer(session, f"SELECT x FROM {name} WHERE {predicate}") for name in ("t", "m"))
        assert found == expected, predicate
