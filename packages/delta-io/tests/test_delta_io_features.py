"""Protocol features: gated by the environment, enabled without losing others."""

from __future__ import annotations

import time

import pyarrow as pa
import pytest
from delta_io_log import add, commit, field, metadata, protocol
from deltalake import DeltaTable
from hypothesis import given, settings
from hypothesis import strategies as st

from delta_io import (
    CdfPolicy,
    FeatureError,
    FeaturePolicy,
    FeatureRules,
    OptionError,
    Protocol,
    SchemaMismatchError,
    Table,
    UnsupportedError,
    WritePolicy,
)
from delta_io.testing import bag
from schema_spec import ColumnSpec, TableSpec

SPEC = TableSpec("t", [ColumnSpec("id", "long")])


def made(path, **policy) -> Table:
    table = Table.create(str(path / "t"), SPEC, policy=WritePolicy(**policy))
    table.write(pa.table({"id": [1, 2]}))
    return table


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        (FeatureRules(forbid={"deletionVectors"}), "'deletionVectors' is forbidden"),
        (FeatureRules(allow={"columnMapping"}), "'deletionVectors' is not allowed"),
        (FeatureRules(require={"v2Checkpoint"}), "'v2Checkpoint' is missing"),
    ],
)
def test_tables_are_refused_by_feature(tmp_path, rules, message):
    table = made(tmp_path)
    table.enable("deletionVectors")
    with pytest.raises(FeatureError, match=message):
        Table(table.uri, features=FeaturePolicy(environment="prod", read=rules))
    reader = Table(table.uri, features=FeaturePolicy(environment="prod", write=rules))
    assert reader.snapshot().to_reader().read_all().num_rows == 2
    for change in (
        lambda: reader.write(pa.table({"id": [3]})),
        reader.delete,
        lambda: reader.update({"id": "1"}),
        lambda: reader.merge(pa.table({"id": [1]}), on="id"),
        lambda: reader.restore(0),
        lambda: reader.enable("v2Checkpoint"),
        reader.optimize,
    ):
        with pytest.raises(FeatureError, match="does not write"):
            change()
    assert reader.snapshot().version == table.snapshot().version


def test_a_table_that_gains_a_feature_is_refused_from_then_on(tmp_path):
    table = made(tmp_path)
    reader = Table(table.uri, features=FeaturePolicy(read=FeatureRules(forbid={"deletionVectors"})))
    assert reader.snapshot().version == 1
    table.enable("deletionVectors")
    with pytest.raises(FeatureError):
        reader.snapshot()


def test_legacy_versions_stand_for_features():
    old = Protocol(min_reader_version=2, min_writer_version=6)
    assert old.features_to_read == {"columnMapping"}
    assert old.features_to_write == {
        *("appendOnly", "invariants", "checkConstraints", "changeDataFeed", "generatedColumns"),
        *("columnMapping", "identityColumns"),
    }
    mixed = Protocol(min_reader_version=1, min_writer_version=7, writer_features=frozenset({"rowTracking"}))
    assert (mixed.features_to_read, mixed.features_to_write) == (frozenset(), {"rowTracking"})


def test_rules_that_contradict_themselves():
    with pytest.raises(OptionError, match="required and refused"):
        FeatureRules(require={"a"}, forbid={"a"})
    with pytest.raises(OptionError, match="required and refused"):
        FeatureRules(require={"a"}, allow={"b"})


@pytest.mark.parametrize("feature", ["deletionVectors", "v2Checkpoint", "timestampNtz", "variantType"])
def test_features_are_added_to_those_the_table_has(tmp_path, feature):
    table = made(tmp_path)
    before = table.snapshot().protocol.features_to_write
    done = table.enable(feature, metadata={"why": "test"})
    after = table.snapshot().protocol
    assert after.features_to_write == {*before, feature}
    assert feature in after.features_to_read
    assert table.commit_info(done.version).metadata["why"] == "test"
    assert table.enable(feature).operation == "NONE"
    table.delete("id = 1")
    table.checkpoint()
    again = Table(table.uri)
    assert bag(again.changes(0).weighted().read_all()) == bag(pa.table({"id": [2], "_weight": [1]}))
    assert again.changes(0).source == "feed"


def test_the_feed_can_be_enabled_later(tmp_path):
    table = made(tmp_path, cdf=CdfPolicy(enabled=False))
    version = table.enable("changeDataFeed").version
    assert table.enable("changeDataFeed").operation == "NONE"
    table.update({"id": "id + 10"}, "id = 2")
    assert table.changes(version).source == "feed"
    assert table.changes(0).source == "files"


def test_append_only_tables_refuse_deletions(tmp_path):
    table = made(tmp_path)
    table.enable("appendOnly")
    table.write(pa.table({"id": [3]}))
    with pytest.raises(Exception, match=r"(?i)append"):
        table.delete("id = 1")


@pytest.mark.parametrize(
    "feature", ["typeWidening", "inCommitTimestamp", "identityColumns", "rowTracking", "nope"]
)
def test_features_that_cannot_be_enabled(tmp_path, feature):
    with pytest.raises(UnsupportedError, match=feature):
        made(tmp_path).enable(feature)


