"""Whatever is wrong with a contract, the answer is one SpecError that says where, what and how to mend it."""

from __future__ import annotations

import contextlib
import json
import pickle

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from schema_spec import (
    AcceptedValues,
    ArrayType,
    Check,
    ColumnSpec,
    DataType,
    DecimalType,
    MapType,
    Range,
    SemanticType,
    SpecError,
    StructType,
    TableSpec,
    parse_ddl,
)
from schema_spec.testing import specs

examples = settings(max_examples=60, deadline=None)
HEAD = 'name = "t"\n'


def column(fields: str) -> str:
    return f"{HEAD}columns = [{{ {fields} }}]"


BAD_TOML = [
    ("=", "spec-syntax", ""),
    ("a = [" * 3000, "spec-syntax", ""),
    (HEAD, "spec-field-invalid", "columns"),
    (HEAD + "columns = 3", "spec-field-invalid", "columns"),
    (HEAD + "columns = []\nsurprise = 1", "spec-field-invalid", "surprise"),
    (column('name = "a"'), "spec-field-invalid", "columns[0].type"),
    (column('name = "a", type = "lng"'), "spec-type-unsupported", "columns[0].type"),
    (column('name = "a", type = "array<long"'), "spec-syntax", "columns[0].type"),
    (column('name = "a", type = 3'), "spec-field-invalid", "columns[0].type"),
    (column('name = "a", type = "decimal(39,2)"'), "spec-type-unsupported", "columns[0].type"),
    (column('name = "a", type = "long", nulable = true'), "spec-field-invalid", "columns[0].nulable"),
    (column('name = "", type = "long"'), "spec-field-invalid", "columns[0].name"),
    (column('name = "a\\u0000", type = "long"'), "spec-field-invalid", "columns[0].name"),
    (column('name = "a", type = "long", nullable = "no"'), "spec-field-invalid", "columns[0].nullable"),
    (column('name = "a", type = "byte", default = 128'), "spec-default-invalid", "columns[0].default"),
    (column('name = "a", type = "long", default = true'), "spec-default-invalid", "columns[0].default"),
    (
        column('name = "a", type = "decimal(4,2)", default = "1.234"'),
        "spec-default-invalid",
        "columns[0].default",
    ),
    (
        column('name = "a", type = "timestamp", default = "2020-01-01"'),
        "spec-default-invalid",
        "columns[0].default",
    ),
    (column('name = "a", type = "array<long>", default = [1]'), "spec-default-invalid", "columns[0].default"),
    (column('name = "a", type = "long", default = { sq = "1" }'), "spec-field-invalid", "columns[0].default"),
    (column('name = "a", type = "long", semantic = "NodeId"'), "spec-semantic-conflict", "columns[0]"),
    (
        column('name = "a", type = "string", metadata = { comment = "x" }'),
        "spec-field-invalid",
        "columns[0].metadata",
    ),
    (
        column(
            'name = "a", type = { kind = "struct", fields = [{ name = "b", type = "long", default = "x" }] }'
        ),
        "spec-default-invalid",
        "columns[0].type.fields[0].default",
    ),
    (column('name = "a", type = { kind = "tuple" }'), "spec-field-invalid", "columns[0].type.kind"),
    (column('name = "a", type = "long"') + '\nprimary_key = ["b"]', "spec-column-missing", "primary_key[0]"),
    (column('name = "a", type = "long"') + '\nevolution = "wild"', "spec-field-invalid", "evolution"),
    (column('name = "a", type = "long"') + '\nprimary_key = "a"', "spec-field-invalid", "primary_key"),
    (column('name = "a", type = "long"') + '\npartition_by = ["a"]', "spec-field-invalid", "partition_by"),
    (
        HEAD + 'columns = [{name="a",type="long"},{name="A",type="long"}]',
        "spec-column-duplicate",
        "columns[1].name",
    ),
    (
        column('name = "a", type = "long"')
        + '\nconstraints = [{kind="range",name="r",column="b",minimum=1}]',
        "spec-column-missing",
        "constraints.r",
    ),
    (
        column('name = "a", type = "long"')
        + '\nconstraints = [{kind="range",name="r",column="a",minimum="x"}]',
        "spec-constraint-invalid",
        "constraints.r",
    ),
    (
        column('name = "a", type = "long"') + '\nproperties = { "delta.constraints.x" = "a > 0" }',
        "spec-field-invalid",
        "properties",
    ),
]


