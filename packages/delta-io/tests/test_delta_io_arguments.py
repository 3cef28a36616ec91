"""Arguments that make no sense are refused as such, and nothing is committed."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pyarrow as pa
import pytest

from delta_io import DeltaIoError, OptionError, Table
from schema_spec import ColumnSpec, TableSpec

ROW = pa.table({"id": [1]})
WRONG: dict[str, Any] = {
    "version is a text": lambda table: table.snapshot("0"),
    "version is a fraction": lambda table: table.snapshot(0.5),
    "time is a number": lambda table: table.snapshot(timestamp=5),
    "time is a day": lambda table: table.snapshot(timestamp=date(2024, 1, 1)),
    "time is no time": lambda table: table.snapshot(timestamp="yesterday"),
    "range starts at a fraction": lambda table: table.changes(0.5),
    "range starts nowhere": lambda table: table.changes(None),
    "range ends at a truth": lambda table: table.changes(-1, True),
    "predicate of changes is a number": lambda table: table.changes(-1, predicate=5),
    "predicate of files is a number": lambda table: table.snapshot().files(5),
    "predicate of rows is a number": lambda table: table.snapshot().to_reader(predicate=5),
    "predicate of a deletion is a number": lambda table: table.delete(5),
    "value of an update is a number": lambda table: table.update({"id": 5}),
    "limit is negative": lambda table: table.history(-1),
    "limit is a text": lambda table: table.history("1"),
    "metadata has a number": lambda table: table.write(ROW, metadata={"a": 1}),
    "metadata is named by a number": lambda table: table.write(ROW, metadata={1: "a"}),
    "target size is negative": lambda table: table.optimize(target_file_bytes=-1),
    "retention is negative": lambda table: table.clean_log(retention=timedelta(-1)),
    "retention of files is negative": lambda table: table.vacuum(
        retention=timedelta(-1), allow_short_retention=True
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_makes_no_sense_is_refused(tmp_path, name):
    table = Table.create(tmp_path / "t", TableSpec("t", [ColumnSpec("id", "long")]))
    table.write(ROW)
    with pytest.raises(DeltaIoError) as caught:
        WRONG[name](table)
    assert isinstance(caught.value, OptionError), repr(caught.value)
    assert table.snapshot().version == 1
