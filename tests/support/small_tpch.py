"""TPC-H at a scale that tests can afford."""

from __future__ import annotations

from decimal import Decimal

from _tpch_data import tpch_queries

SCALE = Decimal("0.01")
QUERIES = tpch_queries(SCALE)
