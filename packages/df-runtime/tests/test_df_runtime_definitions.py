"""Statements that define what a session follows: Delta tables as external tables, and views."""

import logging
from pathlib import Path

import pyarrow as pa
import pytest

from delta_io import DeltaIoError, ScanConfig, Table
from df_runtime import (
    DatasetSourceError,
    DatasetUnknownError,
    DfRuntimeError,
    ParameterError,
    PolicyError,
    RuntimeProfile,
    Session,
    SessionFactory,
    SqlError,
    SqlPolicy,
)
from df_runtime.profile_parts import Observability
from schema_spec import Check, ColumnSpec, TableSpec

TRUSTED = SqlPolicy.trusted()
ROWS = pa.table({"id": pa.array([1, 2, 3], pa.int32()), "day": ["a", "b", "b"], "amount": [5, 7, 9]})
SECRET = "hunter2hunter2"


@pytest.fixture
def stored(tmp_path: Path) -> Table:
    spec = TableSpec.from_arrow("orders", ROWS.schema)
    columns = [ColumnSpec(each.name, each.type) for each in spec.columns]
    table = Table.create(str(tmp_path / "orders"), TableSpec("orders", columns, partition_by=("day",)))
    table.write(ROWS)
    return table


CONTRACT = TableSpec(
    "orders",
    [
        ColumnSpec("id", "long", nullable=False),
        ColumnSpec("day", "string"),
        ColumnSpec("status", "string", default="new", comment="it's"),
        ColumnSpec("amount", "long"),
    ],
    primary_key=("id",),
    partition_by=("day",),
    constraints=[Check("positive", "amount > 0")],
    evolution="any",
)


def _all(session: Session, name: str = "orders") -> list[dict[str, object]]:
    return session.sql(f"SELECT * FROM {name} ORDER BY id").to_arrow().to_pylist()


@pytest.mark.parametrize("way", ["sql", "register"])
@pytest.mark.parametrize(
    "config",
    [ScanConfig(), ScanConfig(file_column="File", row_index_column="row", view_types=False, pushdown=True)],
)
@pytest.mark.parametrize("contract", [CONTRACT, None], ids=["contract", "own"])
def test_the_statement_and_the_object_register_the_same_table(
    stored: Table, way: str, config: ScanConfig, contract: TableSpec | None
) -> None:
    spec = contract or stored.snapshot().spec
    statement = spec.to_ddl(location=stored.uri, options=config.to_options())
    with SessionFactory().open() as said, SessionFactory().open() as given:
        if way == "sql":
            name = f'"{spec.name}"'
            assert said.sql(statement, policy=TRUSTED).to_arrow().num_rows == 0
        else:
            name = "orders"
            said.register(name, statement)
        given.register(name, Table(stored.uri, spec=spec), scan=config)
        assert said.resolution(name) == given.resolution(name)
        assert said.schema(name) == given.schema(name)
        assert _all(said, name) == _all(given, name)
        shown = "SELECT * FROM information_schema.table_contracts"
        assert said.sql(shown).to_arrow() == given.sql(shown).to_arrow()
        stored.write(ROWS)
        assert len(_all(said, name)) == 6


def test_a_contract_that_does_not_fit_is_refused_as_with_the_object(stored: Table) -> None:
    spec = TableSpec("orders", [ColumnSpec("id", "integer"), ColumnSpec("gone", "string", nullable=False)])
    statement = spec.to_ddl(location=stored.uri)
    with SessionFactory().open() as session:
        with pytest.raises(Exception) as given:  # noqa: PT011 - whatever it is, it is the same
            session.register("orders", Table(stored.uri, spec=spec))
        with pytest.raises(type(given.value)) as said:
            session.sql(statement, policy=TRUSTED)
        assert str(said.value) == str(given.value)


def test_two_names_of_one_table_are_scanned_each_in_its_own_way(stored: Table) -> None:
    columns = "(id INT, day VARCHAR, amount BIGINT) STORED AS DELTATABLE PARTITIONED BY (day)"
    with SessionFactory().open() as session:
        for name, options in (("one", "OPTIONS ('version' '0')"), ("two", "OPTIONS ('file_column' '_file')")):
            session.sql(
                f"CREATE EXTERNAL TABLE {name} {columns} LOCATION '{stored.uri}' {options}", policy=TRUSTED
            )
        assert session.resolution("one").pinned
        assert _all(session, "one") == []
        assert session.schema("two").names == ["id", "day", "amount", "_file"]