@pytest.mark.parametrize(("text", "code", "path"), BAD_TOML, ids=range(len(BAD_TOML)))
def test_bad_contract(text, code, path):
    with pytest.raises(SpecError) as caught:
        TableSpec.from_toml(text)
    error = caught.value
    assert (error.code, error.path.removesuffix(".semantic")) == (code, path)
    assert str(error).endswith(f"[{code}]")
    assert error.fix
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.path, type(again)) == (str(error), error.path, type(error))


def nested(levels, wrap):
    kind = "long"
    for _ in range(levels):
        kind = wrap(kind)
    return kind


BAD_CALLS = [
    lambda: ColumnSpec(3, "long"),
    lambda: ColumnSpec("a", 3),
    lambda: ColumnSpec("a", "long", nullable=1),
    lambda: ColumnSpec("a", "long", default=object()),
    lambda: ColumnSpec("a", "long", semantic=3),
    lambda: ColumnSpec("a", "long", comment=3),
    lambda: TableSpec("t", [ColumnSpec("a\ud800", "long")]),
    lambda: TableSpec("t", [ColumnSpec("a\0", "long")]),
    lambda: ColumnSpec("a", "long", comment="\ud800"),
    lambda: ColumnSpec("a", "long", metadata={"k": object()}),
    lambda: ColumnSpec("a", "long", metadata={"k": float("nan")}),
    lambda: ColumnSpec("a", "long", metadata=[]),
    lambda: ColumnSpec("a", "long", default=1, generated="2"),
    lambda: ColumnSpec("a", "long", field_id=-1),
    lambda: ColumnSpec("a", "long", field_id=1 << 31),
    lambda: ColumnSpec("a", "long", physical_name=""),
    lambda: ColumnSpec("a", "string", default="\ud800"),
    lambda: ColumnSpec("a", "timestamp", default="2020-01-01T00:00:00.123456789Z"),
    lambda: ColumnSpec("a", "long", metadata="[1]"),
    lambda: ColumnSpec("a", "long", metadata={"k": {"\ud800": 1}}),
    lambda: ColumnSpec("a", "variant", metadata={"ARROW:extension:name": "x"}),
    lambda: ColumnSpec("a", "string", metadata={"ARROW:extension:name": "arrow.parquet.variant"}),
    lambda: ColumnSpec("a", "string", metadata={"ARROW:extension:name": "schema_spec.Own"}),
    lambda: ColumnSpec("a", {"kind": "array", "element": "long", 1: 2, "x": 3}),
    lambda: ColumnSpec(
        "a", {"kind": "struct", "fields": [{"name": "b", "type": "long", "comment": "\ud800"}]}
    ),
    lambda: ColumnSpec("a", nested(65, lambda kind: {"kind": "array", "element": kind})),
    lambda: ColumnSpec("a", nested(5000, lambda kind: {"kind": "array", "element": kind})),
    lambda: ColumnSpec("a", nested(65, ArrayType)),
    lambda: ColumnSpec("a", nested(3000, ArrayType)),
    lambda: ColumnSpec("a", nested(300, lambda kind: StructType((ColumnSpec("b", kind),)))),
    lambda: TableSpec("t", [ColumnSpec("a", "long", field_id=1), ColumnSpec("b", "long", field_id=1)]),
    lambda: TableSpec(
        "t",
        [
            ColumnSpec("a", "long", field_id=1),
            ColumnSpec("b", ArrayType(StructType((ColumnSpec("c", "long", field_id=1),)))),
        ],
    ),
    lambda: TableSpec("t", [ColumnSpec("a", "map<string, long>")], primary_key=["a"]),
    lambda: TableSpec("t", [ColumnSpec("a", "string")], constraints=[Range("r", "a", "\ud800")]),
    lambda: TableSpec("t", [ColumnSpec("a", "long")], properties={"arrow.metadata.schema_spec.table": "{}"}),
    lambda: StructType(3),
    lambda: ColumnSpec("a", "string as NodeId", semantic="EdgeId"),
    lambda: ColumnSpec("a", "long", semantic="X", metadata={"ARROW:extension:name": "y"}),
    lambda: TableSpec("", []),
    lambda: TableSpec("a..b", []),
    lambda: TableSpec("t", "columns"),
    lambda: TableSpec("t", [1]),
    lambda: TableSpec("t", [], comment=3),
    lambda: TableSpec("t", [], properties={"a": 1}),
    lambda: TableSpec("t", [], constraints=[3]),
    lambda: TableSpec("t", [], constraints=["1 = 1", Check("check_1", "2 = 2")]),
    lambda: Range("r", "a"),
    lambda: AcceptedValues("r", "a", []),
    lambda: Check("", "a"),
    lambda: Check("c", " "),
    lambda: DecimalType(0, 0),
    lambda: DecimalType(5, 6),
    lambda: StructType(()),
    lambda: StructType((ColumnSpec("a", "long"), ColumnSpec("A", "long"))),
    lambda: MapType("nope", "long"),
    lambda: SemanticType("no good", "long"),
    lambda: SemanticType("Twice", "string as NodeId"),
    lambda: SemanticType("NodeId", "long"),
    lambda: DataType.parse("array<" * 500),
    lambda: DataType.parse("decimal(" + "9" * 5000 + ")"),
    lambda: TableSpec.from_arrow("t", 3),
    lambda: TableSpec.from_arrow("t", pa.schema([("a", pa.time64("us"))])),
    lambda: TableSpec.from_arrow("t", pa.schema([("a", pa.uint64())])),
    lambda: TableSpec.from_arrow("t", pa.schema([("a", pa.null())])),
    lambda: TableSpec.from_arrow("t", pa.schema([("a", pa.list_(pa.duration("s")))])),
    lambda: TableSpec.from_arrow("t", pa.schema([("a", pa.decimal256(60, 2))])),
    lambda: TableSpec.from_arrow("t", pa.schema([("a", pa.uuid())])),
    lambda: TableSpec.from_arrow("t", pa.schema([pa.field("a", pa.int8(), metadata={b"\xff": b""})])),
    lambda: TableSpec.from_arrow("t", pa.schema([("a", pa.int8())], metadata={"schema_spec.table": "{"})),
    lambda: TableSpec.from_delta("{}"),
    lambda: TableSpec.from_delta('{"type":"struct","fields":[{"name":"a","type":"interval"}]}'),
    lambda: TableSpec.from_delta(
        {"type": "struct", "fields": [{"name": "a", "type": "long", "metadata": 3}]}
    ),
    lambda: TableSpec.from_delta(
        '{"type":"struct","fields":[]}', configuration={"schema_spec.contract": "["}
    ),
    lambda: TableSpec("t", [ColumnSpec("a", "long")]).column("b"),
    lambda: TableSpec("t", [ColumnSpec("a", "long")]).to_ddl(
        location="/x", options={"datafusion.execution.x": "1"}
    ),
    lambda: TableSpec("t", [ColumnSpec("a", "long")]).to_ddl(location="/x", options={"x": 1}),
]


