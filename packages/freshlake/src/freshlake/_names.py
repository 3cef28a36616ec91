"""Names: which ones a table or view may have, and which known one a mistyped one is close to."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_MOST_SUGGESTIONS = 3


def is_name(name: str) -> bool:
    """Whether SQL finds a table of this name without quotes, so that `name` can name a table or view."""
    return _NAME.fullmatch(name) is not None


def as_name(text: str) -> str | None:
    """Make an allowed name out of `text`, or None."""
    name = re.sub(r"[^a-z0-9_]+", "_", text.lower()).strip("_")
    return name if is_name(name) else None


def closest(name: str, known: Iterable[str]) -> tuple[str, ...]:
    """Find the known names that `name` may have meant, the closest first."""
    folded = {candidate.lower(): candidate for candidate in known}
    found = difflib.get_close_matches(name.lower(), folded, n=_MOST_SUGGESTIONS, cutoff=0.6)
    return tuple(folded[match] for match in found)


def did_you_mean(suggestions: Iterable[str]) -> str:
    """`` Did you mean "a" or "b"?`` with a space in front, or nothing."""
    names = [f'"{name}"' for name in suggestions]
    return f" Did you mean {' or '.join(names)}?" if names else ""


def listing(names: Iterable[str], *, none: str = "none", most: int = 12) -> str:
    """Names in one line, cut after `most`."""
    known = sorted(names)
    if not known:
        return none
    more = f" and {len(known) - most} more" if len(known) > most else ""
    return ", ".join(known[:most]) + more
