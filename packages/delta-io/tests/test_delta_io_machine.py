"""Whatever happens to a table, its rows and its changes are those of a model in plain Python."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

from delta_io.testing import TableMachine

TestTables = TableMachine.TestCase
TestTables.settings = settings(
    max_examples=12, stateful_step_count=12, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
