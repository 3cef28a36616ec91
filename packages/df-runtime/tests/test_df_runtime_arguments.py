"""Values of the wrong type at every public door are errors of the package, never of a library inside it."""

from __future__ import annotations

import pyarrow as pa
import pytest

from df_runtime import (
    ArgumentError,
    DfRuntimeError,
    ParameterError,
    ProfileError,
    RuntimeProfile,
    SessionFactory,
    SqlPolicy,
)


def by_line(call):
    return str(call.__code__.co_firstlineno)


WRONG = [None, 5, b"x", ["x"], {"x": 1}, object()]


@pytest.mark.parametrize("value", WRONG, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize(
    "call",
    [
        lambda session, value: session.sql(value),
        lambda session, value: session.explain(value),
        lambda session, value: session.gate(value),
        lambda session, value: session.prepare("p", value),
        lambda session, value: session.prepare(value, "SELECT 1 AS one"),
        lambda session, value: session.register(value, pa.table({"a": [1]})),
        lambda session, value: session.register_catalog(value, {}),
        lambda session, value: session.deregister(value),
        lambda session, value: session.resolution(value),
        lambda session, value: session.schema(value),
        lambda session, value: session.table(value),
        lambda session, value: session.ibis(value),
        lambda session, value: session.dataframe(value),
        lambda session, value: session.substrait(value).to_arrow(),
        lambda session, value: session.to_substrait(value),
        lambda session, value: RuntimeProfile.named(value),
        lambda session, value: RuntimeProfile.from_toml(value),
        lambda session, value: RuntimeProfile.load(value),
    ],
    ids=by_line,
)
def test_what_takes_a_text_or_an_object_refuses_others(session, call, value):
    with pytest.raises(DfRuntimeError):
        call(session, value)


@pytest.mark.parametrize(
    "call",
    [
        lambda session: session.sql("SELECT 1 AS one", policy="trusted"),
        lambda session: session.prepare("p", "SELECT 1 AS one", policy=5),
        lambda session: session.register("t", "lake/t", version="1"),
        lambda session: session.register("t", "lake/t", version=True),
        lambda session: session.register("t", "lake/t", timestamp=5),
        lambda session: session.register("t", "lake/t", scan={"pushdown": True}),
        lambda session: session.sql("SELECT 1 AS one").show("many"),
        lambda session: session.sql("SELECT 1 AS one").to_arrow(max_bytes="all"),
        lambda _: SessionFactory("service"),
        lambda _: SessionFactory(plan_cache={}),
        lambda _: RuntimeProfile.resolve(environ=["x"]),
    ],
    ids=by_line,
)
def test_options_of_the_wrong_type_are_named(session, call):
    with pytest.raises(ArgumentError, match=r"^`\w+` takes .*, found ") as found:
        call(session)
    assert isinstance(found.value, TypeError)


@pytest.mark.parametrize("params", [5, "x", {1, 2}, {1: 2}, object()])
def test_parameters_are_a_mapping_of_texts_or_a_sequence(session, params):
    with pytest.raises(ParameterError):
        session.sql("SELECT $1 AS one", params=params)


@pytest.mark.parametrize(
    "make",
    [
        lambda: SqlPolicy(ddl="no"),
        lambda: SqlPolicy(denied_functions="upper"),
        lambda: SqlPolicy(timeout=5),
        lambda: SqlPolicy(max_rows=0),
        lambda: RuntimeProfile(target_partitions="x"),
        lambda: RuntimeProfile(timeout=5),
        lambda: RuntimeProfile(sql_policy="anything"),
        lambda: RuntimeProfile(caches={"plans": False, "nothing": 1}),
    ],
    ids=by_line,
)
def test_fields_of_the_wrong_type_or_range_are_refused(make):
    with pytest.raises(ProfileError):
        make()


def test_arrow_data_without_columns_is_refused(session):
    with pytest.raises(DfRuntimeError, match="ChunkedArray"):
        session.register("t", pa.chunked_array([[1]]))