ENABLED = ("appendOnly", "changeDataFeed", "columnMapping", "deletionVectors", "timestampNtz", "v2Checkpoint")
SEQUENCES = st.lists(st.sampled_from(ENABLED), unique=True, min_size=1)


@settings(max_examples=20, deadline=None)
@given(features=SEQUENCES, feed=st.booleans(), checked=st.booleans())
def test_features_enabled_one_after_the_other(tmp_path_factory, features, feed, checked):
    columns = [ColumnSpec("id", "long"), ColumnSpec("a", "array<struct<b: map<string, struct<c: long>>>>")]
    spec = TableSpec("t", columns, constraints={"c": "id > 0"} if checked else {})
    folder = tmp_path_factory.mktemp("features") / "t"
    table = Table.create(folder, spec, policy=WritePolicy(cdf=CdfPolicy(enabled=feed)))
    values = [{"id": each, "a": [{"b": [("k", {"c": each})]}]} for each in (1, 2)]
    rows = pa.Table.from_pylist(values, spec.to_arrow())
    table.write(rows)
    had = table.snapshot().protocol.features_to_write
    for feature in features:
        done = table.enable(feature, metadata={"why": feature})
        if done.operation != "NONE":
            assert table.commit_info(done.version).metadata["why"] == feature
        assert table.enable(feature).operation == "NONE"
    protocol_now, properties = table.snapshot().protocol, table.snapshot().properties
    assert protocol_now.features_to_write >= {*had, *features}
    assert "variantType" not in protocol_now.features_to_write
    assert protocol_now.features_to_read <= protocol_now.features_to_write
    assert ("delta.enableDeletionVectors" in properties) == ("deletionVectors" in features)
    assert (table.snapshot().column_mapping == "name") == ("columnMapping" in features)
    again = Table(folder)
    assert again.snapshot().table_id == table.snapshot().table_id
    again.write(rows)
    if "appendOnly" not in features:
        again.update({"id": "id + 10"}, "id = 1")
        again.delete("id = 2")
        assert again.snapshot().to_reader(["id"]).read_all()["id"].to_pylist() == [11, 11]
    else:
        assert bag(again.snapshot().to_reader().read_all()) == bag(pa.concat_tables([rows, rows]))
    again.checkpoint()
    kept = Table(folder).snapshot().to_reader().read_all()
    assert bag(kept) == bag(again.snapshot().to_reader().read_all())


def test_column_mapping_from_the_start(tmp_path):
    spec = TableSpec("t", SPEC.columns, properties={"delta.columnMapping.mode": "name"})
    table = Table.create(str(tmp_path / "t"), spec)
    table.write(pa.table({"id": [1, 2]}))
    assert table.snapshot().column_mapping == "name"
    assert bag(table.snapshot().to_reader().read_all()) == bag(pa.table({"id": [1, 2]}))
    assert table.changes(0).weighted().read_all().num_rows == 2


def test_tables_that_ask_for_the_unknown_are_refused(tmp_path):
    folder = tmp_path / "t"
    commit(folder, 0, protocol("someNewFeature"), metadata([field("id", "long")]), add("a.parquet"))
    with pytest.raises(UnsupportedError):
        Table(str(folder)).snapshot().to_reader().read_all()
    assert DeltaTable.is_deltatable(str(folder))


def test_statistics_columns_of_a_table_that_is_there(tmp_path):
    spec = TableSpec("t", [ColumnSpec("a", "long"), ColumnSpec("b c", "long"), ColumnSpec("d", "long")])
    table = Table.create(tmp_path / "t", spec)
    row = pa.table({"a": [1], "b c": [2], "d": [3]})

    def newest():
        table.write(row)
        actions = table.snapshot().add_actions().to_pylist()
        bounds = max(actions, key=lambda each: each["modification_time"])["min"]
        return {name for name, value in bounds.items() if value is not None}

    assert newest() == {"a", "b c", "d"}
    time.sleep(0.01)
    chosen = Table(table.uri, policy=WritePolicy(statistics_columns=["b c"]))
    commit = chosen.keep_statistics(metadata={"why": "wide"})
    assert (commit.operation, table.commit_info(commit.version).metadata["why"]) == (
        "SET TBLPROPERTIES",
        "wide",
    )
    assert newest() == {"b c"}
    assert chosen.keep_statistics().operation == "NONE"
    time.sleep(0.01)
    table.keep_statistics(["a", "d"])
    assert newest() == {"a", "d"}
    time.sleep(0.01)
    table.keep_statistics()
    assert newest() == {"a", "b c", "d"}
    with pytest.raises(SchemaMismatchError, match="no column"):
        table.keep_statistics(["z"])


@pytest.mark.parametrize("field", ["allow", "require", "forbid"])
def test_unknown_features_are_refused_with_the_closest_names(field: str):
    with pytest.raises(OptionError, match=r"'deletionVector'.*Did you mean deletionVectors"):
        FeatureRules(**{field: {"deletionVector"}})
    with pytest.raises(OptionError, match="There are allowColumnDefaults, appendOnly"):
        FeatureRules(**{field: {"x"}})
