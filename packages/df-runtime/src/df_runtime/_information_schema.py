"""What contracts say of tables, as tables of `information_schema`."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import msgspec
import pyarrow as pa

from datafusion_ext import Engine
from df_runtime._names import TableName
from df_runtime._references import Text
from df_runtime._resolve import Dataset, DeltaDataset
from df_runtime._sanitise import place
from df_runtime.catalog import Tier
from df_runtime.datasets import AdaptedColumn
from schema_spec import ColumnSpec, TableSpec, constraint_sql

if TYPE_CHECKING:
    Rows = list[dict[str, Any]]

_TABLE: Final = ("table_catalog", "table_schema", "table_name")
_CONSTRAINT: Final = ("constraint_catalog", "constraint_schema", "constraint_name")


def _fields(*names: str) -> list[pa.Field[Any]]:
    return [pa.field(name, pa.int64() if name in _NUMBERS else pa.string()) for name in names]


_NUMBERS: Final = frozenset({"ordinal_position", "version"})
_COLUMN_CONTRACTS: Final = "column_contracts"
# The engine's own tables, with what contracts add to them.
_COLUMNS: Final = f"""
    SELECT c.table_catalog, c.table_schema, c.table_name, c.column_name, c.ordinal_position,
        coalesce(k.column_default, c.column_default) AS column_default,
        coalesce(k.is_nullable, c.is_nullable) AS is_nullable,
        c.data_type, c.character_maximum_length, c.character_octet_length, c.numeric_precision,
        c.numeric_precision_radix, c.numeric_scale, c.datetime_precision, c.interval_type,
        coalesce(k.is_generated, 'NEVER') AS is_generated, k.generation_expression, k.semantic_type,
        k.column_comment
    FROM information_schema.columns c LEFT JOIN information_schema.{_COLUMN_CONTRACTS} k
        ON c.table_catalog = k.table_catalog AND c.table_schema = k.table_schema
        AND c.table_name = k.table_name AND c.column_name = k.column_name
"""


# Who brings a function along, and how volatile it is.
_FUNCTION_TIERS: Final = "function_tiers"
_TIER_COLUMNS: Final = ("routine_name", "function_type", "volatility", "tier")
_ROUTINES: Final = f"""
    SELECT r.*, t.volatility, t.tier
    FROM information_schema.routines r JOIN information_schema.{_FUNCTION_TIERS} t
        ON r.routine_name = t.routine_name AND r.function_type = t.function_type
"""


@contextmanager
def described(
    engine: Engine,
    query: str,
    datasets: Mapping[TableName, Dataset],
    catalog: str,
    tiers: Mapping[str, Tier],
) -> Generator[None]:
    """Have the tables in the engine that the query names, while it is planned.

    They are made of the contracts at this moment, so there is nothing that could be out of date.
    """
    text = Text(query)
    wanted = [name for name in _TABLES if text.mentions(name)]
    if text.mentions("columns") and _COLUMN_CONTRACTS not in wanted:
        wanted.append(_COLUMN_CONTRACTS)
    added: list[str] = []
    try:
        for name in wanted:
            schema, rows = _TABLES[name]
            found = [row for dataset, spec in _specs(datasets) for row in rows(dataset, spec)]
            data = pa.Table.from_pylist(found, schema=pa.schema(schema))
            added.append(_place(catalog, name))
            engine.register_batches(added[-1], data)
        if text.mentions(_DATASETS):
            added.append(_place(catalog, _DATASETS))
            engine.register_batches(added[-1], _resolutions(datasets))
        if text.mentions(_FUNCTION_TIERS) or text.mentions("routines"):
            added.append(_place(catalog, _FUNCTION_TIERS))
            engine.register_batches(added[-1], _function_tiers(engine, tiers))
        if text.mentions("routines"):
            engine.register_view(_place(catalog, "routines"), _ROUTINES)
            added.append(_place(catalog, "routines"))
        if text.mentions("columns"):
            engine.register_view(_place(catalog, "columns"), _COLUMNS)
            added.append(_place(catalog, "columns"))
        if text.mentions("tables"):
            engine.register_view(_place(catalog, "tables"), _tables_view(catalog))
            added.append(_place(catalog, "tables"))
        yield
    finally:
        for name in added:
            engine.deregister(name)


def table_names() -> tuple[str, ...]:
    """Tables of `information_schema`: the engine's own, and these."""
    return tuple(sorted({*_OWN, *_TABLES, _FUNCTION_TIERS, _DATASETS}))


