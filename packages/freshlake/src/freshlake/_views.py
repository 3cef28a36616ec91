"""View files: a query, and header lines that say how it is kept."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from freshlake._names import as_name, is_name
from freshlake._source import SourceFile, read_source
from freshlake._toml import TomlSource
from freshlake.errors import InputError, ProjectNameError, PythonViewError, ViewFileError
from freshlake.project import VIEWS_DIRECTORY, ViewDeclaration, ViewHeader

_HEADER = re.compile(r"\s*--\s*freshlake\s*:(.*)", re.IGNORECASE)
_COMMENT_OR_BLANK = re.compile(r"\s*(--.*)?")


def read_views(directory: Path, display: Path, lake: str) -> Iterator[ViewDeclaration]:
    """Every view of the project at `directory`, in alphabetical order of the files' names."""
    for path in sorted((directory / VIEWS_DIRECTORY).glob("*")):
        shown = display / VIEWS_DIRECTORY / path.name
        if path.name.startswith(".") or not path.is_file():
            continue
        if path.suffix == ".py":
            message = "Views in Python are not supported; write this view as SQL in a file that ends in .sql."
            raise PythonViewError(message, file=str(shown))
        if path.suffix == ".sql":
            yield _read_view(path, shown, lake)


def _read_view(path: Path, display: Path, lake: str) -> ViewDeclaration:
    name = path.stem
    if not is_name(name):
        raise _name_error(name, display)
    source = read_source(path, display)
    toml, query = _split(source)
    header = toml.decode(ViewHeader, toml.parse())
    if all(_COMMENT_OR_BLANK.fullmatch(line) for line in query.split("\n")):
        raise source.error(ViewFileError, "This view holds no query; write one SELECT statement.", line=1)
    target = f"{lake.rstrip('/')}/{name}"
    return ViewDeclaration(name=name, query=query, target=target, header=header, toml=toml, source=source)


def _name_error(name: str, display: Path) -> InputError:
    better = as_name(name)
    hint = f" Rename the file to {better}.sql." if better else ""
    message = f'"{name}" cannot name a view: use lower-case letters, digits and underscores.{hint}'
    return ProjectNameError(message, file=str(display), suggestions=(better,) if better else ())


def _split(source: SourceFile) -> tuple[TomlSource, str]:
    """Part header and query, each with as many lines as the file, so that positions stay."""
    header: list[str] = []
    query: list[str] = []
    in_query = False
    for number, line in enumerate(source.lines, start=1):
        found = _HEADER.fullmatch(line)
        if found is None:
            in_query = in_query or _COMMENT_OR_BLANK.fullmatch(line) is None
            header.append("")
            query.append(line)
        elif in_query:
            message = (
                "A header line after the query has begun; header lines come before the first line of SQL."
            )
            raise source.error(ViewFileError, message, line=number)
        else:
            header.append(found[1].strip())
            query.append("")
    toml = TomlSource(
        source=source,
        text="\n".join(header),
        syntax_error=ViewFileError,
        key_error=ViewFileError,
        value_error=ViewFileError,
        exact_columns=False,
    )
    return toml, "\n".join(query)
