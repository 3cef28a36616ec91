"""Ibis operations in the engine's SQL.

Ibis ships a compiler for DataFusion that leans on Python functions registered in a context of the
`datafusion` package. Those are out of reach of the engine, and slow; here each is an expression of the
engine's own functions. What has no right expression stays unsupported, and Ibis says so when it compiles.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import ibis.common.exceptions as com
import ibis.expr.datatypes as dt
import ibis.expr.operations as ops
import sqlglot as sg
import sqlglot.expressions as sge
from ibis.backends.sql.compilers.base import NULL
from ibis.backends.sql.compilers.datafusion import DataFusionCompiler
from ibis.backends.sql.dialects import DataFusion
from ibis.common.temporal import IntervalUnit

from df_runtime._ibis_functions import is_builtin, sql_name

if TYPE_CHECKING:
    from collections.abc import Sequence

# Where expressions keep `ibis.memtable` rows: a name of theirs never hides a registered dataset.
MEMORY_SCHEMA = "ibis_memory"

_URL = r"^(?:[A-Za-z][A-Za-z0-9+.-]*:)?(?://[^/?#]*)?"
_URL_PARTS: dict[type[ops.Node], str] = {
    ops.ExtractProtocol: r"^([A-Za-z][A-Za-z0-9+.-]*):",
    ops.ExtractAuthority: r"^(?:[A-Za-z][A-Za-z0-9+.-]*:)?//([^/?#]*)",
    ops.ExtractHost: r"^(?:[A-Za-z][A-Za-z0-9+.-]*:)?//(?:[^/?#@]*@)?([^/?#:]*)",
    ops.ExtractUserInfo: r"^(?:[A-Za-z][A-Za-z0-9+.-]*:)?//([^/?#@]*)@",
    ops.ExtractPath: _URL + r"([^?#]*)",
    ops.ExtractFragment: r"#(.*)$",
}
_SECONDS = {
    IntervalUnit.WEEK: 604_800,
    IntervalUnit.DAY: 86_400,
    IntervalUnit.HOUR: 3_600,
    IntervalUnit.MINUTE: 60,
    IntervalUnit.SECOND: 1,
}
# Unsigned integers and what is computed with them become decimals.
_COUNTS_UNSIGNED = (ops.RowNumber, ops.MinRank, ops.DenseRank, ops.NTile)
_MONTHS = {IntervalUnit.YEAR: 12, IntervalUnit.QUARTER: 3, IntervalUnit.MONTH: 1}


class EngineDialect(DataFusion):
    """Ibis' dialect of DataFusion, with casts that may fail and functions named as the engine has them."""

    NORMALIZE_FUNCTIONS = "lower"

    class Generator(DataFusion.Generator):
        """Writes SQL."""

        TRANSFORMS = {  # noqa: RUF012 - a class attribute there, too
            **DataFusion.Generator.TRANSFORMS,
            sge.TryCast: lambda self, cast: f"TRY_CAST({self.sql(cast, 'this')} AS {self.sql(cast, 'to')})",
        }


