"""What the text of a query may do."""

from __future__ import annotations

import msgspec


class SqlPolicy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which kinds of statement a query text may hold.

    Queries (SELECT, WITH, VALUES, SHOW, DESCRIBE, EXPLAIN of a query) are always allowed. Reading files by
    SQL needs `CREATE EXTERNAL TABLE`, which is DDL; writing files needs `COPY`, which is DML.

    Parameters
    ----------
    ddl : bool
        CREATE and DROP of tables, views, schemas and functions.
    dml : bool
        INSERT, UPDATE, DELETE and COPY.
    statements : bool
        SET, RESET, PREPARE, EXECUTE, DEALLOCATE and transaction control.

    Examples
    --------
    >>> SqlPolicy.read_only()
    SqlPolicy(ddl=False, dml=False, statements=False)
    """

    ddl: bool = False
    dml: bool = False
    statements: bool = False

    @classmethod
    def read_only(cls) -> SqlPolicy:
        """Allow queries and nothing else: the policy for text from elsewhere, and the default.

        Returns
        -------
        SqlPolicy
        """
        return cls()

    @classmethod
    def trusted(cls) -> SqlPolicy:
        """Everything the engine can do, for text that the application wrote itself.

        Returns
        -------
        SqlPolicy
        """
        return cls(ddl=True, dml=True, statements=True)

    @property
    def changes_nothing(self) -> bool:
        """Whether no statement under this policy can change the session."""
        return not (self.ddl or self.dml or self.statements)
