"""Published Delta tables with known rows, from the repository delta-io/delta-kernel-rs.

They are looked for in the folder that ``FRESHLAKE_GOLDEN`` names, else beside the checkout.
"""

from __future__ import annotations

import os
import tarfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from workspace import ROOT

GOLDEN = Path(os.environ.get("FRESHLAKE_GOLDEN", ROOT.parent / "shared" / "acceptance" / "golden"))
ARCHIVES = {path.name.removesuffix(".tar.zst"): path for path in sorted(GOLDEN.glob("*.tar.zst"))}
needs_golden = pytest.mark.skipif(
    not ARCHIVES, reason=f"no golden tables in {GOLDEN.name} beside the checkout"
)


def unpack(folder: Path) -> None:
    """Unpack every table to ``<folder>/<case>/delta`` and its rows to ``<folder>/<case>/expected``."""
    for path in ARCHIVES.values():
        with pa.input_stream(str(path), compression="zstd") as stream:
            _unpack(stream, folder)


def _unpack(stream: Any, folder: Path) -> None:
    with tarfile.open(fileobj=stream, mode="r|") as archive:
        archive.extractall(folder, filter="data")


def quoted(name: str) -> str:
    """Quote a column's name for SQL."""
    doubled = name.replace('"', '""')
    return f'"{doubled}"'
