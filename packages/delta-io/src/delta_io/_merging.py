"""Merging rows by key: the clauses of a merge, and what deltalake is asked to do for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties, WriterProperties
from msgspec import Struct
from msgspec.structs import replace

from delta_io._generated import regenerated
from delta_io._read import choose
from delta_io._sound import Columns, Sound, null_fields, quote, same_key, sides, sound
from delta_io.errors import OptionError, SchemaMismatchError

if TYPE_CHECKING:
    from delta_io._align import Aligned
    from delta_io._commit import Operation

Action = Literal["update", "delete", "insert"]
_DEFAULT: Final = b"CURRENT_DEFAULT"
_ALLOWED: Final[dict[str, tuple[Action, ...]]] = {
    "matched": ("update", "delete"),
    "not_matched": ("insert",),
    "not_matched_by_source": ("update", "delete"),
}


class MergeClause(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a merge does with some of the rows: the first clause whose condition is true for a row is applied.

    Parameters
    ----------
    action : {"update", "delete", "insert"}
        What happens to the row.
    condition : str, optional
        SQL text over ``source`` and ``target``, as far as the row has both; all rows when left out.
    values : Mapping[str, str], optional
        Columns and SQL expressions for their values; the source's columns when left out. Columns that are not
        named keep their values, or get their default, or null, in inserted rows.

    Examples
    --------
    >>> MergeClause(action="update", condition="source.at > target.at", values={"at": "source.at"}).action
    'update'
    """

    action: Action
    condition: str | None = None
    values: Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        if self.action not in ("update", "delete", "insert"):
            raise OptionError(f"unknown action {self.action!r}", fix="Use update, delete or insert.")
        if self.values is not None and (self.action == "delete" or not self.values):
            found = "the clause deletes" if self.values else "they are empty"
            raise OptionError("a clause has values that it cannot use", found, "Leave them out.")


class MergeRules(Struct, frozen=True, kw_only=True):
    """What a merge does with rows that match, and with those that don't."""

    on: tuple[str, ...]
    condition: str | None
    matched: tuple[MergeClause, ...]
    not_matched: tuple[MergeClause, ...]
    not_matched_by_source: tuple[MergeClause, ...]

    @property
    def is_plain(self) -> bool:
        """Whether rows go into the table as they are, so that it has to have every column of theirs."""
        every = self.matched + self.not_matched + self.not_matched_by_source
        return self.condition is None and not any(each.condition or each.values for each in every)

    @property
    def expressions(self) -> set[str]:
        """Columns that clauses give expressions for."""
        every = self.matched + self.not_matched + self.not_matched_by_source
        return {name for each in every for name in each.values or ()}


def merge_rules(
    on: str | Sequence[str],
    condition: str | None,
    delete_when: str | None,
    **clauses: str | Sequence[MergeClause],
) -> MergeRules:
    """Return the rules that arguments of a merge stand for, or raise when they make no sense."""
    keys = (on,) if isinstance(on, str) else tuple(on)
    if not keys:
        raise OptionError("a merge has no key", fix="Name the columns that identify a row.")
    found = {name: _clauses(name, given) for name, given in clauses.items()}
    if delete_when is not None:
        found["matched"] = (MergeClause(action="delete", condition=delete_when), *found["matched"])
        kept = f"NOT coalesce({delete_when}, false)"
        found["not_matched"] = tuple(
            MergeClause(
                action="insert",
                condition=kept if each.condition is None else f"({each.condition}) AND {kept}",
                values=each.values,
            )
            for each in found["not_matched"]
        )
    return MergeRules(on=keys, condition=condition, **found)


def _clauses(name: str, given: str | Sequence[MergeClause]) -> tuple[MergeClause, ...]:
    allowed = _ALLOWED[name]
    if isinstance(given, str):
        words = [each for each in allowed if (name, each) != ("not_matched_by_source", "update")]
        if given not in (*words, "ignore"):
            raise OptionError(f"{name} is {given!r}", fix=f"Use {', '.join(words)}, ignore, or clauses.")
        return () if given == "ignore" else (MergeClause(action=given),)  # type: ignore[arg-type] -- just checked
    for each in given:
        if each.action not in allowed:
            raise OptionError(
                f"a clause of {name} would {each.action}", fix=f"Use {' or '.join(allowed)} there."
            )
        if name == "not_matched_by_source" and each.action == "update" and each.values is None:
            raise OptionError(
                "rows that nothing matches are updated without values",
                "there is no source row to take them from",
                "Name the columns and their values.",
            )
    return tuple(given)


