"""Which files of a snapshot may hold the rows wanted, told from partition values and statistics."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, cast

import pyarrow as pa

from delta_io._compute import pc
from delta_io._predicate import All, Compare, Constant, IsNull, Node, Some

if TYPE_CHECKING:
    from delta_io._predicate import Path, Value

_COMPARE: Final[dict[str, Callable[..., Any]]] = {
    "=": pc.equal,
    "!=": pc.not_equal,
    "<": pc.less,
    "<=": pc.less_equal,
    ">": pc.greater,
    ">=": pc.greater_equal,
}
_LARGEST: Final = 2**63 - 1


class FileIndex:
    """Files that may hold rows wanted, and why the others cannot.

    Examples
    --------
    >>> import pyarrow as pa, tempfile
    >>> from delta_io import Table
    >>> from schema_spec import ColumnSpec, TableSpec
    >>> table = Table.create(tempfile.mkdtemp() + "/orders", TableSpec("orders", [ColumnSpec("id", "long")]))
    >>> for start in (0, 100):
    ...     _ = table.write(pa.table({"id": range(start, start + 10)}))
    >>> index = table.snapshot().files("id > 50")
    >>> index.candidates, index.total, dict(index.reasons)
    (1, 2, {'statistics': 1})
    """

    def __init__(
        self,
        describe: Callable[[pa.BooleanArray | None], pa.Table],
        sizes: pa.ChunkedArray[Any],
        kept: pa.BooleanArray | None,
        reasons: Mapping[str, int],
    ) -> None:
        self._describe = describe
        self._sizes = sizes
        self._kept = kept
        self._reasons = MappingProxyType(dict(reasons))

    @property
    def candidates(self) -> int:
        """Number of files left."""
        return self.total if self._kept is None else self._kept.true_count

    @property
    def total(self) -> int:
        """Number of files of the snapshot."""
        return len(self._sizes)

    @cached_property
    def bytes(self) -> int:
        """Size of the files left."""
        sizes = self._sizes if self._kept is None else self._sizes.filter(self._kept)
        return pc.sum(sizes).as_py() or 0

    @property
    def reasons(self) -> Mapping[str, int]:
        """Number of files dropped, by what told so: ``partition`` or ``statistics``."""
        return self._reasons

    def to_arrow(self) -> pa.Table:
        """Return the files left.

        Returns
        -------
        pyarrow.Table
            The columns of `Snapshot.add_actions`.
        """
        return self._table

    @cached_property
    def _table(self) -> pa.Table:
        return self._describe(self._kept)

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Return the files left as an Arrow C stream."""
        return self._table.__arrow_c_stream__(requested_schema)

    def __repr__(self) -> str:
        return f"FileIndex(candidates={self.candidates}, total={self.total}, bytes={self.bytes})"


def prune(
    actions: pa.Table, schema: pa.Schema, partition_by: Sequence[str], node: Node
) -> tuple[pa.BooleanArray, dict[str, int]]:
    """Tell which files may hold rows for which a predicate is true, and how many were dropped by what."""
    by_partition = _Files(actions, schema, frozenset(partition_by), statistics=False).may_hold(node)
    by_all = may_hold(actions, schema, partition_by, node)
    dropped = by_partition.false_count
    reasons = {"partition": dropped, "statistics": by_all.false_count - dropped}
    return by_all, {reason: count for reason, count in reasons.items() if count}


def may_hold(
    actions: pa.Table, schema: pa.Schema, partition_by: Sequence[str], node: Node
) -> pa.BooleanArray:
    """Tell for each file whether it may hold rows for which a predicate is true."""
    return _Files(actions, schema, frozenset(partition_by), statistics=True).may_hold(node)


