"""One governed DataFusion session over Delta Lake tables."""

from df_runtime.datasets import DatasetIdentity, DatasetResolution
from df_runtime.errors import (
    AmbiguousColumnError,
    CancelledError,
    DatasetError,
    DatasetNameError,
    DatasetSourceError,
    DatasetUnknownError,
    DatasetUnsupportedError,
    DependencyError,
    DfRuntimeError,
    ExecutionError,
    MultipleStatementsError,
    ParameterError,
    PolicyError,
    ProfileError,
    ResourceError,
    SessionClosedError,
    SqlError,
    SqlSyntaxError,
    SqlTypeError,
    SqlUnsupportedError,
    StreamConsumedError,
    UnknownColumnError,
    UnknownFunctionError,
    UnknownTableError,
    ViewCycleError,
)
from df_runtime.factory import SessionFactory
from df_runtime.plans import PlanArtifacts, PlanInputs, PlanStore
from df_runtime.policy import SqlPolicy
from df_runtime.profile import RuntimeProfile
from df_runtime.result import Result
from df_runtime.session import Session

__all__ = [
    "AmbiguousColumnError",
    "CancelledError",
    "DatasetError",
    "DatasetIdentity",
    "DatasetNameError",
    "DatasetResolution",
    "DatasetSourceError",
    "DatasetUnknownError",
    "DatasetUnsupportedError",
    "DependencyError",
    "DfRuntimeError",
    "ExecutionError",
    "MultipleStatementsError",
    "ParameterError",
    "PlanArtifacts",
    "PlanInputs",
    "PlanStore",
    "PolicyError",
    "ProfileError",
    "ResourceError",
    "Result",
    "RuntimeProfile",
    "Session",
    "SessionClosedError",
    "SessionFactory",
    "SqlError",
    "SqlPolicy",
    "SqlSyntaxError",
    "SqlTypeError",
    "SqlUnsupportedError",
    "StreamConsumedError",
    "UnknownColumnError",
    "UnknownFunctionError",
    "UnknownTableError",
    "ViewCycleError",
]
