"""From a directory to a `Project`, refusing whatever cannot be meant."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from freshlake._names import as_name, closest, is_name
from freshlake._source import absolute, read_source
from freshlake._storage import expand_storage
from freshlake._toml import KeyPath, TomlSource
from freshlake._views import read_views
from freshlake.errors import (
    ContractError,
    ProjectMissingError,
    ProjectNameError,
    ProjectValueError,
    ViewFileError,
)
from freshlake.project import (
    CONTRACTS_DIRECTORY,
    PROJECT_FILE,
    IngestDeclaration,
    IngestSection,
    Project,
    ProjectFile,
    TableDeclaration,
    TableSection,
    ViewDeclaration,
)
from schema_spec import SpecError, TableSpec

_PATH_PART = re.compile(r"[^.\[\]]+")


def load_project(
    directory: str | os.PathLike[str], *, environment: Mapping[str, str] | None = None
) -> Project:
    """Read the project at a directory; nothing is opened, imported or written.

    Parameters
    ----------
    directory : str or path
        The directory that holds `freshlake.toml`.
    environment : Mapping of str to str, optional
        Where `${NAME}` in `[storage]` is looked up; the process's environment by default.

    Returns
    -------
    Project

    Raises
    ------
    InputError
        If the project cannot be meant as written; it names the file, the line and the closest known name.
    """
    display = Path(directory)
    root = absolute(display)
    _require_project_file(root, display)
    source = read_source(root / PROJECT_FILE, display / PROJECT_FILE)
    toml = TomlSource(source=source, text=source.text)
    file = toml.decode(ProjectFile, toml.parse())
    return _Loader(root, display, toml).project(file, os.environ if environment is None else environment)


def _require_project_file(root: Path, display: Path) -> None:
    if (root / PROJECT_FILE).is_file():
        return
    if not root.is_dir():
        message = (
            f'There is no directory "{display}"; --project names the directory that holds {PROJECT_FILE}.'
        )
        raise ProjectMissingError(message, file=str(display / PROJECT_FILE))
    near = [f"{path.parent.name}" for path in sorted(root.glob(f"*/{PROJECT_FILE}"))][:3]
    hint = f" There is one in {' and in '.join(near)}; name that directory with --project." if near else ""
    message = f'There is no {PROJECT_FILE} in "{display}".{hint}'
    message += "" if near else " Name its directory with --project, or make a project with `freshlake init`."
    raise ProjectMissingError(message, file=str(display / PROJECT_FILE), suggestions=tuple(near))


class _Loader:
    """Resolves what a project file says against the directory it lies in."""

    def __init__(self, root: Path, display: Path, toml: TomlSource) -> None:
        self._root = root
        self._display = display
        self._toml = toml
        files = sorted((root / CONTRACTS_DIRECTORY).glob("*.toml"))
        self._contracts = {path: _read_contract(path, display / path.relative_to(root)) for path in files}

    def project(self, file: ProjectFile, environment: Mapping[str, str]) -> Project:
        lake = self._location(file.project.lake, ("project", "lake"))
        views = tuple(read_views(self._root, self._display, lake))
        tables = tuple(self._table(name, file.tables[name]) for name in sorted(file.tables))
        _refuse_clashes(tables, views, self._toml)
        _refuse_unknown_dependencies(views)
        return Project(
            name=file.project.name,
            directory=self._root,
            display=self._display,
            lake=lake,
            tables=tables,
            views=views,
            storage_options=expand_storage(file.storage, self._toml, environment),
            ingest=None if file.ingest is None else self._ingest(file.ingest),
            toml=self._toml,
        )

    def _location(self, uri: str, path: KeyPath) -> str:
        if not uri.strip() or "\0" in uri:
            message = f"{'.'.join(map(str, path))} must be a path or a URI."
            raise self._toml.error(ProjectValueError, message, path)
        return uri if "://" in uri else str(absolute(uri, within=self._root))

    def _table(self, name: str, section: TableSection) -> TableDeclaration:
        path = ("tables", name)
        if not is_name(name):
            better = as_name(name)
            suggestions = (better,) if better else ()
            message = f'"{name}" cannot name a table: use lower-case letters, digits and underscores.'
            raise self._toml.error(ProjectNameError, message, path, suggestions=suggestions)
        uri = self._location(section.uri, (*path, "uri"))
        contract = None if section.contract is None else self._contract(section.contract, path)
        return TableDeclaration(name=name, uri=uri, contract=contract)

    def _contract(self, written: str, path: KeyPath) -> TableSpec:
        where = (*path, "contract")
        file = Path(self._location(written, where))
        if file in self._contracts:
            return self._contracts[file]
        if file.is_file():
            return _read_contract(file, self._display / written)
        known = [f"{CONTRACTS_DIRECTORY}/{each.name}" for each in self._contracts]
        message = f'{".".join(map(str, path))}: there is no contract file "{written}".'
        raise self._toml.error(ProjectValueError, message, where, suggestions=closest(written, known))

    def _ingest(self, section: IngestSection) -> IngestDeclaration:
        module, colon, function = section.entry.partition(":")
        parts = (*module.split("."), function)
        if not colon or not all(part.isidentifier() for part in parts):
            message = f'ingest.entry must be "module:function", not "{section.entry}".'
            raise self._toml.error(ProjectValueError, message, ("ingest", "entry"))
        options = dict(section.options)
        source = options.get("source")
        if isinstance(source, str):
            options["source"] = self._location(source, ("ingest", "options", "source"))
        return IngestDeclaration(entry=section.entry, options=options)


def _read_contract(path: Path, display: Path) -> TableSpec:
    source = read_source(path, display)
    toml = TomlSource(source=source, text=source.text, syntax_error=ContractError)
    toml.parse()
    try:
        return TableSpec.from_toml(source.text)
    except SpecError as error:
        message = str(error).removesuffix(f" [{error.code}]")
        parts = _PATH_PART.findall(error.path)
        where = tuple(int(part) if part.isdigit() else part for part in parts)
        raise toml.error(ContractError, message, where, code=error.code) from error


def _refuse_clashes(
    tables: Iterable[TableDeclaration], views: Iterable[ViewDeclaration], toml: TomlSource
) -> None:
    by_name = {table.name: table for table in tables}
    by_uri = {table.uri.rstrip("/"): table for table in by_name.values()}
    for view in views:
        shown = view.source.display
        if view.name in by_name:
            message = f'"{view.name}" names both a table and the view {shown}; rename one of them.'
            raise toml.error(ProjectNameError, message, ("tables", view.name))
        if (table := by_uri.get(view.target)) is not None:
            message = (
                f"tables.{table.name} lies where the view {shown} is kept; move the table or rename the view."
            )
            raise toml.error(ProjectNameError, message, ("tables", table.name, "uri"))


def _refuse_unknown_dependencies(views: Iterable[ViewDeclaration]) -> None:
    known = [view.name for view in views]
    for view in views:
        for name in view.header.depends or ():
            if name not in known:
                message = f'depends: the project has no view "{name}".'
                raise view.toml.error(ViewFileError, message, ("depends",), suggestions=closest(name, known))
