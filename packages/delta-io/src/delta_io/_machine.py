"""A state machine of tables: what hypothesis does to one, held against a model in plain Python."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from delta_io._bags import bag
from delta_io._steps import Contract, Kind, Row, after, apply, contracts, fitted, steps
from delta_io.errors import ChangesUnavailableError
from delta_io.policy import CdfPolicy, WritePolicy
from delta_io.table import Table


class TableMachine(RuleBasedStateMachine):
    """Does to a table whatever the package can, and compares it with a model after every step.

    After each step the newest snapshot, of the table at hand and of one opened anew, has the rows of the
    model, and the change since the step before leads from its rows to the new ones. Other ranges are compared
    as steps of their own. Derive from it to add rules and invariants; ``TestCase`` is what pytest runs.

    Attributes
    ----------
    table : Table
        The table.
    versions : dict[int, list[dict]]
        Rows of each version, from the model; columns that they lack are null.
    columns : dict[int, list[str]]
        Names of the columns of each version.
    readable_since : int
        First version whose data files have not been vacuumed.

    Examples
    --------
    >>> from hypothesis import settings
    >>> class Machine(TableMachine):
    ...     pass
    >>> TestTables = Machine.TestCase
    >>> TestTables.settings = settings(max_examples=1, stateful_step_count=2)
    """

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        self.versions: dict[int, list[Row]] = {}
        self.columns: dict[int, list[str]] = {}
        self.readable_since = 0

    @initialize(contract=contracts(), feed=st.booleans())
    def create(self, contract: Contract, feed: bool) -> None:
        """Make a table, with or without a change data feed."""
        self._row = contract.row
        policy = WritePolicy(cdf=CdfPolicy(enabled=feed))
        self.table = Table.create(Path(self._folder.name, "table"), contract.spec, policy=policy)
        self.versions[0] = []
        self.columns[0] = self.table.snapshot().schema.names

    @rule(data=st.data())
    def append(self, data: st.DataObject) -> None:
        """Append rows."""
        self.happen(data, "append")

    @rule(data=st.data())
    def overwrite(self, data: st.DataObject) -> None:
        """Replace all rows."""
        self.happen(data, "overwrite")

    @rule(data=st.data())
    def replace(self, data: st.DataObject) -> None:
        """Replace the rows that satisfy a predicate."""
        self.happen(data, "replace")

    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        """Delete rows."""
        self.happen(data, "delete")

    @rule(data=st.data())
    def update(self, data: st.DataObject) -> None:
        """Update rows."""
        self.happen(data, "update")

    @rule(data=st.data())
    def merge(self, data: st.DataObject) -> None:
        """Merge rows by key."""
        self.happen(data, "merge")

    @rule(data=st.data())
    def evolve(self, data: st.DataObject) -> None:
        """Append rows with a column that the table may not have."""
        self.happen(data, "evolve")

    @rule(data=st.data(), kind=st.sampled_from(["optimise", "feed", "vacuum"]))
    def keep_rows(self, data: st.DataObject, kind: Kind) -> None:
        """Do what changes no row."""
        self.happen(data, kind)

    @rule(data=st.data())
    def restore(self, data: st.DataObject) -> None:
        """Make an earlier version the newest."""
        version = data.draw(st.integers(self.readable_since, self.newest), label="restored version")
        self.table.restore(version)
        self._note(self.versions[version])

    @rule(data=st.data())
    def read_earlier(self, data: st.DataObject) -> None:
        """Read an earlier version."""
        version = data.draw(st.integers(self.readable_since, self.newest), label="version")
        self.compare(self.table, version)

    @precondition(lambda self: self.newest > 0)
    @rule(data=st.data())
    def compare_changes(self, data: st.DataObject) -> None:
        """Compare the changes of any range."""
        since = data.draw(st.integers(-1, self.newest), label="since")
        until = data.draw(st.integers(max(since, self.readable_since), self.newest), label="until")
        self.compare_range(since, until)

    @invariant()
    def newest_version_equals_the_model(self) -> None:
        """Compare the newest version, and how it came from the one before."""
        if not self.versions:
            return
        self.compare(self.table, self.newest)
        self.compare(Table(self.table.uri), self.newest)
        self.compare_range(max(self.newest - 1, 0), self.newest)

    @property
    def newest(self) -> int:
        """The newest version."""
        return max(self.versions, default=0)

    def happen(self, data: st.DataObject, kind: Kind) -> None:
        """Draw a step, and let it happen to the table and the model."""
        step = data.draw(steps(kind, self._row), label=kind)
        rows = after(step, self.versions)
        apply(step, self.table, self.newest)
        self._note(rows)
        if kind == "vacuum":
            self.readable_since = self.newest

    def compare(self, table: Table, version: int) -> None:
        """Compare a version of the table with the model."""
        snapshot = table.snapshot(version)
        assert snapshot.schema.names == self.columns[version]
        assert bag(snapshot.to_reader().read_all()) == self._bag(version, version)

    def compare_range(self, since: int, until: int) -> None:
        """Compare the net change of a range with the model."""
        try:
            changes = self.table.changes(since, until)
            net = bag(changes.weighted().read_all())
        except ChangesUnavailableError:
            gone = set(self.columns.get(since, ())) - set(self.columns[until])
            assert gone or since < self.readable_since, "the changes are there"
            return
        expected: Counter[str] = self._bag(until, until)
        expected.subtract(self._bag(since, until))
        assert net == {row: count for row, count in expected.items() if count}, (changes, changes.reason)
        versions: list[Any] = changes.to_reader().read_all()["_commit_version"].to_pylist()
        assert versions == sorted(versions)
        assert all(since < version <= until for version in versions)

    def teardown(self) -> None:
        """Remove the table."""
        self._folder.cleanup()

    def _note(self, rows: list[Row]) -> None:
        reached = self.table.snapshot().version
        names = self.table.snapshot().schema.names
        rows = fitted(rows, names)
        before = self._bag(self.newest, self.newest)
        assert reached > self.newest or bag(rows) == before, "nothing was committed, but rows should differ"
        for version in range(self.newest + 1, reached + 1):
            self.versions[version], self.columns[version] = rows, names

    def _bag(self, version: int, shown_as: int) -> Counter[str]:
        return bag(fitted(self.versions.get(version, []), self.columns[shown_as]))
