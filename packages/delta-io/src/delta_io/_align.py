"""Data brought to the shape of a table before it is written: columns by name, types without loss."""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from itertools import chain
from typing import Any, cast

import pyarrow as pa

from delta_io._compute import pc
from delta_io._nulls import null_places, shown_rows
from delta_io._ordering import Order, Run
from delta_io._pump import pieces, pumped
from delta_io._rows import adapt, whole
from delta_io._schema import lossless
from delta_io._target import has_fraction
from delta_io.errors import ConstraintError, OptionError, SchemaMismatchError
from delta_io.storage import MASK


class Aligned:
    """Rows in the shape of a table: a stream that remembers the error that ended it."""

    def __init__(
        self,
        data: object,
        schema: pa.Schema,
        partition_by: Sequence[str],
        *,
        first: pa.RecordBatchReader | None = None,
        defaults: Mapping[str, object] | None = None,
        order: Order | None = None,
        masked: Collection[str] = (),
    ) -> None:
        self.replayable = _is_replayable(data)
        self.error: Exception | None = None
        self.rows = 0
        self._data = data
        self._masked = masked
        self._order = order if order is not None and order.columns else None
        reader = first or as_reader(data)
        self._schema = pa.schema(
            field for field in schema if field.name in reader.schema.names or not is_generated(field)
        )
        self._texts = [
            name
            for name in partition_by
            if name in self._schema.names and pa.types.is_string(schema.field(name).type)
        ]
        self._fractions = [
            name
            for name in partition_by
            if name in self._schema.names and has_fraction(schema.field(name).type)
        ]
        self._defaults = {
            name: _default(schema.field(name), value)
            for name, value in (defaults or {}).items()
            if name not in reader.schema.names
        }
        needed = (field for field in self._schema if field.name not in self._defaults)
        check_columns(reader.schema, pa.schema(needed))
        self._first: pa.RecordBatchReader | None = reader
        self._begun: Iterator[pa.RecordBatch] | None = None

    def sorted_by(self) -> tuple[str, ...]:
        """Return the columns that every file will be sorted by, as far as that is sure.

        As many rows are read as are sorted at once; `reader` goes on from there.
        """
        if self._order is None or not self._order.sure:
            return ()
        runs = self._order.runs(self._shaped())
        with self._noted():
            first = next(runs, None)
        self._begun = chain.from_iterable(map(_handed_over, chain([] if first is None else [first], runs)))
        return self._order.sure if first is not None and first.alone else ()

    def reader(self) -> pa.RecordBatchReader:
        """Return the rows from the first one on; once only for data that cannot be read twice."""
        begun, self._begun = self._begun, None
        if begun is None:
            begun = self._shaped()
            if self._order is not None:
                begun = chain.from_iterable(map(_handed_over, self._order.runs(begun)))
        return pa.RecordBatchReader.from_batches(self._schema, self._batches(begun))

    def _shaped(self) -> Iterator[pa.RecordBatch]:
        source = self._first or as_reader(self._data)
        self._first, self.rows, self.error = None, 0, None
        batches = pieces(source) if self._order is None else source
        return (self._shape(batch, self._schema) for batch in batches)

    def _batches(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        with self._noted():
            yield from pumped(map(whole, batches))

    @contextmanager
    def _noted(self) -> Generator[None]:
        try:
            yield
        except Exception as error:
            self.error = error
            raise

    def _shape(self, batch: pa.RecordBatch, shown: pa.Schema) -> pa.RecordBatch:
        at = {name: index for index, name in enumerate(batch.schema.names)}
        arrays: list[pa.Array[Any]] = []
        for field in shown:
            index = at.get(field.name)
            if index is None:
                array = self._missing(field, batch.num_rows)
            else:
                array = self._adapt(batch.column(index), field)
            arrays.append(array)
        shaped = pa.RecordBatch.from_arrays(arrays, schema=shown)
        self._check_nulls(shaped)
        self._check_partitions(shaped)
        self.rows += batch.num_rows
        return shaped

    def _adapt(self, array: pa.Array[Any], field: pa.Field[Any]) -> pa.Array[Any]:
        try:
            return adapt(array, field, "none", of="the data")
        except SchemaMismatchError as error:
            if field.name not in self._masked:
                raise
            raise SchemaMismatchError(error.what, f"a value is {MASK}", error.fix) from None

    def _check_nulls(self, batch: pa.RecordBatch) -> None:
        for array, field in zip(batch.columns, batch.schema, strict=True):
            for path, rows in null_places(array, field).items():
                raise self._refused(batch, rows, f"column {path!r} may not be null")

    def _check_partitions(self, batch: pa.RecordBatch) -> None:
        for name in self._texts:
            empty = pc.fill_null(pc.equal(batch.column(name), ""), False)
            if pc.any(empty).as_py():
                what = f"partition column {name!r} has an empty text, which Delta cannot tell from null"
                raise self._refused(batch, empty, what)
        for name in self._fractions:
            negative = pc.fill_null(pc.less(batch.column(name), pa.scalar(0, pa.decimal128(1, 0))), False)
            if pc.any(negative).as_py():
                what = f"partition column {name!r} has a negative fraction, which deltalake writes wrong"
                raise self._refused(batch, negative, what)

    def _refused(self, batch: pa.RecordBatch, rows: pa.Array[Any], what: str) -> ConstraintError:
        count, first = pc.sum(rows).as_py(), self.rows + pc.index(rows, True).as_py()
        return ConstraintError(
            what,
            f"{count} rows of a batch break it, row {first} first ({shown_rows(batch, rows, self._masked)})",
            "Correct or leave out those rows.",
        )

    def _missing(self, field: pa.Field[Any], count: int) -> pa.Array[Any]:
        default = self._defaults.get(field.name)
        return pa.nulls(count, field.type) if default is None else pa.repeat(default, count)


def _handed_over(run: Run) -> Iterable[pa.RecordBatch]:
    """Return a run as it is handed to the writer: whole where that keeps files in order."""
    return run.batches if run.alone else pieces(run.batches)


def is_generated(field: pa.Field[Any]) -> bool:
    """Tell whether the table computes a column itself when the data lacks it."""
    return b"delta.generationExpression" in (field.metadata or {})


def _default(field: pa.Field[Any], value: object) -> pa.Scalar[Any]:
    try:
        return pa.scalar(cast("Any", value), field.type)
    except (pa.ArrowException, TypeError, ValueError):
        raise SchemaMismatchError(
            f"the data has no column {field.name!r}",
            f"its default {value!r} cannot be computed here",
            "Add the column.",
        ) from None


def as_reader(data: Any) -> pa.RecordBatchReader:
    """Return any Arrow data as a stream."""
    if isinstance(data, pa.RecordBatchReader):
        return data
    if isinstance(data, pa.RecordBatch):
        return pa.RecordBatchReader.from_batches(data.schema, [data])
    if isinstance(data, list) and data and all(isinstance(each, pa.RecordBatch) for each in data):
        return pa.RecordBatchReader.from_batches(data[0].schema, data)
    try:
        if hasattr(data, "__arrow_c_stream__"):
            return pa.RecordBatchReader.from_stream(data)
        if hasattr(data, "__arrow_c_array__"):
            return as_reader(pa.record_batch(data))
    except pa.ArrowInvalid as error:
        raise OptionError("the data has no columns", str(error), "Give a table, or a data frame.") from None
    raise OptionError(
        "the data cannot be read",
        f"it is a {type(data).__name__}",
        "Give Arrow data, such as a pyarrow.Table.",
    )


def _is_replayable(data: object) -> bool:
    """Tell whether data can be read twice: streams can't, and nothing else says so."""
    return _is_in_memory(data) or (hasattr(data, "__arrow_c_stream__") and hasattr(data, "__len__"))


def _is_in_memory(data: object) -> bool:
    return isinstance(data, (pa.Table, pa.RecordBatch, list))


def check_columns(given: pa.Schema, table: pa.Schema) -> None:
    """Raise when data with a schema cannot go into a table."""
    names = set(table.names)
    doubled = [name for name in given.names if given.names.count(name) > 1]
    if doubled:
        raise SchemaMismatchError(f"the data has column {doubled[0]!r} twice", fix="Rename one of them.")
    for name in given.names:
        if name not in names:
            near = get_close_matches(name, table.names, n=2) or table.names[:8]
            of_pandas = name.startswith("__index_level_")
            raise SchemaMismatchError(
                f"the data has a column {name!r}",
                f"the table does not; it has {', '.join(near)}",
                "Reset the data frame's index, dropping it." if of_pandas else "Rename or drop it.",
            )
    for field in table:
        if field.name in given.names:
            reason = _mismatch(given.field(field.name).type, field.type)
            if reason:
                raise SchemaMismatchError(
                    f"column {field.name!r} is {given.field(field.name).type} in the data",
                    f"the table has {field.type}: {reason}",
                    "Cast it.",
                )
        elif not field.nullable:
            raise SchemaMismatchError(
                f"the data has no column {field.name!r}",
                "the table needs a value in each row",
                "Add the column.",
            )


def _mismatch(given: pa.DataType, wanted: pa.DataType) -> str:
    """Return why a type cannot be written as another, or nothing."""
    given = storage(given)
    fits = given.equals(wanted) or pa.types.is_null(given)
    if not fits and pa.types.is_struct(wanted) and pa.types.is_struct(given):
        return _struct_mismatch(given, wanted)
    if not fits and pa.types.is_map(wanted) and pa.types.is_map(given):
        return _mismatch(given.key_type, wanted.key_type) or _mismatch(given.item_type, wanted.item_type)
    if not fits and pa.types.is_list(wanted) and _is_list(given):
        return _mismatch(given.value_type, wanted.value_type)
    return "" if fits or _castable(given, wanted) else "they are not alike, or values could be lost"


def _struct_mismatch(given: pa.DataType, wanted: pa.DataType) -> str:
    try:
        check_columns(pa.schema(list(cast("Any", given))), pa.schema(list(cast("Any", wanted))))
    except SchemaMismatchError as error:
        return error.what
    return ""


def _is_list(kind: pa.DataType) -> bool:
    tests = (
        pa.types.is_list,
        pa.types.is_large_list,
        pa.types.is_fixed_size_list,
        pa.types.is_list_view,
        pa.types.is_large_list_view,
    )
    return any(test(kind) for test in tests)


def _castable(given: pa.DataType, wanted: pa.DataType) -> bool:
    """Tell whether a cast keeps every value, or fails on the first value that it would change."""
    for kinds in (
        (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view),
        (
            pa.types.is_binary,
            pa.types.is_large_binary,
            pa.types.is_binary_view,
            pa.types.is_fixed_size_binary,
        ),
        (pa.types.is_integer,),
        (pa.types.is_date,),
        (pa.types.is_decimal,),
    ):
        if any(test(wanted) for test in kinds):
            return any(test(given) for test in kinds) or lossless(given, wanted)
    if pa.types.is_timestamp(wanted):
        return pa.types.is_timestamp(given) and bool(given.tz) == bool(wanted.tz)
    return lossless(given, wanted)


def storage(kind: pa.DataType) -> pa.DataType:
    """Return the type of the values: without an extension type, a dictionary, or runs around them."""
    if isinstance(kind, pa.BaseExtensionType):
        return storage(kind.storage_type)
    if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
        return storage(kind.value_type)
    return kind
