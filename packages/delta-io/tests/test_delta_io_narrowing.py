"""Deletes and updates read the files that may hold rows only, also where the engine had better not prune."""

from __future__ import annotations

import operator
import tempfile
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from delta_io import Table
from delta_io._narrowing import Where
from delta_io.testing import bag
from schema_spec import ColumnSpec, TableSpec

COLUMNS = [ColumnSpec("p", "long"), ColumnSpec("id", "long"), ColumnSpec("s", "string")]


SIGNS = {"=": operator.eq, "<>": operator.ne, "<": operator.lt, ">=": operator.ge}
TEXTS = st.none() | st.sampled_from("abcdefgh")
NUMBERS = st.none() | st.integers(0, 12)
COMPARISONS = st.tuples(st.just("s"), st.sampled_from(list(SIGNS)), st.sampled_from("abcdefgh")) | st.tuples(
    st.just("id"), st.sampled_from(list(SIGNS)), st.integers(0, 50)
)


def holds(row, comparison) -> bool:
    column, sign, value = comparison
    return row[column] is not None and SIGNS[sign](row[column], value)


@settings(max_examples=40, deadline=None)
@given(
    files=st.lists(st.lists(st.tuples(NUMBERS, TEXTS), min_size=1, max_size=3), min_size=2, max_size=4),
    comparisons=st.lists(COMPARISONS, min_size=1, max_size=3),
    word=st.sampled_from(["AND", "OR"]),
    deletes=st.booleans(),
)
def test_just_the_rows_of_the_predicate_are_taken(files, comparisons, word, deletes):
    with tempfile.TemporaryDirectory() as folder:
        table = Table.create(Path(folder) / "t", TableSpec("t", COLUMNS))
        rows = []
        for number, each in enumerate(files):
            # Neighbouring files overlap a little.
            new = [
                {"p": number, "id": None if offset is None else number * 10 + offset, "s": text}
                for offset, text in each
            ]
            table.write(pa.Table.from_pylist(new, table.snapshot().schema))
            rows += new
        shown = [f"{name} {sign} {value!r}" for name, sign, value in comparisons]
        whether = all if word == "AND" else any
        taken = [row for row in rows if whether(holds(row, each) for each in comparisons)]
        left = [row for row in rows if row not in taken]
        predicate = f" {word} ".join(shown)
        done = table.delete(predicate) if deletes else table.update({"p": "-1"}, predicate)
        assert done.rows == len(taken)
        expected = left if deletes else left + [{**row, "p": -1} for row in taken]
        assert bag(table.snapshot().to_reader().read_all().to_pylist()) == bag(expected)


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
