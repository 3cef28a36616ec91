"""The identity hash: what counts, what doesn't, and that it never changes by accident."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

import schema_spec
from schema_spec import AcceptedValues, Check, ColumnSpec, Range, SqlExpression, TableSpec
from schema_spec.testing import specs

BASE = """
name = "orders"
primary_key = ["id"]
partition_by = ["day"]

[[columns]]
name = "id"
type = "string as NodeId"
nullable = false

[[columns]]
name = "day"
type = "date"
default = "2020-01-01"

[[columns]]
name = "lines"
type = "array<struct<sku: string not null, price: decimal(10,2)>>"

[[columns]]
name = "age"
type = "integer"

[[constraints]]
kind = "range"
name = "age"
column = "age"
minimum = 0
"""
GOLDEN = {
    "every field": "2ee249486ceace0c0368514b27c929eb09c864a70eed35d82142dafded0d28fb",
    "orders": "6616e1769a810c60b8657c3e89a0621b81cc91b73146b1153a4499cfa4f2b918",
    "empty": "3dbaec685226b6978413c1ba671204e43fd8fa8c278b63b1dca3dbab2ebf3ea4",
    "every type": "c3b68bda37e4a6d8fe29fd68aacd0b48d31ff7919741b2ce554a79534c511796",
}
EVERY_TYPE = [
    *(
        "boolean",
        "byte",
        "short",
        "integer",
        "long",
        "float",
        "double",
        "string",
        "binary",
        "date",
        "timestamp",
    ),
    *("timestamp_ntz", "variant", "decimal(38,10)", "array<long not null>", "map<string, array<date>>"),
    *("struct<a: long not null, b: array<string as FileId>>",),
]


EVERY_FIELD = [
    ColumnSpec("id", "long", nullable=False, field_id=1, physical_name="col-1"),
    ColumnSpec("price", "decimal(10,2)", default="1.5"),
    ColumnSpec("ratio", "double", default="nan"),
    ColumnSpec("seen", "timestamp", default=SqlExpression("current_timestamp()")),
    ColumnSpec("twice", "long", generated="id * 2"),
    ColumnSpec("place", "binary", metadata={"ARROW:extension:name": "geoarrow.wkb", "unit": "m"}),
    ColumnSpec("Größe", "map<string as NodeId, array<struct<`a b`: long not null> not null>>"),
]
EVERY_CONSTRAINT = [
    Check("odd", "id % 2 = 1"),
    Range("cheap", "price", minimum=0, maximum="9.99"),
    AcceptedValues("ratios", "ratio", [0.5, "NaN"]),
]


def golden_specs() -> dict[str, TableSpec]:
    columns = [ColumnSpec(f"c{index}", kind) for index, kind in enumerate(EVERY_TYPE)]
    return {
        "every field": TableSpec("every field", EVERY_FIELD, ["id"], constraints=EVERY_CONSTRAINT),
        "orders": TableSpec.from_toml(BASE),
        "empty": TableSpec("empty", []),
        "every type": TableSpec("every type", columns),
    }


def test_golden_values():
    """A release that changes these makes every stored identity stale: raise the format version with it."""
    assert {name: spec.schema_identity_hash for name, spec in golden_specs().items()} == GOLDEN


@settings(max_examples=30, deadline=None)
@given(specs(), st.randoms(use_true_random=False))
def test_order_of_keys_does_not_matter(spec, chance):
    def shuffled(value):
        if isinstance(value, dict):
            keys = list(value)
            chance.shuffle(keys)
            return {key: shuffled(value[key]) for key in keys}
        return [shuffled(each) for each in value] if isinstance(value, list) else value

    again = TableSpec.from_json(json.dumps(shuffled(json.loads(spec.to_json()))))
    assert again == spec
    assert again.schema_identity_hash == spec.schema_identity_hash


def changed(spec: TableSpec, name: str, **fields) -> TableSpec:
    columns = [replace(each, **fields) if each.name == name else each for each in spec.columns]
    return replace(spec, columns=columns)


ORDERS = TableSpec.from_toml(BASE)
MEANINGLESS = [
    replace(ORDERS, name="other"),
    replace(ORDERS, comment="for people"),
    replace(ORDERS, evolution="any"),
    replace(ORDERS, properties={"delta.appendOnly": "true"}),
    changed(ORDERS, "age", comment="for people"),
    changed(ORDERS, "age", metadata={"pii": True}),
    changed(ORDERS, "age", field_id=4, physical_name="col-4"),
    changed(ORDERS, "lines", type="array<struct<sku: string not null comment 'x', price: decimal(10,2)>>"),
]
MEANINGFUL = [
    replace(ORDERS, columns=ORDERS.columns[::-1]),
    replace(ORDERS, columns=[*ORDERS.columns, ColumnSpec("more", "long")]),
    replace(ORDERS, primary_key=()),
    replace(ORDERS, partition_by=()),
    replace(ORDERS, constraints=()),
    replace(ORDERS, constraints=[Range("age", "age", minimum=1)]),
    changed(ORDERS, "id", semantic=None),
    changed(ORDERS, "id", semantic="EdgeId"),
    changed(ORDERS, "id", nullable=True),
    changed(ORDERS, "day", default=None),
    changed(ORDERS, "day", default="2020-01-02"),
    changed(ORDERS, "day", default=None, generated="current_date()"),
    changed(ORDERS, "age", type="long"),
    changed(ORDERS, "age", metadata={"ARROW:extension:name": "geo.point"}),
    changed(ORDERS, "lines", type="array<struct<sku: string, price: decimal(10,2)>>"),
    changed(ORDERS, "lines", type="array<struct<sku: string not null, price: decimal(10,3)>>"),
    changed(ORDERS, "lines", type="array<struct<sku: string not null, price: decimal(10,2)> not null>"),
]


@pytest.mark.parametrize("spec", MEANINGLESS)
def test_what_does_not_matter_leaves_the_hash(spec):
    assert spec != ORDERS
    assert spec.schema_identity_hash == ORDERS.schema_identity_hash


def test_what_matters_changes_the_hash():
    hashes = {spec.schema_identity_hash for spec in (ORDERS, *MEANINGFUL)}
    assert len(hashes) == len(MEANINGFUL) + 1


def test_spellings_of_one_thing_are_one_thing():
    spelled = TableSpec("t", [ColumnSpec("a", "NUMERIC(10, 2)", default=1), ColumnSpec("b", "Array<BIGINT>")])
    plain = TableSpec("t", [ColumnSpec("a", "decimal(10,2)", default="1.00"), ColumnSpec("b", "array<long>")])
    assert spelled == plain
    assert spelled.schema_identity_hash == plain.schema_identity_hash


SCRIPT = """
import json, sys
from schema_spec import TableSpec
for text in json.load(sys.stdin):
    print(TableSpec.from_json(text).schema_identity_hash)
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> str:
    """Return a folder that holds this package alone: its neighbours may suit one version of Python only."""
    folder = tmp_path_factory.mktemp("source")
    package = Path(schema_spec.__file__).parent
    shutil.copytree(package, folder / package.name, ignore=shutil.ignore_patterns("__pycache__"))
    return str(folder)


