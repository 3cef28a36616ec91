from __future__ import annotations

import json
import pickle
import threading

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import delta_io
from df_runtime import (
    DatasetSourceError,
    DatasetUnknownError,
    DatasetUnsupportedError,
    SessionClosedError,
    SessionFactory,
    ViewCycleError,
)
from df_runtime.testing import arrow_tables, delta_table
from schema_spec import TableSpec


def values(session, query):
    return session.sql(query).to_arrow().to_pylist()


@pytest.fixture
def table(tmp_path):
    return delta_table(tmp_path / "orders", {"id": [1, 2], "amount": [10, 20]})


def more(table, *ids):
    return table.write(pa.table({"id": list(ids), "amount": [10 * i for i in ids]}))


def test_a_table_is_followed(session, table):
    session.register("orders", table)
    assert values(session, "SELECT count(*) AS n FROM orders") == [{"n": 2}]

    more(table, 3)
    assert values(session, "SELECT count(*) AS n FROM orders") == [{"n": 3}]
    assert session.resolution("orders").version == table.snapshot().version


@pytest.mark.parametrize("form", [str, lambda uri: __import__("pathlib").Path(uri)], ids=["text", "path"])
def test_a_place_is_a_table(session, table, form):
    session.register("orders", form(table.uri))
    more(table, 3)

    assert values(session, "SELECT count(*) AS n FROM orders") == [{"n": 3}]
    assert isinstance(session.source("orders"), delta_io.Table)


def test_a_snapshot_and_a_version_are_pinned(session, table):
    pinned = table.snapshot()
    session.register("by_snapshot", pinned)
    session.register("by_version", table, version=pinned.version)
    session.register("by_time", table.uri, timestamp=pinned.timestamp)
    more(table, 3)

    for name in ("by_snapshot", "by_version", "by_time"):
        assert values(session, f"SELECT count(*) AS n FROM {name}") == [{"n": 2}], name
        assert session.resolution(name).pinned
    assert session.source("by_snapshot") is pinned


def test_a_resolution_tells_what_is_read(session, table):
    session.register("orders", table)
    session.register("totals", "SELECT sum(amount) AS total FROM orders")
    snapshot = table.snapshot()

    found = session.resolution("orders")
    assert (found.kind, found.provider, found.pinned) == ("delta", "native", False)
    assert (found.uri, found.version, found.table_id) == (table.uri, snapshot.version, snapshot.table_id)
    assert found.schema_identity_hash == snapshot.schema_identity_hash
    assert (found.files, found.rows) == (1, 2)
    assert found.bytes == sum(snapshot.add_actions()["size_bytes"].to_pylist())
    assert session.resolution("totals").depends == ('"datafusion"."public"."orders"',)


def test_a_new_column_is_seen_also_through_a_view(session, tmp_path):
    folder = tmp_path / "orders"
    session.register("orders", delta_table(folder, {"id": [1]}))
    session.register("all_orders", "SELECT * FROM orders")
    session.register("again", "SELECT * FROM all_orders")
    assert values(session, "SELECT * FROM again") == [{"id": 1}]

    replacement = pa.table({"id": [2], "note": ["x"]})
    __import__("deltalake").write_deltalake(
        str(folder), replacement, mode="overwrite", schema_mode="overwrite"
    )

    assert values(session, "SELECT note FROM again") == [{"note": "x"}]
    assert session.schema("again").names == ["id", "note"]


def test_a_table_made_anew_in_the_same_place_is_another(session, tmp_path):
    folder = tmp_path / "orders"
    session.register("orders", delta_table(folder, {"id": [1]}).uri)
    assert values(session, "SELECT * FROM orders") == [{"id": 1}]

    folder.rename(tmp_path / "old")
    delta_table(folder, {"id": [2]})

    assert values(session, "SELECT * FROM orders") == [{"id": 2}]