def test_a_statement_without_columns_takes_those_of_the_table(stored: Table) -> None:
    with SessionFactory().open() as session:
        session.sql(
            "create external table Lake.Sales.Orders -- all of it\n"
            f"stored as deltatable location '{stored.uri}';",
            policy=TRUSTED,
        )
        assert session.tables() == ("lake.sales.orders",)
        assert len(_all(session, "lake.sales.orders")) == 3
        listed = session.sql(
            "SELECT table_catalog, table_type FROM information_schema.tables WHERE table_name = 'orders'"
        )
        assert listed.to_arrow().to_pylist() == [{"table_catalog": "lake", "table_type": "BASE TABLE"}]


def test_a_name_is_taken_once_replaced_or_left(stored: Table, tmp_path: Path) -> None:
    other = Table.create(str(tmp_path / "other"), TableSpec("other", [ColumnSpec("id", "long")]))

    def statement(table: Table, head: str = "CREATE EXTERNAL TABLE orders") -> str:
        return f"{head} STORED AS DELTATABLE LOCATION '{table.uri}'"

    with SessionFactory().open() as session:
        session.sql(statement(stored), policy=TRUSTED)
        session.register("n", "SELECT count(*) AS n FROM orders")
        with pytest.raises(SqlError, match="there already"):
            session.sql(statement(other), policy=TRUSTED)
        session.sql(statement(other, "CREATE EXTERNAL TABLE IF NOT EXISTS orders"), policy=TRUSTED)
        assert session.resolution("orders").uri == stored.uri
        session.sql(statement(other, "CREATE OR REPLACE EXTERNAL TABLE orders"), policy=TRUSTED)
        assert session.resolution("orders").uri == other.uri
        assert session.sql("SELECT n FROM n").to_arrow().to_pylist() == [{"n": 0}]


def test_dropped_tables_and_views_are_gone_and_their_files_are_not(stored: Table) -> None:
    with SessionFactory().open() as session:
        session.register("orders", stored)
        session.register("few", "SELECT * FROM orders LIMIT 1")
        with pytest.raises(SqlError, match="DROP VIEW"):
            session.sql("DROP TABLE few", policy=TRUSTED)
        session.sql("DROP VIEW few", policy=TRUSTED)
        session.sql("DROP TABLE IF EXISTS Orders;", policy=TRUSTED)
        assert session.tables() == ()
        assert not session.knows("orders")
        session.sql("DROP TABLE IF EXISTS orders", policy=TRUSTED)
        with pytest.raises(SqlError, match="orders"):
            session.sql("DROP TABLE orders", policy=TRUSTED)
        session.register("orders", stored)
        assert len(_all(session)) == 3


def test_what_the_engine_makes_or_drops_takes_the_place_of_what_was_registered(stored: Table) -> None:
    with SessionFactory().open() as session:
        session.register("sales.orders", stored)
        session.register("n", "SELECT count(*) AS n FROM sales.orders")
        session.sql("CREATE OR REPLACE TABLE sales.orders AS SELECT 1 AS id", policy=TRUSTED)
        stored.write(ROWS)
        assert _all(session, "sales.orders") == [{"id": 1}]
        assert session.sql("SELECT n FROM n").to_arrow().to_pylist() == [{"n": 1}]
        session.register("sales.others", stored)
        session.sql("DROP SCHEMA sales CASCADE", policy=TRUSTED)
        assert not session.knows("sales.others")


def test_a_view_made_in_sql_follows_its_tables(stored: Table) -> None:
    with SessionFactory().open() as session:
        session.register("orders", stored)
        session.sql('CREATE VIEW counted ("N") AS SELECT count(*) FROM orders -- all', policy=TRUSTED)
        assert session.sql("SELECT * FROM counted").to_arrow().to_pylist() == [{"N": 3}]
        stored.write(ROWS)
        assert session.sql("SELECT * FROM counted").to_arrow().to_pylist() == [{"N": 6}]
        with pytest.raises(SqlError, match="there already"):
            session.sql("CREATE VIEW counted AS SELECT 1 AS one", policy=TRUSTED)
        session.sql("CREATE OR REPLACE VIEW counted AS (SELECT 1 AS one)", policy=TRUSTED)
        assert session.resolution("counted").query == "(SELECT 1 AS one)"


