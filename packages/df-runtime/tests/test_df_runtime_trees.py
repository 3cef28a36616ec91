"""Trees of SQLGlot as queries: the same gate, policy and identity as texts."""

from typing import Any

import pyarrow as pa
import pytest
import sqlglot
from sqlglot import exp, serde

from df_runtime import (
    ArgumentError,
    DataFusion,
    DfRuntimeError,
    ParameterError,
    PolicyError,
    RuntimeProfile,
    Session,
    SessionFactory,
    SqlError,
    SqlLimitError,
    SqlPolicy,
    SqlUnsupportedError,
    UnknownColumnError,
)

TEXTS = [
    "SELECT * FROM orders",
    "SELECT Customer, sum(amount) AS total FROM orders GROUP BY 1 HAVING sum(amount) > 5 ORDER BY 2 DESC, 1",
    "SELECT amount / 2 AS half, amount % 4, amount || 'x' FROM orders ORDER BY id",
    "SELECT o.id, row_number() OVER (PARTITION BY customer ORDER BY amount) AS n FROM orders o",
    "WITH big AS (SELECT * FROM orders WHERE amount > 5) SELECT count(*) FROM big b JOIN orders o USING (id)",
    "SELECT id FROM orders WHERE amount IN (SELECT max(amount) FROM orders) UNION ALL SELECT 7 ORDER BY 1",
    "SELECT date_trunc('month', DATE '2026-01-15') AS m, substr(customer, 1, 2), {'a': id}['a'] FROM orders",
    "SELECT CASE WHEN id = 1 THEN NULL ELSE CAST(id AS DOUBLE) END AS x, id IS DISTINCT FROM 5 FROM orders",
    "SELECT \"id\" AS \"Id\", 'it''s' AS s, [id, amount][1] FROM orders ORDER BY id NULLS FIRST LIMIT 2",
    "VALUES (1, 'a'), (2, NULL)",
]


@pytest.fixture
def session() -> Session:
    session = SessionFactory().open()
    rows = {"id": [1, 2, 3, 4], "customer": ["Ada", "Grace", "Ada", None], "amount": [5, 7, 9, 2]}
    session.register("orders", pa.table(rows))
    return session


@pytest.mark.parametrize("text", TEXTS)
def test_a_tree_is_its_text(session: Session, text: str) -> None:
    tree = sqlglot.parse_one(text, dialect=DataFusion)
    before = tree.copy()
    found, expected = session.sql(tree), session.sql(text)
    assert found.gate.identity_hash == expected.gate.identity_hash
    assert found.gate.canonical == expected.gate.canonical
    assert found.gate.tree == expected.gate.tree
    assert found.schema == expected.schema
    assert _bag(found.to_arrow()) == _bag(expected.to_arrow())
    assert tree == before
    assert session.gate(tree) == session.gate(found.gate.query)
    assert session.explain(tree).logical == session.explain(text).logical
    assert session.plan_inputs(tree).datasets == session.plan_inputs(text).datasets


def _bag(table: pa.Table) -> list[str]:
    return sorted(map(str, table.to_pylist()))


@pytest.mark.parametrize("text", TEXTS)
def test_the_canonical_tree_of_a_report_is_a_query(session: Session, text: str) -> None:
    report = session.sql(text)
    if report.gate.tree is None:
        assert report.gate.notes
        return
    again = session.sql(serde.load(_decoded(report.gate.tree)))
    assert _bag(again.to_arrow().rename_columns(report.schema.names)) == _bag(report.to_arrow())


def _decoded(text: str) -> list[dict[str, object]]:
    import json

    return json.loads(text)


def test_a_tree_put_together_by_hand_is_prepared_registered_and_explained(session: Session) -> None:
    tree = exp.select("customer", exp.func("sum", exp.column("amount")).as_("total"))
    tree = tree.from_("orders").where("amount > :least").group_by("customer").order_by("total DESC")
    prepared = session.prepare("totals", tree)
    assert prepared.execute({"least": 6}).to_arrow()["total"].to_pylist() == [9, 7]
    assert session.sql(tree, params={"least": 8}).to_arrow().num_rows == 1
    view = exp.select((exp.column("amount") / 2).as_("half")).from_("orders")
    session.register("halves", view)
    assert session.sql("SELECT max(half) AS m FROM halves").to_arrow().to_pylist() == [{"m": 4}]
    assert session.source("halves") == "SELECT amount / 2 AS half FROM orders"
    assert session.resolution("halves").depends == ('"datafusion"."public"."orders"',)
    assert session.to_substrait(view).plan is not None
    with pytest.raises(ParameterError):
        session.register("v", tree)


