"""What the engine says of a query, in words for people."""

from __future__ import annotations

import re

_DUMPS = ("span: Span(", "quote_style:", "data_type:", "relation: Some", "subquery: <subquery>")
_CANDIDATES = re.compile(
    r"\.? You might need to add explicit type casts\.\s+Candidate functions:\s+", re.DOTALL
)
_CORRELATED = re.compile(r"Physical plan does not support logical expression \w+")
_JOIN = (
    "A subquery or UNNEST can't be planned in this place. Join what it reads, or unnest in the SELECT list "
    "of an inner query."
)
_PLACES = re.compile(r"'([^']+)'|\bSQL type (\w+)|\bwindow (\w+) is")


def headline_and_advice(message: str) -> tuple[str, str]:
    """Split a message into what is wrong and what to do, without dumps of the engine's structures."""
    text = _without_dump(message).rstrip(".!")
    if found := _CANDIDATES.search(text):
        fitting = ", ".join(line.strip() for line in text[found.end() :].splitlines())
        return text[: found.start()], f"Cast the arguments to fit one of: {fitting}."
    if _CORRELATED.match(text):
        return text, _JOIN
    return text, ""


def quoted_in(message: str) -> list[str]:
    """Return what a message quotes from the text: literals, functions, types."""
    return [next(part for part in match.groups() if part) for match in _PLACES.finditer(message)]


def _without_dump(message: str) -> str:
    at = min((place for dump in _DUMPS if (place := message.find(dump)) >= 0), default=None)
    if at is None:
        return message
    opened: list[int] = []
    for index, char in enumerate(message[:at]):
        if char in "({[":
            opened.append(index)
        elif char in ")}]" and opened:
            opened.pop()
    return message[: opened[0] if opened else at].rstrip(" :")
