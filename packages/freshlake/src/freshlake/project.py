"""A project as data: what `freshlake.toml`, `views/` and `contracts/` say, checked and resolved."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec

from delta_io import StorageOptions
from freshlake._source import SourceFile
from freshlake._toml import TomlSource
from freshlake.errors import InputError
from schema_spec import TableSpec

PROJECT_FILE = "freshlake.toml"
VIEWS_DIRECTORY = "views"
CONTRACTS_DIRECTORY = "contracts"

RefreshPolicy = Literal["auto", "incremental", "full", "strict"]


class ProjectSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The section `[project]`: the project's name, and the path or URI of the lake where views live."""

    name: str
    lake: str = "lake"


class TableSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A section `[tables.NAME]`: where the table is, and the contract file it obeys."""

    uri: str
    contract: str | None = None


class IngestSection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The section `[ingest]`: the callable that fills tables before views are refreshed, and its options."""

    entry: str
    options: dict[str, object] = {}


class ProjectFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole of `freshlake.toml`, as written."""

    project: ProjectSection
    tables: dict[str, TableSection] = {}
    storage: dict[str, str] = {}
    ingest: IngestSection | None = None


class ViewHeader(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The lines `-- freshlake: …` of a view: its key, how it is refreshed, what to refresh before it."""

    key: tuple[str, ...] | None = None
    refresh: RefreshPolicy = "auto"
    depends: tuple[str, ...] | None = None


class TableDeclaration(msgspec.Struct, frozen=True, kw_only=True):
    """A table the project reads: `uri` is absolute."""

    name: str
    uri: str
    contract: TableSpec | None = None


class ViewDeclaration(msgspec.Struct, frozen=True, kw_only=True):
    """A view the project keeps: `query` has as many lines as its file, `target` is where its table is."""

    name: str
    query: str
    target: str
    header: ViewHeader
    toml: TomlSource
    source: SourceFile


class IngestDeclaration(msgspec.Struct, frozen=True, kw_only=True):
    """The step that fills tables before views are refreshed; a relative `source` is made absolute."""

    entry: str
    options: Mapping[str, object]


class Project(msgspec.Struct, frozen=True, kw_only=True):
    """A project: every name is unique, every path absolute, every contract read.

    `directory` is absolute; `display` is the same directory as the user wrote it. Tables and views are in
    alphabetical order.
    """

    name: str
    directory: Path
    display: Path
    lake: str
    tables: tuple[TableDeclaration, ...]
    views: tuple[ViewDeclaration, ...]
    storage_options: StorageOptions
    ingest: IngestDeclaration | None
    toml: TomlSource

    def error(
        self, kind: type[InputError], message: str, *path: str, suggestions: tuple[str, ...] = ()
    ) -> InputError:
        """Make an error that points at a key of the project file.

        Parameters
        ----------
        kind : type of InputError
        message : str
        *path : str
            The key, from the outermost table inwards.
        suggestions : tuple of str
            Names close to one that was not found.

        Returns
        -------
        InputError
        """
        return self.toml.error(kind, message, path, suggestions=suggestions)
