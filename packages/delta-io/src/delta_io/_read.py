"""Rows of a snapshot: read by deltalake's own engine, or file by file where that is known to be wrong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
from deltalake import QueryBuilder

from delta_io._bounds import LAST_CHARACTER
from delta_io._compute import pc
from delta_io._engine_doubts import (
    LIKE_URIS,
    Oddities,
    check_vectors,
    loses_rows,
    lost_vectors,
    odd_columns,
    renamed,
)
from delta_io._map_errors import mapped
from delta_io._places import decode_paths, placed
from delta_io._predicate import (
    Compare,
    IsNull,
    Node,
    columns_of,
    joins_lists,
    joins_null,
    kind_of,
    leaves,
    parse,
)
from delta_io._replay import rows_of
from delta_io._rows import Layout, adapt, check_filled, read_rows
from delta_io._sound import Columns, Sound, quote, sound
from delta_io.errors import (
    DeltaIoError,
    OptionError,
    PredicateError,
    SchemaMismatchError,
    UnsupportedError,
)
from delta_io.index import may_hold, rows_satisfy

if TYPE_CHECKING:
    from delta_io.snapshot import Snapshot
    from delta_io.storage import Location

# Names in predicates mean what they say, as they do in deltalake's own operations.
_SETTINGS: Final = {"datafusion.sql_parser.enable_ident_normalization": "false"}
# Features that the engine refuses, and reading file by file knows: values are cast to the table's types.
_REFUSED_BY_ENGINE: Final = frozenset({"typeWidening", "typeWidening-preview", "vacuumProtocolCheck"})
_EXACT_DIGITS: Final = 15
_NO_JSON: Final = r":\s*-?(NaN|Infinity)"
_FIRST_YEAR: Final = 1678
_LAST_YEAR: Final = 2261


def choose(schema: pa.Schema, columns: Sequence[str] | None) -> pa.Schema:
    """Return the fields of the columns wanted, in that order."""
    if columns is None:
        return schema
    known = {field.name: field for field in schema}
    unknown = [name for name in columns if name not in known]
    if unknown:
        near = get_close_matches(unknown[0], known, n=2) or list(known)[:8]
        raise SchemaMismatchError(
            f"no column {unknown[0]!r}", f"the closest are {', '.join(near)}", "Check the names."
        )
    if not columns or len(set(columns)) < len(columns):
        raise OptionError("the columns wanted are none, or one is named twice", f"they are {list(columns)}")
    return pa.schema([known[name] for name in columns], schema.metadata)


def read_snapshot(
    snapshot: Snapshot,
    location: Location,
    files: pa.Table,
    columns: Sequence[str] | None,
    predicate: str | None,
) -> pa.RecordBatchReader:
    """Return the rows of a snapshot that satisfy a predicate."""
    chosen = choose(snapshot.schema, columns)
    shown = pa.schema([field.with_nullable(True) for field in chosen], chosen.metadata)
    if why_by_file(snapshot, location, chosen, predicate) is not None:
        batches = _file_batches(snapshot, location, files, shown, predicate)
        return pa.RecordBatchReader.from_batches(shown, batches)
    check_vectors(location, _candidates(snapshot, predicate))
    names = ", ".join(quote(name) for name in shown.names)
    sql = f"SELECT {names} FROM {_source(snapshot)}"
    if predicate is not None:
        node = _parsed(predicate, snapshot)
        exact = snapshot.partition_by if node is None else tuple(columns_of(node))  # else they go by file
        made = sound(predicate, Columns(schema=snapshot.schema, exact=exact)).sql
        # The engine prunes by the first half. It loses conjuncts that are null; the second half keeps them.
        sql += f" WHERE ({made}\n) AND (({made}\n) IS TRUE)"
    with mapped(location, "reading"):
        builder = QueryBuilder(_SETTINGS).register("snapshot", snapshot._handle())  # pyright: ignore[reportPrivateUsage] -- same package
        stream = builder.execute(sql)
    return pa.RecordBatchReader.from_batches(shown, _batches(stream, shown, location))


def why_by_file(
    snapshot: Snapshot, location: Location, chosen: pa.Schema, predicate: str | None
) -> str | None:
    """Return why rows are read file by file, or None when deltalake's engine reads them."""
    needed = chosen if predicate is None else snapshot.schema
    features = sorted(snapshot.protocol.reader_features & _REFUSED_BY_ENGINE)
    if features:
        return f"deltalake's engine refuses the feature {features[0]!r}"
    if (lost := lost_vectors(location, snapshot.add_actions())) is not None:
        return lost
    if snapshot.column_mapping == "id":
        return "columns are found by their ids, and deltalake's engine finds them by name"
    reason = None if predicate is None else _mistaken(predicate, snapshot)
    if reason is None:
        odd = _odd_columns(snapshot, location, predicate)
        reason = next((odd[field.name] for field in needed if field.name in odd), None)
    return reason or _other_files(snapshot, location)


