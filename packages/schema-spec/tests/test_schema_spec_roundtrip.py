"""Contracts survive every form they are written in."""

from __future__ import annotations

import copy
import json
import pickle

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schema_spec import DataType, NodeId, TableSpec, parse_ddl, register_arrow_types
from schema_spec.testing import data_types, specs, tables

examples = settings(max_examples=30, deadline=None)


@examples
@given(data_types(depth=3))
def test_text_form_of_types(kind):
    parsed = DataType.parse(kind.text)
    assert parsed.text == kind.text


@examples
@given(specs())
def test_toml(spec):
    assert TableSpec.from_toml(spec.to_toml()) == spec


@examples
@given(specs())
def test_json(spec):
    assert TableSpec.from_json(spec.to_json()) == spec


@examples
@given(specs())
def test_msgpack(spec):
    assert TableSpec.from_msgpack(spec.to_msgpack()) == spec


@examples
@given(specs())
def test_pickle_and_copy(spec):
    assert pickle.loads(pickle.dumps(spec)) == spec
    assert copy.deepcopy(spec) == spec
    assert hash(copy.deepcopy(spec)) == hash(spec)


@examples
@given(specs())
def test_arrow(spec):
    schema = spec.to_arrow()
    again = TableSpec.from_arrow(spec.name, schema)
    assert again == spec
    assert again.to_arrow().equals(schema, check_metadata=True)


@examples
@given(specs())
def test_arrow_schema_from_another_library(spec):
    class Foreign:
        def __arrow_c_schema__(self):
            return spec.to_arrow().__arrow_c_schema__()

    assert TableSpec.from_arrow(spec.name, Foreign()) == spec


@examples
@given(specs())
def test_delta(spec):
    delta = spec.to_delta()
    assert TableSpec.from_delta(delta) == spec
    assert TableSpec.from_delta(pickle.loads(pickle.dumps(delta))) == spec


@examples
@given(specs())
def test_delta_schema_in_parts(spec):
    """What a reader of the transaction log has: the schema string and the table's metadata beside it."""
    delta = spec.to_delta()
    assert type(delta) is not str
    again = TableSpec.from_delta(
        str(delta),
        name=delta.name,
        description=delta.description,
        partition_columns=delta.partition_columns,
        configuration=delta.configuration,
    )
    assert again == spec
    assert TableSpec.from_delta(json.loads(delta)).column_names == spec.column_names


@examples
@given(specs(), st.dictionaries(st.text("ab.'\"", min_size=1), st.text("xy'\n;()")))
def test_ddl(spec, options):
    pytest.importorskip("sqlglot")
    ddl = parse_ddl(spec.to_ddl(location="s3://lake/it's (here)", options=options))
    assert ddl.spec == spec
    assert ddl.location == "s3://lake/it's (here)"
    assert ddl.options == options


@examples
@given(specs())
def test_identity_is_the_same_from_every_form(spec):
    again = [
        TableSpec.from_toml(spec.to_toml()),
        TableSpec.from_arrow("other name", spec.to_arrow()),
        TableSpec.from_delta(spec.to_delta()),
    ]
    assert {each.schema_identity_hash for each in again} == {spec.schema_identity_hash}


@examples
@given(st.data())
def test_ipc_and_parquet_keep_contract_and_data(tmp_path_factory, data):
    spec = data.draw(specs(variant=False, max_columns=3))
    table = data.draw(tables(spec))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    read = pa.ipc.open_stream(sink.getvalue()).read_all()
    assert TableSpec.from_arrow(spec.name, read.schema) == spec
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    parquet = pq.read_table(pa.BufferReader(sink.getvalue()))
    assert TableSpec.from_arrow(spec.name, parquet.schema) == spec
    assert parquet.to_pydict().keys() == table.to_pydict().keys()


def test_semantic_type_is_an_extension_type_after_reading(tmp_path):
    spec = TableSpec.from_toml('name = "t"\ncolumns = [{ name = "id", type = "string as NodeId" }]')
    register_arrow_types()
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"id": pa.array(["a"])}).cast(spec.to_arrow()), path)
    field = pq.read_schema(path).field("id")
    assert isinstance(field.type, pa.ExtensionType)
    assert field.type.extension_name == NodeId.extension_name


def test_columns_of_only_nulls_in_tables_of_spark():
    fields = [{"name": name, "type": "void", "nullable": True, "metadata": {}} for name in ("a", "b")]
    schema = {
        "type": "struct",
        "fields": [fields[0], {**fields[1], "type": {"type": "struct", "fields": fields}}],
    }
    spec = TableSpec.from_delta(json.dumps(schema), name="t")
    assert TableSpec.from_toml(spec.to_toml()) == spec
    assert spec.to_arrow().field("a").type == pa.null()
    assert json.loads(spec.to_delta()) == schema
    assert '"a" VOID' in spec.to_ddl(location="t")
