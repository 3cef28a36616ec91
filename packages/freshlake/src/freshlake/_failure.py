"""What any error means for the user: exit code, message, place."""

from __future__ import annotations

import re

import msgspec

from delta_io import DeltaIoError, NotDeltaError, TableNotFoundError
from df_runtime import DatasetError, DfRuntimeError, SqlError
from freshlake.errors import FreshlakeError, InterruptedRunError, UnexpectedError
from incremental_cdf import IncrementalError, TargetError, ViewDefinitionError
from schema_spec import SpecError

WRONG_INPUT = 2
FAILED = 1

_CODE = re.compile(r"\s*\[[a-z0-9-]+\]\s*$")
_INPUT_ERRORS = (
    SpecError,
    NotDeltaError,
    TableNotFoundError,
    SqlError,
    DatasetError,
    TargetError,
    ViewDefinitionError,
)
_KNOWN_ERRORS = (SpecError, DeltaIoError, DfRuntimeError, IncrementalError)


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """An error as it is shown: `excerpt` is for people, everything else is in the JSON document too."""

    code: str
    message: str
    exit_code: int
    file: str | None = None
    line: int | None = None
    column: int | None = None
    suggestions: tuple[str, ...] = ()
    excerpt: str | None = None

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        """Explain an error; one that nobody planned for asks to be reported."""
        if isinstance(error, FreshlakeError):
            return cls._of_ours(error)
        if isinstance(error, _KNOWN_ERRORS):
            return cls._of_known(error)
        if isinstance(error, KeyboardInterrupt):
            return cls._of_ours(InterruptedRunError("Interrupted."))
        message = (
            f"Unexpected {type(error).__name__}: {error}. This is a defect of freshlake: please report it, "
            "with what the same command prints with --debug."
        )
        return cls._of_ours(UnexpectedError(message))

    @classmethod
    def _of_ours(cls, error: FreshlakeError) -> Failure:
        return cls(
            code=error.code,
            message=error.message,
            exit_code=error.exit_code,
            file=error.file,
            line=error.line,
            column=error.column,
            suggestions=error.suggestions,
            excerpt=error.excerpt,
        )

    @classmethod
    def _of_known(cls, error: SpecError | DeltaIoError | DfRuntimeError | IncrementalError) -> Failure:
        message = plain_message(error)
        exit_code = WRONG_INPUT if isinstance(error, _INPUT_ERRORS) else FAILED
        if not isinstance(error, SqlError):
            return cls(code=error.code, message=message, exit_code=exit_code)
        return cls(
            code=error.code,
            message=message,
            exit_code=exit_code,
            line=error.line,
            column=error.column,
            suggestions=error.suggestions,
        )

    def text(self) -> str:
        """Tell the failure in words, with the line at fault below."""
        parts = (self.file, self.line, self.column) if self.file else ()
        location = ":".join(str(part) for part in parts if part is not None)
        where = f"{location}: " if location else ""
        excerpt = f"\n{self.excerpt}" if self.excerpt else ""
        return f"error: {where}{self.message} [{self.code}]{excerpt}"

    def document(self) -> dict[str, object]:
        """Build the JSON document of the failure."""
        fields = {
            "code": self.code,
            "message": self.message,
            "file": self.file,
            "line": self.line,
            "column": self.column,
            "suggestions": self.suggestions,
        }
        return {"error": fields}


def plain_message(error: BaseException) -> str:
    """Take the code off the end of an error's text."""
    return _CODE.sub("", str(error))
