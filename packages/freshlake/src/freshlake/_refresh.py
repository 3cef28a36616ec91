"""A project's views made ready to be planned, refreshed or compared."""

from __future__ import annotations

from collections.abc import Collection, Generator
from contextlib import contextmanager

import msgspec

from df_runtime import SessionFactory
from freshlake._bind import bind_views, in_files, make_views, view_graph
from freshlake._lake import check_targets, open_tables
from freshlake.project import Project, ViewDeclaration
from incremental_cdf import Views


class OpenViews(msgspec.Struct, frozen=True, kw_only=True):
    """The chosen views of a project, those that others read first, over a session that has its tables."""

    chosen: tuple[ViewDeclaration, ...]
    views: Views


@contextmanager
def open_views(
    project: Project, factory: SessionFactory, names: Collection[str] | None
) -> Generator[OpenViews]:
    """Open a project's tables, check all of its views against them, and choose the ones named.

    Raises
    ------
    InputError
        If a table or a view cannot be used as declared; nothing is written then.
    """
    check_targets(project)
    with factory.open() as session:
        graph = view_graph(project, session)
        tables = open_tables(project)
        with session.sibling() as scratch:
            for name, table in tables.items():
                session.register(name, table)
                scratch.register(name, table)
            bind_views(scratch, graph)
        chosen = graph.select(names)
        with in_files(project):
            yield OpenViews(chosen=chosen, views=make_views(chosen, session, project.storage_options))
