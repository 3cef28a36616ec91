"""Which files a source tree holds, and what they are called."""

from __future__ import annotations

import fnmatch
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from code_graph._extract import Diagnostic, SourceFile

if TYPE_CHECKING:
    from collections.abc import Iterable

SUFFIX = ".py"
_INIT = "__init__"
_ESCAPED = re.compile(rb"\\x([0-9a-f]{2})")


class FoundFile(NamedTuple):
    """A file of the tree: where it is, what it is called, and how many bytes it held when found."""

    location: bytes
    file: SourceFile
    size_bytes: int


@dataclass
class SourceTree:
    """What a walk found, sorted by path.

    Attributes
    ----------
    files : list of FoundFile
        Regular files, to be read.
    broken : list of tuple of SourceFile and Diagnostic
        Names of source files with no regular file behind them, and directories that could not be listed; the
        path of a directory ends in a slash.
    """

    files: list[FoundFile] = field(default_factory=list)
    broken: list[tuple[SourceFile, Diagnostic]] = field(default_factory=list)


def printable_path(name: bytes) -> str:
    r"""Write a relative path as text, so that different paths stay different.

    Parameters
    ----------
    name : bytes
        The path with `/` between its parts.

    Returns
    -------
    str
        The path in UTF-8; bytes that are no UTF-8, and backslashes, as `\xNN`.

    Examples
    --------
    >>> printable_path(b"caf\xc3\xa9/\xff.py")
    'café/\\xff.py'
    """
    return name.replace(b"\\", b"\\x5c").decode(errors="backslashreplace")


def original_path(text: str) -> bytes:
    r"""Turn the text of `printable_path` back into the path.

    >>> original_path(printable_path(b"\xff\\x.py"))
    b'\xff\\x.py'
    """
    return _ESCAPED.sub(lambda match: bytes.fromhex(match[1].decode()), text.encode())


def package_prefix(root: Path) -> str:
    """Give the dotted name of the package that `root` is, or an empty string where it is no package.

    Parameters
    ----------
    root : Path
        An absolute directory.

    Returns
    -------
    str
        Such as `json` for the directory of the standard library's `json`.
    """
    parts: list[str] = []
    while (root / f"{_INIT}{SUFFIX}").is_file() and root.name:
        parts.append(printable_path(os.fsencode(root.name)))
        root = root.parent
    return ".".join(reversed(parts))


def source_file(path: str, prefix: str) -> SourceFile:
    """Name a file.

    Parameters
    ----------
    path : str
        Relative to the root, from `printable_path`.
    prefix : str
        From `package_prefix`.

    Returns
    -------
    SourceFile
        With the dotted name under which the root's files import it.

    Examples
    --------
    >>> source_file("a/b/__init__.py", "").module
    'a.b'
    """
    parts = path.removesuffix(SUFFIX).removesuffix("/").split("/")
    is_package = parts[-1] == _INIT
    if is_package and (len(parts) > 1 or prefix):
        parts.pop()
    return SourceFile(path, ".".join([prefix, *parts] if prefix else parts), is_package)


def walk_tree(root: Path, excluded: Iterable[str]) -> SourceTree:
    """Find the Python sources below a directory; directories behind symbolic links are left out.

    Parameters
    ----------
    root : Path
        An absolute directory.
    excluded : Iterable of str
        Patterns of names of directories not to enter.

    Returns
    -------
    SourceTree
        What was found.
    """
    tree = SourceTree()
    prefix = package_prefix(root)
    skipped = re.compile(os.fsencode("|".join(map(fnmatch.translate, excluded)) or "(?!)"))
    pending = [(os.fsencode(root), b"")]
    while pending:
        directory, relative = pending.pop()
        try:
            with os.scandir(directory) as entries:
                for entry in entries:
                    name = relative + entry.name
                    if entry.is_dir(follow_symlinks=False):
                        if not skipped.match(entry.name):
                            pending.append((entry.path, name + b"/"))
                    elif entry.name.endswith(SUFFIX.encode()):
                        _add(tree, entry, source_file(printable_path(name), prefix))
        except OSError as error:
            message = f"The directory cannot be listed: {error.strerror}."
            file = source_file(printable_path(relative), prefix)
            tree.broken.append((file, Diagnostic("directory-unreadable", message)))
    tree.files.sort(key=lambda found: found.file.path)
    tree.broken.sort(key=lambda found: found[0].path)
    return tree


def _add(tree: SourceTree, entry: os.DirEntry[bytes], file: SourceFile) -> None:
    try:
        is_link, is_file, is_dir = entry.is_symlink(), entry.is_file(), entry.is_dir()
        size = entry.stat().st_size if is_file else 0
    except OSError as error:
        tree.broken.append((file, Diagnostic("unreadable", f"{error.strerror}.")))
        return
    if is_file:
        tree.files.append(FoundFile(entry.path, file, size))
    elif is_link and not is_dir:
        tree.broken.append((file, Diagnostic("symlink-broken", "The symbolic link leads to no file.")))
    elif not is_dir:
        tree.broken.append((file, Diagnostic("not-a-file", "This is a pipe, a socket or a device.")))
