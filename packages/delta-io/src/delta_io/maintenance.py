"""Maintenance of a table: small files, checkpoints, files and commits that nobody needs any more."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Literal

from msgspec import Struct

from delta_io import _due, _maintain
from delta_io._commit import Commit, Request, run
from delta_io._map_errors import mapped
from delta_io._operations import optimize
from delta_io._read import check_compactable, choose
from delta_io._target import check_stored, check_writable, names_in_files, parquet_properties
from delta_io.errors import OptionError

if TYPE_CHECKING:
    from datetime import datetime

    from delta_io._handles import Handles
    from delta_io.features import FeaturePolicy
    from delta_io.policy import WritePolicy
    from delta_io.snapshot import Snapshot
    from delta_io.storage import Location
    from schema_spec import TableSpec

Action = Literal["compact", "z-order", "checkpoint", "vacuum", "clean-log"]
LOG_CLEANUP: Final = "delta.enableExpiredLogCleanup"
_SHORTEST_RETENTION: Final = timedelta(hours=1)


class Consumer(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Somebody who reads the changes of a table, and how far they have come.

    Give `version`, or where the consumer keeps it: as a transaction id in a table of its own.

    Parameters
    ----------
    name : str
        Who it is.
    version : int, optional
        Newest version whose rows it knows; -1 when it has read nothing.
    uri : str, optional
        Path or URI of the consumer's own Delta table.
    app_id : str, optional
        Id of the application whose transaction version, in that table, is the version it has consumed.
    storage_options : Mapping[str, str], optional
        Options of that table's storage.
    """

    name: str
    version: int | None = None
    uri: str | None = None
    app_id: str | None = None
    storage_options: Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        kept_elsewhere = self.uri is not None and self.app_id is not None
        if kept_elsewhere == (self.version is not None) or (self.uri is None) != (self.app_id is None):
            raise OptionError(
                f"consumer {self.name!r} does not say how far it has come",
                fix="Give its version, or the uri and app_id of the table that holds it.",
            )

    def __repr__(self) -> str:
        place = f"version={self.version}" if self.version is not None else f"app_id={self.app_id!r}"
        return f"Consumer(name={self.name!r}, {place})"


