"""Plans written as bytes in one process answer the same in another, without losing rows or pruning."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
from pyarrow import feather

from _tpch_data import TABLES, Lake
from datafusion_ext import DeltaScan, Engine, EngineError
from delta_io import DeltaIoError, Snapshot, Table
from delta_io.testing import bag
from golden import ARCHIVES, needs_golden, quoted
from small_tpch import QUERIES

SETTINGS = {"datafusion.execution.target_partitions": "2"}
# Runs in a process of its own: reads each `*.plan` of a folder, and writes its rows and figures beside it.
_WORKER = """
import json, pathlib, sys
import pyarrow as pa
from pyarrow import feather
from datafusion_ext import Engine
engine = Engine({"datafusion.execution.target_partitions": "2"})
for path in sorted(pathlib.Path(sys.argv[1]).glob("*.plan")):
    query = engine.query_from_bytes(path.read_bytes())
    assert pa.table(query).num_rows == pa.table(query).num_rows, path
    feather.write_feather(pa.table(query), str(path.with_suffix(".rows")))
    told = [query.metrics(), query.tables(), query.to_bytes().hex()]
    path.with_suffix(".json").write_text(json.dumps(told))
"""


def _scan(snapshot: Snapshot) -> DeltaScan:
    return DeltaScan(
        snapshot.uri,
        snapshot.schema,
        snapshot.add_actions(),
        partition_columns=snapshot.partition_by,
        column_mapping=snapshot.column_mapping,
    )


def _run_elsewhere(folder: Path) -> None:
    subprocess.run([sys.executable, "-c", _WORKER, str(folder)], check=True, timeout=900)


def _told(folder: Path, name: str) -> tuple[dict[str, int], list[str], str]:
    figures, tables, again = json.loads((folder / f"{name}.json").read_text())
    return figures, tables, again


def test_tpch_answers_alike_in_a_fresh_process(lake: Lake, tmp_path: Path) -> None:
    engine = Engine(SETTINGS)
    for table in TABLES:
        engine.register_delta(table, _scan(lake.snapshot(table)))
    queries = {name: engine.sql(text) for name, text in QUERIES.items()}
    expected = {name: bag(pa.table(query)) for name, query in queries.items()}
    for name, query in queries.items():
        (tmp_path / f"{name}.plan").write_bytes(query.to_bytes())
    _run_elsewhere(tmp_path)
    for name, query in queries.items():
        assert bag(feather.read_table(tmp_path / f"{name}.rows")) == expected[name], name
        figures, tables, again = _told(tmp_path, name)
        assert tables == query.tables()
        assert bytes.fromhex(again) == (tmp_path / f"{name}.plan").read_bytes()
        mine = query.metrics()
        for figure in ("row_groups_pruned_statistics_pruned", "files_ranges_pruned_statistics_pruned"):
            assert figures.get(figure, 0) >= mine.get(figure, 0), (name, figure)


def test_dynamic_filters_are_linked_again(lake: Lake) -> None:
    engine = Engine(SETTINGS)
    for table in TABLES:
        engine.register_delta(table, _scan(lake.snapshot(table)))
    for name, text in QUERIES.items():
        query = engine.sql(text)
        decoded = Engine(SETTINGS).query_from_bytes(query.to_bytes())
        plans = [each.explain()["physical"].count("DynamicFilter") for each in (query, decoded)]
        assert plans[0] == plans[1], name


@needs_golden
def test_published_tables_answer_alike_in_a_fresh_process(unpacked: Path, tmp_path: Path) -> None:
    engine = Engine(SETTINGS)
    expected = {}
    for case in ARCHIVES:
        try:
            engine.register_delta("t", _scan(Table(str(unpacked / case / "delta")).snapshot()))
        except (DeltaIoError, EngineError):
            continue
        column = quoted(pa.schema(engine.schema("t")).names[0])
        for kind, text in (
            ("all", "SELECT * FROM t"),
            ("null", f"SELECT count(*) AS n, count({column}) AS m FROM t WHERE {column} IS NOT NULL"),
        ):
            query = engine.sql(text)
            expected[f"{case}.{kind}"] = bag(pa.table(query))
            (tmp_path / f"{case}.{kind}.plan").write_bytes(query.to_bytes())
    assert len(expected) > 100
    _run_elsewhere(tmp_path)
    for name, rows in expected.items():
        assert bag(feather.read_table(tmp_path / f"{name}.rows")) == rows, name
