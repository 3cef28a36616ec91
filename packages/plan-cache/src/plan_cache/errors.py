"""What can go wrong in a plan cache.

PlanCacheError               plan-cache-error
└── PlanCacheLimitError      plan-cache-limit
"""

from __future__ import annotations

from typing import ClassVar


class PlanCacheError(Exception):
    """Base of every error of this package.

    Parameters
    ----------
    message : str
        What failed, what was found and what to do. The code is appended when the error is printed.

    Attributes
    ----------
    code : str
        A stable identifier to branch on; messages may change, codes do not.
    """

    code: ClassVar[str] = "plan-cache-error"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        return f"{self.message} [{self.code}]"


class PlanCacheLimitError(PlanCacheError, ValueError):
    """A limit of the cache is not positive."""

    code = "plan-cache-limit"