_OWN: Final = ("tables", "columns", "views", "schemata", "routines", "parameters", "df_settings")


_DATASETS: Final = "datasets"
_DATASET_FIELDS: Final = [
    *((name, pa.string()) for name in (*_TABLE, "kind", "provider")),
    ("pinned", pa.bool_()),
    ("uri", pa.string()),
    ("version", pa.int64()),
    ("timestamp", pa.timestamp("us", "UTC")),
    ("table_id", pa.string()),
    ("schema_identity_hash", pa.string()),
    ("files", pa.int64()),
    ("rows", pa.int64()),
    ("bytes", pa.int64()),
    ("query", pa.string()),
    ("depends", pa.list_(pa.string())),
    ("scan_identity_hash", pa.string()),
    ("features", pa.list_(pa.string())),
    ("environment", pa.string()),
    ("evolution", pa.string()),
    ("adapted", pa.list_(pa.struct([(each, pa.string()) for each in AdaptedColumn.__struct_fields__]))),
]


def _resolutions(datasets: Mapping[TableName, Dataset]) -> pa.Table:
    """Write down how each name was resolved: what `Session.resolution` returns."""
    rows: list[dict[str, Any]] = []
    for name, dataset in sorted(datasets.items(), key=lambda item: item[0]):
        told = msgspec.structs.asdict(dataset.resolution(name.quoted()))
        told["uri"] = None if told["uri"] is None else place(told["uri"])
        told["adapted"] = [msgspec.structs.asdict(each) for each in told["adapted"]]
        rows.append({**dict(zip(_TABLE, name, strict=True)), **told})
    return pa.Table.from_pylist(rows, schema=pa.schema(_DATASET_FIELDS))


def _function_tiers(engine: Engine, tiers: Mapping[str, Tier]) -> pa.Table:
    rows = [
        {
            "routine_name": each["name"],
            "function_type": each["kind"].upper(),
            "volatility": each["volatility"],
            "tier": "built-in" if each["built_in"] else tiers.get(each["name"], "rust"),
        }
        for each in engine.routines()
    ]
    return pa.Table.from_pylist(rows, schema=pa.schema(_fields(*_TIER_COLUMNS)))


def _place(catalog: str, name: str) -> str:
    return TableName(catalog, "information_schema", name).quoted()


def _tables_view(catalog: str) -> str:
    literal = "'" + catalog.replace("'", "''") + "'"
    ours = sorted((*_TABLES, _FUNCTION_TIERS, _DATASETS))
    own = ", ".join(f"({literal}, 'information_schema', '{name}', 'VIEW')" for name in ours)
    return (
        "SELECT table_catalog, table_schema, table_name, table_type FROM information_schema.tables "
        f"UNION ALL SELECT column1, column2, column3, column4 FROM (VALUES {own})"
    )


class _Named:
    """A Delta table under its name."""

    def __init__(self, name: TableName, dataset: DeltaDataset) -> None:
        self.name = name
        self.dataset = dataset
        self.columns = dict(zip(_TABLE, name, strict=True))

    def constraint(self, name: str) -> dict[str, Any]:
        """Name a constraint of the table."""
        return dict(zip(_CONSTRAINT, (self.name.catalog, self.name.schema, name), strict=True))


