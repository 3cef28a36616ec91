"""Files named by absolute paths: data files and deletion vectors outside the table's folder."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from delta_io_log import add, commit, field, metadata, protocol, remove, vector

from delta_io import Table

FIELDS = [field("id", "long")]


def written(path, *ids):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"id": pa.array(ids, pa.int64())}), path)
    return path


@pytest.mark.parametrize("form", ["file://{}", "{}", "file:{}"])
def test_files_outside_the_folder(tmp_path, form):
    folder = tmp_path / "table"
    outside = written(tmp_path / "else where" / "é 1.parquet", 1, 2, 3)
    inside = written(folder / "inside.parquet", 4)
    path = form.format(str(outside).replace(" ", "%20"))
    size = outside.stat().st_size
    commit(folder, 0, protocol(), metadata(FIELDS))
    commit(folder, 1, add(path, size=size), add(inside.name))
    commit(folder, 2, remove(path, size=size))
    table = Table(str(folder))
    weights = [{"id": each, "_weight": 1} for each in (1, 2, 3, 4)]
    assert table.changes(0, 1).weighted().read_all().sort_by("id").to_pylist() == weights
    gone = table.changes(1, 2).weighted().read_all().sort_by("id").to_pylist()
    assert gone == [{"id": each, "_weight": -1} for each in (1, 2, 3)]
    assert table.snapshot(version=1).files().total == 2
    assert sorted(table.snapshot(version=1).to_reader().read_all()["id"].to_pylist()) == [1, 2, 3, 4]


def test_a_deletion_vector_outside_the_folder(tmp_path):
    folder = tmp_path / "table"
    written(folder / "a.parquet", 1, 2, 3)
    elsewhere = tmp_path / "vectors"
    elsewhere.mkdir()
    deleted = vector(elsewhere, [1])
    (stored,) = elsewhere.glob("*.bin")
    absolute = {**deleted, "storageType": "p", "pathOrInlineDv": stored.as_uri()}
    commit(folder, 0, protocol("deletionVectors"), metadata(FIELDS), add("a.parquet"))
    commit(folder, 1, remove("a.parquet"), add("a.parquet", deletionVector=absolute))
    changes = Table(str(folder)).changes(0, 1).weighted().read_all()
    assert changes.to_pylist() == [{"id": 2, "_weight": -1}]
    assert sorted(Table(str(folder)).snapshot().to_reader().read_all()["id"].to_pylist()) == [1, 3]
