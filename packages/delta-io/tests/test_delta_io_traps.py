"""Tables that other writers may leave behind, and what happens to tables that easily goes wrong unnoticed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from delta_io_log import add, commit, field, metadata, protocol, remove, vector, write_int96
from deltalake import DeltaTable, write_deltalake
from hypothesis import example, given, settings
from hypothesis import strategies as st

from delta_io import (
    CdfPolicy,
    ChangesUnavailableError,
    OptionError,
    Table,
    UnsupportedError,
    VersionNotFoundError,
    WritePolicy,
)
from delta_io.testing import bag
from schema_spec import ColumnSpec, TableSpec

SPEC = TableSpec("t", [ColumnSpec("id", "long"), ColumnSpec("v", "string")])


def rows(*ids: int) -> pa.Table:
    return pa.table({"id": pa.array(ids, pa.int64()), "v": [f"v{each}" for each in ids]})


def net(table: Table, since: int, until: int | None = None) -> dict[int, int]:
    return {
        row["id"]: row["_weight"] for row in table.changes(since, until).weighted().read_all().to_pylist()
    }


@pytest.mark.parametrize("inline", [False, True])
def test_deletion_vectors_over_many_row_groups(tmp_path, inline):
    count = 200_000
    pq.write_table(
        pa.table({"id": pa.array(range(count), pa.int64())}), tmp_path / "a.parquet", row_group_size=7_001
    )
    first = [3, 7_001, 65_536, *range(131_072, 136_000)][: 40 if inline else None]
    second = sorted({*first, 7_002, 199_999})
    one, two = vector(tmp_path, first, inline=inline), vector(tmp_path, second, inline=inline)
    meta = metadata([field("id", "long")], {"delta.enableDeletionVectors": "true"})
    commit(tmp_path, 0, protocol("deletionVectors"), meta, add("a.parquet", stats={"numRecords": count}))
    commit(
        tmp_path, 1, remove("a.parquet"), add("a.parquet", deletionVector=one, stats={"numRecords": count})
    )
    commit(
        tmp_path, 2, remove("a.parquet", deletionVector=one),
        add("a.parquet", deletionVector=two, stats={"numRecords": count}),
    )  # fmt: skip
    table = Table(tmp_path)
    left = set(table.snapshot().to_reader().read_all()["id"].to_pylist())
    assert left == set(range(count)) - set(second)
    assert table.snapshot().add_actions()["deletion_vector"].to_pylist()[0]["cardinality"] == len(second)
    assert "deletion_vector" not in table.snapshot(0).add_actions().column_names
    assert net(table, 0, 1) == dict.fromkeys(first, -1)
    assert net(table, 1) == {7_002: -1, 199_999: -1}
    assert net(table, 0) == dict.fromkeys(second, -1)
    changes = table.changes(1)
    assert (changes.source, changes.rows_estimate) == ("files", 2)
    commit(tmp_path, 3, remove("a.parquet", deletionVector=two), add("a.parquet", deletionVector=one))
    assert net(table, 2) == {7_002: 1, 199_999: 1}


def test_renamed_columns_are_found_by_their_physical_names(tmp_path):
    pq.write_table(pa.table({"col-1": [1, 2]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"col-1": [3]}), tmp_path / "b.parquet")
    mapped = {"delta.columnMapping.id": 1, "delta.columnMapping.physicalName": "col-1"}
    configuration = {"delta.columnMapping.mode": "name", "delta.enableChangeDataFeed": "true"}
    head = protocol("columnMapping")
    commit(tmp_path, 0, head, metadata([field("old", "long", **mapped)], configuration), add("a.parquet"))
    stats = {"numRecords": 1, "minValues": {"col-1": 3}, "maxValues": {"col-1": 3}, "nullCount": {"col-1": 0}}
    commit(
        tmp_path,
        1,
        metadata([field("new", "long", **mapped)], configuration),
        remove("a.parquet"),
        add("b.parquet", stats=stats),
    )
    table = Table(tmp_path)
    snapshot = table.snapshot()
    assert snapshot.file_columns == ("col-1",)
    assert snapshot.schema.names == ["new"]
    assert snapshot.add_actions()["max"].to_pylist() == [{"new": 3}]
    assert snapshot.files("new = 4").candidates == 0
    assert snapshot.to_reader().read_all()["new"].to_pylist() == [3]
    changes = table.changes(0)
    assert changes.source == "feed"
    assert bag(changes.weighted().read_all()) == bag(
        [{"new": 1, "_weight": -1}, {"new": 2, "_weight": -1}, {"new": 3, "_weight": 1}]
    )


MUTATIONS = {
    "append": lambda table: table.write(rows(5, 77)),
    "overwrite": lambda table: table.write(rows(5, 77), mode="overwrite"),
    "replace": lambda table: table.write(rows(5), mode="overwrite", predicate="id = 5"),
    "delete": lambda table: table.delete("id = 5"),
    "update": lambda table: table.update({"v": "'u'"}, "id = 5"),
    "merge": lambda table: table.merge(rows(5, 77), on="id"),
}


@pytest.mark.parametrize("mutation", MUTATIONS)
@pytest.mark.parametrize("cdf", [True, False])
@pytest.mark.parametrize("mode", ["none", "name", "id"])
def test_mutations_of_mapped_tables_and_of_tables_with_vectors(tmp_path, mode, cdf, mutation):
    names = ("id", "v") if mode == "none" else ("col-1", "col-2")
    schema = pa.schema(
        pa.field(name, kind, metadata={"PARQUET:field_id": str(index)})
        for index, (name, kind) in enumerate(zip(names, (pa.int64(), pa.string()), strict=True), start=1)
    )
    data = pa.table({names[0]: range(10), names[1]: [str(each) for each in range(10)]}, schema=schema)
    pq.write_table(data, tmp_path / "a.parquet")
    configuration = {"delta.columnMapping.mode": mode, "delta.columnMapping.maxColumnId": "2"}
    fields = [
        field(name, kind, **{"delta.columnMapping.id": index, "delta.columnMapping.physicalName": physical})
        for index, (name, kind, physical) in enumerate(
            zip(("id", "v"), ("long", "string"), names, strict=True), start=1
        )
    ]
    head = protocol("columnMapping", "deletionVectors") if mode != "none" else protocol("deletionVectors")
    if cdf:
        head["protocol"]["writerFeatures"].append("changeDataFeed")
        configuration["delta.enableChangeDataFeed"] = "true"
    commit(tmp_path, 0, head, metadata(fields, configuration), add("a.parquet", stats={"numRecords": 10}))
    gone = vector(tmp_path, [0, 1, 2])
    commit(tmp_path, 1, remove("a.parquet"), add("a.parquet", deletionVector=gone, stats={"numRecords": 10}))
    table = Table(tmp_path)
    before = bag(table.snapshot().to_reader().read_all())
    assert sum(before.values()) == 7
    MUTATIONS[mutation](table)
    after = bag(table.snapshot().to_reader().read_all())
    after.subtract(before)
    changes = table.changes(1)
    assert changes.source == ("feed" if cdf else "files")
    expected = {row: count for row, count in after.items() if count}
    assert expected
    assert bag(changes.weighted().read_all()) == expected


def test_types_and_features_that_cannot_be_read_are_refused(tmp_path):
    commit(tmp_path / "type", 0, protocol(), metadata([field("id", "geometry")]))
    with pytest.raises(UnsupportedError, match="geometry"):
        Table(tmp_path / "type").snapshot().to_reader()
    commit(tmp_path / "feature", 0, protocol("notYetThoughtOf"), metadata([field("id", "long")]))
    with pytest.raises(UnsupportedError):
        Table(tmp_path / "feature").snapshot().to_reader().read_all()


def test_feed_switched_off_in_the_range_is_said_and_the_files_are_compared(tmp_path):
    table = Table.create(tmp_path, SPEC)
    table.write(rows(1, 2, 3))
    DeltaTable(tmp_path).alter.set_table_properties({"delta.enableChangeDataFeed": "false"})
    table.delete("id = 2")
    changes = table.changes(1)
    assert changes.source == "files"
    assert "off at version 2" in changes.reason
    assert net(table, 1) == {2: -1}
    DeltaTable(tmp_path).alter.set_table_properties({"delta.enableChangeDataFeed": "true"})
    table.write(rows(4))
    assert table.changes(4).source == "feed"
    assert table.changes(3).source == "feed"
    assert table.changes(2).source == "files"
    assert net(table, 0) == {1: 1, 3: 1, 4: 1}


def test_update_to_the_same_values_is_no_net_change(tmp_path):
    table = Table.create(tmp_path, SPEC)
    table.write(rows(1, 2))
    table.update({"v": "v"}, "id = 1")
    assert table.snapshot().version == 2
    assert net(table, 1) == {}


def test_compaction_is_no_change(tmp_path):
    table = Table.create(tmp_path, SPEC, policy=WritePolicy(cdf=CdfPolicy(enabled=False)))
    for each in range(3):
        table.write(rows(each))
    DeltaTable(tmp_path).optimize.compact()
    assert table.snapshot().add_actions().num_rows == 1
    changes = table.changes(3)
    assert (changes.source, changes.files, changes.rows_estimate) == ("files", (), 0)
    assert net(table, 1) == {1: 1, 2: 1}


def test_added_column_is_null_in_older_changes(tmp_path):
    table = Table.create(tmp_path, SPEC)
    table.write(rows(1, 2))
    wider = pa.table({"id": [3], "v": ["v3"], "w": [1.5]})
    write_deltalake(str(tmp_path), wider, mode="append", schema_mode="merge")
    changes = table.changes(0)
    assert changes.source == "feed"
    assert bag(changes.weighted().read_all()) == bag(table.snapshot().to_reader().read_all())


def test_overwritten_schema_is_refused_and_its_own_range_is_not(tmp_path):
    table = Table.create(tmp_path, SPEC)
    table.write(rows(1, 2))
    other = pa.table({"id": ["a"], "v": ["b"]})
    write_deltalake(str(tmp_path), other, mode="overwrite", schema_mode="overwrite")
    with pytest.raises(ChangesUnavailableError, match="'id' changed from int64 to string"):
        table.changes(1)
    write_deltalake(str(tmp_path), rows(2, 5), mode="overwrite", schema_mode="overwrite")
    changes = table.changes(1)
    assert changes.source == "files"
    assert net(table, 1) == {1: -1, 5: 1}
    assert table.snapshot(2).to_reader().read_all().to_pylist() == [{"id": "a", "v": "b"}]


def test_vacuumed_change_files_fall_back_and_vacuumed_data_is_refused(tmp_path):
    table = Table.create(tmp_path, SPEC)
    table.write(rows(1, 2, 3))
    table.delete("id = 2")
    for path in (tmp_path / "_change_data").iterdir():
        path.unlink()
    changes = table.changes(1)
    assert changes.source == "files"
    assert "is gone" in changes.reason
    assert net(table, 1) == {2: -1}
    live = set(table.snapshot().add_actions()["path"].to_pylist())
    for path in tmp_path.glob("*.parquet"):
        if path.name not in live:
            path.unlink()
    with pytest.raises(ChangesUnavailableError, match="is gone"):
        table.changes(1)


def test_cleaned_log_falls_back_to_the_checkpoint(tmp_path):
    table = Table.create(tmp_path, SPEC)
    table.write(rows(1, 2))
    table.delete("id = 1")
    DeltaTable(tmp_path).create_checkpoint()
    table.write(rows(7))
    for version in range(3):
        (tmp_path / "_delta_log" / f"{version:020}.json").unlink()
    fresh = Table(tmp_path)
    assert fresh.changes(2).source == "feed"
    assert net(fresh, 2) == {7: 1}
    with pytest.raises(VersionNotFoundError):
        fresh.snapshot(1)
    with pytest.raises(ChangesUnavailableError, match="version 1 cannot be opened"):
        fresh.changes(1)
    assert [each.version for each in fresh.history()] == [3]


def test_ranges_are_not_clamped(tmp_path):
    table = Table.create(tmp_path, SPEC)
    table.write(rows(1))
    table.write(rows(2))
    assert net(table, 0, 1) == {1: 1}
    assert table.changes(2).source == "none"
    assert table.changes(2).to_reader().read_all().num_rows == 0
    for since, until in ((0, 3), (3, None), (2, 1), (-2, None)):
        with pytest.raises(VersionNotFoundError):
            table.changes(since, until)


def test_changes_stay_pinned_while_the_table_moves(tmp_path):
    table = Table.create(tmp_path, SPEC)
    table.write(rows(1))
    changes = table.changes(0)
    table.write(rows(2))
    assert changes.versions == (0, 1)
    assert changes.to_reader().read_all()["id"].to_pylist() == [1]


def test_change_types_columns_and_predicate(tmp_path):
    table = Table.create(tmp_path, SPEC)
    table.write(rows(1, 2, 3))
    table.delete("id <= 2")
    changes = table.changes(1, columns=["v"], predicate="id = 2", change_types=["delete"])
    assert changes.schema.names == ["v", "_change_type", "_commit_version", "_commit_timestamp"]
    assert changes.to_reader().read_all()["v"].to_pylist() == ["v2"]
    assert table.changes(1, change_types=["insert"]).weighted().read_all().num_rows == 0
    with pytest.raises(OptionError):
        table.changes(1, change_types=["upsert"])


def test_times_between_commits_find_the_version_before(tmp_path):
    table = Table.create(tmp_path, SPEC)
    for each in range(3):
        table.write(rows(each))
    start = datetime(2024, 1, 1, tzinfo=UTC)
    import os

    for version in range(4):
        moment = (start + timedelta(hours=version)).timestamp()
        os.utime(tmp_path / "_delta_log" / f"{version:020}.json", (moment, moment))
    table = Table(tmp_path)
    assert table.snapshot(timestamp=start + timedelta(minutes=90)).version == 1
    assert table.snapshot(timestamp="2024-01-01T02:00:00").version == 2
    assert table.snapshot(timestamp="2030-01-01").version == 3
    assert table.snapshot(2).timestamp == start + timedelta(hours=2)
    with pytest.raises(VersionNotFoundError):
        table.snapshot(timestamp="2023-12-31T23:59:59Z")


def test_int96_beyond_nanoseconds_keeps_its_values(tmp_path):
    values = [datetime(year, 1, 2, tzinfo=UTC) for year in (9999, 2020, 1)] + [None]
    data = pa.table({"ts": pa.array(values, pa.timestamp("us", "UTC"))})
    micros = data["ts"].cast(pa.int64()).to_pylist()
    write_int96(tmp_path / "a.parquet", micros)
    commit(tmp_path, 0, protocol(), metadata([field("ts", "timestamp")]), add("a.parquet"))
    table = Table(tmp_path)
    assert table.snapshot().to_reader().read_all()["ts"].to_pylist() == values
    late = table.snapshot().to_reader(predicate="ts > '2021-01-01'").read_all()
    assert late["ts"].to_pylist() == values[:1]
    assert bag(table.changes(-1).weighted().read_all()) == bag(table.snapshot().to_reader().read_all())


@pytest.mark.parametrize(
    ("stats", "kept"),
    [
        (None, True),
        ("", True),
        ({"numRecords": 3}, True),
        ({"numRecords": 3, "minValues": {"id": 1}, "nullCount": {"id": 0}}, True),
        ({"numRecords": 3, "minValues": {"id": 1}, "maxValues": {"id": 5}}, False),
        ({"minValues": {"id": 1}, "maxValues": {"id": 9}, "nullCount": {"id": 0}}, True),
        ({"numRecords": 3, "nullCount": {"id": 3}}, False),
        ({"numRecords": 3, "minValues": {"id": 8}, "maxValues": {"id": 9}, "nullCount": {"id": 0}}, True),
    ],
)
def test_files_are_dropped_only_when_statistics_say_so(tmp_path, stats, kept):
    commit(tmp_path, 0, protocol(), metadata([field("id", "long")]), add("a.parquet", stats=stats))
    index = Table(tmp_path).snapshot().files("id > 7")
    assert (index.candidates, index.total) == (int(kept), 1)
    assert dict(index.reasons) == ({} if kept else {"statistics": 1})


def test_timestamps_cut_to_milliseconds_do_not_drop_their_file(tmp_path):
    stats = {
        "numRecords": 1,
        "minValues": {"ts": "2024-01-01T00:00:00.123Z"},
        "maxValues": {"ts": "2024-01-01T00:00:00.123Z"},
        "nullCount": {"ts": 0},
    }
    commit(tmp_path, 0, protocol(), metadata([field("ts", "timestamp")]), add("a.parquet", stats=stats))
    snapshot = Table(tmp_path).snapshot()
    assert snapshot.files("ts = TIMESTAMP '2024-01-01T00:00:00.123456Z'").candidates == 1
    assert snapshot.files("ts > '2024-01-01T00:00:00.124Z'").candidates == 0


def test_empty_partition_text_is_null(tmp_path):
    pq.write_table(pa.table({"id": [1]}), tmp_path / "a.parquet")
    meta = metadata([field("id", "long"), field("p", "string")], partition_by=["p"])
    commit(tmp_path, 0, protocol(), meta, add("a.parquet", partitionValues={"p": ""}))
    table = Table(tmp_path)
    assert table.snapshot().to_reader().read_all().to_pylist() == [{"id": 1, "p": None}]
    assert table.snapshot().to_reader(predicate="p IS NULL").read_all().num_rows == 1
    assert table.snapshot().files("p IS NULL").candidates == 1
    assert table.changes(-1).to_reader().read_all()["p"].to_pylist() == [None]


@pytest.mark.parametrize(
    "predicate", ["id NOT IN (1, NULL)", "id <> 1 AND nullif(1, 1) = 1", "id > 0 AND NULL"]
)
def test_conditions_that_are_null_hold_for_no_row(tmp_path, predicate):
    table = Table.create(tmp_path, SPEC)
    table.write(rows(1, 2, 3))
    assert table.snapshot().to_reader(predicate=predicate).read_all().num_rows == 0
    table.delete(predicate)
    table.update({"id": "9"}, predicate)
    table.write(rows(), mode="overwrite", predicate=predicate)
    assert bag(table.snapshot().to_reader().read_all()) == bag(rows(1, 2, 3))


@pytest.fixture(scope="module")
def spread(tmp_path_factory):
    """A table of several files with nulls, NaN and partitions."""
    columns = [
        ColumnSpec("i", "integer"),
        ColumnSpec("x", "double"),
        ColumnSpec("s", "string"),
        ColumnSpec("d", "decimal(6,2)"),
        ColumnSpec("p", "date"),
    ]
    table = Table.create(tmp_path_factory.mktemp("spread") / "t", TableSpec("t", columns, partition_by=["p"]))
    import random
    from datetime import date
    from decimal import Decimal

    random.seed(7)
    for part in range(4):
        some = lambda values: [random.choice([*values, None]) for _ in range(4)]  # noqa: E731
        low = part * 3
        table.write(
            pa.table(
                {
                    "i": pa.array(some([low, low + 1]), pa.int32()),
                    "x": pa.array(some([low + 0.5, -0.1, float("nan") if part == 2 else 1.0]), pa.float64()),
                    "s": some([f"k{low}", "b%", "é"]),
                    "d": pa.array(some([Decimal(low), Decimal("1.25")]), pa.decimal128(6, 2)),
                    "p": pa.array(some([date(2024, 1, part + 1)]), pa.date32()),
                }
            )
        )
    return table


def leaf(pattern, *choices):
    """Return a strategy that fills a pattern from choices."""
    return st.tuples(*(st.sampled_from(list(each)) for each in choices)).map(
        lambda chosen: pattern.format(*chosen)
    )


LEAVES = st.one_of(
    leaf("i {} {}", ["=", "<>", "<", "<=", ">", ">="], range(-1, 12)),
    leaf("x {} {}", ["=", "<", "<=", ">", ">="], [0.5, 1.0, 6.5, 100]),
    leaf("s {} '{}'", ["=", "!=", "<", ">"], ["k3", "b%", "é", ""]),
    leaf("d {} {}", ["=", "<", ">="], ["1.25", "3", "0.999"]),
    leaf("p {} DATE '2024-01-0{}'", ["=", "<", ">="], range(1, 6)),
    leaf("{} IS {}NULL", "ixsdp", ["", "NOT "]),
    leaf("i {}IN ({}, {})", ["", "NOT "], range(10), [*range(10), "NULL"]),
    leaf("i {}BETWEEN {} AND {}", ["", "NOT "], range(10), range(10)),
)
PREDICATES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds("({} AND {})".format, inner, inner),
        st.builds("({} OR {})".format, inner, inner),
        st.builds("NOT ({})".format, inner),
    ),
    max_leaves=5,
)


@given(predicate=PREDICATES)
@example(predicate="NOT ((i IN (0, 0) AND i IN (1, 1)))")
@settings(max_examples=60, deadline=None)
def test_predicates_prune_and_filter_as_the_engine_does(spread, predicate):
    snapshot = spread.snapshot()
    wanted = bag(snapshot.to_reader(predicate=predicate).read_all())
    changes = spread.changes(0, predicate=predicate).weighted().read_all()
    assert bag(changes) == wanted
    kept = set(snapshot.files(predicate).to_arrow()["path"].to_pylist())
    held = {each.path for each in spread.changes(0).files}
    assert kept <= held
    from delta_io._rows import Layout, read_rows

    location = spread._location
    layout = Layout(fields=tuple(snapshot.schema), partition_by=frozenset(["p"]), mode="none")
    batches = [
        batch
        for change in spread.changes(0).files
        if change.path in kept
        for batch in read_rows(location, change.path, layout, change.partition)
    ]
    seen = bag(pa.Table.from_batches(batches)) if batches else bag([])
    assert wanted <= seen


@pytest.mark.parametrize("wrap", ["plain", "list", "map"])
def test_slices_of_structs_within_structs_are_written_and_merged(tmp_path, wrap):
    struct = pa.struct([("x", pa.struct([("y", pa.struct([("z", pa.string())])), ("n", pa.int64())]))])
    places = [
        None if n % 7 == 0 else {"x": None if n % 5 == 0 else {"y": {"z": str(n)}, "n": n}} for n in range(60)
    ]
    cut = pa.array(places, struct).slice(20)
    values = {
        "plain": cut,
        "list": pa.ListArray.from_arrays(pa.array(range(41)), cut),
        "map": pa.MapArray.from_arrays(pa.array(range(41)), pa.array(["k"] * 40), cut),
    }[wrap]
    rows = pa.table({"id": pa.array(range(40), pa.int64()), "v": values})
    table = Table.create(tmp_path / "t", TableSpec.from_arrow("t", rows.schema))
    table.write(rows.slice(0, 25))
    table.merge(rows.slice(9), on="id")
    found = pa.table(table.snapshot().to_reader()).sort_by("id")
    assert found.to_pylist() == rows.to_pylist()
