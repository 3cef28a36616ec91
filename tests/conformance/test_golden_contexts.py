"""Published tables answer alike in any context of the `datafusion` package, and from there in our engine."""

from __future__ import annotations

from pathlib import Path

import pytest
from datafusion import SessionConfig, SessionContext, col
from datafusion import functions as f

from datafusion_ext import DeltaScan, EngineError
from delta_io import DeltaIoError, Table
from delta_io.testing import bag
from df_runtime import SessionFactory
from golden import ARCHIVES, needs_golden

pytestmark = needs_golden


def _scan(uri: str) -> DeltaScan:
    snapshot = Table(uri).snapshot()
    return DeltaScan(
        snapshot.uri,
        snapshot.schema,
        snapshot.add_actions(),
        partition_columns=snapshot.partition_by,
        column_mapping=snapshot.column_mapping,
    )


@pytest.mark.parametrize("case", ARCHIVES)
def test_a_foreign_context_reads_the_same_rows(unpacked: Path, case: str) -> None:
    uri = str(unpacked / case / "delta")
    try:
        scan = _scan(uri)
        expected = bag(Table(uri).snapshot().to_reader().read_all())
    except (DeltaIoError, EngineError):
        pytest.skip("the table is refused, which other tests check")
    context = SessionContext(SessionConfig({"datafusion.execution.target_partitions": "3"}))
    context.register_table("t", scan)
    rows = context.table("t")
    first = rows.schema().names[0]
    assert bag(rows.to_arrow_table()) == expected
    filled = rows.filter(col(f'"{first}"').is_not_null())
    counted = filled.aggregate([], [f.count(col(f'"{first}"')).alias("n")])
    with SessionFactory().open() as session:
        result = session.dataframe(filled)
        assert result.lane.name == "dataframe"
        assert bag(result.to_arrow()) == bag(filled.to_arrow_table())
        assert session.dataframe(counted).to_arrow().to_pylist() == counted.to_arrow_table().to_pylist()
