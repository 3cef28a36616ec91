"""How protocol features are enabled, without losing those that a legacy protocol version stands for.

The commit is made here: deltalake cannot enable column mapping, and asks for variants as well whenever it
sets a property of a table that names its features.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties

from delta_io._creation import commit_version
from delta_io._log import read_commit
from delta_io._objects import check_commits
from delta_io._replay import load
from delta_io.errors import ConflictError, UnsupportedError

if TYPE_CHECKING:
    from delta_io._commit import Operation
    from delta_io._replay import State
    from delta_io.features import Protocol
    from delta_io.snapshot import Snapshot
    from delta_io.storage import Location

Feature = Literal[
    "appendOnly",
    "changeDataFeed",
    "columnMapping",
    "deletionVectors",
    "timestampNtz",
    "v2Checkpoint",
    "variantType",
]

# Properties that a feature is switched on by.
_PROPERTIES: Final[dict[str, dict[str, str]]] = {
    "appendOnly": {"delta.appendOnly": "true"},
    "changeDataFeed": {"delta.enableChangeDataFeed": "true"},
    "columnMapping": {"delta.columnMapping.mode": "name"},
    "deletionVectors": {"delta.enableDeletionVectors": "true"},
}
# Features of writers alone, and the legacy version that stands for each.
_OF_WRITERS: Final = {"appendOnly": 2, "changeDataFeed": 4}
_UNWRITABLE: Final = frozenset(("identityColumns", "inCommitTimestamp", "rowTracking", "typeWidening"))
# What deltalake takes where a table does not say.
_CHECKPOINT_INTERVAL: Final = 100
_NAMED_READER: Final = 3
_NAMED_WRITER: Final = 7
Json = dict[str, Any]


def enabling(feature: Feature, snapshot: Snapshot, location: Location) -> Operation:
    """Return the operation that enables a feature."""
    if feature not in get_args(Feature):
        raise UnsupportedError(
            f"feature {feature!r} cannot be enabled",
            "deltalake cannot write it" if str(feature) in _UNWRITABLE else "there is no such feature",
            f"Features that can be: {', '.join(get_args(Feature))}.",
        )
    on = _PROPERTIES.get(feature, {}).items() <= snapshot.properties.items()
    mapped = feature == "columnMapping" and snapshot.column_mapping != "none"
    if mapped or (on and feature in snapshot.protocol.features_to_write):
        return _nothing
    described = {"operation": "ENABLE FEATURE", "operationParameters": {"feature": feature}}
    return _own_commit(location, described, lambda state: _changed(feature, state))


def setting(name: str, value: str | None, snapshot: Snapshot, location: Location) -> Operation:
    """Return the operation that sets a property, or takes it away."""
    if snapshot.properties.get(name) == value:
        return _nothing
    described = {
        "operation": "SET TBLPROPERTIES",
        "operationParameters": {"properties": json.dumps({name: value})},
    }
    return _own_commit(location, described, lambda state: _configured(state, {name: value}))


def _nothing(handle: DeltaTable, commit: CommitProperties, hooks: PostCommitHookProperties) -> None:
    del handle, commit, hooks


def _own_commit(location: Location, described: Json, changed: Callable[[State], Iterable[Json]]) -> Operation:
    """Return the operation that commits what a table's metadata changes to."""
    check_commits(location, f"metadata of {location.shown!r} cannot be changed")

    def operation(handle: DeltaTable, commit: CommitProperties, hooks: PostCommitHookProperties) -> None:
        version = handle.version()
        state = load(location, version)
        if state is None:
            raise ConflictError(f"version {version} of {location.shown!r} is gone", "the table was replaced")
        info = {"timestamp": int(time.time() * 1000), **described, **(commit.custom_metadata or {})}
        created = handle.metadata().created_time
        actions: list[Json] = [{"commitInfo": info}, *changed(state)]
        for action in actions:
            if "metaData" in action:
                action["metaData"]["createdTime"] = created
        version = _commit_on_top(location, version + 1, actions, commit.max_commit_retries or 0)
        handle.update_incremental()
        if hooks.create_checkpoint and (version + 1) % _checkpoint_interval(state) == 0:
            handle.create_checkpoint()

    return operation


