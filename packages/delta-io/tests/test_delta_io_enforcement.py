"""Rows that a table may not hold are refused before the commit, and shown, but for masked columns."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pyarrow as pa
import pytest
from delta_io_log import commit, field, metadata
from hypothesis import given, settings
from hypothesis import strategies as st

from delta_io import (
    BloomFilter,
    CdfPolicy,
    ColumnPolicy,
    ConstraintError,
    OptionError,
    SchemaMismatchError,
    Table,
    UnsupportedError,
    WritePolicy,
)
from schema_spec import AcceptedValues, ColumnSpec, Range, TableSpec

ID = ColumnSpec("id", "long")
LEGACY = {"protocol": {"minReaderVersion": 1, "minWriterVersion": 4}}


def by_hand(path, *fields, head=LEGACY, **more):
    commit(path / "t", 0, head, metadata(list(fields), **more))
    return Table(path / "t")


def required(name, kind):
    return {**field(name, kind), "nullable": False}


def rows(table):
    return table.snapshot().to_reader().read_all().to_pylist()


STRUCT = {"type": "struct", "fields": [required("x", "long")]}
NESTED = [
    (STRUCT, pa.struct([("x", pa.int64())]), {"x": None}, {"x": 1}, "c.x"),
    (
        {"type": "array", "elementType": "long", "containsNull": False},
        pa.list_(pa.int64()),
        [1, None],
        [],
        "c.element",
    ),
    (
        {"type": "map", "keyType": "string", "valueType": "long", "valueContainsNull": False},
        pa.map_(pa.string(), pa.int64()),
        [("k", None)],
        [("k", 1)],
        "c.value",
    ),
    (
        {"type": "array", "containsNull": True, "elementType": STRUCT},
        pa.list_(pa.struct([("x", pa.int64())])),
        [None, {"x": None}],
        [None, {"x": 1}],
        "c.element.x",
    ),
]


@pytest.mark.parametrize("case", NESTED, ids=[case[-1] for case in NESTED])
def test_nulls_inside_of_values(tmp_path, case):
    kind, arrow, bad, good, path = case
    table = by_hand(tmp_path, field("id", "long"), field("c", kind))
    data = lambda *values: pa.table({"id": range(len(values)), "c": pa.array(values, arrow)})  # noqa: E731
    table.write(data(good, None))
    for way in (
        table.write,
        lambda given: table.write(given.slice(1).to_reader()),
        lambda given: table.merge(given, on="id"),
        lambda given: table.write(given, mode="overwrite"),
    ):
        with pytest.raises(ConstraintError, match=rf"column '{path}' may not be null.*row \d first"):
            way(data(good, good, None, bad))
    assert table.snapshot().version == 1
    assert rows(table) == [{"id": 0, "c": good}, {"id": 1, "c": None}]


@pytest.mark.parametrize("feed", [True, False])
def test_constraints_of_a_contract_hold_for_every_mutation(tmp_path, feed):
    spec = TableSpec("t", [ID, ColumnSpec("v", "long")], constraints={"positive": "v > 0"})
    policy = WritePolicy(cdf=CdfPolicy(enabled=feed))
    table = Table.create(tmp_path / "t", spec, policy=policy)
    assert "checkConstraints" in table.snapshot().protocol.features_to_write
    assert not {"delta.minReaderVersion", "delta.minWriterVersion"} & table.snapshot().spec.properties.keys()
    table.write(pa.table({"id": [1], "v": [1]}))
    bad = pa.table({"id": [1, 2, 3, 4, 5], "v": [9, -2, -3, -4, -5]})
    for way in (
        lambda: table.write(bad),
        lambda: table.write(bad, mode="overwrite"),
        lambda: table.write(bad, mode="overwrite", predicate="id > 0"),
        lambda: table.merge(bad, on="id"),
        lambda: table.update({"v": "v - 1"}),
    ):
        with pytest.raises(ConstraintError, match="rows break a constraint"):
            way()
    assert rows(table) == [{"id": 1, "v": 1}]


def test_constraints_that_a_table_does_not_check_yet(tmp_path):
    plain = Table.create(tmp_path / "t", TableSpec("t", [ID]))
    plain.write(pa.table({"id": [1]}))
    table = Table(plain.uri, spec=TableSpec("t", [ID], constraints={"positive": "id > 0", "small": "id < 9"}))
    for way in (lambda: table.write(pa.table({"id": [-1]})), lambda: table.delete("id = 1")):
        with pytest.raises(
            SchemaMismatchError, match=r"does not check constraint 'positive'.*enforce_constraints"
        ):
            way()
    done = table.enforce_constraints(metadata={"why": "contract"})
    assert table.commit_info(done.version).metadata["why"] == "contract"
    assert table.enforce_constraints().operation == "NONE"
    for other in (table, Table(plain.uri)):
        with pytest.raises(ConstraintError):
            other.write(pa.table({"id": [-1]}))
    assert table.write(pa.table({"id": [2]})).rows == 1
    broken = Table(plain.uri, spec=TableSpec("t", [ID], constraints={"two": "id = 2"}))
    with pytest.raises(ConstraintError):
        broken.enforce_constraints()


def test_a_contract_may_be_stricter_about_nulls_than_the_table(tmp_path):
    plain = Table.create(tmp_path / "t", TableSpec("t", [ID, ColumnSpec("v", "long")]))
    table = Table(
        plain.uri, spec=TableSpec("t", [ColumnSpec("id", "long", nullable=False), ColumnSpec("v", "long")])
    )
    with pytest.raises(
        ConstraintError, match=r"'id' may not be null; 2 rows.*row 1 first \(id \| v;  \| 2;  \| 3\)"
    ):
        table.write(pa.table({"id": [1, None, None], "v": [1, 2, 3]}))
    with pytest.raises(SchemaMismatchError, match="no column 'id'"):
        table.write(pa.table({"v": [1]}))
    assert table.snapshot().version == 0


def test_invariants_of_other_writers(tmp_path):
    inner = json.dumps({"expression": {"expression": "s.x > 3"}})
    kind = {"type": "struct", "fields": [field("x", "long", **{"delta.invariants": inner})]}
    table = by_hand(tmp_path, field("s", kind))
    table.write(pa.table({"s": [{"x": 4}]}))
    with pytest.raises(ConstraintError, match="x: 3"):
        table.write(pa.table({"s": [{"x": 4}, {"x": 3}]}))
    assert table.snapshot().version == 1


def test_generated_columns(tmp_path):
    spec = TableSpec("t", [ID, ColumnSpec("twice", "long", generated="id * 2")])
    table = Table.create(tmp_path / "t", spec, policy=WritePolicy(cdf=CdfPolicy(enabled=False)))
    table.write(pa.table({"id": [1, 2]}))
    table.write(pa.table({"id": [3], "twice": [6]}))
    with pytest.raises(ConstraintError, match=r"1 rows break a constraint \(id \| twice; 4 \| 7\)"):
        table.write(pa.table({"id": [3, 4], "twice": [6, 7]}))
    with pytest.raises(ConstraintError):
        table.write(pa.table({"id": [3], "twice": pa.array([None], pa.int64())}))
    table.update({"id": "id + 10"}, "id = 1")
    assert sorted((row["id"], row["twice"]) for row in rows(table)) == [(2, 4), (3, 6), (11, 22)]
    table.write(pa.table({"id": [5]}), mode="overwrite")
    assert rows(table) == [{"id": 5, "twice": 10}]


def test_an_expression_that_cannot_be_computed_here(tmp_path):
    generated = {"delta.generationExpression": "spark_only(id)"}
    table = by_hand(tmp_path, field("id", "long"), field("g", "long", **generated))
    with pytest.raises(UnsupportedError, match="Give values of generated columns"):
        table.write(pa.table({"id": [1]}))


@pytest.mark.parametrize("version", [6, 7])
def test_tables_that_cannot_be_written_are_refused_before_a_file_is(tmp_path, version):
    identity = {
        "delta.identity.start": 1,
        "delta.identity.step": 1,
        "delta.identity.allowExplicitInsert": False,
    }
    head = {"protocol": {"minReaderVersion": 1, "minWriterVersion": version}}
    if version == 7:
        head["protocol"]["writerFeatures"] = ["identityColumns"]
    table = by_hand(tmp_path, field("id", "long", **identity), field("v", "long"), head=head)
    for way in (
        lambda: table.write(pa.table({"v": [1]})),
        lambda: table.merge(pa.table({"v": [1]}), on="v"),
        table.delete,
        table.optimize,
    ):
        with pytest.raises(UnsupportedError, match="identityColumns"):
            way()
    assert not list((tmp_path / "t").rglob("*.parquet"))
    assert rows(table) == []


@pytest.mark.parametrize("feature", ["rowTracking", "domainMetadata", "inCommitTimestamp", "icebergCompatV2"])
def test_features_that_only_others_write(tmp_path, feature):
    head = {"protocol": {"minReaderVersion": 1, "minWriterVersion": 7, "writerFeatures": [feature]}}
    with pytest.raises(UnsupportedError, match=feature):
        by_hand(tmp_path, field("id", "long"), head=head).write(pa.table({"id": [1]}))


@pytest.mark.parametrize(
    "name", ["delta.enableInCommitTimestamps", "delta.enableTypeWidening", "delta.enableRowTracking"]
)
def test_properties_that_cannot_be_kept(tmp_path, name):
    with pytest.raises(UnsupportedError, match=name):
        Table.create(tmp_path / "t", TableSpec("t", [ID], properties={name: "true"}))
    assert not Table.exists(tmp_path / "t")


def test_deletion_vectors_from_the_start_ask_for_nothing_else(tmp_path):
    spec = TableSpec(
        "t", [ID], properties={"delta.enableDeletionVectors": "true"}, constraints={"a": "id > 0"}
    )
    snapshot = Table.create(tmp_path / "t", spec).snapshot()
    assert snapshot.protocol.features_to_read == {"deletionVectors"}
    assert "checkConstraints" in snapshot.protocol.features_to_write


@pytest.mark.parametrize("mode", ["name", "id"])
@pytest.mark.parametrize("partition_by", [(), ("p",)])
def test_mapped_tables_are_written_with_their_policy(tmp_path, mode, partition_by):
    mapped = lambda number: {  # noqa: E731
        "delta.columnMapping.id": number, "delta.columnMapping.physicalName": f"col-{number}"
    }  # fmt: skip
    fields = [field("a b", "long", **mapped(1)), field("p", "string", **mapped(2))]
    configuration = {"delta.columnMapping.mode": mode, "delta.columnMapping.maxColumnId": "2"}
    head = {"protocol": {"minReaderVersion": 2, "minWriterVersion": 5}}
    by_hand(tmp_path, *fields, head=head, configuration=configuration, partition_by=partition_by)
    columns = {"a b": ColumnPolicy(encoding="DELTA_BINARY_PACKED", bloom_filter=BloomFilter())}
    table = Table(tmp_path / "t", policy=WritePolicy(columns=columns, sort_by=("a b",)))
    for done in (
        table.write(pa.table({"a b": [3, 1, 2], "p": ["x", "y", "y"]})),
        table.merge(pa.table({"a b": [3, 4], "p": ["z", "z"]}), on="a b"),
        table.update({"p": "'u'"}, '"a b" = 1'),
        table.delete('"a b" = 2'),
    ):
        assert done.bloom_filters is not None
        assert done.bloom_filters.columns == ({"a b": done.bloom_filters.row_groups} if done.files else {})
    assert sorted((row["a b"], row["p"]) for row in rows(table)) == [(1, "u"), (3, "z"), (4, "z")]
    wider = Table(
        table.uri,
        spec=TableSpec("t", [*table.spec.columns, ColumnSpec("n", "long")], partition_by=partition_by),
    )
    with pytest.raises(UnsupportedError, match="column-mapped"):
        wider.write(pa.table({"a b": [1], "p": ["x"], "n": [1]}))


def test_masked_values_do_not_show_in_other_errors_either(tmp_path):
    masked = ColumnSpec("s", "integer", nullable=False, metadata={"masked": True})
    spec = TableSpec("t", [ColumnSpec("id", "long", nullable=False), masked, ColumnSpec("name", "string")])
    table = Table.create(tmp_path / "t", spec)
    table.write(pa.table({"id": [1], "s": [1], "name": ["n"]}))
    for data in (
        {"id": [1], "s": [987654321987], "name": ["n"]},
        {"id": [None], "s": [98765432], "name": ["n"]},
        {"id": [1], "s": [98765432.5], "name": ["n"]},
    ):
        with pytest.raises((SchemaMismatchError, ConstraintError)) as caught:
            table.write(
                pa.table(
                    data,
                    schema=pa.schema(
                        [(n, pa.array(v).type if v[0] is not None else pa.int64()) for n, v in data.items()]
                    ),
                )
            )
        assert "9876543" not in str(caught.value)
    with pytest.raises(Exception, match="Cannot cast") as caught:
        table.update({"id": "CAST(concat('hunter', s) AS BIGINT)"})
    assert "hunter" not in str(caught.value)


@settings(max_examples=30, deadline=None)
@given(
    new=st.sampled_from(["a + 1", "b", "2 * a - b", "coalesce(b, 0)"]),
    old=st.lists(st.tuples(st.integers(-9, 9), st.integers(-9, 9)), min_size=1, max_size=4),
)
def test_generated_columns_follow_updates_and_merges(tmp_path_factory, new, old):
    columns = [
        ColumnSpec("key", "long"), ColumnSpec("a", "long"), ColumnSpec("b", "long"),
        ColumnSpec("g", "long", generated="abs(a) + `b` * 2"),
        ColumnSpec("text", "string", generated="concat('a b', key)"),
    ]  # fmt: skip
    policy = WritePolicy(cdf=CdfPolicy(enabled=False))
    table = Table.create(tmp_path_factory.mktemp("g") / "t", TableSpec("t", columns), policy=policy)
    keys = list(range(len(old)))
    table.write(pa.table({"key": keys, "a": [a for a, _ in old], "b": [b for _, b in old]}))

    def check():
        for row in rows(table):
            assert row["g"] == abs(row["a"]) + row["b"] * 2
            assert row["text"] == f"a b{row['key']}"

    table.update({"a": new}, "key >= 0")
    check()
    table.merge(pa.table({"key": [0, 99], "a": [7, 8], "b": [1, 2]}), on="key")
    check()
    table.merge(pa.table({"key": keys, "a": keys}), on="key")
    check()


def test_replaced_columns_still_fit_partitions_and_constraints(tmp_path):
    spec = TableSpec("t", [ID, ColumnSpec("p", "string")], partition_by=["p"], constraints={"c": "id > 0"})
    table = Table.create(tmp_path / "t", spec)
    for data, error in (({"id": [1]}, SchemaMismatchError), ({"p": ["x"]}, UnsupportedError)):
        with pytest.raises(error):
            table.write(pa.table(data), mode="overwrite", replace_schema=True)
    done = table.write(pa.table({"id": [1], "p": ["x"], "new": [1.5]}), mode="overwrite", replace_schema=True)
    assert (done.rows, table.snapshot().partition_by) == (1, ("p",))
    with pytest.raises(ConstraintError):
        table.write(pa.table({"id": [-1], "p": ["x"]}))


@pytest.mark.parametrize("key", ["txnId", "operation"])
def test_metadata_that_commits_have_of_their_own(tmp_path, key):
    table = Table.create(tmp_path / "t", TableSpec("t", [ID]))
    with pytest.raises(OptionError, match=key):
        table.write(pa.table({"id": [1]}), metadata={key: "mine"})
    assert table.snapshot().version == 0


@pytest.mark.parametrize(
    "predicate", ["id IN (0, 2) AND id NOT IN (1, NULL)", "NOT id in (1,null) and id in (0)"]
)
def test_lists_that_the_engine_joins_wrongly(tmp_path, predicate):
    table = Table.create(tmp_path / "t", TableSpec("t", [ID]))
    table.write(pa.table({"id": [0, 1, 2]}))
    assert table.snapshot().to_reader(predicate=predicate).read_all().num_rows == 0
    assert table.delete(predicate).rows == 0
    assert table.update({"id": "9"}, predicate).rows == 0
    assert table.write(pa.table({"id": [0]})[:0], mode="overwrite", predicate=predicate).files_removed == 0
    assert rows(table) == [{"id": 0}, {"id": 1}, {"id": 2}]
    assert table.delete("id IN (0, 1) AND id NOT IN (1, 7)").rows == 1
    assert table.delete("id IN (1, 5, NULL)").rows == 1
    assert rows(table) == [{"id": 2}]


@pytest.mark.parametrize("bound", [datetime(1500, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)])
def test_bounds_of_times_beyond_nanoseconds_are_refused_before_there_is_a_table(tmp_path, bound):
    columns = [ID, ColumnSpec("at", "timestamp")]
    for constraint in (Range("late", "at", minimum=bound), AcceptedValues("one", "at", [bound])):
        spec = TableSpec("t", columns, constraints=[constraint])
        with pytest.raises(UnsupportedError, match="nanoseconds"):
            Table.create(tmp_path / "t", spec)
    assert not (tmp_path / "t").exists()
    within = Range("late", "at", minimum=datetime(2000, 1, 1, tzinfo=UTC))
    table = Table.create(tmp_path / "t", TableSpec("t", columns, constraints=[within]))
    kind = pa.timestamp("us", "UTC")
    with pytest.raises(UnsupportedError, match="nanoseconds"):
        table.write(pa.table({"id": [1], "at": pa.array([bound], kind)}))
    assert (table.snapshot().version, table.write(pa.table({"id": [1], "at": pa.nulls(1, kind)})).rows) == (
        0,
        1,
    )


TIMES = [ColumnSpec("id", "long"), ColumnSpec("at", "timestamp"), ColumnSpec("day", "date")]


@pytest.mark.parametrize(
    "sql",
    [
        "at < TIMESTAMP '9999-12-31 00:00:00'",
        "at BETWEEN '0001-01-01' AND '2020-01-01'",
        "date_trunc('day', at) > '1500-01-01'",
        "id = 1 OR at > DATE '1500-01-01'",
    ],
)
def test_conditions_on_times_that_deltalake_cannot_compare_are_refused(tmp_path, sql):
    with pytest.raises(UnsupportedError, match="cannot be enforced"):
        Table.create(tmp_path / "t", TableSpec("t", TIMES, constraints={"c": sql}))
    assert not Table.exists(tmp_path / "t")
    table = Table.create(tmp_path / "t", TableSpec("t", TIMES))
    table = Table(table.uri, spec=TableSpec("t", TIMES, constraints={"c": sql}))
    with pytest.raises(UnsupportedError, match="cannot be enforced"):
        table.enforce_constraints()


@pytest.mark.parametrize(
    "sql", ["day < DATE '9999-12-31'", "abs(id) > 0 AND day > '0001-01-01'", "at > '1700-01-01'"]
)
def test_conditions_on_days_reach_further(tmp_path, sql):
    table = Table.create(tmp_path / "t", TableSpec("t", TIMES, constraints={"c": sql}))
    row = {"id": 1, "at": datetime(2024, 1, 1, tzinfo=UTC), "day": datetime(2024, 1, 1, tzinfo=UTC).date()}
    assert table.write(pa.Table.from_pylist([row], table.spec.to_arrow())).rows == 1