def test_the_name_of_a_view_can_be_given_to_another_query(session):
    session.register("t", pa.table({"a": [1, 2]}))
    session.register("low", "SELECT a FROM t WHERE a < 2")
    session.register("upper", "SELECT a * 10 AS a FROM low")
    assert values(session, "SELECT a FROM upper") == [{"a": 10}]

    session.register("mid", "SELECT a FROM t WHERE a = 2")
    session.register("low", "SELECT a FROM mid")
    assert values(session, "SELECT a FROM upper") == [{"a": 20}]

    session.register("t", pa.table({"a": [2, 2]}))
    assert values(session, "SELECT a FROM upper") == [{"a": 20}, {"a": 20}]


def test_a_view_cannot_read_itself(session):
    session.register("t", pa.table({"a": [1]}))
    session.register("u", "SELECT a FROM t")
    session.register("v", "SELECT a FROM u")

    with pytest.raises(ViewCycleError, match=r"\[dataset-view-cycle\]"):
        session.register("u", "SELECT a FROM v")
    assert values(session, "SELECT a FROM v") == [{"a": 1}]


def test_a_name_that_occurs_in_another_sense_is_no_cycle(session):
    session.register("t", pa.table({"a": [1]}))
    session.register("v", "SELECT a AS w FROM t")
    session.register("w", "WITH v AS (SELECT 7 AS a) SELECT a FROM v")
    session.register("v", "SELECT 2 AS w, a FROM w")

    assert values(session, "SELECT * FROM v") == [{"w": 2, "a": 7}]


def test_changes_are_rows_like_any(session, table):
    since = table.snapshot().version
    more(table, 3, 4)
    session.register("changes", table.changes(since))

    query = "SELECT _change_type, sum(amount) AS total FROM changes GROUP BY _change_type"
    assert values(session, query) == [{"_change_type": "insert", "total": 70}]
    assert values(session, "SELECT count(*) AS n FROM changes a JOIN changes b ON a.id = b.id") == [{"n": 2}]


@pytest.mark.parametrize("source", [3, None, [1], {"a": [1]}, object()])
def test_what_is_no_dataset_is_refused(session, source):
    with pytest.raises(DatasetSourceError, match=r"\[dataset-source-invalid\]"):
        session.register("t", source)


def test_a_version_needs_a_table(session, table):
    for source in (table.snapshot(), pa.table({"a": [1]}), "SELECT 1 AS a"):
        with pytest.raises(DatasetSourceError, match="no versions"):
            session.register("t", source, version=1)


def test_a_place_without_a_table_is_refused(session, tmp_path):
    with pytest.raises(delta_io.DeltaIoError):
        session.register("t", str(tmp_path / "absent"))
    assert session.tables() == ()


def test_an_unknown_name_lists_the_known_ones(session):
    session.register("orders", pa.table({"a": [1]}))
    for ask in (session.source, session.resolution, session.schema, session.table):
        with pytest.raises(DatasetUnknownError, match="there are: orders"):
            ask("nothing")


def test_a_sibling_is_empty_and_alike(session, table):
    session.register("orders", table)
    with session.sibling() as sibling:
        assert sibling.tables() == ()
        assert sibling.profile == session.profile
        sibling.register("orders", table, version=0)
        assert values(sibling, "SELECT count(*) AS n FROM orders") == [{"n": 0}]
    assert values(session, "SELECT count(*) AS n FROM orders") == [{"n": 2}]


def test_a_closed_session_says_so(session):
    session.close()
    for use in (lambda: session.sql("SELECT 1"), session.tables, lambda: session.register("t", "SELECT 1")):
        with pytest.raises(SessionClosedError, match=r"\[session-closed\]"):
            use()
    session.close()


