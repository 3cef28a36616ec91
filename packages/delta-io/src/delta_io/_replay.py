"""The state of a table at a version, replayed from its log as Arrow data: no work in Python per file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec
import pyarrow as pa
from msgspec import Struct

from delta_io import _log
from delta_io._checkpoints import Contents, read_checkpoint, valid
from delta_io._compute import pc
from delta_io._json_lines import read_json_lines
from delta_io._log import Add, Checkpoint, DeletionVector, Metadata, ProtocolAction, Txn
from delta_io._places import decode_paths
from delta_io._schema import known_fields, physical_name
from delta_io._stats import StatsLayout, vector_fields
from delta_io._threads import in_threads
from delta_io.errors import LogError, VersionNotFoundError
from delta_io.features import Protocol, check_readable

if TYPE_CHECKING:
    from delta_io.storage import Location

_JSON_VECTOR: Final = pa.struct(
    [
        pa.field("storageType", pa.string()),
        pa.field("pathOrInlineDv", pa.string()),
        pa.field("offset", pa.int32()),
        pa.field("sizeInBytes", pa.int32()),
        pa.field("cardinality", pa.int64()),
    ]
)
_OTHERS: Final = (
    pa.field("protocol", pa.struct([pa.field("minReaderVersion", pa.int32())])),
    pa.field("metaData", pa.struct([pa.field("id", pa.string())])),
    pa.field("txn", pa.struct([pa.field("appId", pa.string()), pa.field("version", pa.int64())])),
)
_NAMED: Final = (b'"metaData"', b'"protocol"', b'"txn"')
_HEAD_BYTES: Final = 1 << 16
_ADDS_ANEW: Final = re.compile(rb'"deletionVector"\s*:\s*\{|"operation"\s*:\s*"RESTORE"')
_SAYS_SORTED: Final = f'"{_log.SORTED}"'.encode()
_READ_AT_ONCE: Final = 8


class State(Struct, frozen=True, kw_only=True):
    """What the log says of one version.

    ``files`` has a row per live file: ``path`` as the log writes it, ``partition`` (a struct of texts by
    physical name, where the table is partitioned), ``size_bytes``, ``modification_time``, ``stats`` (JSON
    text), ``parsed`` (statistics that a checkpoint holds as a struct, if one does) and ``deletion_vector``.
    ``modified_ms`` is the time of each commit's file, or of its checkpoint's. ``may_be_sorted`` is false
    where the newest commit that adds files does not say that they are sorted.
    """

    version: int
    protocol: Protocol
    metadata: Metadata
    transactions: Mapping[str, int]
    files: pa.Table
    modified_ms: Mapping[int, int]
    may_be_sorted: bool = True


class _Layout(Struct, frozen=True, kw_only=True):
    """How the files of a table are described."""

    partitions: tuple[str, ...]
    stats: StatsLayout

    @property
    def partition_type(self) -> pa.StructType:
        return pa.struct([pa.field(name, pa.string()) for name in self.partitions])


class _Lines(Struct, frozen=True, kw_only=True):
    """What lines say: files with their places among the lines, and how much of the table itself."""

    adds: pa.Table
    removes: pa.Table
    added: pa.Array[Any]
    removed: pa.Array[Any]
    named: int
    transactions: dict[str, int]


class _Named(Struct, kw_only=True):
    """The actions other than files, the newest of each kind."""

    protocol: ProtocolAction | None = None
    metadata: Metadata | None = None
    transactions: dict[str, int] = {}

    def note(self, action: ProtocolAction | Metadata | Txn) -> None:
        match action:
            case ProtocolAction():
                self.protocol = action
            case Metadata():
                self.metadata = action
            case Txn(app_id, version):
                self.transactions[app_id] = version


def load(location: Location, version: int | None = None) -> State | None:
    """Return the state of a version, the newest when None; None when there is no log."""
    listing = _log.list_log(location)
    newest = max([*listing.commits, *(each.version for each in listing.checkpoints)], default=None)
    if newest is None:
        return None
    wanted = newest if version is None else version
    broken: Exception | None = None
    for checkpoint in [*listing.checkpoints, None]:
        start = -1 if checkpoint is None else checkpoint.version
        if start > wanted or any(each not in listing.commits for each in range(start + 1, wanted + 1)):
            continue
        try:
            return _replay(location, checkpoint, wanted, listing)
        except (pa.ArrowException, OSError, msgspec.MsgspecError) as error:
            if checkpoint is None:
                raise
            broken = error  # an older checkpoint, or the commits alone, say the same
    if broken is not None:
        raise LogError(
            f"the checkpoint of version {wanted} or before cannot be read", str(broken), "Restore the file."
        )
    if version is None:
        gap = next(each for each in range(wanted, -1, -1) if each not in listing.commits)
        raise LogError(f"commit {gap} is missing", "no checkpoint covers it", "Restore the file.")
    raise VersionNotFoundError(
        f"{location.shown!r} cannot show version {wanted}",
        "its log has been cleaned up to a later version",
        "Ask for a later one.",
    )


def advance(location: Location, state: State) -> State:
    """Return the newest state, reading just the commits after the one known."""
    modified = dict(state.modified_ms)
    version, parts = state.version, list[bytes]()
    while (found := _log.stat(location, _log.commit_path(version + 1))) is not None:
        version += 1
        modified[version] = found[1] // 1_000_000
        parts.append(_commit_lines(location, version))
    if not parts:
        return state
    lines = _read_lines(parts, _layout(state.metadata))
    if lines.named:
        return load(location) or state
    return msgspec.structs.replace(
        state,
        version=version,
        transactions=dict(state.transactions) | lines.transactions,
        files=_reconcile(location, state.files, lines),
        modified_ms=modified,
        may_be_sorted=_may_be_sorted(parts, otherwise=state.may_be_sorted),
    )


def _replay(location: Location, checkpoint: Checkpoint | None, version: int, listing: _log.Listing) -> State:
    start = -1 if checkpoint is None else checkpoint.version
    parts = in_threads(
        lambda each: _commit_lines(location, each), range(start + 1, version + 1), _READ_AT_ONCE
    )
    contents = Contents(adds=[], lines=[], named=[])
    if checkpoint is not None:
        contents = read_checkpoint(location, checkpoint)
    named = _Named()
    for action in contents.named:
        named.note(action)
    _find_named(contents.lines, named)
    lines = _tail(parts, named)
    if named.protocol is None or named.metadata is None:
        lacking = "protocol" if named.protocol is None else "metadata"
        raise LogError(f"the log says nothing of the {lacking}", "the action is missing", "Restore the log.")
    protocol = named.protocol.to_protocol()
    check_readable(protocol, table=location.shown)
    layout = _layout(named.metadata)
    tables = [_normal(each, layout) for each in contents.adds]
    tables += [_from_lines(contents.lines, layout).adds] if contents.lines else []
    files = _concatenated(tables) if tables else _empty(layout)
    return State(
        version=version,
        protocol=protocol,
        metadata=named.metadata,
        transactions=named.transactions,
        files=files if lines is None else _reconcile(location, files, lines),
        modified_ms=_modified(listing),
        may_be_sorted=_may_be_sorted(parts, otherwise=True),
    )


def _may_be_sorted(parts: Sequence[bytes], *, otherwise: bool) -> bool:
    """Tell whether the newest commit that adds files says that they are sorted, or adds older ones anew."""
    newest = next((part for part in reversed(parts) if b'"add"' in part), None)
    if newest is None:
        return otherwise
    # Those who say it are written by deltalake, which begins with what it says of a commit.
    return newest.find(_SAYS_SORTED, 0, _HEAD_BYTES) >= 0 or _ADDS_ANEW.search(newest) is not None


def _modified(listing: _log.Listing) -> dict[int, int]:
    """Return when each version's commit was written; by its checkpoint, when that is all that is left.

    A checkpoint may be written after commits that follow it: it is no later than they are.
    """
    times = dict(listing.commits)
    for each in listing.checkpoints:
        after = min((at for version, at in times.items() if version > each.version), default=None)
        latest = each.modified_ms if after is None else min(each.modified_ms, after - 1)
        times.setdefault(each.version, latest)
    return times


def _tail(parts: list[bytes], named: _Named) -> _Lines | None:
    """Return the files that commits name, and note their other actions; None when there is nothing to read.

    Those of the first lines are looked for; only when there turn out to be more, all lines are searched.
    """
    noted = _find_named(_head(parts), named)
    if named.metadata is None:
        noted = _find_named(parts, named)
    if not parts or named.metadata is None:
        return None
    lines = _read_lines(parts, _layout(named.metadata))
    if lines.named != noted:
        _find_named(parts, named)
        lines = _read_lines(parts, _layout(named.metadata))
    named.transactions |= lines.transactions
    return lines


def _head(parts: list[bytes]) -> Iterator[bytes]:
    """Yield the first lines."""
    rest = _HEAD_BYTES
    for part in parts:
        if len(part) > rest:
            yield part[: part.rfind(b"\n", 0, rest) + 1]
            return
        yield part
        rest -= len(part)


def _layout(metadata: Metadata) -> _Layout:
    mode = metadata.configuration.get("delta.columnMapping.mode") or "none"
    schema = known_fields(metadata.schema_string)
    fields = {field.name: field for field in schema}
    lost = [name for name in metadata.partition_columns if name not in fields]
    if lost:
        raise LogError(f"partition column {lost[0]!r} is not in the schema", fix="The log may be damaged.")
    partitions = tuple(physical_name(fields[name], mode) for name in metadata.partition_columns)
    rest = [field for field in schema if field.name not in metadata.partition_columns]
    return _Layout(partitions=partitions, stats=StatsLayout(fields=tuple(rest), mode=mode))


def _commit_lines(location: Location, version: int) -> bytes:
    return _log.object_lines(_log.read_bytes(location, _log.commit_path(version)), f"commit {version}")


def _find_named(parts: Iterable[bytes], named: _Named) -> int:
    """Note the actions that are not files, and return how many of them describe the table.

    Lines that cannot be one are not read.
    """
    count = 0
    for line in (each for part in parts for each in _candidates(part)):
        for action in (line.protocol, line.meta_data, line.txn):
            if action is not None:
                named.note(action)
                count += not isinstance(action, Txn)
    return count


def _candidates(data: bytes) -> Iterator[Any]:
    """Yield the lines that mention an action other than a file, in order."""
    places: set[int] = set()
    for mark in _NAMED:
        at = data.find(mark)
        while at >= 0:
            places.add(data.rfind(b"\n", 0, at) + 1)
            end = data.find(b"\n", at)
            at = data.find(mark, end) if end >= 0 else -1
    for start in sorted(places):
        end = data.find(b"\n", start)
        yield _log.decode_line(data[start : end if end >= 0 else len(data)])


def _read_lines(parts: list[bytes], layout: _Layout) -> _Lines:
    try:
        return _from_lines(parts, layout)
    except pa.ArrowInvalid as error:
        raise LogError("a commit cannot be read", str(error), "The log may be damaged.") from None


def _reconcile(location: Location, base: pa.Table, lines: _Lines) -> pa.Table:
    """Return the live files after some commits: of each file and vector, what was said last holds."""
    adds, removes, added, removed = lines.adds, lines.removes, lines.added, lines.removed
    keys = pa.concat_arrays([_keys(location, each) for each in (adds, removes)])
    order = pa.concat_arrays([added, removed])
    if not len(keys):
        return base
    named = pc.unique(keys)
    if len(named) < len(keys):
        last = pa.table({"key": keys, "order": order}).group_by("key").aggregate([("order", "max")])
        adds = adds.filter(pc.is_in(added, value_set=last["order_max"].combine_chunks()))
    if not base.num_rows:
        return adds
    stays = pc.invert(pc.is_in(_keys(location, base), value_set=named))
    return _concatenated([base.filter(stays), adds])


def _concatenated(tables: list[pa.Table]) -> pa.Table:
    return pa.concat_tables(tables, promote_options="default")


def _keys(location: Location, files: pa.Table) -> pa.Array[Any]:
    """Return what tells files apart: the place, and the deletion vector."""
    paths = decode_paths(location, files["path"])
    vectors = files["deletion_vector"].combine_chunks()
    if vectors.null_count == len(vectors):
        return paths
    parts = [pc.struct_field(vectors, [name]) for name in ("storage_type", "path_or_inline_dv", "offset")]
    texts = [pc.fill_null(pc.cast(each, pa.string()), "") for each in parts]
    return pc.if_else(vectors.is_null(), paths, pc.binary_join_element_wise(paths, *texts, "\n"))


def _from_lines(parts: list[bytes], layout: _Layout) -> _Lines:
    """Return what lines say."""
    key = [pa.field("path", pa.string()), pa.field("deletionVector", _JSON_VECTOR)]
    kinds = {"size": pa.int64(), "modificationTime": pa.int64(), "stats": pa.string()}
    described = [pa.field(name, kind) for name, kind in kinds.items()]
    if layout.partitions:
        described.append(pa.field("partitionValues", layout.partition_type))
    schema = pa.schema([("add", pa.struct(key + described)), ("remove", pa.struct(key)), *_OTHERS])
    found = read_json_lines(parts, schema)
    rows = pa.arange(0, found.num_rows)
    added, removed = (found[name].is_valid().combine_chunks() for name in ("add", "remove"))
    gone = cast("pa.StructArray", found["remove"].filter(removed).combine_chunks())
    paths = _present(gone.field("path"))
    removes = pa.table({"path": paths, "deletion_vector": vector_fields(gone.field(1))})
    chunks = cast("list[pa.StructArray]", found["add"].chunks)
    tables = [_normal(valid(each), layout) for each in chunks]
    adds = pa.concat_tables(tables) if tables else _empty(layout)
    transactions = found["txn"].drop_null().to_pylist()
    return _Lines(
        adds=adds,
        removes=removes,
        added=rows.filter(added),
        removed=rows.filter(removed),
        named=sum(found.num_rows - found[name].null_count for name in ("protocol", "metaData")),
        transactions={each["appId"]: each["version"] for each in transactions},
    )


def _normal(add: pa.StructArray, layout: _Layout) -> pa.Table:
    """Return added files in the form that `State` describes."""
    kind = cast("pa.StructType", add.type)
    names = [kind.field(index).name for index in range(kind.num_fields)]

    def child(name: str, fallback: pa.DataType) -> pa.Array[Any]:
        return add.field(name) if name in names else pa.nulls(len(add), fallback)

    columns: dict[str, Any] = {
        "path": _present(pc.cast(child("path", pa.string()), pa.string())),
        "size_bytes": pc.cast(child("size", pa.int64()), pa.int64()),
        "modification_time": pc.cast(child("modificationTime", pa.int64()), pa.int64()),
        "stats": pc.cast(child("stats", pa.string()), pa.string()),
        "deletion_vector": vector_fields(child("deletionVector", _JSON_VECTOR)),
    }
    if layout.partitions:
        columns["partition"] = _partition_texts(_partitions(add, names), layout)
    if "stats_parsed" in names:
        columns["parsed"] = layout.stats.from_struct(cast("pa.StructArray", add.field("stats_parsed")))
    return pa.table(columns)


def _present(paths: pa.Array[Any]) -> pa.Array[Any]:
    if paths.null_count:
        raise LogError("the log names a file without its path", fix="The log may be damaged.")
    return paths


def _partitions(add: pa.StructArray, names: list[str]) -> pa.Array[Any]:
    for name in ("partitionValues", "partitionValues_parsed"):
        if name in names:
            return add.field(name)
    raise LogError("a checkpoint says nothing of the files' partitions", fix="Restore the file.")


def _partition_texts(values: pa.Array[Any], layout: _Layout) -> pa.StructArray:
    fields = list(layout.partition_type)
    if pa.types.is_map(values.type):
        texts = [pc.map_lookup(values, name, "first") for name in layout.partitions]
    else:
        texts = [pc.struct_field(values, [name]) for name in layout.partitions]
    return pa.StructArray.from_arrays([pc.cast(each, pa.string()) for each in texts], fields=fields)


def _empty(layout: _Layout) -> pa.Table:
    nothing = pa.array(
        [], pa.struct([pa.field("path", pa.string()), pa.field("partitionValues", layout.partition_type)])
    )
    return _normal(cast("pa.StructArray", nothing), layout)


def rows_of(files: pa.Table) -> Iterator[Add]:
    """Yield some files one by one."""
    for row in files.select([name for name in files.column_names if name != "parsed"]).to_pylist():
        vector = row["deletion_vector"]
        yield Add(
            path=row["path"],
            partition_values=row.get("partition") or {},
            size=row["size_bytes"] or 0,
            stats=row["stats"],
            deletion_vector=None if vector is None else DeletionVector(**vector),
        )


def difference(location: Location, old: pa.Table, new: pa.Table) -> tuple[list[Add], list[Add]]:
    """Return the files that only `old` has, and those that only `new` has."""
    keys = [_keys(location, each) for each in (old, new)]
    left = pc.invert(pc.is_in(keys[0], value_set=keys[1]))
    came = pc.invert(pc.is_in(keys[1], value_set=keys[0]))
    return list(rows_of(old.filter(left))), list(rows_of(new.filter(came)))
