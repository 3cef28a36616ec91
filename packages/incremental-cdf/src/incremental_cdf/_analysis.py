"""What a view is to the engine: its result, and whether affected keys can be followed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import pyarrow as pa

from df_runtime import Session, SqlError
from incremental_cdf._affected import KEYS, AffectedKeys, derive
from incremental_cdf._block import Refusal, RefusedError, dissect, is_volatile
from incremental_cdf._names import pinned
from incremental_cdf._parse import ParsedQuery
from incremental_cdf._types import has_exact_literals, storage_type, stored_schema
from incremental_cdf.errors import ViewKeyError, ViewQueryError
from incremental_cdf.view import View


class Analysis(NamedTuple):
    """A view's query, planned but not run."""

    parsed: ParsedQuery
    result: pa.Schema
    stored: pa.Schema
    affected: AffectedKeys | None
    refusal: Refusal | None
    """Why affected keys cannot be followed, if they cannot."""
    volatile: bool


def analyse(
    view: View,
    parsed: ParsedQuery,
    session: Session,
    schemas: Mapping[str, pa.Schema],
    primary_keys: Mapping[str, tuple[str, ...]],
) -> Analysis:
    """Plan a view's query, and the queries that would refresh it by affected keys, over empty tables.

    Parameters
    ----------
    view : View
    parsed : ParsedQuery
        Its query.
    session : Session
        An empty session; tables are registered in it.
    schemas : Mapping of str to pyarrow.Schema
        Columns of each table that the query reads.
    primary_keys : Mapping of str to tuple of str
        Primary keys of the tables, where they have one.

    Returns
    -------
    Analysis

    Raises
    ------
    ViewDefinitionError
        The engine refuses the query, or its result cannot be stored.
    """
    for name, schema in schemas.items():
        session.register(name, schema.empty_table())
    try:
        result = session.sql(parsed.text).schema
    except SqlError as error:
        raise _query_error(view, error) from error
    stored = stored_schema(view.name, result)
    _check_key(view, stored)
    try:
        columns = {name: schema.names for name, schema in schemas.items()}
        affected = derive(
            dissect(parsed), columns=columns, output=stored.names, key=view.key, primary_keys=primary_keys
        )
        _check_queries(affected, session, schemas, result, stored)
    except RefusedError as error:
        return Analysis(parsed, result, stored, None, error.refusal, is_volatile(parsed))
    return Analysis(parsed, result, stored, affected, None, is_volatile(parsed))


def _query_error(view: View, error: SqlError) -> ViewQueryError:
    message = f"The engine refuses the query of view {view.name}: {error.message}"
    return ViewQueryError(
        message, view=view.name, line=error.line, column=error.column, suggestions=tuple(error.suggestions)
    )


def _check_key(view: View, stored: pa.Schema) -> None:
    missing = [name for name in view.key or () if name not in stored.names]
    if missing:
        message = (
            f"View {view.name} declares the key {', '.join(missing)}, which is not in its result; "
            f"its columns are {', '.join(stored.names)}."
        )
        raise ViewKeyError(message, view=view.name)


def _check_queries(
    affected: AffectedKeys,
    session: Session,
    schemas: Mapping[str, pa.Schema],
    result: pa.Schema,
    stored: pa.Schema,
) -> None:
    for name, schema in schemas.items():
        for which in ("old", "new", "changed"):
            session.register(pinned(name, which), schema.empty_table())
    try:
        keys = session.sql(affected.keys_query(frozenset(schemas))).schema
        _check_key_types(affected, keys, stored)
        session.register(KEYS, keys.empty_table())
        rows = session.sql(affected.rows_query()).schema
    except SqlError as error:
        reason = f"the engine refuses the queries for its affected keys ({error.message.splitlines()[0]})"
        raise RefusedError("keys-refused", reason) from error
    if [field.type for field in rows] != [field.type for field in result]:
        raise RefusedError("keys-refused", "the engine gives restricted rows other types than the view's")


def _check_key_types(affected: AffectedKeys, keys: pa.Schema, stored: pa.Schema) -> None:
    for position, name in enumerate(affected.key):
        kind = stored.field(name).type
        if storage_type(keys.field(position).type) != kind or not has_exact_literals(kind):
            found = f"its key column {name} has type {keys.field(position).type}"
            raise RefusedError(
                "key-type", f"{found}, whose values cannot be written into a condition exactly"
            )
