from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import settings

from df_runtime import SessionFactory

# A machine under load is no defect.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
# Lets the tests of this folder share their helpers.
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def session():
    with SessionFactory().open() as opened:
        yield opened