def hashes_from(command: list[str], seed: str, source: str) -> list[str]:
    texts = [spec.to_json() for spec in golden_specs().values()]
    random.Random(seed).shuffle(order := list(range(len(texts))))
    done = subprocess.run(
        [*command, "-c", SCRIPT],
        input=json.dumps([texts[index] for index in order]),
        env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": source},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found = dict(zip(order, done.stdout.split(), strict=True))
    return [found[index] for index in range(len(texts))]


@pytest.mark.parametrize("seed", ["0", "1", "4242"])
def test_other_processes_agree(seed, source):
    assert hashes_from([sys.executable], seed, source) == list(GOLDEN.values())


def other_pythons() -> list[str]:
    """Return interpreters of other versions, the newest version first."""
    folders = [Path(each) for each in os.environ.get("PATH", "").split(os.pathsep) if each]
    folders += sorted(Path.home().glob(".pyenv/versions/*/bin"))
    minors = [minor for minor in range(19, 10, -1) if minor != sys.version_info.minor]
    paths = (folder / f"python3.{minor}" for minor in minors for folder in folders)
    return [str(path) for path in paths if path.is_file()]


def has_msgspec(command: list[str], folder: Path) -> bool:
    probe = [*command, "-c", "import msgspec, sys; assert sys.version_info >= (3, 11)"]
    return subprocess.run(probe, capture_output=True, timeout=120, check=False, cwd=folder).returncode == 0


def commands(*, download: bool) -> Iterator[list[str]]:
    """Return ways to run another version of Python, the newest first: with its own msgspec, or uv's."""
    uv = shutil.which("uv")
    isolated = [uv, "run", "--no-project", "--with", "msgspec", "--python"] if uv else []
    for python in other_pythons():
        yield [python]
        if isolated:
            yield [*isolated, python, "--offline", "python"]
            yield [*isolated, python, "python"]
    if download and isolated:
        for minor in range(19, 11, -1):
            yield [*isolated, f"3.{minor}", "python"]


def newest(folder: Path, *, download: bool = False) -> list[str] | None:
    return next((each for each in commands(download=download) if has_msgspec(each, folder)), None)


def test_the_newest_other_version_of_python_agrees(tmp_path, source):
    command = newest(tmp_path)
    if command is None:
        pytest.skip(f"no other Python 3.11+ with msgspec; found {other_pythons() or 'none'}")
    assert hashes_from(command, "7", source) == list(GOLDEN.values())


@pytest.mark.slow
def test_another_version_of_python_can_be_had_and_agrees(tmp_path, source):
    command = newest(tmp_path, download=True)
    assert command is not None, "neither this machine nor uv has another Python 3.11+ with msgspec"
    assert hashes_from(command, "8", source) == list(GOLDEN.values())


def test_ids_of_a_parquet_file_are_not_column_mapping():
    plain = pa.field("id", pa.int64())
    numbered = plain.with_metadata({"PARQUET:field_id": "7"})
    read, expected = (TableSpec.from_arrow("t", pa.schema([field])) for field in (numbered, plain))
    assert read == expected
    assert read.schema_identity_hash == expected.schema_identity_hash
