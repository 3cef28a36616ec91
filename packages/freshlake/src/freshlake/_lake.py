"""A project's tables opened, and its views checked against them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa

from delta_io import NotDeltaError, SchemaMismatchError, Table, TableNotFoundError
from df_runtime import Session
from freshlake._bind import bind_views, view_graph
from freshlake._failure import plain_message
from freshlake._names import closest, listing
from freshlake.errors import InputError, SelectionError, TableInputError, ViewTargetError
from freshlake.project import Project, TableDeclaration
from schema_spec import SpecError, TableSpec


def open_tables(project: Project) -> dict[str, Table]:
    """Open every declared table.

    Raises
    ------
    TableInputError
        If a table is missing, not Delta, or at odds with its contract.
    """
    found: dict[str, Table] = {}
    for declared in project.tables:
        table = open_table(project, declared, contract=declared.contract)
        if table is None:
            raise missing_table(project, declared)
        found[declared.name] = table
    return found


def open_table(
    project: Project, declared: TableDeclaration, *, contract: TableSpec | None = None
) -> Table | None:
    """Open a declared table, held to a contract if one is given; None if there is no table yet."""
    try:
        return Table(declared.uri, spec=contract, storage_options=project.storage_options)
    except TableNotFoundError:
        return None
    except (NotDeltaError, SchemaMismatchError, SpecError) as error:
        message = f"tables.{declared.name}: {plain_message(error)}"
        path = ("tables", declared.name)
        raise project.toml.error(TableInputError, message, path, code=error.code) from error


def missing_table(project: Project, declared: TableDeclaration) -> InputError:
    """Refuse a declared table that does not exist."""
    where = declared.uri
    remedy = "create it, or correct its uri" if project.ingest is None else "its ingest step makes none there"
    message = f"tables.{declared.name}: there is no Delta table at {where}; {remedy}."
    return project.error(TableInputError, message, "tables", declared.name)


def check_targets(project: Project) -> None:
    """Refuse a lake in which something other than a Delta table lies where a view is kept."""
    for view in project.views:
        target = Path(view.target)
        if "://" in view.target or not target.exists() or (target / "_delta_log").is_dir():
            continue
        if not target.is_dir() or any(target.iterdir()):
            message = f"{target}, where this view is kept, holds something other than a Delta table."
            raise view.source.error(ViewTargetError, message)


def check_before_ingest(project: Project, session: Session) -> None:
    """Refuse what can be known to be wrong while tables may still be made or altered by the ingest step.

    A table counts as having the columns of its contract and those that it has. The columns of a table without
    a contract are not known yet, and views over it are checked after the step.
    """
    check_targets(project)
    graph = view_graph(project, session)
    unknown: set[str] = set()
    for declared in project.tables:
        table = open_table(project, declared)
        if declared.contract is None:
            unknown.add(declared.name)
        else:
            session.register(declared.name, _empty_rows(declared.contract, table))
    bind_views(session, graph, unknown_columns=unknown)


def _empty_rows(declared: TableSpec, table: Table | None) -> pa.Table:
    columns = {field.name: field for field in table.snapshot().schema} if table is not None else {}
    columns |= {field.name: field for field in declared.to_arrow()}
    return pa.schema(list(columns.values())).empty_table()


def check_selection(project: Project, names: Iterable[str] | None) -> None:
    """Refuse a chosen view that the project does not have."""
    known = [view.name for view in project.views]
    for name in names or ():
        if name not in known:
            message = f'--select: the project has no view "{name}"; it has {listing(known, none="no views")}.'
            raise SelectionError(message, suggestions=closest(name, known))
