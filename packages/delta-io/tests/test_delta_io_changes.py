"""Changes: net change of any range applied to the old rows gives the new rows, from both sources."""

from __future__ import annotations

import tempfile
from datetime import date

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from delta_io_log import add, commit, field, metadata, protocol, remove, vector
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from delta_io import Table
from delta_io.testing import bag, histories
from schema_spec import ColumnSpec, TableSpec


@pytest.mark.parametrize("cdf", [True, False], ids=["feed", "files"])
@given(history=histories(), data=st.data())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_snapshots_and_changes_equal_the_model(cdf, history, data):
    with tempfile.TemporaryDirectory() as folder:
        played = history.play(folder + "/t", cdf=cdf)
        table, versions = played.table, played.versions
        for version, rows in versions.items():
            assert bag(table.snapshot(version).to_reader().read_all()) == bag(rows), version
        since = data.draw(st.integers(-1, max(versions)), label="since")
        until = data.draw(st.integers(max(since, 0), max(versions)), label="until")
        changes = table.changes(since, until)
        assert changes.source == ("none" if since == until else "feed" if cdf else "files")
        net = bag(changes.weighted().read_all())
        expected = bag(versions[until])
        expected.subtract(bag(versions.get(since, [])))
        assert net == {row: count for row, count in expected.items() if count}
        read = changes.to_reader().read_all()
        assert read["_commit_version"].to_pylist() == sorted(read["_commit_version"].to_pylist())
        assert bag(signed(row) for row in read.to_pylist()) == net


def signed(row):
    weight = 1 if row["_change_type"] in ("insert", "update_postimage") else -1
    return {**{name: value for name, value in row.items() if not name.startswith("_")}, "_weight": weight}


def test_file_actions_hand_the_changes_to_an_engine(tmp_path):
    spec = TableSpec("t", [ColumnSpec("id", "long"), ColumnSpec("p", "date")], partition_by=["p"])
    table = Table.create(tmp_path / "a", spec)
    day = date(2024, 2, 29)
    table.write(pa.table({"id": [1, 2, 3], "p": pa.array([day, day, None], pa.date32())}))
    table.delete("id = 1")
    changes = table.changes(0, predicate="id < 3", columns=["id"], change_types=["insert", "delete"])
    actions = changes.file_actions()
    feed = [row for row in actions.to_pylist() if row["change_type"] is None]
    added = [row for row in actions.to_pylist() if row["change_type"] == "insert"]
    assert [(row["weight"], row["version"], row["partition"]) for row in feed] == [(None, 2, {"p": day})]
    assert {(row["weight"], row["version"], row["partition"]["p"]) for row in added} == {
        (1, 1, day),
        (1, 1, None),
    }
    assert all((tmp_path / "a" / row["path"]).stat().st_size == row["size_bytes"] for row in feed + added)
    assert actions["timestamp"].to_pylist()[-1] == table.commit_info(2).timestamp
    assert (changes.predicate, changes.columns.names, changes.snapshot.version) == ("id < 3", ["id"], 2)
    assert table.changes(0, 1, change_types=["delete"]).file_actions().num_rows == 0


def test_file_actions_name_the_rows_that_a_vector_brought_or_took(tmp_path):
    pq.write_table(pa.table({"id": range(10)}), tmp_path / "a.parquet")
    one, two = vector(tmp_path, [1], inline=True), vector(tmp_path, [1, 4])
    meta = metadata([field("id", "long")])
    commit(tmp_path, 0, protocol("deletionVectors"), meta, add("a.parquet", deletionVector=one))
    commit(tmp_path, 1, remove("a.parquet", deletionVector=one), add("a.parquet", deletionVector=two))
    changes = Table(tmp_path).changes(0)
    deleted, inserted = changes.file_actions().to_pylist()
    assert (deleted["change_type"], deleted["weight"], deleted["rows_estimate"]) == ("delete", -1, 1)
    assert deleted["only"]["path_or_inline_dv"] == two["pathOrInlineDv"]
    assert deleted["exclude"]["storage_type"] == "i"
    assert (inserted["weight"], inserted["only"]) == (1, deleted["exclude"])
    assert inserted["exclude"] == deleted["only"]
    assert changes.to_reader().read_all()["id"].to_pylist() == [4]
