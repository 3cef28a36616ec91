"""What a ``CREATE EXTERNAL TABLE`` statement may say, and what it may not."""

from __future__ import annotations

import contextlib
import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from schema_spec import Check, ColumnSpec, SpecError, TableSpec, parse_ddl

pytest.importorskip("sqlglot")

START, END = "CREATE EXTERNAL TABLE t ", " STORED AS DELTATABLE LOCATION '/x'"
BAD_DDL = [
    f"{START}(a BIGINT) LOCATION '/x'",
    f"{START}(a BIGINT){END} LOCATION '/y'",
    f"{START}(a BIGINT){END} OPTIONS ('a' 'b') OPTIONS ('c' 'd')",
    f"{START}(a BIGINT){END} OPTIONS ('a' 'b', 'a' 'c')",
    f"{START}(a BIGINT){END} OPTIONS ('DataFusion.execution.x' '1')",
    f"{START}(a BIGINT, PRIMARY KEY (a), PRIMARY KEY (a)){END}",
    f"{START}(a BIGINT DEFAULT 1 DEFAULT 2){END}",
    f"{START}(a TIMESTAMP(9)){END}",
    f"{START}(a STRUCT<b INT DEFAULT 3>){END}",
    f"{START}(a {'ARRAY<' * 300}INT{'>' * 300}){END}",
    f"{START}(a BIGINT DEFAULT {'(' * 20_000}1{')' * 20_000}){END}",
    f"{START}(a BIGINT){END}; DROP TABLE t",
    START + "(" * 20_000,
]


@pytest.mark.parametrize("sql", BAD_DDL, ids=range(len(BAD_DDL)))
def test_bad_ddl(sql):
    with pytest.raises(SpecError, match=r"\[spec-[a-z-]+\]$"):
        parse_ddl(sql)


def test_ddl_that_says_more_than_columns():
    sql = (
        f"{START}(a BIGINT CHECK (a > 0), date DATE, s STRUCT<x INT NOT NULL COMMENT 'hi'>, f FLOAT(53)){END}"
    )
    spec = parse_ddl(sql + " PARTITIONED BY (date)").spec
    assert spec.partition_by == ("date",)
    assert spec.constraints == (Check("check_1", "a > 0"),)
    assert [each.type.text for each in spec.columns[2:]] == [
        "struct<x: integer not null comment 'hi'>",
        "double",
    ]


WORDS = re.findall(
    r"\S+",
    """CREATE EXTERNAL TABLE t ( a b BIGINT VARCHAR DECIMAL ARRAY MAP STRUCT TIMESTAMP < > ( ) [ ] , . ; :
    'x' "y" 3 1.5 NOT NULL DEFAULT COMMENT PRIMARY KEY CHECK CONSTRAINT GENERATED ALWAYS AS IDENTITY
    REFERENCES UNIQUE STORED DELTATABLE LOCATION '/x' OPTIONS PARTITIONED BY WITH - + * / = CAST CASE SELECT
    FROM -- /* */ ` $ {{ }}""",
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(WORDS), max_size=12), st.lists(st.sampled_from(WORDS), max_size=6))
@example(["a", "DECIMAL", "(", "'x'", ")"], [])
def test_words_of_ddl_in_any_order_never_crash(inside, after):
    sql = f"CREATE EXTERNAL TABLE t ({' '.join(inside)}) {' '.join(after)} STORED AS DELTATABLE LOCATION '/x'"
    with contextlib.suppress(SpecError):
        parse_ddl(sql)


@settings(max_examples=50, deadline=None)
@given(
    st.dictionaries(st.text(min_size=1).filter(lambda key: key.isprintable()), st.text()), st.text(min_size=1)
)
def test_options_and_locations_of_any_text(options, location):
    taken = ("datafusion.", "schema_spec.")
    options = {key: value for key, value in options.items() if not key.lower().startswith(taken)}
    names = ["a", 'q"', "`", "it's", "Größe", "🐟", "a.b", "-- x", "select", "x" * 300]
    spec = TableSpec('s."T"', [ColumnSpec(name, "long", comment=f"{name}\n';") for name in names])
    ddl = parse_ddl(spec.to_ddl(location=location, options=options))
    assert (ddl.spec, ddl.location, dict(ddl.options)) == (spec, location, options)