def sound_rules(rules: MergeRules, source: pa.Schema, target: pa.Schema) -> tuple[MergeRules, str | None]:
    """Return rules whose conditions the engine answers right, and why they are not those given, if not."""
    columns = Columns(schema=sides(source, target))
    of_clauses = replace(columns, pruned_by=False)
    reasons: list[str | None] = []

    def noted(made: Sound) -> str:
        reasons.append(made.reason)
        return made.sql

    def clauses(given: tuple[MergeClause, ...]) -> tuple[MergeClause, ...]:
        return tuple(
            replace(
                each,
                condition=None if each.condition is None else noted(sound(each.condition, of_clauses)),
                values=None
                if each.values is None
                else {name: null_fields(value, columns.schema) for name, value in each.values.items()},
            )
            for each in given
        )

    made = replace(
        rules,
        condition=None if rules.condition is None else noted(sound(rules.condition, columns)),
        matched=clauses(rules.matched),
        not_matched=clauses(rules.not_matched),
        not_matched_by_source=clauses(rules.not_matched_by_source),
    )
    return made, next((each for each in reasons if each is not None), None)


def merge_columns(given: pa.Schema, table: pa.Schema, rules: MergeRules) -> pa.Schema:
    """Return the columns of a merge's source: the table's as the table has them, others as they come."""
    for key in rules.on:
        for side, names in (("table", table.names), ("source", given.names)):
            if key not in names:
                raise SchemaMismatchError(
                    f"the {side} has no key column {key!r}",
                    f"it has {', '.join(names[:8])}",
                    "Check the names.",
                )
    for each in rules.matched + rules.not_matched + rules.not_matched_by_source:
        choose(table, list(each.values) if each.values else None)
    own = [field for field in table if field.name in given.names]
    more = [] if rules.is_plain else [field for field in given if field.name not in table.names]
    return pa.schema([*own, *more])


def merge(
    aligned: Aligned,
    rules: MergeRules,
    columns: pa.Schema,
    table: pa.Schema,
    properties: WriterProperties,
    *,
    new_columns: bool,
) -> Operation:
    """Return the operation that merges rows by key; a null key equals a null key."""
    keys = [same_key(key, table.field(key).type) for key in rules.on]
    condition = " AND ".join([*keys, *([f"({rules.condition})"] if rules.condition else [])])
    values = _Values(table, [name for name in columns.names if name in table.names])

    def operation(handle: DeltaTable, commit: CommitProperties, hooks: PostCommitHookProperties) -> None:
        merger: Any = handle.merge(
            aligned.reader(),
            condition,
            source_alias="source",
            target_alias="target",
            merge_schema=new_columns,
            writer_properties=properties,
            commit_properties=commit,
            post_commithook_properties=hooks,
        )
        for each in rules.matched:
            if each.action == "delete":
                merger = merger.when_matched_delete(each.condition)
            else:
                merger = merger.when_matched_update(values.to_update(each), each.condition)
        for each in rules.not_matched:
            merger = merger.when_not_matched_insert(values.to_insert(each), each.condition)
        for each in rules.not_matched_by_source:
            if each.action == "delete":
                merger = merger.when_not_matched_by_source_delete(each.condition)
            else:
                merger = merger.when_not_matched_by_source_update(values.to_update(each), each.condition)
        merger.execute()

    return operation


class _Values:
    """Columns that clauses set, and the expressions for them."""

    def __init__(self, table: pa.Schema, given: Sequence[str]) -> None:
        self._table = table
        self._given = {name: f"source.{quote(name)}" for name in given}

    def to_update(self, clause: MergeClause) -> dict[str, str]:
        given = self._given if clause.values is None else dict(clause.values)
        kept = {name: f"target.{quote(name)}" for name in self._table.names}
        return _quoted(given | regenerated(self._table, given, kept))

    def to_insert(self, clause: MergeClause) -> dict[str, str]:
        given = self._given if clause.values is None else dict(clause.values)
        defaults = {
            field.name: field.metadata[_DEFAULT].decode()
            for field in self._table
            if field.name not in given and _DEFAULT in (field.metadata or {})
        }
        return _quoted(given | defaults)


def _quoted(values: Mapping[str, str]) -> dict[str, str]:
    return {quote(name): sql for name, sql in values.items()}
