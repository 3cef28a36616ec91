"""Views checked before anything is written: syntax, cycles, names, types."""

from __future__ import annotations

import re
from collections.abc import Collection, Generator, Iterable, Mapping
from contextlib import contextmanager

import msgspec

from df_runtime import PolicyError, Session, SqlError, UnknownTableError
from freshlake._failure import plain_message
from freshlake._names import closest, listing
from freshlake.errors import InputError, ViewFileError, ViewQueryError
from freshlake.project import Project, ViewDeclaration
from incremental_cdf import View, ViewDefinitionError, Views

_PICTURE = re.compile(r",? at line \d+, column \d+:\n.*\n.*(?:\n|$)")
_WORD = re.compile(r'"((?:[^"]|"")+)"|(\w+)')
_INDEPENDENT_OF_TABLES = frozenset({"sql-syntax", "sql-multiple-statements", "sql-not-allowed"})


class ViewGraph(msgspec.Struct, frozen=True, kw_only=True):
    """A project's views, those that others read first, and what each one needs."""

    order: tuple[ViewDeclaration, ...]
    needs: Mapping[str, frozenset[str]]

    def select(self, names: Collection[str] | None) -> tuple[ViewDeclaration, ...]:
        """Choose views and all that they depend on, in order; all views if none is named."""
        if not names:
            return self.order
        wanted: set[str] = set()
        pending = list(names)
        while pending:
            name = pending.pop()
            if name in self.needs and name not in wanted:
                wanted.add(name)
                pending.extend(self.needs[name])
        return tuple(view for view in self.order if view.name in wanted)


def make_views(declared: Iterable[ViewDeclaration], session: Session, options: Mapping[str, str]) -> Views:
    """Hand views over to be kept."""
    views = [
        View(
            each.name,
            each.query,
            each.target,
            key=each.header.key,
            refresh=each.header.refresh,
            depends=each.header.depends,
        )
        for each in declared
    ]
    return Views(views, session, storage_options=options)


def view_graph(project: Project, session: Session) -> ViewGraph:
    """Parse every view and put them in order, without knowing any column.

    Raises
    ------
    ViewQueryError
        If a view is not one query, names what is no table or view of the project, or needs itself.
    """
    for view in project.views:
        _check_text(view, session)
    with in_files(project):
        views = make_views(project.views, session, project.storage_options)
    by_name = {view.name: view for view in project.views}
    reads = {name: frozenset(map(_own_name, read)) for name, read in views.dependencies().items()}
    known = {*by_name, *(table.name for table in project.tables)}
    for name, read in reads.items():
        for unknown in sorted(read - known):
            raise _unknown_table(by_name[name], unknown, known - {name})
    needs = {name: read.union(by_name[name].header.depends or ()) for name, read in reads.items()}
    return ViewGraph(order=tuple(by_name[name] for name in views.names), needs=needs)


def bind_views(session: Session, graph: ViewGraph, *, unknown_columns: Collection[str] = ()) -> None:
    """Check every name and type of every view against a session that has the tables.

    Views over tables whose columns are not known yet are left out.

    Raises
    ------
    ViewQueryError
        If a view names what is not there, or combines types that do not go together.
    """
    left_out = set(unknown_columns)
    for view in graph.order:
        if graph.needs[view.name] & left_out:
            left_out.add(view.name)
            continue
        try:
            columns = session.sql(view.query).schema.names
            session.register(view.name, view.query)
        except SqlError as error:
            raise view_error(view, error) from error
        _check_key(view, columns)


@contextmanager
def in_files(project: Project) -> Generator[None]:
    """Retell what is wrong with a view's definition as an error in the view's file."""
    try:
        yield
    except ViewDefinitionError as error:
        view = next((each for each in project.views if each.name == error.view), None)
        if view is None:
            raise
        raise _in_file(view, error) from error


def view_error(view: ViewDeclaration, error: SqlError) -> InputError:
    """Retell an error of a query as one in the view's file, at the same position."""
    return ViewQueryError(
        headline(error),
        file=view.source.display,
        line=error.line or 1,
        column=error.column,
        excerpt=view.source.excerpt(error.line, error.column),
        code=error.code,
        suggestions=error.suggestions,
    )


def headline(error: SqlError) -> str:
    """Take the picture of the query out of an error's message; it is drawn from the file instead."""
    if isinstance(error, PolicyError):
        return "Only a query that reads is allowed here: SELECT, WITH or VALUES."
    return " ".join(_PICTURE.sub(". ", error.message, count=1).split())


def unknown_name(error: UnknownTableError) -> str | None:
    """Name the table that the session does not have, or None where the error does not tell."""
    if error.line is None or error.column is None:
        return None
    line = error.query.split("\n")[error.line - 1]
    found = _WORD.match(line, error.column - 1)
    if found is None:
        return None
    return found[1].replace('""', '"') if found[1] else found[2].lower()


def _check_text(view: ViewDeclaration, session: Session) -> None:
    try:
        session.sql(view.query)
    except SqlError as error:
        if error.code in _INDEPENDENT_OF_TABLES:
            raise view_error(view, error) from error


def _check_key(view: ViewDeclaration, columns: Collection[str]) -> None:
    for name in view.header.key or ():
        if name not in columns:
            message = f'key: the view has no column "{name}"; it has {listing(columns)}.'
            near = closest(name, columns)
            raise view.toml.error(ViewFileError, message, ("key",), suggestions=near)


def _own_name(written: str) -> str:
    return written.rsplit(".", 1)[-1].strip('"')


def _unknown_table(view: ViewDeclaration, name: str, known: Collection[str]) -> InputError:
    line, column = _position(view.query, name)
    has = listing(known, none="no tables or other views")
    message = f'Unknown table "{name}"; the project has {has}.'
    return view.source.error(
        ViewQueryError,
        message,
        line=line,
        column=column,
        code=UnknownTableError.code,
        suggestions=closest(name, known),
    )


def _position(query: str, name: str) -> tuple[int, int | None]:
    """Find where a query names a table: its first mention after FROM, JOIN or a comma, or at all."""
    word = re.escape(name)
    for pattern in (rf"(?:\bfrom|\bjoin|,)[\s(]+[\w.\"]*?\b({word})\b", rf"\b({word})\b"):
        found = re.search(pattern, query, re.IGNORECASE)
        if found is not None:
            before = query[: found.start(1)]
            return before.count("\n") + 1, found.start(1) - before.rfind("\n")
    return 1, None


def _in_file(view: ViewDeclaration, error: ViewDefinitionError) -> InputError:
    if isinstance(error.__cause__, SqlError):
        return view_error(view, error.__cause__)
    return ViewQueryError(
        plain_message(error).split("\n", 1)[0],
        file=view.source.display,
        line=error.line or 1,
        column=error.column,
        excerpt=view.source.excerpt(error.line, error.column),
        code=error.code,
        suggestions=error.suggestions,
    )
