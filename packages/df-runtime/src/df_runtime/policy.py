"""What the text of a query may do."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from functools import cached_property

import msgspec

from df_runtime._arguments import check_fields
from df_runtime.errors import ProfileError

_MEGABYTE = 1_000_000
# Planned in a fraction of a second.
_MOST_JOINS = 100


class SqlPolicy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """What a query text may hold, and how much it may ask for.

    Queries (SELECT, WITH, VALUES, SHOW, DESCRIBE, EXPLAIN of a query) are always allowed.

    Parameters
    ----------
    ddl : bool
        CREATE and DROP of tables, views, schemas and functions.
    dml : bool
        INSERT, UPDATE, DELETE, and with `files` COPY.
    statements : bool
        SET, RESET, PREPARE, EXECUTE, DEALLOCATE and transaction control.
    files : bool
        Naming files and URLs: CREATE EXTERNAL TABLE (with `ddl`), COPY (with `dml`), paths in the place of
        tables, and functions that read files.
    unread : bool
        Texts that the gate cannot read and the engine can. What the gate would have checked in them is not
        checked; `GateReport.lane` says so.
    denied_functions : tuple of str
        Functions that may not be called, by each of their names in lower case. `FunctionPolicy` of a profile
        takes functions away altogether.
    max_characters : int
        Length of the longest text.
    max_joins : int
        How many joins a text may have, with those of the views and WITH queries that it names, each as often
        as it is named: planning takes time that grows faster than their number.
    timeout : timedelta, optional
        How long a text may be planned, and then how long a result may run, from its first step to its last
        row; the shorter of this and the profile's counts.
    max_rows : int, optional
        How many rows a result may return; more of them is an error.

    Raises
    ------
    ProfileError
        A value is of another type or out of range.

    Examples
    --------
    >>> from datetime import timedelta
    >>> SqlPolicy.read_only().dml
    False
    >>> SqlPolicy.read_only(timeout=timedelta(seconds=30), max_rows=100_000).max_rows
    100000
    """

    ddl: bool = False
    dml: bool = False
    statements: bool = False
    files: bool = False
    unread: bool = False
    denied_functions: tuple[str, ...] = ()
    max_characters: int = _MEGABYTE
    max_joins: int = _MOST_JOINS
    timeout: timedelta | None = None
    max_rows: int | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        if self.max_characters < 1 or (self.max_rows is not None and self.max_rows < 1):
            raise ProfileError("`max_characters` and `max_rows` must be at least 1.")
        if self.max_joins < 0:
            raise ProfileError(f"`max_joins` must not be negative, found {self.max_joins}.")
        if self.timeout is not None and self.timeout <= timedelta(0):
            raise ProfileError(f"`timeout` must be longer than nothing, found {self.timeout}.")

    @classmethod
    def read_only(
        cls,
        *,
        denied_functions: tuple[str, ...] = (),
        max_characters: int = _MEGABYTE,
        max_joins: int = _MOST_JOINS,
        timeout: timedelta | None = None,
        max_rows: int | None = None,
    ) -> SqlPolicy:
        """Allow queries and nothing else: the policy for text from elsewhere, and the default.

        Parameters
        ----------
        denied_functions, max_characters, max_joins, timeout, max_rows
            Limits, as in `SqlPolicy`.

        Returns
        -------
        SqlPolicy
        """
        return cls(
            denied_functions=denied_functions,
            max_characters=max_characters,
            max_joins=max_joins,
            timeout=timeout,
            max_rows=max_rows,
        )

    @classmethod
    def trusted(cls) -> SqlPolicy:
        """Everything the engine can do, for text that the application wrote itself.

        Returns
        -------
        SqlPolicy
        """
        return cls(
            ddl=True,
            dml=True,
            statements=True,
            files=True,
            unread=True,
            max_characters=1_000 * _MEGABYTE,
            max_joins=10 * _MOST_JOINS,
        )

    @property
    def changes_nothing(self) -> bool:
        """Whether no statement under this policy can change the session."""
        return not (self.ddl or self.dml or self.statements)

    @cached_property
    def identity_hash(self) -> str:
        """Hexadecimal SHA-256 of the canonical bytes of the policy, the same in every process."""
        return hashlib.sha256(msgspec.json.encode(self, order="deterministic")).hexdigest()
