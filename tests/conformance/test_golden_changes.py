"""Changes of published tables, scanned by the engine, are those that delta-io reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from delta_io import DeltaIoError, Table
from delta_io.testing import bag
from df_runtime import SessionFactory
from golden import ARCHIVES, needs_golden

pytestmark = needs_golden


def ranges(newest: int) -> Iterator[tuple[int, int]]:
    yield -1, newest
    yield 0, newest
    yield max(0, newest - 1), newest
    if newest > 2:
        yield 1, newest - 1


@pytest.mark.parametrize("case", ARCHIVES)
def test_changes_are_the_same(unpacked: Path, case: str) -> None:
    uri = str(unpacked / case / "delta")
    try:
        newest = Table(uri).snapshot().version
    except DeltaIoError:
        pytest.skip("delta-io refuses the table, which other tests check")
    with SessionFactory().open() as session:
        session.register("t", uri)
        for since, until in ranges(newest):
            try:
                changes = Table(uri).changes(since, until)
                expected = changes.to_reader().read_all()
            except DeltaIoError:
                continue
            session.register("changed", changes)
            assert session.resolution("changed").provider == "native"
            found = session.sql("SELECT * FROM changed").to_arrow()
            assert bag(found) == bag(expected)
            assert found.schema.names == expected.schema.names
            by_function = session.sql(f"SELECT * FROM changes('t', {since}, {until})").to_arrow()
            assert bag(by_function) == bag(expected)
            kinds = Counter(expected["_change_type"].to_pylist())
            counted = session.sql(
                "SELECT _change_type AS k, count(*) AS n FROM changed GROUP BY 1"
            ).to_arrow()
            assert dict(zip(counted["k"].to_pylist(), counted["n"].to_pylist(), strict=True)) == dict(kinds)
