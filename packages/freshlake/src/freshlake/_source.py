"""A text file of the project, with what it takes to point into it."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from freshlake._names import did_you_mean
from freshlake.errors import InputError, ProjectSyntaxError


class SourceFile(msgspec.Struct, frozen=True, kw_only=True):
    """A text file: `display` is its path as the user would open it."""

    display: str
    text: str

    def __repr__(self) -> str:
        return f"SourceFile({self.display!r})"

    @property
    def lines(self) -> list[str]:
        """The lines, as an editor, TOML and SQL count them."""
        return self.text.split("\n")

    def excerpt(self, line: int | None, column: int | None = None) -> str | None:
        """Draw the line with a caret below the column; None where there is no such line."""
        lines = self.lines
        if line is None or not 1 <= line <= len(lines):
            return None
        content = lines[line - 1].replace("\t", " ").rstrip()
        margin = " " * len(str(line))
        shown = f"  {line} | {content}"
        if column is None or not 1 <= column <= len(content) + 1:
            return shown
        return f"{shown}\n  {margin} | {' ' * (column - 1)}^"

    def error(
        self,
        kind: type[InputError],
        message: str,
        *,
        line: int | None = None,
        column: int | None = None,
        code: str | None = None,
        suggestions: tuple[str, ...] = (),
    ) -> InputError:
        """Make an error that points into this file."""
        return kind(
            f"{message}{did_you_mean(suggestions)}",
            file=self.display,
            line=line,
            column=column,
            excerpt=self.excerpt(line, column),
            code=code,
            suggestions=suggestions,
        )


def read_source(path: Path, display: Path) -> SourceFile:
    """Read a file; refused when it cannot be read or is not UTF-8."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        message = f"This file cannot be read: {error.strerror or error}."
        raise ProjectSyntaxError(message, file=str(display)) from error
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        message = f"Byte 0x{raw[error.start]:02x} is not UTF-8; save the file as UTF-8."
        raise ProjectSyntaxError(message, file=str(display), line=line) from error
    return SourceFile(display=str(display), text=text)


def absolute(path: str | os.PathLike[str], *, within: Path | None = None) -> Path:
    """Make a path absolute without following symbolic links; `~` is the home directory."""
    expanded = Path(path).expanduser()
    return Path(os.path.abspath((within or Path()) / expanded))  # noqa: PTH100 - Path.resolve follows links
