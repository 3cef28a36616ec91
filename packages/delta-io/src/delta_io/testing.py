"""Histories of tables for property tests: what happened, and which rows each version holds.

Needs hypothesis (the extra ``testing``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, Literal

import pyarrow as pa
from deltalake import DeltaTable
from hypothesis import strategies as st
from msgspec import Struct

from delta_io.policy import CdfPolicy, WritePolicy
from delta_io.table import Table
from schema_spec import ColumnSpec, TableSpec

if TYPE_CHECKING:
    import os

    from delta_io.storage import StorageOptions

__all__ = ["History", "Played", "Step", "bag", "histories"]

Row = dict[str, Any]
Kind = Literal["append", "overwrite", "replace", "delete", "update", "merge", "optimise", "restore"]
KEY: Final = "k"
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
        ``optimise`` or ``restore``.
    rows : tuple[dict, ...]
        Rows it brings.
    low : int
        First key that ``replace``, ``delete`` and ``update`` concern; the version, of ``restore``.
    """

    kind: Kind
    rows: tuple[Row, ...] = ()
    low: int = 0


class Played(Struct, frozen=True, kw_only=True):
    """A history that happened.

    Parameters
    ----------
    table : Table
        The table, at its last version.
    versions : Mapping[int, list[dict]]
        Rows of each version, from a model in plain Python.
    """

    table: Table
    versions: Mapping[int, list[Row]]


class History(Struct, frozen=True, kw_only=True):
    """A contract, and what happens to a table of it.

    Parameters
    ----------
    spec : TableSpec
        The contract; its column ``k`` is a nullable long.
    steps : tuple[Step, ...]
        What happens.
    """

    spec: TableSpec
    steps: tuple[Step, ...]

    def play(
        self,
        uri: str | os.PathLike[str],
        *,
        cdf: bool = True,
        storage_options: StorageOptions | Mapping[str, str] | None = None,
    ) -> Played:
        """Let it happen to a new table.

        Parameters
        ----------
        uri : str or PathLike
            Where the table is made.
        cdf : bool, default True
            Whether the table keeps a change data feed.
        storage_options : Mapping[str, str], optional
            Options of the storage.

        Returns
        -------
        Played
            The table, and the rows that each version has to hold.
        """
        policy = WritePolicy(cdf=CdfPolicy(enabled=cdf))
        table = Table.create(uri, self.spec, policy=policy, storage_options=storage_options)
        versions: dict[int, list[Row]] = {0: []}
        for step in self.steps:
            last = max(versions)
            rows = _model(step, versions)
            _apply(step, table, last)
            reached = table.snapshot().version
            versions.update(dict.fromkeys(range(last + 1, reached + 1), rows))
            if reached == last and bag(rows) != bag(versions[last]):
                raise AssertionError(f"{step.kind} committed nothing, but should have changed rows")
        return Played(table=table, versions=versions)


def bag(rows: Any) -> Counter[str]:
    """Return rows as a bag: how many there are of each, whatever their order.

    Parameters
    ----------
    rows : Iterable[Mapping] or pyarrow.Table
        The rows; a column ``_weight`` counts them.

    Returns
    -------
    Counter[str]
        Number of rows by their text. Nulls equal nulls, NaN equals NaN.

    Examples
    --------
    >>> bag([{"a": 1}, {"a": 1, "_weight": 2}])
    Counter({"(('a', 1),)": 3})
    """
    counted: Counter[str] = Counter()
    for row in rows.to_pylist() if isinstance(rows, pa.Table) else rows:
        text = repr(tuple((name, _plain(value)) for name, value in sorted(row.items()) if name != "_weight"))
        counted[text] += row.get("_weight", 1)
    return Counter({text: count for text, count in counted.items() if count})


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return (value if value.tzinfo is None else value.astimezone(UTC)).isoformat()
    if isinstance(value, dict):
        return tuple((name, _plain(each)) for name, each in sorted(value.items()))
    if isinstance(value, (list, tuple)):
        return tuple(_plain(each) for each in value)
    return value


@st.composite
def histories(
    draw: st.DrawFn, *, max_steps: int = 6, kinds: Sequence[Kind] | None = None, min_steps: int = 1
) -> History:
    """Return a strategy of table histories.

    Parameters
    ----------
    draw : DrawFn
        Given by hypothesis.
    max_steps, min_steps : int
        How much happens.
    kinds : Sequence[str], optional
        What may happen; everything when left out.

    Returns
    -------
    SearchStrategy[History]
        Contracts of one to four columns and what happens to their tables.

    Examples
    --------
    >>> from hypothesis import find
    >>> find(histories(), lambda history: any(step.rows for step in history.steps)).steps[0].kind
    'append'
    """
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
    allowed: tuple[Kind, ...] = tuple(kinds) if kinds else _KINDS
    steps = st.lists(_steps(allowed, row), min_size=min_steps, max_size=max_steps)
    return History(spec=spec, steps=tuple(draw(steps)))


_KINDS: Final[tuple[Kind, ...]] = (
    "append", "overwrite", "replace", "delete", "update", "merge", "optimise", "restore",
)  # fmt: skip


def _steps(kinds: Sequence[Kind], row: st.SearchStrategy[Row]) -> st.SearchStrategy[Step]:
    rows = st.lists(row, max_size=5).map(tuple)
    low = st.integers(0, _KEYS)
    made: dict[Kind, st.SearchStrategy[Step]] = {
        "append": st.builds(Step, kind=st.just("append"), rows=rows),
        "overwrite": st.builds(Step, kind=st.just("overwrite"), rows=rows),
        "replace": st.builds(Step, kind=st.just("replace"), rows=rows, low=low).map(_fit),
        "delete": st.builds(Step, kind=st.just("delete"), low=low),
        "update": st.builds(Step, kind=st.just("update"), low=low),
        "merge": st.builds(Step, kind=st.just("merge"), rows=rows).map(_distinct),
        "optimise": st.just(Step(kind="optimise")),
        "restore": st.builds(Step, kind=st.just("restore"), low=st.integers(0, 5)),
    }
    return st.one_of([made[kind] for kind in kinds])


def _fit(step: Step) -> Step:
    rows = tuple(row for row in step.rows if row[KEY] is not None and row[KEY] >= step.low)
    return Step(kind=step.kind, rows=rows, low=step.low)


def _distinct(step: Step) -> Step:
    return Step(kind=step.kind, rows=tuple({row[KEY]: row for row in step.rows}.values()))


def _hit(row: Row, low: int) -> bool:
    return row[KEY] is not None and row[KEY] >= low


def _model(step: Step, versions: Mapping[int, list[Row]]) -> list[Row]:
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
        "merge": [source.get(row[KEY], row) for row in rows] + [r for r in new if r[KEY] not in present],
        "restore": versions[min(step.low, max(versions))],
        "optimise": rows,
    }
    return outcomes[step.kind]


def _apply(step: Step, table: Table, last: int) -> None:
    data = pa.Table.from_pylist(list(step.rows), schema=table.snapshot().schema)
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
        case "optimise":
            options = dict(table.snapshot().storage_options) or None
            DeltaTable(table.uri, storage_options=options).optimize.compact()
