"""Changes: net change of any range applied to the old rows gives the new rows, from both sources."""

from __future__ import annotations

import tempfile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from delta_io.testing import bag, histories


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
