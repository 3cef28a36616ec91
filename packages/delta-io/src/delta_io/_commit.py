"""The one path that commits take: retried, reported, its errors told apart."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Literal
from uuid import uuid4

import msgspec
from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties
from deltalake.transaction import Transaction as DeltaTransaction
from msgspec import Struct
from msgspec.structs import replace

from delta_io import _log
from delta_io._arguments import check_texts
from delta_io._footers import BloomFilters, bloom_filters, rows_taken_out
from delta_io._map_errors import mapped
from delta_io.errors import (
    ConflictError,
    DeltaIoError,
    LogError,
    OptionError,
    StorageError,
    TransactionAppliedError,
)

if TYPE_CHECKING:
    from delta_io.policy import RetryPolicy, WritePolicy
    from delta_io.storage import Location


class Transaction(Struct, frozen=True, forbid_unknown_fields=True):
    """Id that makes a commit happen once.

    Parameters
    ----------
    app_id : str
        Who writes.
    version : int
        Number of the write; each is higher than the last.
    """

    app_id: str
    version: int

    def __post_init__(self) -> None:
        if not self.app_id or self.version < 0:
            raise OptionError(
                "a transaction id is empty or negative", f"it is {self.app_id!r}, {self.version}"
            )


class Retry(Struct, frozen=True, kw_only=True):
    """A repeated attempt.

    Parameters
    ----------
    cause : {"conflict", "storage"}
        Whether another writer came first, or the storage had a passing fault.
    reason : str
        Why the attempt before it failed.
    pause_seconds : float
        How long was waited.
    """

    cause: Literal["conflict", "storage"]
    reason: str
    pause_seconds: float


class Commit(Struct, frozen=True, kw_only=True):
    """What a commit did.

    Parameters
    ----------
    version : int
        Version it made, or the version it left as it was when nothing was to be done.
    operation : str
        Name of the operation; ``NONE`` when nothing was committed.
    rows : int
        Rows written by a write, or inserted, updated and deleted by other operations; where whole files are
        deleted whose statistics lack it, their footers are asked.
    files : int
        Data files added.
    files_removed : int
        Data files taken out.
    bloom_filters : BloomFilters or None
        Bloom filters found in the footers of the files added; None when the policy asks for none.
    bytes : int
        Size of the data files added.
    seconds : float
        Time it took, retries included.
    retries : tuple[Retry, ...]
        Repeated attempts of the whole operation.
    rebased : int
        Commits of others that landed first, after the version that the last attempt started from.
    metrics : Mapping[str, int]
        Figures of the operation.
    warnings : tuple[str, ...]
        What went wrong after the commit, such as a checkpoint that could not be written.
    sorted_by : tuple[str, ...]
        Columns that each of the files added is sorted by, ascending with nulls last, as far as that is sure;
        the commit's metadata has their names in the files as ``delta_io.sorted_by``.
    rewritten : str or None
        Why predicates were rewritten for deltalake's engine, which would have taken other rows; None when
        they ran as written. The commit's metadata has the reason as ``delta_io.rewritten``, and the predicate
        that was given as ``delta_io.predicate``.
    """

    version: int
    operation: str
    rows: int
    files: int
    files_removed: int
    bytes: int
    seconds: float
    retries: tuple[Retry, ...] = ()
    rebased: int = 0
    metrics: Mapping[str, int] = {}
    bloom_filters: BloomFilters | None = None
    warnings: tuple[str, ...] = ()
    sorted_by: tuple[str, ...] = ()
    rewritten: str | None = None


class CommitInfo(Struct, frozen=True, kw_only=True):
    """What the log says about a commit.

    Parameters
    ----------
    version : int
        Version it made.
    timestamp : datetime
        When, in UTC.
    operation : str
        Name of the operation.
    parameters : Mapping[str, object]
        Its parameters.
    metadata : Mapping[str, object]
        Everything else it recorded, the caller's metadata among it.
    transactions : Mapping[str, int]
        Transaction ids it carried: application and version.
    """

    version: int
    timestamp: datetime
    operation: str
    parameters: Mapping[str, Any]
    metadata: Mapping[str, Any]
    transactions: Mapping[str, int]


def describe(actions: _log.Actions) -> CommitInfo:
    """Return what the log says about a commit."""
    known = ("operation", "operationParameters", "timestamp", "inCommitTimestamp")
    return CommitInfo(
        version=actions.version,
        timestamp=_log.moment(actions.timestamp_ms),
        operation=str(actions.commit_info.get("operation", "UNKNOWN")),
        parameters=actions.commit_info.get("operationParameters") or {},
        metadata={key: value for key, value in actions.commit_info.items() if key not in known},
        transactions={each.app_id: each.version for each in actions.transactions},
    )


class Request(Struct, frozen=True, kw_only=True):
    """What is asked of a commit besides its rows."""

    doing: str
    transaction: Transaction | None = None
    metadata: Mapping[str, str] | None = None
    expected_version: int | None = None
    replayable: bool = True
    masked: frozenset[str] = frozenset()
    look_for_bloom_filters: bool = False
    names_in_files: Mapping[str, str] = {}
    rewritten: str | None = None
    predicate: str | None = None
    sorted_by: Callable[[], tuple[str, ...]] = tuple

    def recorded(self) -> dict[str, str]:
        """Return what is recorded with the commit; called when its rows are about to be written."""
        own = {"delta_io.predicate": self.predicate, "delta_io.rewritten": self.rewritten}
        noted = {key: text for key, text in own.items() if text is not None and self.rewritten is not None}
        if columns := self.sorted_by():
            in_files = [self.names_in_files.get(name, name) for name in columns]
            noted[_log.SORTED] = msgspec.json.encode(in_files).decode()
        return {**(self.metadata or {}), **noted}


Operation = Callable[[DeltaTable, CommitProperties, PostCommitHookProperties], object]


def run(
    location: Location,
    policy: WritePolicy,
    request: Request,
    take: Callable[[], DeltaTable],
    operation: Operation,
) -> tuple[Commit, DeltaTable | None]:
    """Run an operation until it is committed; return the report, and a handle that stands at its version."""
    check_texts(request.metadata, "the metadata")
    for key in (_log.MARK, _log.SORTED):
        if request.metadata and key in request.metadata:
            raise OptionError(f"metadata has a key {key!r}", "each commit has its own", "Rename the key.")
    attempts = _Attempts(policy.retry, request)
    while True:
        mark = str(uuid4())
        before: int | None = None
        try:
            handle = take()
            with mapped(location, request.doing, request.masked):
                before = _check(handle, request)
                operation(handle, _properties(policy, request, mark), _hooks(policy))
            version = handle.version()
        except (ConflictError, StorageError) as error:
            found = None if before is None else attempts.look(location, before, mark, error)
            if found is None:
                attempts.wait(error, started=before is not None)
                continue
            version, handle, warnings = found, None, (str(error),)
        else:
            warnings = ()
        report = _report(location, attempts, (before or 0, version, mark), request)
        return replace(report, warnings=(*warnings, *report.warnings)), handle


class _Attempts:
    """The attempts at one commit: which errors are worth another one, and how long to wait for it."""

    def __init__(self, retry: RetryPolicy, request: Request) -> None:
        self._request: Final = request
        self.started: Final = time.monotonic()
        self._limit: Final = self.started + retry.deadline.total_seconds()
        self._pauses: Final = retry.pauses()
        self.made: Final[list[Retry]] = []

    def wait(self, error: ConflictError | StorageError, *, started: bool) -> None:
        """Wait before the next attempt, or raise the error when there is to be none."""
        request = self._request
        conflict = isinstance(error, ConflictError)
        used_up = started and not request.replayable
        hopeless = not error.retryable or used_up or (conflict and request.expected_version is not None)
        pause = None if hopeless else next(self._pauses, None)
        seconds = 0.0 if pause is None else pause.total_seconds()
        if pause is None or time.monotonic() + seconds >= self._limit:
            raise _refused(error, len(self.made), used_up=used_up and error.retryable) from None
        self.made.append(
            Retry(cause="conflict" if conflict else "storage", reason=error.found, pause_seconds=seconds)
        )
        time.sleep(seconds)

    def look(self, location: Location, after: int, mark: str, error: DeltaIoError) -> int | None:
        """Return the version of a commit that landed although an error was reported, or None."""
        while True:
            try:
                return _landed(location, after, mark)
            except StorageError as fault:
                pause = next(self._pauses, None) if fault.retryable else None
                if pause is None or time.monotonic() + pause.total_seconds() >= self._limit:
                    raise StorageError(
                        error.what,
                        f"{error.found}; nor could the log be read afterwards: {fault.found}",
                        f"It may be committed: look for a commit with txnId {mark!r} in the history first.",
                    ) from None
                time.sleep(pause.total_seconds())


def _landed(location: Location, after: int, mark: str, guess: int | None = None) -> int | None:
    """Return the version of the commit with a mark; looked for at a guess first, else from a version on."""
    version = after + 1 if guess is None else guess
    with mapped(location, "reading the newest commits of"):
        while (actions := _log.read_commit(location, version)) is not None:
            if _log.mark(actions) == mark:
                return version
            version += 1
    return None if guess is None else _landed(location, after, mark)


def _refused(
    error: ConflictError | StorageError, retries: int, *, used_up: bool
) -> ConflictError | StorageError:
    tried = f"{error.found}; tried {retries + 1} times" if retries else error.found
    fix = "The stream is used up: read the data again and retry." if used_up else error.fix
    refused = type(error)(error.what, tried, fix)
    refused.retryable = error.retryable
    return refused


def _check(handle: DeltaTable, request: Request) -> int:
    """Return the version an operation starts from, or refuse to start."""
    version = handle.version()
    expected = request.expected_version
    if expected is not None and version != expected:
        error = ConflictError(
            f"{request.doing} the table at version {expected} failed",
            f"the table is at version {version}",
            "Read the newest version and try again.",
        )
        error.retryable = False
        raise error
    wanted = request.transaction
    if wanted is not None:
        applied = handle.transaction_version(wanted.app_id)
        if applied is not None and applied >= wanted.version:
            raise TransactionAppliedError(
                f"transaction {wanted.version} of {wanted.app_id!r} was not written",
                f"the table holds {applied} already",
                "Nothing needs to be done.",
            )
    return version


def _properties(policy: WritePolicy, request: Request, mark: str) -> CommitProperties:
    transaction = request.transaction
    given = [] if transaction is None else [DeltaTransaction(transaction.app_id, transaction.version)]
    return CommitProperties(
        custom_metadata={**request.recorded(), _log.MARK: mark},
        max_commit_retries=0 if request.expected_version is not None else policy.retry.rebase_attempts,
        app_transactions=given or None,
    )


def _hooks(policy: WritePolicy) -> PostCommitHookProperties:
    # Commits that a reader of changes still needs are removed by maintenance, never on the side.
    return PostCommitHookProperties(create_checkpoint=policy.checkpoints, cleanup_expired_logs=False)


def _report(location: Location, attempts: _Attempts, found: tuple[int, int, str], request: Request) -> Commit:
    """Return what was done between a version and one that a handle came to, by its mark."""
    before, reached, mark = found
    nothing = Commit(
        version=before,
        operation="NONE",
        rows=0,
        files=0,
        files_removed=0,
        bytes=0,
        seconds=time.monotonic() - attempts.started,
        retries=tuple(attempts.made),
        rewritten=request.rewritten,
    )
    if reached == before:
        return nothing
    try:
        # The handle may have gone on to commits of others.
        version = _landed(location, before, mark, guess=reached)
        if version is None:
            return nothing
        commit = replace(nothing, version=version, rebased=version - before - 1)
        return _described(location, commit, request)
    except DeltaIoError as error:  # it is committed: an error would have it done again
        return replace(nothing, version=reached, operation="UNKNOWN", warnings=(f"no figures: {error}",))


def _described(location: Location, commit: Commit, request: Request) -> Commit:
    """Return a commit with the figures that the log has of it."""
    with mapped(location, "reading the newest commit of"):
        actions = _log.read_commit(location, commit.version)
        if actions is None:
            raise LogError(f"commit {commit.version} is gone", "another writer replaced the table")
        looked_for = request.look_for_bloom_filters
        found = bloom_filters(location, actions.adds, request.names_in_files) if looked_for else None
    shown = {in_files: name for name, in_files in request.names_in_files.items()}
    metrics = {
        key: value
        for key, value in (actions.commit_info.get("operationMetrics") or {}).items()
        if isinstance(value, int)
    }
    operation = str(actions.commit_info.get("operation", "UNKNOWN"))
    rows, warnings = _rows(metrics), ()
    if operation == "DELETE" and "num_deleted_rows" not in metrics:
        rows, warnings = _deleted(location, actions)
    return replace(
        commit,
        operation=operation,
        rows=rows,
        warnings=warnings,
        files=len(actions.adds),
        files_removed=len(actions.removes),
        bytes=sum(add.size for add in actions.adds),
        metrics=metrics,
        bloom_filters=found,
        sorted_by=tuple(shown.get(name, name) for name in _log.sorted_by(actions)),
    )


def _deleted(location: Location, actions: _log.Actions) -> tuple[int, tuple[str, ...]]:
    """Return how many rows were in the files deleted, or a warning: the commit has happened."""
    try:
        with mapped(location, "counting the deleted rows of"):
            return rows_taken_out(location, actions.removes), ()
    except DeltaIoError as error:
        return 0, (f"how many rows were deleted is not known: {error}",)


def _rows(metrics: Mapping[str, int]) -> int:
    names = (
        "num_added_rows", "num_deleted_rows", "num_updated_rows",
        "num_target_rows_inserted", "num_target_rows_updated", "num_target_rows_deleted",
    )  # fmt: skip
    return sum(metrics.get(name, 0) for name in names)
