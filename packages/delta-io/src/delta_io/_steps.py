"""What may happen to a table, and what it does to the rows of a model in plain Python."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, Literal

import pyarrow as pa
from deltalake import DeltaTable
from hypothesis import strategies as st
from msgspec import Struct

from delta_io.table import Table
from schema_spec import ColumnSpec, TableSpec

Row = dict[str, Any]
Kind = Literal[
    "append", "overwrite", "replace", "delete", "update", "merge", "optimise", "restore",
    "evolve", "feed", "vacuum",
]  # fmt: skip
KEY: Final = "k"
_FEED: Final = "delta.enableChangeDataFeed"
KINDS: Final[tuple[Kind, ...]] = (
    "append", "overwrite", "replace", "delete", "update", "merge", "optimise", "restore",
)  # fmt: skip
_KEYS: Final = 6
_WHEN: Final = datetime(2024, 2, 29, 23, 59, 59, 999_999, tzinfo=UTC)
_VALUES: Final[dict[str, st.SearchStrategy[Any]]] = {
    "string": st.sampled_from(["", "a", "b'\"", "é→", "%20"]),
    "double": st.sampled_from([0.0, 1.5, float("inf"), float("nan")]),
    "decimal(12,2)": st.sampled_from([Decimal("0.00"), Decimal("-1.25"), Decimal("9999999999.99")]),
    "timestamp": st.sampled_from([_WHEN, datetime(1969, 12, 31, tzinfo=UTC)]),
    "date": st.sampled_from([date(1, 1, 1), date(2024, 2, 29)]),
    "boolean": st.booleans(),
    "binary": st.sampled_from([b"", b"\x00\xff"]),
    "array<integer>": st.lists(st.one_of(st.none(), st.integers(0, 2)), max_size=2),
    "struct<a:integer,b:string>": st.fixed_dictionaries(
        {"a": st.one_of(st.none(), st.integers(0, 1)), "b": st.sampled_from([None, "x"])}
    ),
    "map<string,long>": st.dictionaries(st.sampled_from(["x", "y"]), st.integers(0, 1), max_size=1).map(
        lambda entries: list(entries.items())
    ),
    "array<struct<a:integer,b:string>>": st.lists(
        st.one_of(
            st.none(), st.fixed_dictionaries({"a": st.integers(0, 1), "b": st.sampled_from([None, "x"])})
        ),
        max_size=2,
    ),
}
_PARTITIONS: Final = st.sampled_from([None, "p", "q r%/=é"])


class Step(Struct, frozen=True, kw_only=True):
    """Something that happens to a table.

    Parameters
    ----------
    kind : str
        ``append``, ``overwrite``, ``replace`` (overwrite-where), ``delete``, ``update``, ``merge``,
        ``optimise``, ``restore``, ``evolve`` (rows with a column that the table may not have yet), ``feed``
        (switch the change data feed on or off), or ``vacuum`` (delete all files that left the table).
    rows : tuple[dict, ...]
        Rows it brings.
    low : int
        First key that ``replace``, ``delete`` and ``update`` concern; the version, of ``restore``.
    column : str
        The column that ``evolve`` brings.
    """

    kind: Kind
    rows: tuple[Row, ...] = ()
    low: int = 0
    column: str = ""


class Contract(Struct, frozen=True, kw_only=True):
    """A contract, and a strategy of the rows of its tables."""

    spec: TableSpec
    row: Any


@st.composite
def contracts(draw: st.DrawFn) -> Contract:
    """Return a strategy of contracts of one to four columns."""
    types = draw(st.lists(st.sampled_from(sorted(_VALUES)), max_size=2))
    partitioned = draw(st.booleans())
    values = {f"v{index}": _VALUES[kind] for index, kind in enumerate(types)}
    columns = [ColumnSpec(KEY, "long"), *(ColumnSpec(f"v{i}", kind) for i, kind in enumerate(types))]
    if partitioned:
        columns.append(ColumnSpec("p", "string"))
        values["p"] = _PARTITIONS
    spec = TableSpec("history", columns, partition_by=["p"] if partitioned else [])
    fields = {name: st.one_of(st.none(), value) if name != "p" else value for name, value in values.items()}
    row = st.fixed_dictionaries({KEY: st.one_of(st.none(), st.integers(0, _KEYS - 1)), **fields})
    return Contract(spec=spec, row=row)


def steps(kind: Kind, row: st.SearchStrategy[Row]) -> st.SearchStrategy[Step]:
    """Return a strategy of one kind of step, with rows of a table."""
    rows = st.lists(row, max_size=5).map(tuple)
    low = st.integers(0, _KEYS)
    just = st.just(kind)
    made: dict[Kind, st.SearchStrategy[Step]] = {
        "append": st.builds(Step, kind=just, rows=rows),
        "overwrite": st.builds(Step, kind=just, rows=rows),
        "replace": st.builds(Step, kind=just, rows=rows, low=low).map(_fit),
        "delete": st.builds(Step, kind=just, low=low),
        "update": st.builds(Step, kind=just, low=low),
        "merge": st.builds(Step, kind=just, rows=rows).map(_distinct),
        "restore": st.builds(Step, kind=just, low=st.integers(0, 5)),
        "evolve": st.sampled_from(["w0", "w1"]).flatmap(lambda name: _evolving(name, row)),
    }
    return made.get(kind, st.just(Step(kind=kind)))


def _evolving(name: str, row: st.SearchStrategy[Row]) -> st.SearchStrategy[Step]:
    value = st.one_of(st.none(), st.integers(0, 3))
    wider = st.tuples(row, value).map(lambda parts: {**parts[0], name: parts[1]})
    return st.builds(
        Step, kind=st.just("evolve"), rows=st.lists(wider, max_size=3).map(tuple), column=st.just(name)
    )


def _fit(step: Step) -> Step:
    rows = tuple(row for row in step.rows if row[KEY] is not None and row[KEY] >= step.low)
    return Step(kind=step.kind, rows=rows, low=step.low)


def _distinct(step: Step) -> Step:
    return Step(kind=step.kind, rows=tuple({row[KEY]: row for row in step.rows}.values()))


def _hit(row: Row, low: int) -> bool:
    return row[KEY] is not None and row[KEY] >= low


def after(step: Step, versions: Mapping[int, list[Row]]) -> list[Row]:
    """Return the rows after a step, told by plain Python."""
    rows, new = versions[max(versions)], list(step.rows)
    stays = [row for row in rows if not _hit(row, step.low)]
    source = {row[KEY]: row for row in new}
    present = {row[KEY] for row in rows}
    outcomes: dict[Kind, list[Row]] = {
        "append": rows + new,
        "overwrite": new,
        "replace": stays + new,
        "delete": stays,
        "update": [{**row, KEY: row[KEY] + 1} if _hit(row, step.low) else row for row in rows],
        "merge": [{**row, **source.get(row[KEY], {})} for row in rows]
        + [row for row in new if row[KEY] not in present],
        "restore": versions[min(step.low, max(versions))],
        "evolve": rows + new,
    }
    return outcomes.get(step.kind, rows)


def fitted(rows: Iterable[Row], names: Iterable[str]) -> list[Row]:
    """Return rows with just these columns; those that they lack are null."""
    known = list(names)
    return [{name: row.get(name) for name in known} for row in rows]


def apply(step: Step, table: Table, last: int) -> None:
    """Let a step happen to a table whose newest version is given."""
    schema = table.snapshot().schema
    named = step.rows[0].keys() if step.rows else schema.names
    data = pa.Table.from_pylist(list(step.rows), pa.schema([each for each in schema if each.name in named]))
    predicate = f"{KEY} >= {step.low}"
    match step.kind:
        case "append":
            table.write(data)
        case "overwrite":
            table.write(data, mode="overwrite")
        case "replace":
            table.write(data, mode="overwrite", predicate=predicate)
        case "delete":
            table.delete(predicate)
        case "update":
            table.update({KEY: f"{KEY} + 1"}, predicate)
        case "merge":
            table.merge(data, on=KEY)
        case "restore":
            table.restore(min(step.low, last))
        case "evolve":
            _evolve(step, table)
        case _:
            _keep_rows(step, table)


def _keep_rows(step: Step, table: Table) -> None:
    if step.kind == "optimise":
        table.optimize()
    elif step.kind == "feed":
        _switch_feed(table)
    else:
        none = timedelta(0)
        table.vacuum(retention=none, dry_run=False, unknown_files=True, allow_short_retention=True)


def _evolve(step: Step, table: Table) -> None:
    spec = table.snapshot().spec
    known = [each for each in spec.columns if each.name != step.column]
    wider = TableSpec(spec.name, [*known, ColumnSpec(step.column, "long")], partition_by=spec.partition_by)
    data = pa.Table.from_pylist(list(step.rows), wider.to_arrow())
    Table(table.uri, spec=wider, policy=table.policy, storage_options=table.snapshot().storage_options).write(
        data
    )


def _switch_feed(table: Table) -> None:
    if table.snapshot().properties.get(_FEED) != "true":
        table.enable("changeDataFeed")
        return
    options = dict(table.snapshot().storage_options) or None
    DeltaTable(table.uri, storage_options=options).alter.set_table_properties({_FEED: "false"})
