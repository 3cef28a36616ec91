"""Maturin's build hooks, with Cargo's target directory in the user's cache.

Dependencies are most of a build. Kept outside the checkout, they are compiled once for all clones and for
the throw-away trees that build front ends copy sources to.
"""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path

import maturin


def cache_directory() -> Path:
    """Return the user's cache directory by the platform's own convention."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def lacks_avx2() -> bool:
    """Tell whether this is a Linux x86-64 machine without AVX2."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return False
    return " avx2" not in Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")


os.environ.setdefault("CARGO_TARGET_DIR", str(cache_directory() / "freshlake" / "target"))
if lacks_avx2():
    os.environ.setdefault("RUSTFLAGS", "-C target-cpu=x86-64")

build_editable = maturin.build_editable
build_sdist = maturin.build_sdist
build_wheel = maturin.build_wheel
get_requires_for_build_editable = maturin.get_requires_for_build_editable
get_requires_for_build_sdist = maturin.get_requires_for_build_sdist
get_requires_for_build_wheel = maturin.get_requires_for_build_wheel
prepare_metadata_for_build_editable = maturin.prepare_metadata_for_build_editable
prepare_metadata_for_build_wheel = maturin.prepare_metadata_for_build_wheel