def test_a_tree_means_what_its_dialect_says(session: Session) -> None:
    asked = "SELECT amount / 2 AS half FROM orders ORDER BY customer, id LIMIT 1"
    duck = session.sql(sqlglot.parse_one(asked, dialect="duckdb")).to_arrow().to_pylist()
    assert duck == [{"half": 2.5}]
    assert session.sql(sqlglot.parse_one(asked, dialect="postgres")).to_arrow().to_pylist() == [{"half": 2}]
    nulls_small = session.sql(sqlglot.parse_one("SELECT customer AS c FROM orders ORDER BY c LIMIT 1"))
    assert nulls_small.to_arrow().to_pylist() == [{"c": None}]


@pytest.mark.parametrize(
    "text",
    [
        "DROP TABLE orders",
        "INSERT INTO orders VALUES (1, 'x', 2)",
        "CREATE TABLE x AS SELECT 1 AS a",
        "COPY orders TO 'out.parquet'",
        "SET datafusion.execution.batch_size = 1",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM read_csv('/etc/passwd')",
        "DELETE FROM orders",
    ],
)
def test_the_policy_holds_for_trees(text: str) -> None:
    with SessionFactory(RuntimeProfile.named("service")).open() as session:
        session.register("orders", pa.table({"id": [1], "customer": ["x"], "amount": [2]}))
        for dialect in ("postgres", "duckdb", None):
            tree = sqlglot.parse_one(text, dialect=dialect)
            with pytest.raises(DfRuntimeError):
                session.sql(tree)
            with pytest.raises(DfRuntimeError):
                session.prepare("p", tree)
        assert session.tables() == ("orders",)
    smuggled = exp.select(exp.Anonymous(this="abs(1); DROP TABLE orders; --", expressions=[]))
    with SessionFactory().open() as session, pytest.raises(SqlError):
        session.sql(smuggled, policy=SqlPolicy.trusted())


def test_wrong_trees_are_told_in_our_words(session: Session) -> None:
    with pytest.raises(UnknownColumnError, match="amount"):
        session.sql(exp.select("amout").from_("orders"))
    with pytest.raises(SqlError):
        session.sql(exp.column("amount") + 1)
    with pytest.raises(SqlUnsupportedError, match="without a name"):
        session.sql(exp.select(exp.Placeholder()))
    with pytest.raises(ArgumentError):
        session.sql([exp.select("1")])  # pyright: ignore[reportArgumentType] -- that is the test
    deep: exp.Expr = exp.column("amount")
    for _ in range(100_000):
        deep = exp.Not(this=deep)
    with pytest.raises(SqlLimitError):
        session.sql(exp.select(deep).from_("orders"))
    with pytest.raises(DfRuntimeError):
        session.sql(exp.Select(expressions=[exp.Cast(this=None)]))


def test_the_policy_and_limits_of_an_ibis_expression_and_its_text_are_one(session: Session) -> None:
    orders: Any = session.table("orders")
    expressions = [
        orders,
        orders.filter(orders.amount > 5).select("id", half=orders.amount / 2),
        orders.group_by("customer").agg(total=orders.amount.sum()).order_by("total"),
        orders.amount.max(),
        orders.join(orders.view(), "id").count(),
        orders.mutate(d=orders.customer.upper(), n=orders.count()),
    ]
    for expression in expressions:
        text = session.backend.compile(expression)
        found = session.ibis(expression).gate
        assert found == session.sql(text).gate
        assert found.identity_hash == session.sql(text).gate.identity_hash
        assert found.canonical is not None
        tree = sqlglot.parse_one(text, dialect=DataFusion)
        assert session.sql(tree).gate.identity_hash == found.identity_hash
        with pytest.raises(PolicyError):
            session.ibis(expression, policy=SqlPolicy.read_only(max_characters=5))