def _specs(datasets: Mapping[TableName, Dataset]) -> Generator[tuple[_Named, TableSpec]]:
    for name, dataset in sorted(datasets.items(), key=lambda item: item[0]):
        if isinstance(dataset, DeltaDataset):
            yield _Named(name, dataset), dataset.spec


def _table_constraints(table: _Named, spec: TableSpec) -> Rows:
    kinds = [(f"{table.name.table}_pkey", "PRIMARY KEY", "NO")] if spec.primary_key else []
    kinds += [(each.name, "CHECK", "YES") for each in spec.constraints]
    return [
        {**table.constraint(name), **table.columns, "constraint_type": kind, "enforced": enforced}
        for name, kind, enforced in kinds
    ]


def _key_column_usage(table: _Named, spec: TableSpec) -> Rows:
    return [
        {
            **table.constraint(f"{table.name.table}_pkey"),
            **table.columns,
            "column_name": column,
            "ordinal_position": position,
        }
        for position, column in enumerate(spec.primary_key, start=1)
    ]


def _check_constraints(table: _Named, spec: TableSpec) -> Rows:
    columns = {column.name: column for column in spec.columns}
    return [
        {**table.constraint(each.name), "check_clause": constraint_sql(each, columns)}
        for each in spec.constraints
    ]


def _column_contracts(table: _Named, spec: TableSpec) -> Rows:
    # The protocol's own text of a default, which Delta tables carry.
    fields = msgspec.json.decode(spec.to_delta().encode())["fields"]
    defaults = {field["name"]: field["metadata"].get("CURRENT_DEFAULT") for field in fields}
    return [{**table.columns, **_of_column(column, defaults[column.name])} for column in spec.columns]


def _of_column(column: ColumnSpec, default: str | None) -> dict[str, Any]:
    generated = column.generated
    return {
        "column_name": column.name,
        "column_default": default,
        "is_nullable": "YES" if column.nullable else "NO",
        "is_generated": "NEVER" if generated is None else "ALWAYS",
        "generation_expression": None if generated is None else generated.sql,
        "semantic_type": None if column.semantic is None else column.semantic.name,
        "column_comment": column.comment,
    }


def _table_contracts(table: _Named, spec: TableSpec) -> Rows:
    snapshot = table.dataset.snapshot
    where = place(snapshot.uri)
    row = {
        **table.columns,
        "uri": where,
        "version": snapshot.version,
        "table_id": snapshot.table_id,
        "schema_identity_hash": snapshot.schema_identity_hash,
        "evolution": spec.evolution,
        "partition_by": ", ".join(spec.partition_by) or None,
        "table_comment": spec.comment,
        "ddl": spec.to_ddl(location=where, options=table.dataset.config.to_options()),
    }
    return [row]


_TABLES: Final[Mapping[str, tuple[list[pa.Field[Any]], Callable[[_Named, TableSpec], Rows]]]] = {
    "table_constraints": (
        _fields(*_CONSTRAINT, *_TABLE, "constraint_type", "enforced"),
        _table_constraints,
    ),
    "key_column_usage": (
        _fields(*_CONSTRAINT, *_TABLE, "column_name", "ordinal_position"),
        _key_column_usage,
    ),
    "check_constraints": (_fields(*_CONSTRAINT, "check_clause"), _check_constraints),
    _COLUMN_CONTRACTS: (
        _fields(
            *_TABLE,
            "column_name",
            "column_default",
            "is_nullable",
            "is_generated",
            "generation_expression",
            "semantic_type",
            "column_comment",
        ),
        _column_contracts,
    ),
    "table_contracts": (
        _fields(
            *_TABLE,
            "uri",
            "version",
            "table_id",
            "schema_identity_hash",
            "evolution",
            "partition_by",
            "table_comment",
            "ddl",
        ),
        _table_contracts,
    ),
}
TABLES: Final = (*_OWN, _FUNCTION_TIERS, *_TABLES, _DATASETS)
