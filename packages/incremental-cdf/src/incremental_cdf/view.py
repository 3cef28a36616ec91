"""What a view is: a query and the table that holds its result."""

from __future__ import annotations

import os
from typing import Literal, TypeAlias

import msgspec

from incremental_cdf.errors import ViewDefinitionError

RefreshMode: TypeAlias = Literal["auto", "incremental", "full", "strict"]

_MODES = ("auto", "incremental", "full", "strict")


class _Definition(msgspec.Struct, frozen=True):
    name: str
    query: str
    target: str


class View(_Definition, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A query whose result is kept as a Delta table.

    Parameters
    ----------
    name : str
        Name under which other views may read this one.
    query : str
        One SQL query. Its tables are views of the same set or names of the session.
    target : str
        Path or URI of the Delta table; it is created by the first refresh and belongs to the view.
    key : tuple of str, optional
        Columns of the result by which rows are replaced. They need not be unique: all rows with the same key
        are recomputed together. Found from GROUP BY or from a source's primary key if it is left out;
        declaring it also says that refreshing by key is preferred to recomputing.
    refresh : {"auto", "incremental", "full", "strict"}
        How the view may be refreshed once its table is built. `auto` takes what is estimated to cost less,
        `incremental` recomputes in full only if nothing else is possible, `full` always does, and `strict`
        fails where a full recomputation would be needed.
    depends : tuple of str, optional
        Views to refresh before this one, beyond those that its query reads.

    Raises
    ------
    ViewDefinitionError
        The name is empty, the refresh mode is unknown, or the key is empty or names a column twice.

    Examples
    --------
    >>> View("revenue", "SELECT day, sum(amount) AS total FROM orders GROUP BY day", "lake/revenue").refresh
    'auto'
    """

    key: tuple[str, ...] | None = None
    refresh: RefreshMode = "auto"
    depends: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "target", os.fspath(self.target))
        for field in ("key", "depends"):
            self._freeze(field)
        if not self.name.strip():
            raise ViewDefinitionError("A view has an empty name; name it as other views shall read it.")
        if self.refresh not in _MODES:
            message = f"View {self.name} has refresh {self.refresh!r}; use one of {', '.join(_MODES)}."
            raise ViewDefinitionError(message, view=self.name)
        if self.key is not None and (not self.key or len(set(self.key)) < len(self.key)):
            message = (
                f"View {self.name} has the key {list(self.key)}; name at least one column, and each one once."
            )
            raise ViewDefinitionError(message, view=self.name)

    def _freeze(self, field: str) -> None:
        value = getattr(self, field)
        if isinstance(value, str):
            msgspec.structs.force_setattr(self, field, (value,))
        elif value is not None:
            msgspec.structs.force_setattr(self, field, tuple(value))