def _commit_on_top(location: Location, version: int, actions: list[Json], attempts: int) -> int:
    """Commit a version, or one after it when those before do not touch the table's metadata."""
    while True:
        try:
            commit_version(location, version, actions)
        except ConflictError:
            other = read_commit(location, version)
            if attempts == 0 or other is None or other.metadata is not None or other.protocol is not None:
                raise
            version, attempts = version + 1, attempts - 1
        else:
            return version


def _checkpoint_interval(state: State) -> int:
    found = state.metadata.configuration.get("delta.checkpointInterval") or ""
    return int(found) if found.isdecimal() and int(found) else _CHECKPOINT_INTERVAL


def _changed(feature: Feature, state: State) -> Iterator[Json]:
    """Yield the table's protocol and metadata with a feature on."""
    yield {"protocol": _protocol(feature, state.protocol)}
    properties = dict(_PROPERTIES.get(feature, {}))
    schema: Json = json.loads(state.metadata.schema_string)
    if feature == "columnMapping":
        schema["fields"], most = _mapped(schema["fields"], 0)
        properties["delta.columnMapping.maxColumnId"] = str(most)
    yield from _configured(state, properties, schema)


def _configured(
    state: State, properties: Mapping[str, str | None], schema: Json | None = None
) -> Iterator[Json]:
    """Yield the table's metadata with other properties, and another schema."""
    metadata = state.metadata
    configuration = {**metadata.configuration, **properties}
    text = None if schema is None else json.dumps(schema, separators=(",", ":"), ensure_ascii=False)
    yield {
        "metaData": {
            "id": metadata.id,
            "name": metadata.name,
            "description": metadata.description,
            "format": {"provider": "parquet", "options": {}},
            "schemaString": metadata.schema_string if text is None else text,
            "partitionColumns": metadata.partition_columns,
            "configuration": {name: each for name, each in configuration.items() if each is not None},
        }
    }


def _protocol(feature: Feature, protocol: Protocol) -> Json:
    legacy = protocol.min_writer_version < _NAMED_WRITER
    if feature in _OF_WRITERS and legacy:
        writer = max(protocol.min_writer_version, _OF_WRITERS[feature])
        return {"minReaderVersion": protocol.min_reader_version, "minWriterVersion": writer}
    writers = {*protocol.features_to_write, feature}
    named: Json = {"minReaderVersion": protocol.min_reader_version, "minWriterVersion": _NAMED_WRITER}
    if feature not in _OF_WRITERS or protocol.min_reader_version >= _NAMED_READER:
        readers = {*protocol.features_to_read, *(() if feature in _OF_WRITERS else (feature,))}
        named |= {"minReaderVersion": _NAMED_READER, "readerFeatures": sorted(readers)}
        writers |= readers
    return named | {"writerFeatures": sorted(writers)}


def _mapped(fields: list[Json], last: int) -> tuple[list[Json], int]:
    """Return fields with ids, and the names that they have in files that are there; and the last id."""
    found: list[Json] = []
    for field in fields:
        last += 1
        own = {"delta.columnMapping.id": last, "delta.columnMapping.physicalName": field["name"]}
        kind, last = _mapped_type(field["type"], last)
        found.append({**field, "type": kind, "metadata": {**field.get("metadata", {}), **own}})
    return found, last


def _mapped_type(kind: Any, last: int) -> tuple[Any, int]:
    if not isinstance(kind, dict):
        return kind, last
    mapped: Json = dict(kind)
    if mapped["type"] == "struct":
        mapped["fields"], last = _mapped(mapped["fields"], last)
    for part in ("elementType", "keyType", "valueType"):
        if part in mapped:
            mapped[part], last = _mapped_type(mapped[part], last)
    return mapped, last
