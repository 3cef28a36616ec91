"""One question to a project's tables and views, as they are or as they were."""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from delta_io import NotDeltaError, Table, TableNotFoundError, VersionNotFoundError
from df_runtime import DatasetError, Result, Session, SqlError, UnknownTableError
from freshlake._asof import AsOf
from freshlake._bind import headline, unknown_name
from freshlake._failure import plain_message
from freshlake._names import closest, did_you_mean, listing
from freshlake._source import SourceFile
from freshlake.errors import QueryInputError, ViewNotRefreshedError
from freshlake.project import Project


class _Place(msgspec.Struct, frozen=True):
    """Where the rows of a name are; a view's table is empty until the view's first refresh."""

    uri: str
    is_view: bool


class _Unusable(msgspec.Struct, frozen=True):
    """Why a name cannot be read, in case it is the table that the query means."""

    code: str
    reason: str


def answer(project: Project, session: Session, query: str, as_of: AsOf) -> Result:
    """Plan a query over the project's tables and the stored tables of its views.

    Only names that occur in the text are opened. A name is read at the version that `as_of` gives for it,
    and at its newest version otherwise.

    Raises
    ------
    QueryInputError
        If the query does not parse or bind, or a version is out of range.
    """
    places = {table.name: _Place(table.uri, False) for table in project.tables}
    places |= {view.name: _Place(view.target, True) for view in project.views}
    unusable: dict[str, _Unusable] = {}
    for name in filter(lambda name: _occurs(name, query), places):
        try:
            problem = _register(project, session, name, places[name], as_of.version(name))
        except (NotDeltaError, DatasetError) as error:
            problem = _Unusable(error.code, plain_message(error))
        if problem is not None:
            unusable[name] = problem
    try:
        return session.sql(query)
    except UnknownTableError as error:
        raise _unknown_table(query, error, places, unusable) from error
    except SqlError as error:
        raise _located(query, error, headline(error), error.code, error.suggestions) from error


def _occurs(name: str, query: str) -> bool:
    return re.search(rf"\b{name}\b", query, re.IGNORECASE) is not None


def _register(
    project: Project, session: Session, name: str, place: _Place, version: int | None
) -> _Unusable | None:
    try:
        table = Table(place.uri, storage_options=project.storage_options)
        newest = table.snapshot().version
    except TableNotFoundError as error:
        if place.is_view:
            return _not_refreshed(name)
        return _Unusable(error.code, f'"{name}" is declared, but there is no Delta table at {place.uri}.')
    if place.is_view and newest == 0:
        return _not_refreshed(name)
    try:
        session.register(name, table, version=version)
    except VersionNotFoundError as error:
        oldest = min(commit.version for commit in table.history())
        reason = f'"{name}" has no version {version}; it has versions {oldest} to {newest}.'
        return _Unusable(error.code, reason)
    return None


def _not_refreshed(name: str) -> _Unusable:
    return _Unusable(
        ViewNotRefreshedError.code, f'The view "{name}" was not refreshed yet; `freshlake run` does it.'
    )


def _unknown_table(
    query: str, error: UnknownTableError, places: Mapping[str, _Place], unusable: Mapping[str, _Unusable]
) -> QueryInputError:
    name = unknown_name(error)
    if name is None:
        return _located(query, error, headline(error), error.code, error.suggestions)
    if name in unusable:
        return _located(query, error, unusable[name].reason, unusable[name].code, ())
    near = closest(name, places)
    has = listing(places, none="no tables or views")
    message = f'Unknown table "{name}"; the project has {has}.{did_you_mean(near)}'
    return _located(query, error, message, error.code, near)


def _located(
    query: str, error: SqlError, message: str, code: str, suggestions: tuple[str, ...]
) -> QueryInputError:
    source = SourceFile(display="query", text=query)
    return QueryInputError(
        message,
        line=error.line,
        column=error.column,
        excerpt=source.excerpt(error.line, error.column),
        code=code,
        suggestions=suggestions,
    )
