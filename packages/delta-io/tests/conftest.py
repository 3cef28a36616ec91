"""Lets the tests of this folder share their helpers."""

from __future__ import annotations

import sys
from pathlib import Path

from hypothesis import settings

# A machine under load is no defect.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
sys.path.insert(0, str(Path(__file__).parent))