@pytest.mark.parametrize("call", BAD_CALLS, ids=range(len(BAD_CALLS)))
def test_bad_arguments(call):
    with pytest.raises(SpecError, match=r"\[spec-[a-z-]+\]$"):
        call()


HUGE = 10**5000  # more digits than Python writes
HUGE_TEXT = "9" * 5000
HUGE_CALLS = [
    lambda: ColumnSpec("a", HUGE),
    lambda: ColumnSpec(HUGE, "long"),
    lambda: ColumnSpec("a", "long", nullable=HUGE),
    lambda: ColumnSpec("a", "long", default=HUGE),
    lambda: ColumnSpec("a", "decimal(38,0)", default=HUGE),
    lambda: ColumnSpec("a", "double", default=HUGE),
    lambda: ColumnSpec("a", "long", default=[HUGE]),
    lambda: ColumnSpec("a", "long", field_id=HUGE),
    lambda: ColumnSpec("a", "long", metadata={"k": HUGE}),
    lambda: DecimalType(HUGE, 0),
    lambda: TableSpec("t", [ColumnSpec("a", "long")], properties={"k": HUGE}),
    lambda: TableSpec("t", [ColumnSpec("a", "long")], constraints=[Range("r", "a", HUGE)]),
    lambda: TableSpec("t", [ColumnSpec("a", "long")], constraints=[AcceptedValues("r", "a", [HUGE])]),
    lambda: TableSpec.from_delta({"type": HUGE}),
    lambda: TableSpec.from_delta({"type": "struct", "fields": [{"name": "a", "type": HUGE}]}),
    lambda: TableSpec.from_json(f'{{"name": "t", "columns": [{{"name": "a", "type": {HUGE_TEXT}}}]}}'),
    lambda: TableSpec.from_toml(f'name = "t"\ncolumns = [{{ name = "a", type = {HUGE_TEXT} }}]'),
]