def test_one_query_sees_one_version(session, table):
    session.register("orders", table)
    session.register("same_orders", table.uri)
    query = (
        "SELECT (SELECT count(*) FROM orders) AS a, (SELECT count(*) FROM same_orders) AS b, "
        "(SELECT count(*) FROM orders) AS c"
    )
    stop = threading.Event()
    seen: list[dict[str, int]] = []

    def read():
        while not stop.is_set():
            seen.extend(values(session, query))

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for number in range(10):
        more(table, number)
    stop.set()
    for reader in readers:
        reader.join()

    assert seen
    assert all(row["a"] == row["b"] == row["c"] for row in seen)
    assert values(session, query) == [{"a": 12, "b": 12, "c": 12}]


def test_the_neighbour_sees_the_same_tables(session, table):
    session.register("orders", table)
    session.register("sales.small", pa.table({"id": [1]}))
    session.register("totals", "SELECT sum(amount) AS total FROM orders JOIN sales.small USING (id)")
    assert session.context.sql("SELECT total FROM totals").to_pylist() == [{"total": 10}]

    more(table, 1)
    assert session.context.sql("SELECT total FROM totals").to_pylist() == [{"total": 20}]
    assert session.context is session.context
    session.deregister("totals")
    assert not session.context.table_exist("totals")


def multiset(rows):
    return sorted(pickle.dumps(tuple(row.values())) for row in rows)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_scan_gives_the_rows_written(tmp_path_factory, data):
    duckdb = pytest.importorskip("duckdb")
    first = data.draw(arrow_tables())
    parts = [first, *(first.slice(0, n) for n in data.draw(st.lists(st.integers(1, 9), max_size=2)))]
    table = delta_table(tmp_path_factory.mktemp("lake") / "t", first)
    for part in parts[1:]:
        table.write(part)
    everything = pa.concat_tables(parts)
    column = data.draw(st.sampled_from(first.schema.names))

    with SessionFactory().open() as session, duckdb.connect() as other:
        session.register("t", table)
        other.register("t", everything)
        assert multiset(values(session, "SELECT * FROM t")) == multiset(everything.to_pylist())
        for query in (
            f"SELECT count(*), count({column}), count(DISTINCT {column}) FROM t",
            f"SELECT count(*) FROM t WHERE {column} IS NULL",
            f"SELECT count(*) FROM t WHERE {column} >= (SELECT max({column}) FROM t)",
        ):
            (ours,) = values(session, query)
            assert tuple(ours.values()) == other.sql(query).fetchall()[0]


def test_a_table_that_can_no_longer_be_scanned_is_refused_and_the_rest_goes_on(session, tmp_path):
    plain = delta_table(tmp_path / "plain", {"id": [1]})
    session.register("plain", plain)
    session.register("ids", "SELECT id FROM plain")
    table = delta_table(tmp_path / "cloned", {"id": [1]})
    session.register("cloned", table)
    query = "SELECT ids.id FROM ids JOIN cloned USING (id)"
    assert values(session, query) == [{"id": 1}]

    add_file_of_another_store(tmp_path / "cloned")
    plain.write(pa.table({"id": [2]}))
    with pytest.raises(DatasetUnsupportedError, match=r"other stores.*\[dataset-unsupported\]"):
        session.sql(query)
    assert values(session, "SELECT count(*) AS n FROM ids") == [{"n": 2}]


def add_file_of_another_store(folder):
    """Commit a file that lies elsewhere, as a shallow clone has them."""
    add = {
        "path": "s3://elsewhere/0.parquet",
        "partitionValues": {},
        "size": 1,
        "modificationTime": 0,
        "dataChange": True,
    }
    log = folder / "_delta_log"
    newest = max(int(path.stem) for path in log.glob("*.json"))
    (log / f"{newest + 1:020}.json").write_text(json.dumps({"add": add}) + "\n", encoding="utf-8")


def test_forgetting_what_is_not_known_is_told(session):
    assert not session.deregister("absent")
    assert not session.deregister("nowhere.absent")
    assert not session.deregister("no.such.table")