class MaintenancePolicy(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a table is due for what.

    Parameters
    ----------
    compact : bool, default True
        Put small files together.
    small_files : int, default 8
        Files under half the target size, in one partition, that make compaction due.
    target_file_bytes : int, optional
        Size that files are put together to; the write policy's, or 100 MiB, when left out.
    z_order_by : Sequence[str], default ()
        Columns to order the files by instead of plain compaction.
    z_order_share : float, default 0.2
        Share of the table's bytes, written since the last such ordering, that makes another one due.
    checkpoint_interval : int, default 10
        Commits since the last checkpoint that make one due; 0 for never.
    vacuum : bool, default True
        Delete files that no version younger than the retention needs.
    file_retention : timedelta, optional
        How long files that left the table are kept; the table's own, or a week, when left out.
    clean_log : bool, default True
        Delete commits older than the log retention that a checkpoint covers.
    log_retention : timedelta, optional
        How long commits are kept; the table's own, or 30 days, when left out.
    consumers : Sequence[Consumer], default ()
        Readers of changes; what they still have to read is kept, however old it is.
    """

    compact: bool = True
    small_files: int = 8
    target_file_bytes: int | None = None
    z_order_by: tuple[str, ...] = ()
    z_order_share: float = 0.2
    checkpoint_interval: int = 10
    vacuum: bool = True
    file_retention: timedelta | None = None
    clean_log: bool = True
    log_retention: timedelta | None = None
    consumers: tuple[Consumer, ...] = ()

    def __post_init__(self) -> None:
        if self.small_files < 2 or self.checkpoint_interval < 0 or not 0 < self.z_order_share <= 1:
            raise OptionError(
                "a maintenance policy has a limit that makes no sense",
                f"small_files {self.small_files}, checkpoint_interval {self.checkpoint_interval}, "
                f"z_order_share {self.z_order_share}",
                "At least 2 files, 0 commits, and a share between 0 and 1.",
            )


class Removal(Struct, frozen=True, kw_only=True):
    """Files that were deleted, or would be.

    Parameters
    ----------
    paths : tuple of str
        Below the table's folder, decoded.
    bytes : int
        Their size.
    kept : int
        Files old enough that a consumer still needs.
    dry_run : bool
        Whether nothing was deleted.
    """

    paths: tuple[str, ...]
    bytes: int
    kept: int
    dry_run: bool


class MaintenanceStep(Struct, frozen=True, kw_only=True):
    """One thing that maintenance looked at.

    Parameters
    ----------
    action : str
        ``compact``, ``z-order``, ``checkpoint``, ``vacuum`` or ``clean-log``.
    due : bool
        Whether it was to be done.
    reason : str
        Why, or why not, in one sentence.
    done : bool
        Whether it was done; False in a dry run.
    files : int
        Files put together, or deleted.
    bytes : int
        Their size.
    seconds : float
        Time it took.
    commit : Commit or None
        The commit it made, if any.
    """

    action: Action
    due: bool
    reason: str
    done: bool = False
    files: int = 0
    bytes: int = 0
    seconds: float = 0.0
    commit: Commit | None = None


class MaintenanceReport(Struct, frozen=True, kw_only=True):
    """What maintenance found and did.

    Parameters
    ----------
    version : int
        Version of the table when it started.
    steps : tuple of MaintenanceStep
        In the order in which they were taken.
    dry_run : bool
        Whether it was only looked at.
    """

    version: int
    steps: tuple[MaintenanceStep, ...]
    dry_run: bool

    def __str__(self) -> str:
        lines = (
            f"{each.action:10}  {'done' if each.done else 'due' if each.due else 'no':4}  {each.reason}"
            for each in self.steps
        )
        return "\n".join(lines)


class Maintenance:
    """The maintenance of a `Table`."""

    _location: Location
    _policy: WritePolicy
    _handles: Handles
    _spec: TableSpec | None
    _features: FeaturePolicy

    def snapshot(self, version: int | None = None, timestamp: datetime | str | None = None) -> Snapshot:
        """Pin a version of the table."""
        raise NotImplementedError

    def optimize(self, *, z_order_by: Sequence[str] = (), target_file_bytes: int | None = None) -> Commit:
        """Put small files together in one commit that changes no row.

        In tables made elsewhere, deltalake also cleans the log up as their properties say; tables made here
        have ``delta.enableExpiredLogCleanup`` off, and leave it to `clean_log`.

        Parameters
        ----------
        z_order_by : Sequence[str], default ()
            Columns to order all rows by along a space-filling curve.
        target_file_bytes : int, optional
            Size to aim at; the write policy's, or the table's own, when left out.

        Returns
        -------
        Commit
            What was done; nothing is committed when there is nothing to put together.

        Raises
        ------
        SchemaMismatchError
            When a column is not in the table.
        ConflictError
            When another writer took files away at the same time.
        """
        snapshot = self._to_maintain()
        if z_order_by:
            choose(snapshot.schema, list(z_order_by))
        check_stored(snapshot, self._location)
        check_compactable(snapshot, self._location)
        contract = self._spec if self._spec is not None else snapshot.spec
        names = names_in_files(snapshot)
        properties = parquet_properties(self._policy, contract, snapshot.schema, snapshot.partition_by, names)
        operation = optimize(
            properties, tuple(z_order_by), target_file_bytes or self._policy.target_file_bytes
        )
        request = Request(
            doing="optimising",
            look_for_bloom_filters=self._policy.asks_for_bloom_filters(contract),
            names_in_files=names,
        )
        del snapshot
        commit, handle = run(self._location, self._policy, request, self._handles.take_to_rewrite, operation)
        self._handles.give(handle)
        return commit

    def vacuum(
        self,
        *,
        retention: timedelta | None = None,
        dry_run: bool = True,
        unknown_files: bool = False,
        consumers: Sequence[Consumer] = (),
        allow_short_retention: bool = False,
    ) -> Removal:
        """Delete data files that left the table long ago; by default, only list them.

        Parameters
        ----------
        retention : timedelta, optional
            How long they are kept; the table's ``delta.deletedFileRetentionDuration``, or a week, when left
            out.
        dry_run : bool, default True
            Delete nothing.
        unknown_files : bool, default False
            Include files of that age that the log does not name, which killed writers left behind, and change
            files.
        consumers : Sequence[Consumer], default ()
            Readers of changes; files of changes that they still have to read are kept.
        allow_short_retention : bool, default False
            Accept a retention under an hour, which takes files away from running readers and writers.

        Returns
        -------
        Removal
            The files and their size.

        Raises
        ------
        OptionError
            When the retention is too short.
        StorageError
            When a file cannot be deleted, or a consumer's table cannot be read.
        """
        snapshot = self._to_maintain()
        kept_for = retention if retention is not None else _due.file_retention(snapshot)
        if kept_for < _SHORTEST_RETENTION and not allow_short_retention:
            raise OptionError(
                "the retention is too short",
                f"it is {kept_for}: running readers and writers would lose files",
                "Keep files for an hour, or allow a short retention.",
            )
        return _maintain.vacuum(
            self._location, snapshot, kept_for, tuple(consumers), unknown_files=unknown_files, dry_run=dry_run
        )

    def checkpoint(self) -> int:
        """Write a checkpoint of the newest version, so that opening the table reads one file.

        Returns
        -------
        int
            The version.

        Raises
        ------
        StorageError
            When it cannot be written.
        """
        snapshot = self._to_maintain()
        with mapped(self._location, "writing a checkpoint of"):
            snapshot._handle().create_checkpoint()  # pyright: ignore[reportPrivateUsage] -- same package
        return snapshot.version

    def clean_log(
        self,
        *,
        retention: timedelta | None = None,
        dry_run: bool = True,
        consumers: Sequence[Consumer] = (),
    ) -> Removal:
        """Delete commits that are old and covered by a checkpoint; by default, only list them.

        Every version from the oldest checkpoint left can still be read.

        Parameters
        ----------
        retention : timedelta, optional
            How long commits are kept; the table's ``delta.logRetentionDuration``, or 30 days, when left out.
        dry_run : bool, default True
            Delete nothing.
        consumers : Sequence[Consumer], default ()
            Readers of changes; commits that they still have to read are kept.

        Returns
        -------
        Removal
            The files of the log and their size.

        Raises
        ------
        StorageError
            When a file cannot be deleted, or a consumer's table cannot be read.
        """
        snapshot = self.snapshot()
        kept_for = retention if retention is not None else _due.log_retention(snapshot)
        removal = _maintain.clean_log(self._location, snapshot, kept_for, tuple(consumers), dry_run=dry_run)
        self._handles.forget()
        return removal

    def maintain(
        self, policy: MaintenancePolicy | None = None, *, dry_run: bool = False
    ) -> MaintenanceReport:
        """Do what is due, and nothing else.

        Parameters
        ----------
        policy : MaintenancePolicy, optional
            When the table is due for what.
        dry_run : bool, default False
            Only say what is due.

        Returns
        -------
        MaintenanceReport
            Each step, whether it was due, and why.

        Raises
        ------
        DeltaIoError
            When a step fails; the steps before it are done.

        Examples
        --------
        >>> import pyarrow as pa, tempfile
        >>> from delta_io import Table
        >>> from schema_spec import ColumnSpec, TableSpec
        >>> table = Table.create(tempfile.mkdtemp() + "/t", TableSpec("t", [ColumnSpec("id", "long")]))
        >>> for number in range(8):
        ...     _ = table.write(pa.table({"id": [number]}))
        >>> print(table.maintain(dry_run=True))
        compact     due   8 files are smaller than half of 100.0 MiB in one partition
        checkpoint  no    8 of 10 commits since the last checkpoint
        vacuum      no    no file left the table 7 days ago or earlier
        clean-log   no    no commit is older than 30 days and covered by a checkpoint
        """
        chosen = policy or MaintenancePolicy()
        version = self._to_maintain().version
        steps = [
            self._optimized(chosen, dry_run=dry_run),
            self._checkpointed(chosen, dry_run=dry_run),
            self._vacuumed(chosen, dry_run=dry_run),
            self._log_cleaned(chosen, dry_run=dry_run),
        ]
        return MaintenanceReport(version=version, steps=tuple(steps), dry_run=dry_run)

    def _to_maintain(self) -> Snapshot:
        """Return the newest version: files of features that are not known must not be touched."""
        snapshot = self.snapshot()
        check_writable(snapshot.protocol, self._features, self._location)
        return snapshot

    def _optimized(self, policy: MaintenancePolicy, *, dry_run: bool) -> MaintenanceStep:
        action: Action = "z-order" if policy.z_order_by else "compact"
        target = policy.target_file_bytes or self._policy.target_file_bytes
        due = _due.optimizing(self._location, self.snapshot(), policy, target)
        if due.due and (at_risk := self._log_at_risk(policy)):
            reason = (
                f"deltalake would also clean up {at_risk} files of the log that are needed: set {LOG_CLEANUP}"
            )
            return MaintenanceStep(action=action, due=False, reason=f"{reason} to false")
        if not due.due or dry_run:
            return MaintenanceStep(action=action, due=due.due, reason=due.reason)
        commit = self.optimize(z_order_by=policy.z_order_by, target_file_bytes=target)
        return MaintenanceStep(
            action=action,
            due=True,
            reason=due.reason,
            done=commit.operation != "NONE",
            files=commit.files_removed,
            bytes=commit.bytes,
            seconds=commit.seconds,
            commit=commit,
        )

    def _log_at_risk(self, policy: MaintenancePolicy) -> int:
        """Return how many files of the log that are to stay a commit of deltalake's would take away."""
        snapshot = self.snapshot()
        if snapshot.properties.get(LOG_CLEANUP, "").lower() == "false":
            return 0
        retention = _due.log_retention(snapshot)
        removal = _maintain.clean_log(self._location, snapshot, retention, policy.consumers, dry_run=True)
        return removal.kept + (0 if policy.clean_log else len(removal.paths))

    def _checkpointed(self, policy: MaintenancePolicy, *, dry_run: bool) -> MaintenanceStep:
        due = _due.checkpoint(self._location, self.snapshot(), policy.checkpoint_interval)
        started = time.monotonic()
        if due.due and not dry_run:
            self.checkpoint()
        return MaintenanceStep(
            action="checkpoint",
            due=due.due,
            reason=due.reason,
            done=due.due and not dry_run,
            seconds=time.monotonic() - started,
        )

    def _vacuumed(self, policy: MaintenancePolicy, *, dry_run: bool) -> MaintenanceStep:
        if not policy.vacuum:
            return MaintenanceStep(action="vacuum", due=False, reason="the policy leaves it out")
        started = time.monotonic()
        removal = self.vacuum(
            retention=policy.file_retention, dry_run=dry_run, unknown_files=True, consumers=policy.consumers
        )
        kept_for = policy.file_retention or _due.file_retention(self.snapshot())
        found = f"left the table {_due.span(kept_for)} ago or earlier"
        return _removed("vacuum", removal, f"file {found}", f"files {found}", started)

    def _log_cleaned(self, policy: MaintenancePolicy, *, dry_run: bool) -> MaintenanceStep:
        if not policy.clean_log:
            return MaintenanceStep(action="clean-log", due=False, reason="the policy leaves it out")
        started = time.monotonic()
        removal = self.clean_log(retention=policy.log_retention, dry_run=dry_run, consumers=policy.consumers)
        kept_for = _due.span(policy.log_retention or _due.log_retention(self.snapshot()))
        found = f"older than {kept_for} and covered by a checkpoint"
        return _removed("clean-log", removal, f"commit is {found}", f"files of the log are {found}", started)


def _removed(action: Action, removal: Removal, one: str, many: str, started: float) -> MaintenanceStep:
    count = len(removal.paths)
    held = f"; consumers still need {removal.kept}" if removal.kept else ""
    return MaintenanceStep(
        action=action,
        due=count > 0,
        reason=(f"{count} {many}" if count else f"no {one}") + held,
        done=count > 0 and not removal.dry_run,
        files=count,
        bytes=removal.bytes,
        seconds=time.monotonic() - started,
    )