@pytest.mark.parametrize("call", HUGE_CALLS, ids=range(len(HUGE_CALLS)))
def test_huge_numbers(call):
    with pytest.raises(SpecError) as caught:
        call()
    assert len(str(caught.value)) < 400


WRONG_PLACES = [
    ('{"name": 3, "columns": []}', "name", 3, "documentation"),
    (
        '{"name": "t", "columns": [{"name": "a", "type": "long", "nullable": "no"}]}',
        "columns[0].nullable",
        "no",
        "",
    ),
    (
        '{"name": "t", "columns": [{"name": "a", "typ": "long"}]}',
        "columns[0].typ",
        "long",
        '"type"',
    ),
    ('{"name": "t", "colums": [1]}', "colums", [1], '"columns"'),
    ('{"columns": []}', "name", {"columns": []}, "documentation"),
    (
        '{"name": "t", "columns": [{"name": "a", "type": {"kind": "array", "elem": "long"}}]}',
        "columns[0].type.elem",
        "long",
        "element",
    ),
    (
        '{"name": "t", "columns": [{"name": "a", "type": {"kind": "array", "element": "lng"}}]}',
        "columns[0].type.element",
        "lng",
        '"long"',
    ),
    (
        '{"name": "t", "columns": [{"name": "a", "type": {"kind": "map", "key": "long", "value": 3}}]}',
        "columns[0].type.value",
        3,
        "DataType",
    ),
    (
        '{"name": "t", "columns": [{"name": "a", "type": "long", "metadata": 7}]}',
        "columns[0].metadata",
        7,
        "mapping",
    ),
    (
        '{"name": "t", "columns": [], "constraints": [{"kind": "check", "name": "c", "sq": "x"}]}',
        "constraints[0].sq",
        "x",
        '"sql"',
    ),
    (
        '{"name": "t", "columns": [], "constraints": [{"kind": "check", "name": "c", "sql": ""}]}',
        "constraints[0].sql",
        "",
        "a > 0",
    ),
    ('{"name": "t", "columns": [], "properties": {"a": null}}', "properties['a']", None, "text"),
]


@pytest.mark.parametrize(("text", "path", "value", "fix"), WRONG_PLACES, ids=range(len(WRONG_PLACES)))
def test_errors_say_where_what_and_how_to_mend_it(text, path, value, fix):
    with pytest.raises(SpecError) as caught:
        TableSpec.from_json(text)
    assert (caught.value.path, caught.value.value) == (path, value)
    assert fix in caught.value.fix


@pytest.mark.parametrize("levels", [65, 300, 900, 10_000])
@pytest.mark.parametrize("element", ["array", "struct"])
def test_deep_documents(levels, element):
    opening, closing = {
        "array": ('{"kind":"array","element":', "}"),
        "struct": ('{"kind":"struct","fields":[{"name":"a","type":', "}]}"),
    }[element]
    kind = opening * levels + '"long"' + closing * levels
    with pytest.raises(SpecError):
        TableSpec.from_json(f'{{"name":"t","columns":[{{"name":"a","type":{kind}}}]}}')


def test_arguments_that_are_no_document():
    for read in (
        TableSpec.from_json,
        TableSpec.from_toml,
        TableSpec.from_msgpack,
        TableSpec.from_ddl,
        TableSpec.from_delta,
        TableSpec.load,
        lambda value: TableSpec.from_arrow("t", value),
    ):
        for value in (None, 3, [], object()):
            with pytest.raises(SpecError):
                read(value)
    with pytest.raises(SpecError, match="spec-file-unreadable"):
        TableSpec.load("a\0.toml")


def test_names_are_compared_as_delta_compares_them():
    spec = TableSpec("t", [ColumnSpec("straße", "long"), ColumnSpec("STRASSE", "long")])
    assert spec.column_names == ("straße", "STRASSE")
    with pytest.raises(SpecError, match="case only"):
        TableSpec("t", [ColumnSpec("É", "long"), ColumnSpec("é", "long")])


