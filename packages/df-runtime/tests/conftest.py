from __future__ import annotations

import sys
from pathlib import Path

import pytest

from df_runtime import SessionFactory

# Lets the tests of this folder share their helpers.
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def session():
    with SessionFactory().open() as opened:
        yield opened
