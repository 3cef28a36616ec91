"""The project that `freshlake init` writes: one table of orders, one view of revenue per day."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import Path

import pyarrow as pa

from delta_io import Table
from freshlake._names import as_name
from freshlake.errors import InitError
from freshlake.project import PROJECT_FILE, VIEWS_DIRECTORY
from schema_spec import TableSpec

_TABLE = "data/orders"
_PROJECT = """\
[project]
name = "{name}"
lake = "lake"                  # where views are kept: a path or a URI

[tables.orders]
uri = "data/orders"            # a Delta table; the path is relative to this file
"""
_VIEW = """\
-- freshlake: key = ["day"]
SELECT
    ordered_on AS day,
    count(*) AS orders,
    sum(amount) AS revenue
FROM orders
GROUP BY ordered_on
"""
_SCHEMA = pa.schema(
    [
        pa.field("order_id", pa.int64(), nullable=False),
        pa.field("ordered_on", pa.date32(), nullable=False),
        pa.field("customer", pa.string()),
        pa.field("amount", pa.decimal128(12, 2), nullable=False),
    ]
)
_ORDERS = (
    ("2026-01-05", "Ada", "19.90"),
    ("2026-01-05", "Grace", "250.00"),
    ("2026-01-06", "Ada", "5.25"),
    ("2026-01-06", None, "42.00"),
    ("2026-01-07", "Edsger", "99.99"),
)


def write_sample(directory: Path, display: Path) -> tuple[Path, ...]:
    """Write the sample project, its project file last; only into a directory that is empty or not there.

    Returns
    -------
    tuple of Path
        What was written, as the user would open it.
    """
    if directory.exists() and not directory.is_dir():
        raise InitError(f'"{display}" is a file; name an empty directory.', file=str(display))
    if directory.is_dir() and any(directory.iterdir()):
        message = f'The directory "{display}" is not empty; a project starts in an empty one.'
        raise InitError(message, file=str(display))
    view = Path(VIEWS_DIRECTORY, "revenue.sql")
    (directory / view).parent.mkdir(parents=True)
    table = Table.create(str(directory / _TABLE), TableSpec.from_arrow("orders", _SCHEMA))
    table.write(_sample_rows())
    (directory / view).write_text(_VIEW, encoding="utf-8")
    name = as_name(directory.name) or "freshlake"
    (directory / PROJECT_FILE).write_text(_PROJECT.format(name=name), encoding="utf-8")
    return (display / PROJECT_FILE, display / view, display / _TABLE)


def _sample_rows() -> pa.Table:
    rows = [
        {
            "order_id": number,
            "ordered_on": dt.date.fromisoformat(day),
            "customer": customer,
            "amount": Decimal(amount),
        }
        for number, (day, customer, amount) in enumerate(_ORDERS, start=1)
    ]
    return pa.Table.from_pylist(rows, schema=_SCHEMA)