def _other_files(snapshot: Snapshot, location: Location) -> str | None:
    """Return why deltalake would not read the files that we would, or None."""
    try:
        handle = snapshot._handle()  # pyright: ignore[reportPrivateUsage] -- same package
    except DeltaIoError as error:
        return f"deltalake cannot open the table ({error.found})"
    theirs = pa.table(handle.get_add_actions())["path"]
    ours = snapshot.add_actions()["path"].combine_chunks()
    if len(theirs) != len(ours) or pc.any(pc.invert(pc.is_in(ours, decode_paths(location, theirs)))).as_py():
        return "deltalake lists other files"  # it tells paths apart that are the same, decoded
    if pc.any(pc.match_substring_regex(theirs, LIKE_URIS)).as_py():
        return "a path starts with a word and a colon, which deltalake's engine takes for a URI"
    if pc.any(pc.match_substring_regex(theirs, "[?#]")).as_py():
        return "a path has ? or # as it is, where deltalake's engine takes it to end"
    odd = _has_odd_statistics(snapshot)
    return "statistics of a file are no JSON object, which deltalake cannot read" if odd else None


def check_rewritable(snapshot: Snapshot, location: Location, predicate: str | None) -> None:
    """Refuse to have deltalake's engine rewrite files that it reads wrong: their values would be lost."""
    reason = why_not_rewritten(snapshot, location, predicate)
    if reason is not None:
        raise _not_rewritable(location, reason)


def check_compactable(snapshot: Snapshot, location: Location) -> None:
    """Refuse to have deltalake put files together that it reads wrong, or does not find."""
    reason = why_not_compacted(snapshot, location)
    if reason is not None:
        raise _not_rewritable(location, reason)


def why_not_compacted(snapshot: Snapshot, location: Location) -> str | None:
    """Return why deltalake cannot put files together, or would lose something of them, or None."""
    if pc.any(pc.match_substring(snapshot._state.files["path"], "~")).as_py():  # pyright: ignore[reportPrivateUsage] -- same package
        return "a path has a tilde, under which deltalake's compaction does not find the file"
    return why_not_rewritten(snapshot, location)


def check_replaceable(snapshot: Snapshot, location: Location, predicate: str | None) -> None:
    """Refuse to have deltalake replace rows wrong, or, without a predicate, remove files unnoticed."""
    if predicate is not None:
        check_rewritable(snapshot, location, predicate)
    elif (reason := renamed(snapshot._state.files["path"])) is not None:  # pyright: ignore[reportPrivateUsage] -- same package
        raise _not_rewritable(location, reason)


def _not_rewritable(location: Location, reason: str) -> UnsupportedError:
    return UnsupportedError(
        f"files of {location.shown!r} cannot be rewritten",
        reason,
        "Write its rows to a new table: clone_table copies them.",
    )


def why_not_rewritten(snapshot: Snapshot, location: Location, predicate: str | None = None) -> str | None:
    """Return what deltalake's engine would lose of the files it rewrites, or None."""
    files = snapshot._state.files  # pyright: ignore[reportPrivateUsage] -- same package
    if (odd := renamed(_chosen(snapshot, predicate, files)["path"])) is not None:
        return odd
    if (lost := lost_vectors(location, _candidates(snapshot, predicate))) is not None:
        return lost
    reasons = _odd_columns(snapshot, location, predicate).values()
    return next((reason for reason in reasons if loses_rows(reason)), None)


