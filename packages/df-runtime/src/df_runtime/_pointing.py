"""Errors about texts, with the line and a caret under the word that is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from df_runtime import errors
from df_runtime._lexer import Token, position
from df_runtime._secrets import masked

_SHOWN_BEFORE, _SHOWN_AFTER = 80, 120


class Finding(NamedTuple):
    """What is wrong, what is close to it, and what to do."""

    headline: str
    suggestions: Sequence[str] = ()
    advice: str = ""
    about_table: bool = False

    def repair(self) -> str:
        """Say what to do."""
        closest = f"Did you mean {' or '.join(self.suggestions)}?" if self.suggestions else ""
        return " ".join(part for part in (self.advice, closest) if part)


def pointed_at(
    kind: type[errors.SqlError], headline: str, advice: str, query: str, token: Token
) -> errors.SqlError:
    """Say what is wrong with a word of a text, and what to do."""
    return located(kind, Finding(headline, advice=advice), query, token)


def located(
    kind: type[errors.SqlError], finding: Finding, query: str, token: Token | None
) -> errors.SqlError:
    """Put a finding into words, with its place where that is known."""
    query = masked(query)
    suggestions = tuple(finding.suggestions)
    if token is None:
        message = f"{sentence(finding.headline)} {finding.repair()}"
        return kind(message.rstrip(), query=query, suggestions=suggestions)
    line, column = position(query, token.start)
    text, before = _excerpt(query.split("\n")[line - 1], column - 1)
    width = max(1, min(len(token.text.split("\n")[0]), len(text) - before))
    # Tabs are kept, so that the caret stands under its word at any tab width.
    indent = "".join(char if char == "\t" else " " for char in text[:before])
    place = f"at line {line}, column {column}:\n    {text}\n    {indent}{'^' * width}"
    message = f"{finding.headline}, {place}\n{finding.repair()}"
    return kind(message, query=query, line=line, column=column, suggestions=suggestions)


def _excerpt(line: str, at: int) -> tuple[str, int]:
    """Cut a long line down to what surrounds a place in it."""
    start, end = max(0, at - _SHOWN_BEFORE), at + _SHOWN_AFTER
    head, tail = "…" if start else "", "…" if end < len(line) else ""
    return f"{head}{line[start:end]}{tail}", at - start + len(head)


def sentence(message: str) -> str:
    """End a message with a stop."""
    text = message.strip()
    return text if text.endswith((".", "?", "!")) else f"{text}."
