"""The one path that commits take: retried, reported, its errors told apart."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties
from deltalake.transaction import Transaction as DeltaTransaction
from msgspec import Struct
from msgspec.structs import replace

from delta_io import _log
from delta_io._footers import BloomFilters, bloom_filters
from delta_io._map_errors import mapped
from delta_io.errors import ConflictError, OptionError, TransactionAppliedError

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
    reason : str
        Why the attempt before it failed.
    pause_seconds : float
        How long was waited.
    """

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
        Rows written by a write, or inserted, updated and deleted by other operations.
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
        Times the finished commit was placed on top of others that came first.
    metrics : Mapping[str, int]
        Figures of the operation.
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


Operation = Callable[[DeltaTable, CommitProperties, PostCommitHookProperties], object]


def run(
    location: Location,
    policy: WritePolicy,
    request: Request,
    take: Callable[[], DeltaTable],
    operation: Operation,
) -> tuple[Commit, DeltaTable]:
    """Run an operation until it is committed; return the report and a handle that stands at its version."""
    started = time.monotonic()
    retries: list[Retry] = []
    pauses = _pauses(policy.retry, request, started)
    while True:
        handle = take()
        before = _check(handle, request)
        try:
            with mapped(location, request.doing, request.masked):
                operation(handle, _properties(policy, request), _hooks(policy))
        except ConflictError as error:
            pause = next(pauses, None)
            if pause is None:
                raise _refused(error, request, retries) from None
            retries.append(Retry(reason=error.found, pause_seconds=pause))
            time.sleep(pause)
            continue
        seconds = time.monotonic() - started
        commit = _report(location, handle.version(), before, seconds, tuple(retries))
        return (_with_footers(location, commit) if request.look_for_bloom_filters else commit), handle


def _pauses(retry: RetryPolicy, request: Request, started: float) -> Any:
    if request.expected_version is not None or not request.replayable:
        return iter(())
    limit = started + retry.deadline.total_seconds()
    pauses = (pause.total_seconds() for pause in retry.pauses(jitter=random.random()))
    return (pause for pause in pauses if time.monotonic() + pause < limit)


def _refused(error: ConflictError, request: Request, retries: list[Retry]) -> ConflictError:
    tried = f"{error.found}; tried {len(retries) + 1} times" if retries else error.found
    fix = error.fix if request.replayable else "The stream is used up: read the data again and retry."
    return ConflictError(error.what, tried, fix)


def _check(handle: DeltaTable, request: Request) -> int:
    """Return the version an operation starts from, or refuse to start."""
    version = handle.version()
    expected = request.expected_version
    if expected is not None and version != expected:
        raise ConflictError(
            f"{request.doing} the table at version {expected} failed",
            f"the table is at version {version}",
            "Read the newest version and try again.",
        )
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


def _properties(policy: WritePolicy, request: Request) -> CommitProperties:
    transaction = request.transaction
    given = [] if transaction is None else [DeltaTransaction(transaction.app_id, transaction.version)]
    return CommitProperties(
        custom_metadata=dict(request.metadata) if request.metadata else None,
        max_commit_retries=0 if request.expected_version is not None else policy.retry.rebase_attempts,
        app_transactions=given or None,
    )


def _hooks(policy: WritePolicy) -> PostCommitHookProperties:
    # Commits that a reader of changes still needs are removed by maintenance, never on the side.
    return PostCommitHookProperties(create_checkpoint=policy.checkpoints, cleanup_expired_logs=False)


def _report(
    location: Location, version: int, before: int, seconds: float, retries: tuple[Retry, ...]
) -> Commit:
    if version == before:
        return Commit(
            version=version,
            operation="NONE",
            rows=0,
            files=0,
            files_removed=0,
            bytes=0,
            seconds=seconds,
            retries=retries,
        )
    with mapped(location, "reading the newest commit of"):
        actions = _log.read_commit(location, version)
    if actions is None:
        raise ConflictError(f"commit {version} is gone", "another writer replaced the table")
    metrics = {
        key: value
        for key, value in (actions.commit_info.get("operationMetrics") or {}).items()
        if isinstance(value, int)
    }
    return Commit(
        version=version,
        operation=str(actions.commit_info.get("operation", "UNKNOWN")),
        rows=_rows(metrics),
        files=len(actions.adds),
        files_removed=len(actions.removes),
        bytes=sum(add.size for add in actions.adds),
        seconds=seconds,
        retries=retries,
        rebased=metrics.get("num_retries", 0),
        metrics=metrics,
    )


def _with_footers(location: Location, commit: Commit) -> Commit:
    with mapped(location, "reading the footers written to"):
        actions = _log.read_commit(location, commit.version) if commit.files else None
        return replace(
            commit, bloom_filters=bloom_filters(location, actions.adds if actions is not None else ())
        )


def _rows(metrics: Mapping[str, int]) -> int:
    names = (
        "num_added_rows", "num_deleted_rows", "num_updated_rows",
        "num_target_rows_inserted", "num_target_rows_updated", "num_target_rows_deleted",
    )  # fmt: skip
    return sum(metrics.get(name, 0) for name in names)
