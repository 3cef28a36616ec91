from __future__ import annotations

import pytest

from df_runtime import SessionFactory


@pytest.fixture
def session():
    with SessionFactory().open() as opened:
        yield opened
