"""Deletes and updates read the files that may hold rows only, also where the engine had better not prune."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from delta_io import Table
from delta_io._narrowing import Where
from schema_spec import ColumnSpec, TableSpec

COLUMNS = [ColumnSpec("p", "long"), ColumnSpec("id", "long"), ColumnSpec("s", "string")]


def made(folder: Path, *, partition_by=(), nulls=False) -> Table:
    table = Table.create(folder / "t", TableSpec("t", COLUMNS, partition_by=partition_by))
    for number in range(5):
        ids = [None if nulls else -(10**17) + number * 10 + each for each in range(3)]
        data = {"p": [number] * 3, "id": ids, "s": [f"{number}{name}" for name in "abc"]}
        table.write(pa.table(data, table.snapshot().schema))
    return table


def remove_files(table: Table, *numbers: int) -> None:
    kept = {str(number) for number in numbers}
    actions = table.snapshot().add_actions()
    for path, bounds in zip(actions["path"].to_pylist(), actions["min"].to_pylist(), strict=True):
        if bounds["s"][0] not in kept:
            (Path(table.uri) / path).unlink()


@pytest.mark.parametrize("partition_by", [(), ("p",)])
@pytest.mark.parametrize("nulls", [False, True])
def test_other_files_are_not_read(tmp_path, partition_by, nulls):
    table = made(tmp_path, partition_by=partition_by, nulls=nulls)
    remove_files(table, 2, 3)
    assert table.delete("s >= '2b' AND s < '3c'").rows == 4
    commit = table.update({"s": "'3z'"}, "s = '3c'")
    assert (commit.rows, commit.files_removed) == (1, 1)
    assert commit.rewritten is not None


def test_nulls_beside_numbers(tmp_path):
    table = made(tmp_path)
    table.write(pa.table({"p": [7, None], "id": [None, 5], "s": ["same", "same"]}, table.snapshot().schema))
    assert table.delete("s = 'same'").rows == 2
    assert table.snapshot().to_reader().read_all().num_rows == 15


def test_numbers_that_are_too_large_to_compare_with(tmp_path):
    table = Table.create(tmp_path / "t", TableSpec("t", COLUMNS))
    for number, text in ((-(2**63), "a"), (2**63 - 1, "b")):
        table.write(pa.table({"p": [number], "id": [number], "s": [text]}))
    assert table.delete("s = 'a'").rows == 1
    assert table.update({"p": "1"}, "s = 'b'").rows == 1


def test_rows_that_come_before_the_operation(tmp_path, monkeypatch):
    table = made(tmp_path)
    seen = Where.at

    def at(where, handle, commit):
        monkeypatch.undo()
        Table(table.uri).write(pa.table({"p": [9], "id": [9], "s": ["2a"]}))
        handle.update_incremental()
        return seen(where, handle, commit)

    monkeypatch.setattr(Where, "at", at)
    assert table.delete("s = '2a'").rows == 2


def test_rows_that_come_during_the_operation(tmp_path, monkeypatch):
    table = made(tmp_path)
    seen = Where.at

    def at(where, handle, commit):
        monkeypatch.undo()
        found = seen(where, handle, commit)
        Table(table.uri).write(pa.table({"p": [9], "id": [9], "s": ["2a"]}))
        return found

    monkeypatch.setattr(Where, "at", at)
    commit = table.delete("s = '2a'")
    assert commit.rows == 2
    assert [each.cause for each in commit.retries] == ["conflict"]
    assert table.snapshot().to_reader(predicate="s = '2a'").read_all().num_rows == 0
