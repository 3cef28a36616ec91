"""Arguments of the wrong kind are refused where they come in, whoever passes them without types."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from delta_io.errors import OptionError


def check_text(value: object, what: str) -> None:
    """Raise unless a value is a text."""
    if not isinstance(value, str):
        raise OptionError(f"{what} is no text", f"it is of type {type(value).__name__}", "Give a string.")


def check_texts(values: Mapping[str, str] | None, what: str) -> None:
    """Raise unless names and values are texts."""
    for name, value in (values or {}).items():
        check_text(name, f"a name in {what}")
        check_text(value, f"{name!r} in {what}")


def check_whole(value: object, what: str) -> None:
    """Raise unless a value is a whole number."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise OptionError(
            f"{what} is no whole number", f"it is of type {type(value).__name__}", "Give an int."
        )


def check_count(value: int, what: str, least: int = 0) -> None:
    """Raise unless a value is a whole number, and not less than some."""
    check_whole(value, what)
    if value < least:
        raise OptionError(f"{what} is {value}", fix=f"Give a whole number from {least} on.")


def check_span(value: object, what: str) -> None:
    """Raise unless a value is a span of time that is not negative."""
    if not isinstance(value, timedelta) or value < timedelta(0):
        raise OptionError(f"{what} is {value!r}", fix="Give a timedelta that is not negative.")


def check_point(value: object, what: str) -> None:
    """Raise unless a value is a version, a time, or the text of one."""
    if not isinstance(value, (int, str, datetime)) or isinstance(value, bool):
        found = f"it is of type {type(value).__name__}"
        raise OptionError(f"{what} is no version and no time", found, "Give an int, a datetime, or its text.")


def check_time(value: object, what: str) -> None:
    """Raise unless a value is a time, or the text of one."""
    if not isinstance(value, (str, datetime)):
        found = f"it is of type {type(value).__name__}"
        raise OptionError(f"{what} is no time", found, "Give a datetime, or its text.")
