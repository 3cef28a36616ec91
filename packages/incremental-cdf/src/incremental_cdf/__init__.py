"""Views over Delta Lake tables, kept current at a cost that follows the change."""

from incremental_cdf.errors import (
    IncrementalError,
    PlanStaleError,
    RefreshConflictError,
    RefreshFailedError,
    SourceUnknownError,
    SourceUnsupportedError,
    StrictRefreshError,
    TargetError,
    ViewColumnsError,
    ViewCycleError,
    ViewDefinitionError,
    ViewKeyError,
    ViewQueryError,
    ViewSyntaxError,
    ViewUnbuiltError,
    ViewUnknownError,
)
from incremental_cdf.plan import Estimates, RefreshPlan, SourcePlan, SqlStep, ViewPlan
from incremental_cdf.report import RefreshReport, Verification, ViewReport
from incremental_cdf.view import View
from incremental_cdf.views import Views

__all__ = [
    "Estimates",
    "IncrementalError",
    "PlanStaleError",
    "RefreshConflictError",
    "RefreshFailedError",
    "RefreshPlan",
    "RefreshReport",
    "SourcePlan",
    "SourceUnknownError",
    "SourceUnsupportedError",
    "SqlStep",
    "StrictRefreshError",
    "TargetError",
    "Verification",
    "View",
    "ViewColumnsError",
    "ViewCycleError",
    "ViewDefinitionError",
    "ViewKeyError",
    "ViewPlan",
    "ViewQueryError",
    "ViewReport",
    "ViewSyntaxError",
    "ViewUnbuiltError",
    "ViewUnknownError",
    "Views",
]
