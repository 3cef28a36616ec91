"""One safe door to Delta Lake tables."""

from delta_io._changed_files import ChangedFile
from delta_io._clones import clone_table
from delta_io._commit import Commit, CommitInfo, Retry, Transaction
from delta_io._export import Export, export_snapshot, history_table
from delta_io._folders import list_folders
from delta_io._footers import BloomFilters
from delta_io._log import DeletionVector
from delta_io._merging import MergeClause
from delta_io._migration import migrate_parquet
from delta_io.changes import ChangeSet
from delta_io.errors import (
    ChangesUnavailableError,
    ConflictError,
    ConstraintError,
    DeltaIoError,
    FeatureError,
    LogError,
    NotDeltaError,
    OptionError,
    PredicateError,
    SchemaMismatchError,
    StorageError,
    TableExistsError,
    TableNotFoundError,
    TransactionAppliedError,
    UnsupportedError,
    VersionNotFoundError,
)
from delta_io.features import FeaturePolicy, FeatureRules, Protocol
from delta_io.index import FileIndex
from delta_io.maintenance import (
    Consumer,
    MaintenancePolicy,
    MaintenanceReport,
    MaintenanceStep,
    Removal,
)
from delta_io.policy import BloomFilter, CdfPolicy, ColumnPolicy, RetryPolicy, WritePolicy
from delta_io.scan import ScanConfig
from delta_io.snapshot import Snapshot
from delta_io.storage import StorageOptions
from delta_io.table import Table

__all__ = [
    "BloomFilter",
    "BloomFilters",
    "CdfPolicy",
    "ChangeSet",
    "ChangedFile",
    "ChangesUnavailableError",
    "ColumnPolicy",
    "Commit",
    "CommitInfo",
    "ConflictError",
    "ConstraintError",
    "Consumer",
    "DeletionVector",
    "DeltaIoError",
    "Export",
    "FeatureError",
    "FeaturePolicy",
    "FeatureRules",
    "FileIndex",
    "LogError",
    "MaintenancePolicy",
    "MaintenanceReport",
    "MaintenanceStep",
    "MergeClause",
    "NotDeltaError",
    "OptionError",
    "PredicateError",
    "Protocol",
    "Removal",
    "Retry",
    "RetryPolicy",
    "ScanConfig",
    "SchemaMismatchError",
    "Snapshot",
    "StorageError",
    "StorageOptions",
    "Table",
    "TableExistsError",
    "TableNotFoundError",
    "Transaction",
    "TransactionAppliedError",
    "UnsupportedError",
    "VersionNotFoundError",
    "WritePolicy",
    "clone_table",
    "export_snapshot",
    "history_table",
    "list_folders",
    "migrate_parquet",
]
