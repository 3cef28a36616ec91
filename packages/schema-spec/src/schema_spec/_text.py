"""Text that can be written down everywhere."""

from __future__ import annotations


def is_name(value: object) -> bool:
    """Tell whether a value is text that says something."""
    return isinstance(value, str) and bool(value) and is_text(value)


def is_text(value: str) -> bool:
    """Tell whether text can be written as UTF-8."""
    if value.isascii():
        return True
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
