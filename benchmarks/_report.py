"""Reports in Markdown: where figures came about, tables, and their place in a page."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

PACKAGES = ("datafusion-ext", "df-runtime", "delta-io", "datafusion", "deltalake", "duckdb", "pyarrow")


def setting(what: str) -> str:
    """Say what was measured, when, where and with which versions."""
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return (
        f"{what}, {datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores ({processor()}), "
        f"Python {platform.python_version()}, {versions}."
    )


def processor() -> str:
    """Name the processor, as far as the system tells."""
    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*:\s*(.+)", info.read_text(encoding="utf-8")) if info.exists() else None
    return found.group(1).strip() if found else platform.machine()


def markdown(head: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    """Lay out a table with right-aligned figures."""
    rule = "|---|" + "---:|" * (len(head) - 1)
    return [f"| {' | '.join(head)} |", rule, *(f"| {' | '.join(cells)} |" for cells in body)]


def replace_between(path: Path, mark: str, report: str) -> None:
    """Put a report between the marks of its name in a file."""
    begin, end = f"<!-- {mark}: begin -->", f"<!-- {mark}: end -->"
    text = path.read_text(encoding="utf-8")
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    path.write_text(f"{before}{begin}\n\n{report}\n\n{end}{after}", encoding="utf-8")
