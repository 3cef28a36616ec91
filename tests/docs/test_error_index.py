"""Every error code is explained in docs/errors.md, is spelled alike, and means one thing."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import planting
from error_index import documented, engine_codes, entries, rewrite, tables
from workspace import ROOT, members

CODE = re.compile(r"[a-z]+(-[a-z0-9]+)+")


def test_the_index_is_what_the_sources_say():
    assert documented(ROOT) == tables(ROOT), "run `just docs`"


def test_the_engines_codes_are_explained(documented_codes: set[str]):
    assert engine_codes(ROOT) == {code for code in documented_codes if code.startswith("engine-")}


def test_codes_are_kebab_case_unique_and_explained():
    found = [entry for member in members() for entry in entries(member)]

    assert [entry for entry in found if not CODE.fullmatch(entry.code) or not entry.meaning] == []
    assert [code for code, count in Counter(entry.code for entry in found).items() if count > 1] == []


def test_a_planted_code_is_missed_until_the_index_is_written(tmp_path: Path):
    root = planting.workspace(
        tmp_path,
        {"delta_io/errors.py": 'class LostError(Exception):\n    """Gone."""\n    code = "delta-lost"\n'},
    )
    page = root / "docs" / "errors.md"
    planting.write(root, {"docs/errors.md": "# Codes\n<!-- codes: begin -->\n<!-- codes: end -->\nend\n"})
    assert documented(root) != tables(root)

    rewrite(root)

    assert documented(root) == tables(root)
    assert "| `delta-lost` | `LostError` | Gone. |" in page.read_text(encoding="utf-8")
    assert page.read_text(encoding="utf-8").endswith("\nend\n")