class _Files:
    """Tells, for each file, whether a predicate may be true for one of its rows. What is not known may be."""

    def __init__(
        self, actions: pa.Table, schema: pa.Schema, partition_by: frozenset[str], *, statistics: bool
    ) -> None:
        self._schema = schema
        self._partition_by = partition_by
        self._statistics = statistics
        self._count = actions.num_rows
        self._records = actions["num_records"].combine_chunks()
        self._structs = {
            name: actions[name].combine_chunks()
            for name in ("partition", "null_count", "min", "max")
            if name in actions.column_names
        }

    def may_hold(self, node: Node) -> pa.BooleanArray:
        match node:
            case Constant(value):
                return self._every(bool(value))
            case All(parts):
                return self._fold(pc.and_, parts)
            case Some(parts):
                return self._fold(pc.or_, parts)
            case IsNull(column, negated):
                return self._null(column, negated=negated)
            case Compare(_, _, None):
                return self._every(False)
            case Compare(column, sign, value):
                return self._compare(column, sign, cast("Value", value))

    def _every(self, value: bool) -> pa.BooleanArray:
        return pa.repeat(value, self._count)

    def _fold(self, combine: Callable[..., Any], parts: Sequence[Node]) -> pa.BooleanArray:
        result = self.may_hold(parts[0])
        for part in parts[1:]:
            result = combine(result, self.may_hold(part))
        return result

    def _child(self, name: str, column: Path) -> pa.Array[Any] | None:
        child = self._structs.get(name)
        for part in column:
            if child is None or not pa.types.is_struct(child.type):
                return None
            if cast("pa.StructType", child.type).get_field_index(part) < 0:
                return None
            child = pc.struct_field(child, [part])
        return None if child is None or pa.types.is_nested(child.type) else child

    def _null(self, column: Path, *, negated: bool) -> pa.BooleanArray:
        if column[0] in self._partition_by:
            values = cast("pa.Array[Any]", self._child("partition", column))
            return values.is_valid() if negated else values.is_null()
        nulls = self._child("null_count", column) if self._statistics else None
        if nulls is None:
            return self._every(True)
        held = pc.not_equal(nulls, self._records) if negated else pc.greater(nulls, 0)
        return pc.fill_null(held, True)

    def _compare(self, column: Path, sign: str, value: Value) -> pa.BooleanArray:
        if column[0] in self._partition_by:
            values = cast("pa.Array[Any]", self._child("partition", column))
            return pc.fill_null(compare(values, sign, value), False)
        if not self._statistics:
            return self._every(True)
        not_all_null = self._null(column, negated=True)
        low, high = self._child("min", column), self._child("max", column)
        if high is not None and pa.types.is_floating(high.type):
            high = None  # statistics leave NaN out, which sorts above every number
        bounds: list[pa.Array[Any]] = [not_all_null]
        if sign in ("=", "<", "<=") and low is not None:
            bounds.append(compare(low, "<" if sign == "<" else "<=", value))
        if sign in ("=", ">", ">=") and high is not None:
            bounds.append(compare(high, ">" if sign == ">" else ">=", value))
        if sign == "!=" and low is not None and high is not None:
            same = pc.and_(compare(low, "=", value), compare(high, "=", value))
            bounds.append(pc.invert(pc.fill_null(same, False)))
        result = bounds[0]
        for bound in bounds[1:]:
            result = pc.and_(result, pc.fill_null(bound, True))
        return result


def compare(array: pa.Array[Any], sign: str, value: Value) -> pa.BooleanArray:
    """Compare an array with a value of a fitting type; NaN sorts above every number."""
    kind = array.type
    if pa.types.is_integer(kind) and isinstance(value, int) and -_LARGEST <= value <= _LARGEST:
        return _COMPARE[sign](array.cast(pa.int64()), pa.scalar(value, pa.int64()))
    if pa.types.is_integer(kind) or pa.types.is_decimal(kind):
        exact = Decimal(cast("Decimal", value))
        scale = max(getattr(kind, "scale", 0), -int(exact.as_tuple().exponent), 0)
        common = pa.decimal256(76, scale)
        return _COMPARE[sign](array.cast(common), pa.scalar(exact, common))
    if pa.types.is_floating(kind):
        wide = array.cast(pa.float64())
        result = _COMPARE[sign](wide, pa.scalar(value, pa.float64()))
        return pc.or_(result, pc.is_nan(wide)) if sign in (">", ">=") else result
    return _COMPARE[sign](array, pa.scalar(value, kind))


def rows_satisfy(node: Node, batch: pa.RecordBatch) -> pa.BooleanArray:
    """Tell for each row whether a predicate is true, false or unknown."""
    match node:
        case Constant(value):
            return pa.repeat(pa.scalar(value, pa.bool_()), batch.num_rows)
        case All(parts):
            return _fold_rows(pc.and_kleene, parts, batch)
        case Some(parts):
            return _fold_rows(pc.or_kleene, parts, batch)
        case IsNull(column, negated):
            values = value_of(batch, column)
            return values.is_valid() if negated else values.is_null()
        case Compare(_, _, None):
            return pa.nulls(batch.num_rows, pa.bool_())
        case Compare(column, sign, value):
            return compare(value_of(batch, column), sign, cast("Value", value))


def value_of(batch: pa.RecordBatch, column: Path) -> pa.Array[Any]:
    """Return the values of a column, or of a field within one."""
    values = batch.column(column[0])
    return pc.struct_field(values, list(column[1:])) if len(column) > 1 else values


def _fold_rows(combine: Callable[..., Any], parts: Sequence[Node], batch: pa.RecordBatch) -> pa.BooleanArray:
    result = rows_satisfy(parts[0], batch)
    for part in parts[1:]:
        result = combine(result, rows_satisfy(part, batch))
    return result
