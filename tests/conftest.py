"""Fixtures for the tests of the whole workspace."""

from __future__ import annotations

import re

import pytest

from workspace import ROOT


@pytest.fixture(scope="session")
def documented_codes() -> set[str]:
    """Return the error codes that the documentation explains."""
    text = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    return set(re.findall(r"^\| `([a-z0-9-]+)` \|", text, re.MULTILINE))
