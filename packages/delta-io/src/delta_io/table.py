"""Table: the one door to a Delta table."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from delta_io import _log
from delta_io._arguments import check_count, check_point, check_time, check_whole
from delta_io._commit import Commit, CommitInfo, describe
from delta_io._creation import create_table, table_exists
from delta_io._enabling import setting
from delta_io._handles import Handles
from delta_io._map_errors import mapped
from delta_io._read import choose
from delta_io._target import check_contract, check_enforceable
from delta_io._times import rising, version_at
from delta_io.changes import ChangeSet, find_changes
from delta_io.errors import ChangesUnavailableError, OptionError, VersionNotFoundError
from delta_io.features import FeaturePolicy
from delta_io.maintenance import LOG_CLEANUP, Maintenance
from delta_io.mutations import Mutations
from delta_io.policy import WritePolicy
from delta_io.snapshot import Snapshot, state_of
from delta_io.storage import Location

if TYPE_CHECKING:
    from schema_spec import TableSpec

_FEED = "delta.enableChangeDataFeed"
_STATISTICS = "delta.dataSkippingStatsColumns"


class Table(Mutations, Maintenance):
    """A Delta table, opened.

    Parameters
    ----------
    uri : str or PathLike
        Path or URI of the table's folder.
    spec : TableSpec, optional
        Contract that the table has to fulfil.
    policy : WritePolicy, optional
        How the table is written.
    storage_options : Mapping[str, str], optional
        Options of the storage, used for the log and the data alike.
    features : FeaturePolicy, optional
        Which protocol features the environment lets the table have, to be read and to be written.

    Raises
    ------
    TableNotFoundError
        When nothing is there.
    NotDeltaError
        When something else is there.
    SchemaMismatchError
        When the table breaks the contract.
    FeatureError
        When the environment's policy refuses the table.

    Examples
    --------
    >>> import pyarrow as pa, tempfile
    >>> from schema_spec import ColumnSpec, TableSpec
    >>> spec = TableSpec("orders", [ColumnSpec("id", "long"), ColumnSpec("note", "string")])
    >>> table = Table.create(tempfile.mkdtemp() + "/orders", spec)
    >>> commit = table.write(pa.table({"id": [1, 2], "note": ["a", None]}))
    >>> commit.version, commit.rows
    (1, 2)
    >>> table.delete("id = 1").rows
    1
    >>> table.changes(0).weighted().read_all().to_pylist()
    [{'id': 2, 'note': None, '_weight': 1}]
    """

    def __init__(
        self,
        uri: str | os.PathLike[str],
        *,
        spec: TableSpec | None = None,
        policy: WritePolicy | None = None,
        storage_options: Mapping[str, str] | None = None,
        features: FeaturePolicy | None = None,
    ) -> None:
        self._location = Location(uri, storage_options)
        self._policy = policy or WritePolicy()
        self._handles = Handles(self._location)
        self._spec = spec
        self._features = features or FeaturePolicy()
        snapshot = self.snapshot()
        if spec is not None:
            check_contract(snapshot, spec)

    @classmethod
    def create(
        cls,
        uri: str | os.PathLike[str],
        spec: TableSpec,
        *,
        policy: WritePolicy | None = None,
        storage_options: Mapping[str, str] | None = None,
    ) -> Table:
        """Create an empty table from a contract.

        Parameters
        ----------
        uri : str or PathLike
            Path or URI of the table's folder.
        spec : TableSpec
            Its columns, partitioning, constraints and properties.
        policy : WritePolicy, optional
            How the table is written; its `CdfPolicy` says whether it keeps a change data feed.
        storage_options : Mapping[str, str], optional
            Options of the storage.

        Returns
        -------
        Table
            The table, at version 0.

        Raises
        ------
        TableExistsError
            When there is a table already.
        UnsupportedError
            When the table could not be written as the contract wants, such as a constraint on times beyond
            1678 to 2261, which deltalake cannot compare.
        """
        location = Location(uri, storage_options)
        chosen = policy or WritePolicy()
        check_enforceable(spec)
        delta = spec.to_delta()
        create_table(location, delta, own_properties(spec, chosen) | delta.configuration)
        return cls(location.uri, spec=spec, policy=chosen, storage_options=location.options)

    @staticmethod
    def exists(uri: str | os.PathLike[str], *, storage_options: Mapping[str, str] | None = None) -> bool:
        """Tell whether a Delta table is there.

        Parameters
        ----------
        uri : str or PathLike
            Path or URI of a folder.
        storage_options : Mapping[str, str], optional
            Options of the storage.

        Returns
        -------
        bool
            Whether the folder holds a Delta table.

        Raises
        ------
        StorageError
            When the storage cannot be reached.
        """
        return table_exists(Location(uri, storage_options))

    @property
    def uri(self) -> str:
        """Place of the table: an absolute path, or a URI."""
        return self._location.uri

    @property
    def name(self) -> str:
        """Name that the contract or the folder gives."""
        return self._spec.name if self._spec is not None else self._location.name

    @property
    def policy(self) -> WritePolicy:
        """How the table is written."""
        return self._policy

    @property
    def contract(self) -> TableSpec | None:
        """The contract given, if one was."""
        return self._spec

    @property
    def spec(self) -> TableSpec:
        """The contract given, or the one that the table's own metadata states."""
        return self._spec if self._spec is not None else self.snapshot().spec

    def snapshot(self, version: int | None = None, timestamp: datetime | str | None = None) -> Snapshot:
        """Pin a version of the table.

        Parameters
        ----------
        version : int, optional
            The version; the newest when left out.
        timestamp : datetime or str, optional
            Instead of a version: the newest one that was committed by then. Without a zone it is read as UTC.

        Returns
        -------
        Snapshot
            The version, pinned.

        Raises
        ------
        VersionNotFoundError
            When the log cannot show it.
        """
        if timestamp is not None and version is not None:
            raise OptionError("version and timestamp are both given", fix="Give one of them.")
        newest = self._handles.newest()
        self._features.check(newest.protocol, "read", table=self._location.shown)
        if timestamp is not None:
            version = self._version_at(newest, _moment(timestamp))
        if version is None or version == newest.version:
            return newest
        check_whole(version, "the version")
        if version < 0 or version > newest.version:
            raise VersionNotFoundError(
                f"{self._location.shown!r} has no version {version}",
                f"the newest is {newest.version}",
                "Ask for one up to that.",
            )
        pinned = self._handles.at(version)
        self._features.check(pinned.protocol, "read", table=self._location.shown)
        return pinned

    def changes(
        self,
        since: int | datetime | str,
        until: int | datetime | str | None = None,
        *,
        table_id: str | None = None,
        change_types: Sequence[str] | None = None,
        columns: Sequence[str] | None = None,
        predicate: str | None = None,
    ) -> ChangeSet:
        """Return the changes after one version, up to another.

        Parameters
        ----------
        since : int, datetime or str
            Version whose rows are known, -1 for none; or a time, which stands for the newest version
            committed by then, -1 before the first.
        until : int, datetime or str, optional
            Version to reach, or a time likewise; the newest when left out.
        table_id : str, optional
            The `Snapshot.table_id` that goes with `since`: changes of a table made anew are refused.
        change_types : Sequence[str], optional
            Which of ``insert``, ``delete``, ``update_preimage``, ``update_postimage``.
        columns : Sequence[str], optional
            Columns wanted, in that order.
        predicate : str, optional
            SQL text the changed rows satisfy: comparisons with values, IN, BETWEEN, IS NULL, AND, OR, NOT.

        Returns
        -------
        ChangeSet
            The changes, pinned at both ends, described but not read.

        Raises
        ------
        ChangesUnavailableError
            When they can no longer be reconstructed.
        VersionNotFoundError
            When a version is not in the table.
        """
        newest = self.snapshot()
        if table_id is not None and table_id != newest.table_id:
            raise ChangesUnavailableError(
                f"{self._location.shown!r} was made anew",
                f"its id is {newest.table_id}, not {table_id}",
                "Read the whole table.",
            )
        since = self._version_of(newest, since, before_first=-1)
        last = newest.version if until is None else self._version_of(newest, until)
        if since < -1 or since > last or last > newest.version:
            raise VersionNotFoundError(
                f"{self._location.shown!r} has no changes in ({since}, {last}]",
                f"its newest version is {newest.version}",
                "Ask for versions up to that, the earlier one first.",
            )
        end = newest if last == newest.version else self.snapshot(last)
        return find_changes(
            self._location,
            self.snapshot,
            since,
            end,
            change_types=change_types,
            columns=columns,
            predicate=predicate,
        )

    def history(self, limit: int | None = None) -> list[CommitInfo]:
        """Return what the log says about its commits, the newest first.

        Parameters
        ----------
        limit : int, optional
            Most commits to return.

        Returns
        -------
        list[CommitInfo]
            The commits whose log files are there.
        """
        if limit is not None:
            check_count(limit, "the limit")
        with mapped(self._location, "reading the history of"):
            times = rising(_log.list_log(self._location).commits)
            versions = list(reversed(times))[:limit]
            found = (_log.read_commit(self._location, each, times[each]) for each in versions)
            return [describe(actions) for actions in found if actions is not None]

    def commit_info(self, version: int) -> CommitInfo:
        """Return what the log says about a commit.

        Parameters
        ----------
        version : int
            Version that it made.

        Returns
        -------
        CommitInfo
            Its operation, time, metadata and transaction ids.

        Raises
        ------
        VersionNotFoundError
            When there is no such commit, or its log file is gone.
        """
        with mapped(self._location, f"reading commit {version} of"):
            times = rising(_log.list_log(self._location).commits)
            known = version in times
            actions = _log.read_commit(self._location, version, times[version]) if known else None
        if actions is None:
            raise VersionNotFoundError(
                f"{self._location.shown!r} has no commit {version}",
                "its log file is not there",
                "See history().",
            )
        return describe(actions)

    def transaction_version(self, app_id: str) -> int | None:
        """Return the version an application last wrote.

        Parameters
        ----------
        app_id : str
            Id of the application.

        Returns
        -------
        int or None
            Its version at the newest snapshot, None when it never wrote.
        """
        return self.snapshot().transaction_version(app_id)

    def keep_statistics(
        self,
        columns: Sequence[str] | None = None,
        *,
        metadata: Mapping[str, str] | None = None,
        expected_version: int | None = None,
    ) -> Commit:
        """Set which columns statistics are kept of, in one commit; files written from then on have those.

        Parameters
        ----------
        columns : Sequence[str], optional
            The columns; those of the write policy when left out, and where it has none either, the first 32,
            which is the default of tables.
        metadata, expected_version
            As in `write`.

        Returns
        -------
        Commit
            What was done; nothing is committed when the table keeps statistics of just those.

        Raises
        ------
        SchemaMismatchError
            When a column is not in the table.
        UnsupportedError
            When the storage has no conditional puts.
        """
        snapshot = self._to_write()
        wanted = self._policy.statistics_columns if columns is None else tuple(columns)
        if wanted:
            choose(snapshot.schema, wanted)
        value = None if wanted is None else names_of(wanted)
        operation = setting(_STATISTICS, value, snapshot, self._location)
        request = self._request(
            "setting statistics of", snapshot.spec, {}, (None, metadata, expected_version)
        )
        del snapshot
        return self._run(request, operation, rewriting=False)

    def __repr__(self) -> str:
        return f"Table({self._location.shown!r})"

    def _version_of(
        self, newest: Snapshot, point: int | datetime | str, before_first: int | None = None
    ) -> int:
        """Return the version that a point in the table's history stands for."""
        check_point(point, "an end of the range")
        if isinstance(point, int):
            return point
        if before_first is not None and 0 in state_of(newest).modified_ms:
            found = version_at(self._location, state_of(newest), _log.milliseconds(_moment(point)))
            return before_first if found is None else found
        return self._version_at(newest, _moment(point))

    def _version_at(self, newest: Snapshot, moment: datetime) -> int:
        with mapped(self._location, "reading the log of"):
            version = version_at(self._location, state_of(newest), _log.milliseconds(moment))
        if version is None:
            raise VersionNotFoundError(
                f"{self._location.shown!r} shows nothing at {moment.isoformat()}",
                "its log starts later",
                "Ask for a later time.",
            )
        return version


def _moment(timestamp: datetime | str) -> datetime:
    check_time(timestamp, "the timestamp")
    try:
        moment = datetime.fromisoformat(timestamp) if isinstance(timestamp, str) else timestamp
    except ValueError:
        raise OptionError(
            f"timestamp {timestamp!r} cannot be read", fix="Write it as 2026-01-31T12:00:00Z."
        ) from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def own_properties(spec: TableSpec, policy: WritePolicy) -> dict[str, str]:
    """Return the table properties that a policy stands for."""
    # deltalake's compactions and restores would clean the log up on the side, whoever still reads it.
    properties = {LOG_CLEANUP: "false"} | ({_FEED: "true"} if policy.cdf.enabled else {})
    if policy.statistics_columns is not None:
        for name in policy.statistics_columns:
            spec.column(name)
        properties[_STATISTICS] = names_of(policy.statistics_columns)
    return properties


def names_of(columns: Sequence[str]) -> str:
    """Return names of columns as a table property lists them."""
    return ",".join(name if name.isidentifier() else "`" + name.replace("`", "``") + "`" for name in columns)