@pytest.mark.parametrize("view", ["SELECT * FROM orders WHERE id = $1", "SELECT $name AS x"])
def test_views_have_no_parameters(stored: Table, view: str) -> None:
    with SessionFactory().open() as session:
        session.register("orders", stored)
        with pytest.raises(ParameterError, match=r"has the parameter \$"):
            session.register("v", view)
        with pytest.raises(ParameterError):
            session.sql(f"CREATE VIEW v AS {view}", policy=TRUSTED)
        assert not session.knows("v")


@pytest.mark.parametrize(
    "policy",
    [
        SqlPolicy.read_only(),
        SqlPolicy(ddl=True),
        SqlPolicy(files=True),
        RuntimeProfile.named("service").policy,
    ],
)
def test_statements_are_refused_where_the_policy_has_no_files_or_definitions(
    stored: Table, policy: SqlPolicy
) -> None:
    statement = CONTRACT.to_ddl(location=stored.uri, options={"aws_secret_access_key": SECRET})
    with SessionFactory().open() as session:
        for refused in (
            lambda: session.sql(statement, policy=policy),
            lambda: session.prepare("p", statement, policy=policy),
            lambda: session.explain(statement, policy=policy),
        ):
            with pytest.raises(PolicyError) as failure:
                refused()
            _assert_silent(failure.value)
        assert session.tables() == ()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("'fil_column' '_file'", "Unknown option 'fil_column'.*\n.*\n.*\\^.*\n.*file_column"),
        ("'aws_secret_acces_key' '{secret}'", "aws_secret_access_key"),
        ("'version' 'x'", "version"),
        ("'view_types' 'perhaps'", "neither true nor false"),
        ("'datafusion.execution.batch_size' '1'", "a setting of the session"),
        ("'password' '{secret}'", "Unknown option 'password'"),
        ("aws_secret_access_key '{secret}'", "no table"),
        ("'aws_secret_access_key' {secret}", "no table"),
        ("'aws_secret_access_key' \"{secret}\"", "no table"),
        ("'aws_secret_access_key' '{secret}", "."),
        ("'aws_secret_access_key' '{secret}' 'more'", "no table"),
        ("'aws_secret_access_key' '{secret}', 'aws_secret_access_key' 'an{secret}'", "no table"),
        ("'aws_secret_access_key' E'{secret}'", "."),
    ],
)
@pytest.mark.parametrize("way", ["sql", "register", "one line"])
def test_wrong_options_are_named_and_secrets_are_not(
    stored: Table, options: str, message: str, way: str
) -> None:
    gap = " " if way == "one line" else "\n"
    statement = gap.join(
        [
            "CREATE EXTERNAL TABLE orders (id INT, day VARCHAR, amount BIGINT)",
            f"STORED AS DELTATABLE LOCATION '{stored.uri}'",
            f"OPTIONS ({options.format(secret=SECRET)})",
        ]
    )
    with SessionFactory().open() as session, pytest.raises(SqlError, match=f"(?s){message}") as failure:
        session.register("orders", statement) if way == "register" else session.sql(statement, policy=TRUSTED)
    _assert_silent(failure.value)


def _assert_silent(error: BaseException | None) -> None:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        told = [str(error), repr(error), str(vars(error)), *map(str, error.args)]
        assert not any(SECRET in text for text in told)
        error = error.__cause__ or error.__context__