def test_bad_files(tmp_path):
    for name, text in (("a.toml", "="), ("a.json", "["), ("a.sql", "SELECT 1"), ("a.yaml", "")):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        with pytest.raises(SpecError, match=name):
            TableSpec.load(path)
    for path in (tmp_path / "missing.toml", tmp_path / "folder.toml"):
        (tmp_path / "folder.toml").mkdir(exist_ok=True)
        with pytest.raises(SpecError, match="spec-file-unreadable"):
            TableSpec.load(path)
    (tmp_path / "marked.toml").write_bytes(b'\xef\xbb\xbfname = "t"\ncolumns = []')
    assert TableSpec.load(tmp_path / "marked.toml").name == "t"
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(SpecError, match="not UTF-8"):
        TableSpec.load(tmp_path / "bytes.toml")


def test_files_of_every_form(tmp_path):
    spec = TableSpec("t", [ColumnSpec("a", "long", comment="Größe")], primary_key=["a"])
    for suffix, text in (
        ("toml", spec.to_toml()),
        ("json", spec.to_json()),
        ("sql", spec.to_ddl(location="/x")),
    ):
        path = tmp_path / f"t.{suffix}"
        path.write_text(text, encoding="utf-8")
        assert TableSpec.load(path) == spec
        assert TableSpec.load(str(path)) == spec


def only_spec_errors(read, text) -> None:
    with contextlib.suppress(SpecError):
        read(text)


def mangled(data, text: str) -> str:
    """Return text with a few stretches removed, repeated or replaced."""
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(text)))
        end = min(len(text), start + data.draw(st.integers(0, 12)))
        text = (
            text[:start]
            + data.draw(st.one_of(st.just(""), st.just(text[start:end] * 2), st.text(max_size=3)))
            + text[end:]
        )
    return text


FORMS = {
    "toml": (TableSpec.to_toml, TableSpec.from_toml),
    "json": (TableSpec.to_json, TableSpec.from_json),
    "ddl": (lambda spec: spec.to_ddl(location="/x", options={"a": "b"}), parse_ddl),
    "delta": (lambda spec: str(spec.to_delta()), TableSpec.from_delta),
}


@pytest.mark.parametrize("form", FORMS)
@examples
@given(st.data())
def test_mangled_contracts_never_crash(form, data):
    write, read = FORMS[form]
    only_spec_errors(read, mangled(data, write(data.draw(specs(max_columns=2, depth=1)))))


READERS = {
    "toml": TableSpec.from_toml,
    "json": TableSpec.from_json,
    "ddl": parse_ddl,
    "delta": TableSpec.from_delta,
    "type": DataType.parse,
}


@pytest.mark.parametrize("form", READERS)
@examples
@given(st.one_of(st.text(), st.text("{}[]\"'=,:<>() \nabc0")))
@example("\x00")
@example("{" * 5000)
@example("array<" * 5000)
def test_arbitrary_text_never_crashes(form, text):
    only_spec_errors(READERS[form], text)


@examples
@given(st.binary(), st.data())
def test_arbitrary_bytes_never_crash(noise, data):
    packed = data.draw(specs(max_columns=2, depth=1)).to_msgpack()
    at = data.draw(st.integers(0, len(packed)))
    only_spec_errors(TableSpec.from_msgpack, noise)
    only_spec_errors(TableSpec.from_msgpack, packed[:at] + noise + packed[at + len(noise) :])
    only_spec_errors(TableSpec.from_json, noise)
    only_spec_errors(TableSpec.from_toml, noise)


JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(max_size=4),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2), st.dictionaries(st.text(max_size=4), inner, max_size=2)
    ),
    max_leaves=4,
)


@examples
@given(st.data())
def test_wrong_values_in_right_places_never_crash(data):
    spec = data.draw(specs(max_columns=2, depth=1))
    form = data.draw(st.sampled_from(("json", "delta")))
    write, read = FORMS[form]
    document = json.loads(write(spec))
    here = document
    while True:
        keys = list(here) if isinstance(here, dict) else list(range(len(here)))
        key = data.draw(st.sampled_from(keys))
        if isinstance(here[key], dict | list) and here[key] and data.draw(st.booleans()):
            here = here[key]
            continue
        here[key] = data.draw(JSON)
        break
    only_spec_errors(read, json.dumps(document))