class EngineCompiler(DataFusionCompiler):
    """Writes Ibis expressions in the engine's dialect."""

    __slots__ = ()
    dialect = EngineDialect

    UNSUPPORTED_OPS = (
        ops.ArrayFilter,
        ops.ArrayMap,
        ops.ExtractFile,
        ops.Kurtosis,
        ops.Mode,
        ops.RegexSplit,
        ops.RowID,
        ops.StringToTime,
        ops.TimeDelta,
    )
    SIMPLE_OPS: ClassVar[dict[type[ops.Node], str]] = {  # pyrefly: ignore[bad-override] - inferred there
        ops.ArrayMax: "array_max",
        ops.ArrayMean: "array_avg",
        ops.ArrayMin: "array_min",
        ops.IsNan: "isnan",
        ops.TimeFromHMS: "make_time",
        ops.TypeOf: "arrow_typeof",
    }

    @property
    def _agg(self) -> Any:
        # A descriptor in the base class, whose functions come from `__getattr__`.
        return self.agg

    def visit_ScalarUDF(self, op: Any, **arguments: Any) -> Any:
        """Call a function of the engine, or one of Python that goes with the expression."""
        name = op.__func_name__ if is_builtin(op) else sql_name(op)
        return self.f.anon[name](*arguments.values())

    def visit_InMemoryTable(self, op: Any, *, name: str, schema: Any, data: Any) -> Any:
        """Read memory tables from the schema that is theirs."""
        return sge.Table(
            this=sge.to_identifier(name, quoted=True), db=sge.to_identifier(MEMORY_SCHEMA, quoted=True)
        )

    def visit_NonNullLiteral(self, op: Any, *, value: Any, dtype: Any) -> Any:
        """Keep dates dates and decimals as narrow as they are: else comparisons with them prune no files."""
        if dtype.is_decimal():
            return self.cast(sge.convert(format(value, "f")), _decimal(value, dtype))
        if dtype.is_date():
            return sg.cast(sge.convert(value.isoformat()), "date")
        if dtype.is_time():
            return sg.cast(sge.convert(value.isoformat()), "time")
        if dtype.is_interval() and dtype.unit.short in ("ms", "us", "ns"):
            return sge.Interval(this=sge.convert(str(value)), unit=sge.var(dtype.unit.plural.lower()))
        return super().visit_NonNullLiteral(op, value=value, dtype=dtype)

    def visit_Divide(self, op: Any, *, left: Any, right: Any) -> Any:
        """Divide without loss: the engine divides integers by integers in integers."""
        if not op.left.dtype.is_floating():
            left = self.cast(left, dt.float64)
        return self.binop(sge.Div, left, right)

    def visit_FloorDivide(self, op: Any, *, left: Any, right: Any) -> Any:
        """Divide and round down; integers stay exact."""
        if not (op.left.dtype.is_integer() and op.right.dtype.is_integer()):
            return self.cast(self.f.floor(self.visit_Divide(op, left=left, right=right)), op.dtype)
        left, right = sge.paren(left), sge.paren(right)
        rest = (left % right + right) % right
        return sge.Div(this=sge.paren(left - rest, copy=False), expression=right, typed=True)

    def visit_BitwiseXor(self, op: Any, *, left: Any, right: Any) -> Any:
        """Combine bits without the operator, which reads as a power in Postgres."""
        left, right = sge.paren(left), sge.paren(right)
        either: Any = sge.paren(sge.BitwiseOr(this=left, expression=right), copy=False)
        both: Any = sge.paren(sge.BitwiseAnd(this=left, expression=right), copy=False)
        return sge.paren(either - both, copy=False)

    def visit_BitwiseNot(self, op: Any, *, arg: Any) -> Any:
        """Turn all bits over."""
        return sge.paren(sge.convert(-1) - sge.paren(arg), copy=False)

    def visit_Sign(self, op: Any, *, arg: Any) -> Any:
        """-1, 0 or 1."""
        return self.f.anon.signum(arg)

    def visit_HexDigest(self, op: Any, *, arg: Any, how: Any) -> Any:
        """Digest a text or binary value."""
        if how == "sha1":
            raise com.UnsupportedOperationError("The engine has no SHA-1; use sha256.")
        return self.f.anon.encode(self.f.anon.digest(arg, sge.convert(how)), "hex")

    def visit_Date(self, op: Any, *, arg: Any) -> Any:
        """Turn a timestamp into its day."""
        return sg.cast(arg, "date")

    def visit_DateTruncate(self, op: Any, *, arg: Any, unit: Any) -> Any:
        """Truncate a date to a date."""
        return sg.cast(self.visit_TimestampTruncate(op, arg=arg, unit=unit), "date")

    def _part(self, part: str, arg: Any) -> Any:
        return self.f.date_part(part, arg)

    def visit_ExtractHour(self, op: Any, *, arg: Any) -> Any:
        """Hour of a date, time or timestamp."""
        return self._part("hour", arg)

    def visit_ExtractMinute(self, op: Any, *, arg: Any) -> Any:
        """Minute of a date, time or timestamp."""
        return self._part("minute", arg)

    def visit_ExtractSecond(self, op: Any, *, arg: Any) -> Any:
        """Whole second of a date, time or timestamp."""
        return self._part("second", arg)

    def visit_ExtractMillisecond(self, op: Any, *, arg: Any) -> Any:
        """Millisecond within the second; the engine counts from the minute."""
        return sge.Mod(this=self._part("millisecond", arg), expression=sge.convert(1_000))

    def visit_ExtractMicrosecond(self, op: Any, *, arg: Any) -> Any:
        """Microsecond within the second; the engine counts from the minute."""
        return sge.Mod(this=self._part("microsecond", arg), expression=sge.convert(1_000_000))

    def visit_ExtractEpochSeconds(self, op: Any, *, arg: Any) -> Any:
        """Whole seconds since 1970."""
        return self.cast(self.f.floor(self._part("epoch", arg)), dt.int64)

    def visit_ExtractIsoYear(self, op: Any, *, arg: Any) -> Any:
        """Year of the ISO week."""
        return self._part("isoyear", arg)

    def visit_DateFromYMD(self, op: Any, *, year: Any, month: Any, day: Any) -> Any:
        """Make a date."""
        return self.f.make_date(year, month, day)

    def visit_StringToDate(self, op: Any, *, arg: Any, format_str: Any) -> Any:
        """Parse a date."""
        return self.f.anon.to_date(arg, format_str)

    def visit_StringToTimestamp(self, op: Any, *, arg: Any, format_str: Any) -> Any:
        """Parse a timestamp, which is in UTC for Ibis."""
        return self.f.anon.arrow_cast(
            self.f.anon.to_timestamp_micros(arg, format_str), 'Timestamp(Microsecond, Some("UTC"))'
        )

    def visit_Strftime(self, op: Any, *, arg: Any, format_str: Any) -> Any:
        """Format a date or timestamp."""
        return self.f.anon.to_char(arg, format_str)

    def visit_ArrayPosition(self, op: Any, *, arg: Any, other: Any) -> Any:
        """Place of an element; none where it is not in there."""
        place = self.cast(self.f.anon.array_position(arg, other), dt.int64)
        return self.if_(arg.is_(NULL), NULL, self.f.anon.coalesce(place, 0))

    def visit_ArrayStringJoin(self, op: Any, *, sep: Any, arg: Any) -> Any:
        """Join the elements that are not NULL."""
        return self.f.anon.array_to_string(arg, sep)

    def visit_WindowFunction(self, op: Any, **parts: Any) -> Any:
        """Count in signed integers, where the engine does not."""
        result = super().visit_WindowFunction(op, **parts)
        return self.cast(result, dt.int64) if isinstance(op.func, _COUNTS_UNSIGNED) else result

    def visit_ArrayLength(self, op: Any, *, arg: Any) -> Any:
        """Count the elements."""
        return self.cast(self.f.anon.array_length(arg), dt.int64)

    def visit_MapLength(self, op: Any, *, arg: Any) -> Any:
        """Count the entries."""
        return self.cast(self.f.anon.array_length(self.f.anon.map_keys(arg)), dt.int64)

    def visit_ApproxCountDistinct(self, op: Any, *, arg: Any, where: Any) -> Any:
        """Estimate how many values there are."""
        return self.cast(self._agg.approx_distinct(arg, where=where), dt.int64)

    def visit_Levenshtein(self, op: Any, *, left: Any, right: Any) -> Any:
        """Count the edits between two texts."""
        return self.cast(self.f.anon.levenshtein(left, right), dt.int64)

    def visit_IntegerRange(self, op: Any, *, start: Any, stop: Any, step: Any) -> Any:
        """List integers up to the stop, which is left out."""
        return self.f.anon.range(start, stop, step)

    def visit_ArraySum(self, op: Any, *, arg: Any) -> Any:
        """Add up the elements."""
        return self.cast(self.f.anon.array_sum(arg), op.dtype)

    def visit_ArraySlice(self, op: Any, *, arg: Any, start: Any, stop: Any) -> Any:
        """Cut out elements as Python does."""
        length = self.visit_ArrayLength(op, arg=arg)

        def bound(index: Any) -> Any:
            return self.if_(index < 0, self.f.greatest(length + index, 0), index)

        last = length if stop is None else bound(stop)
        return self.f.anon.array_slice(arg, bound(start) + 1, last)

    def visit_ArrayZip(self, op: Any, *, arg: Any) -> Any:
        """Pair the elements up in structs."""
        raise com.UnsupportedOperationError("The engine names the fields of zipped arrays its own way.")

    def visit_MapGet(self, op: Any, *, arg: Any, key: Any, default: Any) -> Any:
        """Value of a key, or the default where the map has no such key."""
        if op.dtype.is_null():
            return NULL
        value = self.f.anon.array_element(self.f.anon.map_extract(arg, key), 1)
        if isinstance(op.default, ops.Literal) and op.default.value is None:
            return value
        has = self.f.anon.array_has(self.f.anon.map_keys(arg), key)
        return self.if_(arg.is_(NULL), NULL, self.if_(has, value, default))

    def visit_TableUnnest(
        self, op: Any, *, parent: Any, column: Any, column_name: str, offset: str | None, keep_empty: bool
    ) -> Any:
        """Make a row of each element."""
        if keep_empty:
            empty: Any = self.f.make_array(self.cast(NULL, op.column.dtype.value_type))
            column = self.if_(self.f.anon.array_length(column) > 0, column, empty)
        columns: list[Any] = [
            sge.column(name, table=parent.alias_or_name, quoted=True)
            for name in op.parent.schema.names
            if name not in (column_name, offset)
        ]
        rows = sge.select(*columns, self.f.anon.unnest(column).as_(column_name, quoted=True))
        if offset is not None:
            places = self.f.anon.range(0, self.f.anon.array_length(column))
            rows = rows.select(self.f.anon.unnest(places).as_(offset, quoted=True))
        return rows.from_(parent)

    def visit_GroupConcat(self, op: Any, *, arg: Any, sep: Any, where: Any, order_by: Any) -> Any:
        """Join texts, in an order if one is given."""
        return self._agg.string_agg(arg, sep, where=where, order_by=order_by)

    def visit_JoinLink(self, op: Any, *, how: str, table: Any, predicates: Any) -> Any:
        """Join, but for the ways that the engine has no word for."""
        if how in ("asof", "any_inner", "any_left", "positional"):
            raise com.UnsupportedOperationError(
                f"The engine has no {how.replace('_', ' ')} join; number the candidates with "
                "`ibis.row_number().over(group_by=…, order_by=…)` and keep the first."
            )
        return super().visit_JoinLink(op, how=how, table=table, predicates=predicates)

    def visit_TimestampBucket(self, op: Any, *, arg: Any, interval: Any, offset: Any) -> Any:
        """Start of the interval that a timestamp falls into, counted from 1970 and the offset."""
        origin = sg.cast(sge.convert("1970-01-01"), "timestamp")
        if offset is not None:
            origin = sge.Add(this=origin, expression=offset)
        return self.f.anon.date_bin(interval, arg, origin)

    def _delta(self, part: Any, left: Any, right: Any) -> Any:
        """Count the boundaries of a unit between two moments, as Ibis and DuckDB do."""
        unit: Any = IntervalUnit.from_string(part.this)
        if unit in _MONTHS:
            months = _MONTHS[unit]
            return sge.Sub(this=self._count(left, months), expression=self._count(right, months))
        if unit not in _SECONDS:
            raise com.UnsupportedOperationError(f"The engine has no difference in {unit.plural}.")
        start, end = (self._epoch(unit, side) for side in (right, left))
        difference = sge.paren(sge.Sub(this=end, expression=start), copy=False)
        return sge.Cast(
            this=sge.Div(this=difference, expression=sge.convert(_SECONDS[unit])),
            to=sge.DataType.build("BIGINT"),
        )

    def _count(self, arg: Any, months: int) -> Any:
        years = self.cast(self._part("year", arg), dt.int64)
        if months == 12:
            return sge.paren(years, copy=False)
        part, per_year = ("quarter", 4) if months == 3 else ("month", 12)
        return sge.paren(years * per_year + self._part(part, arg), copy=False)

    def _epoch(self, unit: IntervalUnit, arg: Any) -> Any:
        return self._part("epoch", self.f.date_trunc(unit.name.lower(), arg))

    def visit_DateDelta(self, op: Any, *, part: Any, left: Any, right: Any) -> Any:
        """Difference of two dates."""
        return self._delta(part, left, right)

    visit_TimestampDelta = visit_DateDelta

    def visit_Quantile(self, op: Any, *, arg: Any, quantile: Any, where: Any) -> Any:
        """Interpolated quantile."""
        # The engine would interpolate between integers in integers.
        ordered = sge.Order(expressions=[sge.Ordered(this=self.cast(arg, dt.float64))])
        within = sge.WithinGroup(this=self.f.anon.percentile_cont(quantile), expression=ordered)
        return within if where is None else sge.Filter(this=within, expression=sge.Where(this=where))

    def visit_MultiQuantile(self, op: Any, *, arg: Any, quantile: Any, where: Any) -> Any:
        """Several quantiles as an array."""
        if not isinstance(op.quantile, ops.Literal):
            raise com.UnsupportedOperationError("Quantiles must be literals.")
        wanted: Sequence[float] = op.quantile.value
        del quantile
        single = (self.visit_Quantile(op, arg=arg, quantile=sge.convert(q), where=where) for q in wanted)
        return self.f.make_array(*single)

    def visit_Median(self, op: Any, *, arg: Any, where: Any) -> Any:
        """Median, interpolated where the number of values is even."""
        if op.arg.dtype.is_numeric() and not op.arg.dtype.is_boolean():
            arg = self.cast(arg, dt.float64)
        return self._agg.median(arg, where=where)

    def visit_CountDistinctStar(self, op: Any, *, arg: Any, where: Any) -> Any:
        """Count the different rows."""
        columns = [
            part
            for name in op.arg.schema.names
            for part in (sge.convert(name), sg.column(name, quoted=self.quoted))
        ]
        row: Any = self.f.named_struct(*columns)
        return self._agg.count(sge.Distinct(expressions=[row]), where=where)

    def _extreme(self, arg: Any, key: Any, where: Any, *, desc: bool) -> Any:
        known = sg.and_(arg.is_(sg.not_(NULL, copy=False)), key.is_(sg.not_(NULL, copy=False)))
        where = known if where is None else sg.and_(known, where)
        return self._agg.first_value(arg, where=where, order_by=[sge.Ordered(this=key, desc=desc)])

    def visit_ArgMin(self, op: Any, *, arg: Any, key: Any, where: Any) -> Any:
        """Value at the smallest key that is not NULL."""
        return self._extreme(arg, key, where, desc=False)

    def visit_ArgMax(self, op: Any, *, arg: Any, key: Any, where: Any) -> Any:
        """Value at the largest key that is not NULL."""
        return self._extreme(arg, key, where, desc=True)

    def _match(self, arg: Any, pattern: Any) -> Any:
        return self.f.anon.array_element(self.f.anon.regexp_match(arg, pattern), 1)

    def _url_part(self, op: Any, *, arg: Any) -> Any:
        return self._match(arg, _URL_PARTS[type(op)])

    visit_ExtractProtocol = visit_ExtractAuthority = visit_ExtractHost = _url_part
    visit_ExtractUserInfo = visit_ExtractPath = visit_ExtractFragment = _url_part

    def visit_ExtractQuery(self, op: Any, *, arg: Any, key: Any) -> Any:
        """Return the query of a URL, or one of its values as it is written."""
        query = r"^[^?#]*\?([^#]*)"
        if key is None:
            return self._match(arg, query)
        pattern = self.f.concat(r"^[^?#]*\?(?:[^#]*&)?", key, "=([^&#]*)")
        return self._match(arg, pattern)


def _decimal(value: Any, dtype: Any) -> Any:
    """Type of a decimal literal: as declared, or as many digits as it has."""
    if dtype.precision is not None and dtype.scale is not None:
        return dtype
    digits, exponent = len(value.as_tuple().digits), value.as_tuple().exponent
    if not isinstance(exponent, int):
        raise com.UnsupportedOperationError(f"The engine has no decimal {value}.")
    scale = max(-exponent, 0)
    return dt.Decimal(max(digits + max(exponent, 0), scale + 1), scale)


compiler = EngineCompiler()
