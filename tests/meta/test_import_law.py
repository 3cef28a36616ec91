"""A package imports what its own pyproject.toml declares, and arrows between packages only point up."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

import planting
from workspace import ROOT, Member, imported_names, members, normalised, parse

# Who may lean on whom, from docs/architecture.md.
BELOW: dict[str, frozenset[str]] = {
    "schema_spec": frozenset(),
    "delta_io": frozenset({"schema_spec"}),
    "datafusion_ext": frozenset(),
    "df_runtime": frozenset({"schema_spec", "delta_io", "datafusion_ext"}),
    "plan_cache": frozenset({"df_runtime"}),
    "incremental_cdf": frozenset({"schema_spec", "delta_io", "datafusion_ext", "df_runtime", "plan_cache"}),
    "freshlake": frozenset(
        {"schema_spec", "delta_io", "datafusion_ext", "df_runtime", "plan_cache", "incremental_cdf"}
    ),
    "code_graph": frozenset(
        {
            "schema_spec",
            "delta_io",
            "datafusion_ext",
            "df_runtime",
            "plan_cache",
            "incremental_cdf",
            "freshlake",
        }
    ),
}

# The engine computes: Arrow's own kernels stay at the door to the tables.
MAY_COMPUTE_IN_ARROW = frozenset({"schema_spec", "delta_io"})


def law_violations(root: Path) -> list[str]:
    """List every import and every declared dependency below a workspace root that breaks the law."""
    everyone = members(root)
    by_module = {member.module: member for member in everyone}
    found: list[str] = []
    for member in everyone:
        found += _declared_downwards(member, by_module)
        for path in member.files():
            for line, name in imported_names(parse(path)):
                reason = _objection(member, name, by_module)
                if reason:
                    found.append(f"{path.relative_to(root)}:{line}: {name}: {reason}")
    return found


def _declared_downwards(member: Member, by_module: dict[str, Member]) -> list[str]:
    if member.module not in BELOW:
        return [f"{member.module}: has no place in the order of packages"]
    return [
        f"{member.folder.name}/pyproject.toml: {member.module} must not depend on {module}"
        for module, other in by_module.items()
        if other.distribution in member.declared and module not in BELOW[member.module]
    ]


def _objection(member: Member, name: str, by_module: dict[str, Member]) -> str | None:
    top, *rest = name.split(".")
    if top == member.module or top in sys.stdlib_module_names:
        return None
    if top in by_module:
        return _objection_to_sibling(member, by_module[top], rest)
    if not _distributions(top) & member.declared:
        return f"not declared in the pyproject.toml of {member.distribution}"
    if name.startswith("pyarrow.compute") and member.module not in MAY_COMPUTE_IN_ARROW:
        return "computing is the engine's"
    return None


def _objection_to_sibling(member: Member, sibling: Member, rest: list[str]) -> str | None:
    if sibling.module not in BELOW.get(member.module, frozenset()):
        return f"{member.module} must not lean on {sibling.module}"
    if sibling.distribution not in member.declared:
        return f"not declared in the pyproject.toml of {member.distribution}"
    if any(part.startswith("_") and not part.startswith("__") for part in rest):
        return f"private to {sibling.module}"
    return None


@cache
def _distributions(module: str) -> frozenset[str]:
    owners = _installed().get(module, [module])
    return frozenset(map(normalised, owners))


@cache
def _installed() -> Mapping[str, list[str]]:
    return packages_distributions()


def test_the_workspace_obeys_the_law():
    assert law_violations(ROOT) == []


def test_every_member_has_its_place_in_the_order():
    assert {member.module for member in members()} == set(BELOW)


def test_the_order_has_no_cycle():
    for module, below in BELOW.items():
        assert module not in below
        for other in below:
            assert module not in BELOW[other]


@pytest.mark.parametrize(
    ("source", "finding"),
    [
        ("import numpy\n", "numpy: not declared"),
        ("from numpy import array\n", "numpy.array: not declared"),
        (
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import numpy as np\n",
            "numpy: not declared",
        ),
        ("def late():\n    import numpy\n", "numpy: not declared"),
        ("from importlib import import_module\nimport_module('numpy')\n", "numpy: not declared"),
        ("import importlib\nimportlib.import_module('numpy.linalg')\n", "numpy.linalg: not declared"),
        ("import df_runtime\n", "delta_io must not lean on df_runtime"),
        ("from schema_spec._hash import digest\n", "private to schema_spec"),
        ("from schema_spec import _hash\n", "private to schema_spec"),
    ],
    ids=lambda value: value.replace("\n", ";") if isinstance(value, str) else None,
)
def test_a_planted_import_is_found(tmp_path: Path, source: str, finding: str):
    root = planting.workspace(
        tmp_path,
        {"delta_io/table.py": source, "schema_spec/table.py": "", "df_runtime/session.py": ""},
        dependencies={"delta_io": ["schema-spec>=0.1"]},
    )

    found = law_violations(root)

    assert len(found) == 1
    assert "packages/delta_io/src/delta_io/table.py" in found[0]
    assert finding in found[0]


def test_a_planted_arrow_kernel_above_the_tables_is_found(tmp_path: Path):
    root = planting.workspace(
        tmp_path,
        {"df_runtime/session.py": "import pyarrow.compute as pc\n"},
        dependencies={"df_runtime": ["pyarrow"]},
    )

    assert "computing is the engine's" in "".join(law_violations(root))


def test_a_planted_downward_dependency_is_found(tmp_path: Path):
    root = planting.workspace(
        tmp_path,
        {"schema_spec/table.py": "", "delta_io/table.py": ""},
        dependencies={"schema_spec": ["delta-io"]},
    )

    assert law_violations(root) == [
        "schema_spec/pyproject.toml: schema_spec must not depend on delta_io",
    ]


def test_a_package_outside_the_order_is_found(tmp_path: Path):
    root = planting.workspace(tmp_path, {"stray/code.py": ""})

    assert law_violations(root) == ["stray: has no place in the order of packages"]


def test_an_honest_workspace_passes(tmp_path: Path):
    root = planting.workspace(
        tmp_path,
        {
            "schema_spec/table.py": "import json\nimport msgspec\nfrom ._hash import digest\n",
            "delta_io/table.py": "from schema_spec import TableSpec\nimport pyarrow.compute\n",
        },
        dependencies={"schema_spec": ["msgspec"], "delta_io": ["schema-spec", "pyarrow"]},
    )

    assert law_violations(root) == []


def test_a_workspace_without_sources_is_not_taken_for_an_honest_one(tmp_path: Path):
    planting.write(tmp_path, {"pyproject.toml": '[tool.uv.workspace]\nmembers = ["packages/*"]\n'})

    with pytest.raises(FileNotFoundError, match="has no members"):
        law_violations(tmp_path)
