"""What others need to test against sessions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC
from pathlib import Path
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

from delta_io import Table
from schema_spec import TableSpec


def delta_table(path: Path, rows: Mapping[str, Sequence[object]] | pa.Table) -> Table:
    """Create a Delta table that holds rows.

    Parameters
    ----------
    path : Path
        Folder of the table; its last part names the table.
    rows : mapping of str to sequence, or pyarrow.Table
        Columns.

    Returns
    -------
    delta_io.Table
    """
    data: Any = rows if isinstance(rows, pa.Table) else pa.table(dict(rows))
    table = Table.create(str(path), TableSpec.from_arrow(path.name, data.schema))
    if data.num_rows:
        table.write(data)
    return table


def identifiers() -> st.SearchStrategy[str]:
    """Names that SQL can only write in quotes, and plain ones.

    Returns
    -------
    SearchStrategy of str
    """
    unusual = st.text(
        st.characters(exclude_categories=("Cs", "Cc")) | st.sampled_from("\"'`.;$ ÄßΣİ-/"),
        min_size=1,
        max_size=12,
    )
    return st.one_of(st.sampled_from(["orders", "Orders", "order", "select", "a.b", 'q"q', "größe"]), unusual)


def arrow_tables(max_rows: int = 40) -> st.SearchStrategy[pa.Table]:
    """Tables of the types that Delta and the engine share, with NULLs.

    Parameters
    ----------
    max_rows : int

    Returns
    -------
    SearchStrategy of pyarrow.Table
    """
    return st.lists(st.sampled_from(list(_VALUES)), min_size=1, max_size=5).flatmap(
        lambda types: st.lists(
            st.tuples(*(st.none() | _VALUES[kind] for kind in types)), max_size=max_rows
        ).map(lambda rows: _table(types, rows))
    )


def _table(types: list[pa.DataType], rows: Sequence[tuple[object, ...]]) -> pa.Table:
    columns = [pa.array([row[index] for row in rows], type=kind) for index, kind in enumerate(types)]
    return pa.Table.from_arrays(columns, names=[f"c{index}" for index in range(len(types))])


_VALUES: dict[pa.DataType, st.SearchStrategy[object]] = {
    pa.bool_(): st.booleans(),
    pa.int32(): st.integers(-(2**31), 2**31 - 1),
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.float64(): st.floats(allow_nan=False),
    pa.string(): st.text(max_size=20),
    pa.binary(): st.binary(max_size=20),
    pa.decimal128(18, 2): st.decimals(-(10**15), 10**15, places=2),
    pa.date32(): st.dates(),
    pa.timestamp("us", "UTC"): st.datetimes(timezones=st.just(UTC)),
}
