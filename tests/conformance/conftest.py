"""What the tests of published tables share."""

from __future__ import annotations

from pathlib import Path

import pytest

import golden


@pytest.fixture(scope="session")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Unpack every golden table, once."""
    folder = tmp_path_factory.mktemp("golden")
    golden.unpack(folder)
    return folder
