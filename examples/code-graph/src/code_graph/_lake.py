"""The tables of one run: what they hold, and the commits that change them.

`files` is committed last and records, in its commit, the version of every other table that it vouches for.
Whatever another table gained after that version is the trace of a run that was killed, or of another hand;
the paths it concerns are extracted anew, so that every run ends right whatever came before.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from code_graph._arrow import arrow_schema
from code_graph._changes import DETAIL_TABLES, FILES, LakeState, Replacement
from code_graph._columns import LAYOUT
from code_graph.errors import OptionError, TableMismatchError
from code_graph.tables import SPECS
from delta_io import ChangesUnavailableError, ConflictError, Table, TableExistsError, VersionNotFoundError
from freshlake.ingest import IngestedTable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from code_graph._arrow import ArrowRows
    from code_graph._changes import FileRow
    from delta_io import Commit, Snapshot

VOUCHED = "codeGraph.vouched"
"""Key in the metadata of commits to `files`: identity and version of the other tables, as JSON."""


def file_rows(batch: pa.RecordBatch | pa.Table) -> dict[str, FileRow]:
    """Give rows of `files` by path."""
    columns = [batch.column(name).to_pylist() for name in LAYOUT[FILES]]
    return {row[0]: row for row in zip(*columns, strict=True)}


class Lake:
    """The tables, pinned at the versions they had when this was made.

    Parameters
    ----------
    uris : Mapping of str to str
        Where the tables are or will be, by name.
    storage_options : Mapping of str to str
        Options for the object store.

    Raises
    ------
    OptionError
        When a table has no place.
    TableMismatchError
        When a table has other columns than its contract.
    """

    def __init__(self, uris: Mapping[str, str], storage_options: Mapping[str, str]) -> None:
        missing = [name for name in SPECS if name not in uris]
        if missing:
            raise OptionError(
                f"The project declares no table {', '.join(missing)}; add [tables.{missing[0]}]."
            )
        self._uris = uris
        self._options = storage_options
        self._tables: dict[str, Table] = {}
        self._snapshots: dict[str, Snapshot] = {}
        for name in SPECS:
            if Table.exists(uris[name], storage_options=storage_options):
                self._pin(name, Table(uris[name], storage_options=storage_options))

    def _pin(self, name: str, table: Table) -> None:
        snapshot = table.snapshot()
        expected = [(field.name, field.type) for field in arrow_schema(name)]
        found = [(field.name, _storage_type(field.type)) for field in snapshot.schema]
        if found != expected:
            raise TableMismatchError(
                f"The table {name} at {table.uri} has other columns than its contract: "
                f"{_differences(found, expected)}. Remove the table, or point [tables] at another place."
            )
        self._tables[name] = table
        self._snapshots[name] = snapshot

    def state(self) -> LakeState:
        """Read what the tables hold."""
        state = LakeState()
        if FILES in self._snapshots:
            reader = self._snapshots[FILES].to_reader(columns=list(LAYOUT[FILES]))
            state.files = file_rows(reader.read_all())
        vouched = self._vouched()
        for name in DETAIL_TABLES:
            state.touched[name] = self._touched(name, vouched.get(name))
        return state

    def _vouched(self) -> dict[str, list[Any]]:
        if FILES not in self._tables:
            return {}
        table = self._tables[FILES]
        for version in range(self._snapshots[FILES].version, 0, -1):
            try:
                text = table.commit_info(version).metadata.get(VOUCHED)
            except VersionNotFoundError:
                return {}
            if text is not None:
                return dict(json.loads(text))
        return {}

    def _touched(self, name: str, vouched: list[Any] | None) -> set[str] | None:
        """Give the paths with rows that `files` does not vouch for, None where that may be all."""
        snapshot = self._snapshots.get(name)
        if snapshot is None:
            return set() if vouched is None else None
        identity, since = vouched or [snapshot.table_id, 0]
        if identity != snapshot.table_id or since > snapshot.version:
            return None
        if since == snapshot.version:
            return set()
        try:
            changes = self._tables[name].changes(since, snapshot.version, columns=["path"]).to_reader()
            return {path for batch in changes for path in batch.column("path").to_pylist()}
        except (ChangesUnavailableError, VersionNotFoundError):
            return None

    def create_missing(self) -> None:
        """Create the tables that are not there yet; ConflictError when another run does."""
        for name, spec in SPECS.items():
            if name not in self._tables:
                try:
                    table = Table.create(self._uris[name], spec, storage_options=self._options)
                except TableExistsError as error:
                    raise ConflictError(f"another run created the table {name}") from error
                self._pin(name, table)

    def commit(
        self,
        plans: Mapping[str, Replacement],
        rows: Sequence[ArrowRows],
        progress: Callable[[int, int], None],
    ) -> dict[str, Commit]:
        """Make the planned replacements, `files` last.

        Parameters
        ----------
        plans : Mapping of str to Replacement
            Per table.
        rows : sequence of ArrowRows
            What was extracted.
        progress : callable
            Called with the number of tables done, and of those to do.

        Returns
        -------
        dict of str to Commit
            The commits by table; tables that stay as they are have none.

        Raises
        ------
        ConflictError
            When another run changed a table in the meantime.
        """
        changed = [name for name in DETAIL_TABLES if plans[name].mode != "none"]
        if not changed and plans[FILES].mode == "none":
            return {}
        steps = len(changed) + 1
        commits: dict[str, Commit] = {}
        with ThreadPoolExecutor(steps) as threads:
            written = threads.map(lambda name: self._write(name, plans[name], rows, None), changed)
            for done, (name, commit) in enumerate(zip(changed, written, strict=True)):
                commits[name] = commit
                progress(done + 1, steps)
        vouched = {
            name: [self._snapshots[name].table_id, self._version(name, commits)] for name in DETAIL_TABLES
        }
        commits[FILES] = self._write(FILES, plans[FILES], rows, {VOUCHED: json.dumps(vouched)})
        progress(steps, steps)
        return commits

    def _write(
        self, name: str, plan: Replacement, rows: Sequence[ArrowRows], metadata: Mapping[str, str] | None
    ) -> Commit:
        def batches() -> Iterator[pa.RecordBatch]:
            for each in rows if plan.mode != "none" else ():
                batch = each.batch(name, plan.kept)
                if batch.num_rows:
                    yield batch

        return self._tables[name].write(
            pa.RecordBatchReader.from_batches(arrow_schema(name), batches()),
            mode="overwrite" if plan.mode == "overwrite" else "append",
            predicate=plan.predicate,
            metadata=metadata,
            expected_version=self._snapshots[name].version,
        )

    def _version(self, name: str, commits: Mapping[str, Commit]) -> int:
        return commits[name].version if name in commits else self._snapshots[name].version

    def ingested(self, commits: Mapping[str, Commit]) -> tuple[IngestedTable, ...]:
        """Tell what commits did to the tables, in rows."""
        return tuple(self._ingested(name, commits.get(name)) for name in self._tables)

    def _ingested(self, name: str, commit: Commit | None) -> IngestedTable:
        before = self._snapshots[name]
        if commit is None:
            return IngestedTable(name=name, version=before.version)
        after = self._tables[name].snapshot(version=commit.version)
        deleted = _row_count(before) + commit.rows - _row_count(after)
        return IngestedTable(
            name=name, version=commit.version, rows_inserted=commit.rows, rows_deleted=deleted
        )


def _row_count(snapshot: Snapshot) -> int:
    return sum(count or 0 for count in snapshot.add_actions().column("num_records").to_pylist())


def _storage_type(found: pa.DataType) -> pa.DataType:
    return found.storage_type if isinstance(found, pa.BaseExtensionType) else found


def _differences(found: list[tuple[str, pa.DataType]], expected: list[tuple[str, pa.DataType]]) -> str:
    missing = [f"{name} {kind} is missing" for name, kind in expected if (name, kind) not in found]
    unknown = [f"{name} {kind} is unknown" for name, kind in found if (name, kind) not in expected]
    return ", ".join([*missing, *unknown]) or "their order differs"