def _odd_columns(snapshot: Snapshot, location: Location, predicate: str | None) -> Oddities:
    data = pa.schema([field for field in snapshot.schema if field.name not in snapshot.partition_by])
    seen = snapshot._footers  # pyright: ignore[reportPrivateUsage] -- same package
    return odd_columns(location, _candidates(snapshot, predicate), data, snapshot.column_mapping, seen)


def _candidates(snapshot: Snapshot, predicate: str | None) -> pa.Table:
    """Return the files that may hold rows wanted."""
    return _chosen(snapshot, predicate, snapshot.add_actions())


def _chosen(snapshot: Snapshot, predicate: str | None, files: pa.Table) -> pa.Table:
    """Return the rows of a table that has one for each file, of those that may hold rows wanted."""
    node = None if predicate is None else _parsed(predicate, snapshot)
    if node is None:
        return files
    return files.filter(may_hold(snapshot.add_actions(), snapshot.schema, snapshot.partition_by, node))


def _parsed(predicate: str, snapshot: Snapshot) -> Node | None:
    try:
        return parse(predicate, snapshot.schema)
    except PredicateError:
        return None


def _mistaken(predicate: str, snapshot: Snapshot) -> str | None:
    """Return why deltalake's engine would answer a predicate wrong, or None."""
    node = _parsed(predicate, snapshot)
    if joins_null(predicate) or (node is not None and joins_lists(predicate)):
        return "a list stands beside another list, where deltalake's engine may take other rows"
    if isinstance(node, IsNull) and not node.negated:
        return None  # whatever the bounds, no row is shown by them
    for each in leaves(node) if node is not None else ():
        kind = kind_of(snapshot.schema, each.column)
        if each.column[0] not in snapshot.partition_by and (reason := _inexact(snapshot, each.column, kind)):
            return reason
        if isinstance(each, Compare) and (reason := _misread(each.value)):
            return reason
    return None


def _inexact(snapshot: Snapshot, column: Sequence[str], kind: pa.DataType) -> str | None:
    """Return why bounds of a column may not be its values, for which deltalake's engine takes them."""
    if pa.types.is_floating(kind):
        return "bounds of floating-point numbers leave out NaN and the sign of 0.0; the engine trusts them"
    if pa.types.is_string(kind) and _is_cut(snapshot, column):
        return "statistics of texts may be cut off, and are taken for values by deltalake's engine"
    if pa.types.is_timestamp(kind) and _is_of_milliseconds(snapshot, column):
        return "statistics of times may be cut to milliseconds, and are taken for values by the engine"
    return None


def _misread(value: object) -> str | None:
    if isinstance(value, (int, Decimal)) and len(Decimal(value).as_tuple().digits) > _EXACT_DIGITS:
        return "a number has more digits than deltalake's engine keeps"
    if isinstance(value, datetime) and not _FIRST_YEAR <= value.year <= _LAST_YEAR:
        return "a time lies beyond the range of nanoseconds, which deltalake's engine counts in"
    return None


def _is_of_milliseconds(snapshot: Snapshot, column: Sequence[str]) -> bool:
    """Tell whether an upper bound of times is the end of a millisecond, to which it was extended."""
    bounds = _upper_bounds(snapshot, column)
    if bounds is None:
        return False
    micros = bounds.cast(pa.int64())
    thousands = pc.multiply(pc.divide(pc.add(micros, 1), 1000), 1000)
    return bool(pc.any(pc.equal(pc.add(micros, 1), thousands)).as_py())


def _has_odd_statistics(snapshot: Snapshot) -> bool:
    """Tell whether statistics of a file may be something else than a JSON object."""
    texts = snapshot._state.files["stats"]  # pyright: ignore[reportPrivateUsage] -- same package
    object_like = pc.match_substring_regex(texts, r"^\s*\{")
    balanced = pc.equal(pc.count_substring(texts, "{"), pc.count_substring(texts, "}"))
    fits = pc.and_(pc.and_(object_like, balanced), pc.invert(pc.match_substring_regex(texts, _NO_JSON)))
    return not pc.all(pc.fill_null(fits, True)).as_py()