def test_below_a_null_struct_everything_is_null(session):
    inner = pa.StructArray.from_arrays(
        [pa.array([1, 2, 3])], names=["x"], mask=pa.array([False, True, False])
    )
    outer = pa.StructArray.from_arrays([inner], names=["s"], mask=pa.array([False, False, True]))
    lists = pa.ListArray.from_arrays(pa.array([0, 1, 2, 3]), inner)
    session.register("t", pa.table({"near": inner, "far": outer, "lists": lists}))
    rows = session.sql("SELECT near['x'] AS a, far['s']['x'] AS b, lists[1]['x'] AS c FROM t").to_arrow()

    assert rows.to_pydict() == {"a": [1, None, 3], "b": [1, None, None], "c": [1, None, 3]}


PLACE = pa.struct(
    [
        pa.field("x", pa.int64(), nullable=False),
        pa.field("deep", pa.struct([pa.field("y", pa.string(), nullable=False)])),
    ]
)


@pytest.mark.parametrize("views", [True, False])
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("SELECT id, place['x'] AS v FROM t", [(1, 1), (2, None), (3, 0)]),
        ("SELECT id, place['deep']['y'] AS v FROM t", [(1, "a"), (2, None), (3, None)]),
        (
            "SELECT id, p['x'] AS v FROM (SELECT id, place AS p FROM t ORDER BY id)",
            [(1, 1), (2, None), (3, 0)],
        ),
        ("SELECT id, 0 AS v FROM t WHERE place['x'] = 0", [(3, 0)]),
        ("SELECT id, 0 AS v FROM t WHERE place['x'] IS NULL", [(2, 0)]),
        ("SELECT count(place['x']) AS id, min(place['x']) AS v FROM t", [(2, 0)]),
        ("SELECT id, places[1]['x'] AS v FROM t", [(1, None), (2, 1), (3, None)]),
        (
            "SELECT id, p['x'] AS v FROM (SELECT id, unnest(places) AS p FROM t)",
            [(1, None), (2, 1), (2, None)],
        ),
    ],
)
def test_required_fields_below_a_null_struct_are_null(session, tmp_path, query, expected, views):
    one = {"x": 1, "deep": {"y": "a"}}
    rows = pa.table(
        {
            "id": [1, 2, 3],
            "place": pa.array([one, None, {"x": 0, "deep": None}], PLACE),
            "places": pa.array([[None], [one, None], []], pa.list_(PLACE)),
        }
    )
    table = delta_io.Table.create(tmp_path / "t", TableSpec.from_arrow("t", rows.schema))
    table.write(rows)
    session.register("t", table, scan=delta_io.ScanConfig(view_types=views))
    found = session.sql(query).to_arrow()

    assert sorted(zip(*found.to_pydict().values(), strict=True), key=repr) == sorted(expected, key=repr)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("nullif(s, s)['x']", [None, None, None]),
        ("(CASE WHEN k > 1 THEN s END)['x']", [None, 2, 3]),
        ("coalesce(CASE WHEN k = 1 THEN s END, nullif(s, s))['x']", [1, None, None]),
        ("(CASE k WHEN 2 THEN [s] END)[1]['x']", [None, 2, None]),
        ("(CASE WHEN k = 3 THEN {'in': s} END)['in']['x']", [None, None, 3]),
        ("nullif(s, s)['x'] IS NULL", [True, True, True]),
    ],
)
def test_fields_of_a_struct_that_was_made_null_are_null(session, value, expected):
    structs = pa.array([{"x": 1}, {"x": 2}, {"x": 3}], pa.struct([("x", pa.int64())]))
    session.register("t", pa.table({"k": [1, 2, 3], "s": structs}))
    beside = "SELECT k, s, nullif(s, s) AS n FROM t"
    for query in (
        f"SELECT {value} AS v FROM t ORDER BY k",
        f"SELECT {value.replace('nullif(s, s)', 'n')} AS v FROM ({beside}) ORDER BY k",
    ):
        assert session.sql(query).to_arrow()["v"].to_pylist() == expected