def test_secrets_show_nowhere(stored: Table, caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    caplog.set_level(logging.DEBUG)
    statement = CONTRACT.to_ddl(
        location=stored.uri, options={"AWS_SECRET_ACCESS_KEY": SECRET, "pushdown": "true"}
    )
    events = tmp_path / "events.jsonl"
    seen = Observability(events=str(events), keep_runs=10, query_text=True)
    with SessionFactory(RuntimeProfile(observability=seen)).open() as session:
        result = session.sql(statement, policy=TRUSTED)
        result.to_arrow()
        report = session.gate(statement, policy=TRUSTED)
        told = [
            repr(result.gate),
            result.gate.to_json(),
            report.query,
            str(result.envelope),
            str(session.artifacts.runs),
            str(session.artifacts.configuration()),
            str(session.artifacts.catalog()),
            repr(session.source("orders")),
            repr(session.resolution("orders")),
            str(session.sql("SELECT * FROM information_schema.table_contracts").to_arrow().to_pylist()),
            str(session.explain("SELECT * FROM orders")),
            events.read_text(),
            caplog.text,
            repr(vars(session)),
        ]
        table = session.source("orders")
        assert isinstance(table, Table)
        assert table.snapshot().storage_options["AWS_SECRET_ACCESS_KEY"] == SECRET
    assert not any(SECRET in text for text in told)
    assert "AWS_SECRET_ACCESS_KEY" in report.query


@pytest.mark.parametrize(
    "location",
    ["", "/nowhere/at/all", "s4://bucket/table", "s3://key:hunter2hunter2@bucket/t?sig=hunter2hunter2"],
)
def test_wrong_places_are_told(location: str) -> None:
    statement = f"CREATE EXTERNAL TABLE t (a BIGINT) STORED AS DELTATABLE LOCATION '{location}'"
    with SessionFactory().open() as session:
        with pytest.raises((DeltaIoError, DfRuntimeError)) as said:
            session.sql(statement, policy=TRUSTED)
        with pytest.raises((DeltaIoError, DfRuntimeError)):
            session.register("t", statement)
        _assert_silent(said.value)
        assert session.tables() == ()


@pytest.mark.parametrize(
    "text",
    [
        "CREATE EXTERNAL TABLE t (a BIGINT) STORED AS DELTATABLE",
        "CREATE EXTERNAL TABLE t (a BIGINT) STORED AS DELTATABLE LOCATION '/x' LOCATION '/y'",
        "CREATE EXTERNAL TABLE t (a NOTHING) STORED AS DELTATABLE LOCATION '/x'",
        "CREATE EXTERNAL TABLE t (a BIGINT, a BIGINT) STORED AS DELTATABLE LOCATION '/x'",
        "CREATE EXTERNAL TABLE t (a BIGINT) STORED AS DELTATABLE LOCATION '/x' PARTITIONED BY (b)",
        "CREATE EXTERNAL TABLE t () STORED AS DELTATABLE LOCATION '/x'",
        "CREATE EXTERNAL TABLE t (a BIGINT STORED AS DELTATABLE LOCATION '/x'",
        "CREATE EXTERNAL TABLE STORED AS DELTATABLE LOCATION '/x'",
        "CREATE EXTERNAL TABLE t (a BIGINT) STORED AS DELTATABLE WITH ORDER (a) LOCATION '/x'",
        "CREATE EXTERNAL TABLE t (a BIGINT) STORED AS DELTATABLE LOCATION '/x'; DROP TABLE t",
        "CREATE EXTERNAL TABLE information_schema.t (a BIGINT) STORED AS DELTATABLE LOCATION '/x'",
        "CREATE EXTERNAL TABLE a.b.c.d (a BIGINT) STORED AS DELTATABLE LOCATION '/x'",
    ],
)
def test_statements_that_make_no_sense_are_refused(text: str) -> None:
    with SessionFactory().open() as session, pytest.raises(DfRuntimeError):
        session.sql(text, policy=TRUSTED)


def test_only_external_tables_are_registered_by_statement(stored: Table) -> None:
    statement = f"CREATE EXTERNAL TABLE t STORED AS DELTATABLE LOCATION '{stored.uri}'"
    with SessionFactory().open() as session:
        for text in ("CREATE TABLE t AS SELECT 1", "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/x'"):
            with pytest.raises(DatasetSourceError, match="DELTATABLE"):
                session.register("t", text)
        with pytest.raises(DatasetSourceError, match="OPTIONS"):
            session.register("t", statement, scan=ScanConfig())
        session.register("t", statement, version=0)
        assert _all(session, "t") == []
        with pytest.raises(ParameterError):
            session.sql(statement, params={"a": 1}, policy=TRUSTED)


def test_a_table_made_by_a_statement_is_a_dataset():
    with SessionFactory().open() as session:
        session.register("t", pa.table({"a": [1, 2]}))
        session.sql("CREATE TABLE made AS SELECT a + 1 AS b FROM t", policy=TRUSTED).to_arrow()

        assert session.knows("made")
        assert session.schema("made").names == ["b"]
        assert session.ibis(session.table("made")).to_arrow().to_pydict() == {"b": [2, 3]}
        with pytest.raises(DatasetUnknownError, match="made by a statement"):
            session.source("made")
        assert not session.knows("absent")