def _is_cut(snapshot: Snapshot, column: Sequence[str]) -> bool:
    """Tell whether an upper bound of a text column is so long that a writer may have cut it."""
    bounds = _upper_bounds(snapshot, column)
    return bounds is not None and bool(pc.any(pc.ends_with(bounds, LAST_CHARACTER)).as_py())


def _upper_bounds(snapshot: Snapshot, column: Sequence[str]) -> pa.Array[Any] | None:
    actions = snapshot.add_actions()
    bounds = actions["max"].combine_chunks() if "max" in actions.column_names else None
    for name in column:
        if bounds is None or bounds.type.get_field_index(name) < 0:
            return None
        bounds = pc.struct_field(bounds, [name])
    return bounds


def _source(snapshot: Snapshot) -> str:
    """Return the relation to read: the table, empty partition texts read as nulls."""
    doubtful = empty_texts(snapshot)
    if not doubtful:
        return "snapshot"
    names = (
        f"nullif({quote(name)}, '') AS {quote(name)}" if name in doubtful else quote(name)
        for name in snapshot.schema.names
    )
    return f"(SELECT {', '.join(names)} FROM snapshot) AS snapshot"


def for_engine(predicate: str | None, snapshot: Snapshot) -> Sound | None:
    """Return a predicate over a table's columns for deltalake's operations."""
    if predicate is None:
        return None
    # Files of commits that come meanwhile have statistics that are not known here.
    columns = Columns(schema=snapshot.schema, empty_texts=empty_texts(snapshot), exact=snapshot.partition_by)
    return sound(predicate, columns)


def empty_texts(snapshot: Snapshot) -> set[str]:
    """Return text partition columns with empty texts: to the protocol they are nulls, not to the engine."""
    texts = [name for name in snapshot.partition_by if pa.types.is_string(snapshot.schema.field(name).type)]
    if not texts:
        return set()
    files = snapshot._state.files  # pyright: ignore[reportPrivateUsage] -- same package
    partition = files["partition"].combine_chunks()
    names = dict(zip(snapshot.schema.names, snapshot.file_columns, strict=True))
    return {name for name in texts if pc.any(pc.equal(pc.struct_field(partition, [names[name]]), "")).as_py()}


def _batches(stream: Any, schema: pa.Schema, location: Location) -> Iterator[pa.RecordBatch]:
    reader = pa.RecordBatchReader.from_stream(stream)
    while True:
        with mapped(location, "reading"):
            batch = next(reader, None)
        if batch is None:
            return
        arrays = [adapt(array, field, "none") for array, field in zip(batch.columns, schema, strict=True)]
        yield pa.RecordBatch.from_arrays(arrays, schema=schema)


def _file_batches(
    snapshot: Snapshot, location: Location, files: pa.Table, shown: pa.Schema, predicate: str | None
) -> Iterator[pa.RecordBatch]:
    node = None if predicate is None else parse(predicate, snapshot.schema)
    if node is not None:
        files = files.filter(may_hold(snapshot.add_actions(), snapshot.schema, snapshot.partition_by, node))
    layout = Layout(
        fields=tuple(shown if node is None else snapshot.schema),
        partition_by=frozenset(snapshot.partition_by),
        mode=snapshot.column_mapping,
    )

    names = {field.name for field in layout.fields}
    required = [field for field in snapshot.schema if not field.nullable and field.name in names]

    def batches() -> Iterator[pa.RecordBatch]:
        with mapped(location, "reading"):
            for add in rows_of(files):
                path, values, vector = placed(location, add.path), add.partition_values, add.deletion_vector
                for batch in read_rows(location, path, layout, values, exclude=vector):
                    check_filled(batch, required)
                    yield batch

    def rows() -> Iterator[pa.RecordBatch]:
        for batch in batches():
            kept = batch if node is None else batch.filter(rows_satisfy(node, batch))
            if kept.num_rows:
                arrays = [kept.column(name) for name in shown.names]
                yield pa.RecordBatch.from_arrays(arrays, schema=shown)

    return rows()
