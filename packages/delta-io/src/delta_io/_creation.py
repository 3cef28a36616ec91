"""The first commit of a table.

deltalake looks for a table twice before it commits: one that appears between the two looks is replaced, not
refused. The first commit is therefore made elsewhere and then put into the log in a way that fails where a
commit is: by a link on a local file system, by a conditional put on remote storage.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from deltalake import DeltaTable, Schema

from delta_io._log import LOG, commit_path
from delta_io._map_errors import mapped
from delta_io._objects import check_commits, put_new, why_not
from delta_io.errors import ConflictError, TableExistsError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from delta_io.storage import Location
    from schema_spec import DeltaSchema

Json = dict[str, Any]
_FIRST: Final = f"{0:020}.json"
_WRITER: Final = "delta.minWriterVersion"
_CHECKS_SINCE: Final = "3"
# Properties that promise what deltalake does not write. It takes them, and breaks the promise.
_PROMISES: Final = {
    "delta.enableIcebergCompatV1": "icebergCompatV1",
    "delta.enableIcebergCompatV2": "icebergCompatV2",
    "delta.enableInCommitTimestamps": "inCommitTimestamp",
    "delta.enableRowTracking": "rowTracking",
    "delta.enableTypeWidening": "typeWidening",
}


def create_table(
    location: Location, delta: DeltaSchema, configuration: Mapping[str, str], adds: Sequence[Json] = ()
) -> None:
    """Commit version 0 of a table, or raise `TableExistsError` where there is a table already.

    Files may be part of the table from the start.
    """
    here = location.local or why_not(location) is None
    _check_properties(location, configuration, here=here)
    if adds:
        check_commits(location, f"making a table of the files in {location.shown!r}")
    if any(name.startswith("delta.constraints.") for name in configuration):
        # Else deltalake makes a table whose protocol tells no writer, itself included, to check them.
        configuration = {_WRITER: _CHECKS_SINCE, **configuration}
    if table_exists(location):
        raise _exists_already(location)
    with mapped(location, "creating"):
        if here:
            _create_here(location, delta, configuration, adds)
            return
        made = _create(location.root, delta, configuration, location.plain_options)
        if made.version() > 0:
            raise _exists_already(location)


def _check_properties(location: Location, configuration: Mapping[str, str], *, here: bool) -> None:
    for name, value in configuration.items():
        feature = _PROMISES.get(name) if value.lower() == "true" else None
        if feature is None and (name, value.lower()) == ("delta.checkpointPolicy", "v2"):
            feature = "v2Checkpoint"
        if name == "delta.enableDeletionVectors" and value.lower() == "true" and not here:
            feature = "deletionVectors"  # deltalake would make the table ask for variants as well
        if feature is not None:
            later = feature in ("v2Checkpoint", "deletionVectors")
            raise UnsupportedError(
                f"no table can be created at {location.shown!r} with property {name!r}",
                f"deltalake {'does not ask for' if later else 'does not write'} feature {feature!r}",
                f'Create the table without it, then enable("{feature}").' if later else "Leave it out.",
            )


def creatable(properties: Mapping[str, str]) -> dict[str, str]:
    """Return those properties of a table that another one can be created with."""
    return {
        name: value
        for name, value in properties.items()
        if name not in _PROMISES
        and name not in ("delta.checkpointPolicy", "delta.enableDeletionVectors")
        and not name.startswith(("delta.columnMapping.", "delta.feature."))
    }


def table_exists(location: Location) -> bool:
    """Tell whether the place holds a Delta table."""
    if location.local and not Path(location.uri).is_dir():
        return False
    with mapped(location, "looking for"):
        return DeltaTable.is_deltatable(location.root, location.plain_options)


def _create_here(
    location: Location, delta: DeltaSchema, configuration: Mapping[str, str], adds: Sequence[Json]
) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        _create(scratch, delta, configuration, None)
        made = (Path(scratch) / LOG / _FIRST).read_text(encoding="utf-8")
    commit_first(location, [*_at_place(made, location.root), *({"add": add} for add in adds)])


def commit_first(location: Location, actions: Iterable[Json]) -> None:
    """Commit version 0 of a table, or raise `TableExistsError` where there is a table already."""
    if location.local:
        (Path(location.uri) / LOG).mkdir(parents=True, exist_ok=True)
    try:
        with mapped(location, "creating"):
            commit_version(location, 0, actions)
    except ConflictError:
        raise _exists_already(location) from None


def commit_version(location: Location, version: int, actions: Iterable[Json]) -> None:
    """Commit a version of a table, or raise `ConflictError` when another writer came first.

    The actions have to hold an id that no other commit has.
    """
    lines = (json.dumps(each, separators=(",", ":"), ensure_ascii=False) + "\n" for each in actions)
    data = "".join(lines).encode()
    path = commit_path(version)
    if not (_link_new if location.local else put_new)(location, path, data):
        raise ConflictError(
            f"version {version} of {location.shown!r} is taken",
            "another writer came first",
            "Read the newest version and try again.",
        )


def _link_new(location: Location, path: str, data: bytes) -> bool:
    """Write a local file where none is; tell whether it was."""
    new = Path(location.uri, path)
    pending = new.with_name(f"_commit_{uuid4()}.json.tmp")
    try:
        with pending.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.link(pending, new)
    except FileExistsError:
        return False
    finally:
        pending.unlink(missing_ok=True)
    return True


def _create(
    root: str, delta: DeltaSchema, configuration: Mapping[str, str], options: dict[str, str] | None
) -> DeltaTable:
    return DeltaTable.create(
        root,
        Schema.from_json(str(delta)),
        partition_by=list(delta.partition_columns),
        name=delta.name,
        description=delta.description,
        configuration=dict(configuration),
        storage_options=options,
        raise_if_key_not_exists=False,
    )


def _at_place(commit: str, root: str) -> list[dict[str, Any]]:
    """Return the actions with the table's place where they name the scratch folder, as they should be."""
    actions: list[dict[str, Any]] = [json.loads(line) for line in commit.splitlines()]
    variants = '"variant"' in commit.replace("\\", "")
    for action in actions:
        if "commitInfo" in action:
            action["commitInfo"]["operationParameters"]["location"] = root
        if "metaData" in action:
            action["metaData"]["configuration"].pop(_WRITER, None)
        for kind in ("readerFeatures", "writerFeatures"):
            named = action.get("protocol", {}).get(kind)
            if named and not variants:  # deltalake adds the feature unasked
                action["protocol"][kind] = sorted(set(named) - {"variantType"})
    return actions


def _exists_already(location: Location) -> TableExistsError:
    return TableExistsError(f"cannot create {location.shown!r}", "a table is there", "Open it instead.")
