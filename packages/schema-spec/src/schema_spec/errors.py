"""Errors of schema_spec.

Each class has a stable ``code``; ``str(error)`` says what failed, what was found and what to do::

    SpecError
    ├── SpecSyntaxError        spec-syntax             text that is not TOML, JSON, DDL or a type at all
    ├── SpecFieldError         spec-field-invalid      a field is missing, unknown or holds a wrong value
    ├── SpecTypeError          spec-type-unsupported   a type that no Delta table can hold
    ├── ColumnMissingError     spec-column-missing     a name that is no column of the table
    ├── ColumnDuplicateError   spec-column-duplicate   two columns of one name
    ├── DefaultError           spec-default-invalid    a default that its column cannot hold
    ├── SemanticError          spec-semantic-conflict  a semantic type over the wrong storage
    ├── ConstraintError        spec-constraint-invalid a constraint that does not fit the table
    ├── EvolutionError         spec-evolution-refused  a difference that the evolution policy does not admit
    ├── SpecFileError          spec-file-unreadable    a contract file that cannot be read
    └── ExtraMissingError      spec-extra-missing      an optional dependency is not installed
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, ClassVar, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "ColumnDuplicateError",
    "ColumnMissingError",
    "ConstraintError",
    "DefaultError",
    "EvolutionError",
    "ExtraMissingError",
    "SemanticError",
    "SpecError",
    "SpecFieldError",
    "SpecFileError",
    "SpecSyntaxError",
    "SpecTypeError",
]


class SpecError(ValueError):
    """Base of every error that schema_spec raises.

    Parameters
    ----------
    what : str
        What failed.
    found : str, optional
        What was found instead.
    fix : str, optional
        What to do about it.
    path : str, optional
        Where in the contract, such as ``columns[2].type``.
    value : object, optional
        The offending value.

    Examples
    --------
    >>> error = SpecFieldError(
    ...     "nullable is not a boolean", "it is 'yes'", "Write true or false.", path="columns[0]"
    ... )
    >>> str(error)
    "columns[0]: nullable is not a boolean; it is 'yes'. Write true or false. [spec-field-invalid]"
    >>> error.code
    'spec-field-invalid'
    """

    code: ClassVar[str] = "spec-error"

    def __init__(
        self, what: str, found: str = "", fix: str = "", *, path: str = "", value: object = None
    ) -> None:
        self.what = what
        self.found = found
        self.fix = fix
        self.path = path
        self.value = value
        super().__init__(what, found, fix)

    def __str__(self) -> str:
        where = f"{self.path}: " if self.path else ""
        found = f"; {self.found}" if self.found else ""
        fix = f" {self.fix}" if self.fix else ""
        return f"{where}{self.what}{found}.{fix} [{self.code}]"

    def __reduce__(self) -> tuple[object, ...]:
        state = {"path": self.path, "value": self.value}
        return (type(self), (self.what, self.found, self.fix), state)

    def at(self, path: str) -> SpecError:
        """Return the same error located at a path.

        Parameters
        ----------
        path : str
            Where the error was met; what the error already knows is appended.

        Returns
        -------
        SpecError
            An error of the same class.
        """
        inner = self.path
        joined = path + inner if inner.startswith("[") or not inner or not path else f"{path}.{inner}"
        return type(self)(self.what, self.found, self.fix, path=joined, value=self.value)


class SpecSyntaxError(SpecError):
    """Text that is not TOML, JSON, msgpack, DDL or a type at all."""

    code = "spec-syntax"


class SpecFieldError(SpecError):
    """A field is missing, unknown or holds a wrong value."""

    code = "spec-field-invalid"


class SpecTypeError(SpecError):
    """A type that no Delta table can hold."""

    code = "spec-type-unsupported"


class ColumnMissingError(SpecError):
    """A name that is no column of the table."""

    code = "spec-column-missing"


class ColumnDuplicateError(SpecError):
    """Two columns of one name; Delta compares names without case."""

    code = "spec-column-duplicate"


class DefaultError(SpecError):
    """A default that its column cannot hold."""

    code = "spec-default-invalid"


class SemanticError(SpecError):
    """A semantic type over the wrong storage, or two that do not go together."""

    code = "spec-semantic-conflict"


class ConstraintError(SpecError):
    """A constraint that does not fit the table."""

    code = "spec-constraint-invalid"


class EvolutionError(SpecError):
    """A difference that the evolution policy does not admit, or that no expression bridges."""

    code = "spec-evolution-refused"


class SpecFileError(SpecError):
    """A contract file that cannot be read."""

    code = "spec-file-unreadable"


class ExtraMissingError(SpecError):
    """An optional dependency is not installed."""

    code = "spec-extra-missing"


_SHOWN_LENGTH: Final = 80


def shown(value: object) -> str:
    """Return a value as messages quote it, cut where it is long.

    Parameters
    ----------
    value : object
        Any value.

    Returns
    -------
    str
        Its ``repr``, or what it is where that cannot be had.

    Examples
    --------
    >>> shown("a"), shown(10**9999)
    ("'a'", 'an int of 33216 bits')
    """
    if isinstance(value, int) and value.bit_length() > _SHOWN_LENGTH * 3:
        return f"an int of {value.bit_length()} bits"
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # a container of huge numbers, or one without end
        return f"a {type(value).__name__} that cannot be shown"
    return text if len(text) <= _SHOWN_LENGTH else text[: _SHOWN_LENGTH - 3] + "..."


def closest(name: str, candidates: Iterable[str]) -> str:
    """Return a hint naming the closest candidates.

    Parameters
    ----------
    name : str
        The name that was not found.
    candidates : Iterable[str]
        The names that exist.

    Returns
    -------
    str
        One sentence, such as ``Did you mean "amount"?`` or ``It has id, day.``.
    """
    names = list(candidates)
    near = get_close_matches(name, names, n=2)
    if near:
        return "Did you mean " + " or ".join(f'"{each}"' for each in near) + "?"
    shown = ", ".join(names[:8]) + (", …" if len(names) > 8 else "")
    return f"It has {shown}." if names else "It has none."
