from __future__ import annotations

import json
import threading

import pyarrow as pa
import pytest
import sqlglot.serde

from df_runtime import (
    MultipleStatementsError,
    PolicyError,
    RuntimeProfile,
    SessionFactory,
    SqlLimitError,
    SqlPolicy,
    SqlUnreadableError,
    SqlUnsupportedError,
    _reading,
)

ORDERS = pa.table({"id": [1, 2], "amount": [5, 7], "Customer": ["x", None], "tags": [["a"], ["b", "c"]]})
TRUSTED = SqlPolicy.trusted()


@pytest.fixture
def shop(session):
    session.register("orders", ORDERS)
    return session


def test_a_report_says_how_a_text_was_understood(shop):
    report = shop.gate("SELECT Sum(Amount) AS total, count(*) FROM Orders o WHERE o.id > $least")

    assert (report.kind, report.lane, report.notes) == ("query", "checked", ())
    assert report.tables == ("orders",)
    assert report.functions == ("count", "sum")
    assert report.parameters == ("least",)
    assert report.columns[0] == ("total", "BIGINT")
    assert '"datafusion"."public"."orders" AS "o"' in report.canonical


def test_one_meaning_has_one_canonical_text_and_identity(shop):
    one = shop.gate("select ID, amount from orders -- all")
    other = shop.gate('SELECT\n  "id", orders."amount" AS amount FROM public.orders;')

    assert one.canonical == other.canonical
    assert one.identity_hash == other.identity_hash
    assert one.identity_hash != shop.gate("SELECT id FROM orders").identity_hash
    assert (
        one.identity_hash != shop.gate("select ID, amount from orders -- all", policy=TRUSTED).identity_hash
    )


def test_the_tree_is_an_artifact_that_reads_back(shop):
    report = shop.gate("SELECT id + 1 AS more FROM orders WHERE \"Customer\" = 'x'")
    document = json.loads(report.to_json())

    tree = sqlglot.serde.load(document["tree"])
    assert str(tree).startswith('SELECT "orders"."id" + 1')
    assert document["policy_hash"] == SqlPolicy.read_only().identity_hash
    assert document["identity_hash"] == report.identity_hash


def test_a_result_has_its_report(shop):
    assert shop.sql("SELECT 1 AS x").gate.canonical == 'SELECT 1 AS "x"'


def test_a_repeated_text_pays_a_look_up_and_a_changed_schema_does_not(shop):
    first = shop.gate("SELECT * FROM orders")
    assert shop.gate("SELECT * FROM orders") is first

    shop.register("orders", ORDERS.append_column("more", pa.array([1, 2])))
    changed = shop.gate("SELECT * FROM orders")

    assert changed.schema_hash != first.schema_hash
    assert changed.columns[-1] == ("more", "BIGINT")


def test_what_is_remembered_is_bounded(shop):
    for number in range(1100):
        shop.gate(f"SELECT {number}")
    for number in range(50):
        shop.gate(f"SELECT {number} -- {'x' * 90_000}")

    gate = shop._registry.gate
    assert len(gate._reports) <= 1024
    assert gate._characters <= 4_000_000


@pytest.mark.parametrize(
    ("query", "kind"),
    [
        ("EXPLAIN SELECT id FROM orders", "explain"),
        ("EXPLAIN ANALYZE VERBOSE SELECT id FROM orders", "explain"),
        ("EXPLAIN FORMAT TREE SELECT id FROM orders", "explain"),
        ("EXPLAIN (ANALYZE, VERBOSE) SELECT id FROM orders", "explain"),
        ("DESCRIBE orders", "describe"),
        ("DESCRIBE SELECT id FROM orders", "describe"),
        ("SHOW TABLES", "show"),
        ("SHOW COLUMNS FROM orders", "show"),
        ("SHOW datafusion.execution.batch_size", "show"),
        ("VALUES (1), (2)", "query"),
        ("(SELECT 1) UNION ALL (SELECT 2)", "query"),
        ("SELECT ';' AS x;", "query"),
    ],
)
def test_every_kind_of_query_is_read(shop, query, kind):
    result = shop.sql(query)

    assert (result.gate.kind, result.gate.lane) == (kind, "checked")
    assert result.to_arrow().num_rows > 0


@pytest.mark.parametrize(
    "query",
    [
        "SELECT {a: 1, 'b': 'x'} AS s, [1, 2, 3][1] AS a, MAP {'k': 1}['k'] AS m, map(['a'], [1]) AS n",
        "SELECT tags[1], tags[1:2], tags[-1], unnest(tags) FROM orders",
        "SELECT o.id, t.n FROM orders o, LATERAL (SELECT p.amount AS n FROM orders p WHERE p.id = o.id) AS t",
        'SELECT id, lag("Customer") IGNORE NULLS OVER (ORDER BY id) FROM orders',
        "SELECT * EXCLUDE (tags) FROM orders QUALIFY row_number() OVER (ORDER BY id) = 1",
        "SELECT * EXCEPT (tags) FROM orders LEFT ANTI JOIN (SELECT 5 AS x) t ON id = x",
        "SELECT sales.* REPLACE (id + 1 AS id) FROM orders AS sales",
        "SELECT DISTINCT ON (id) id, amount FROM orders ORDER BY id, amount",
        "SELECT substr(str => 'abc', start_pos => 2), TRY_CAST('x' AS INT), '1'::bigint::varchar",
        "SELECT X'0AFF', E'a\\nb', $$dollar$$, $t$do $$ llar$t$, 'it''s', 'é中😀' AS \"naïve\"",
        "SELECT TIMESTAMP '2024-01-01' AT TIME ZONE 'UTC', INTERVAL '1' DAY, INTERVAL '1 day 2 hour'",
        "SELECT 5 ^ 3, 5 & 3, 7 % 2, 1 == 1, 1 <=> 1, 'abc' ~ 'b', 'abc' !~* 'B', 'a' 'b'",
        "SELECT count(*) FILTER (WHERE id > 1), array_agg(id ORDER BY id DESC), median(id) FROM orders",
        "SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY amount) FROM orders",
        "SELECT id, count(*) FROM orders GROUP BY GROUPING SETS ((id), ()), ROLLUP (amount)",
        "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < 5) SELECT * FROM t",
        "SELECT id FROM orders UNION ALL BY NAME SELECT 1 AS id",
        "SELECT id FROM orders WHERE (id, amount) IN ((1, 5), (3, 4)) AND id = ANY(ARRAY[1, 2])",
        "SELECT `id` /* a /* nested */ b */ FROM orders -- end",
        "SELECT x FROM generate_series(1, 10, 2) AS t(x) LIMIT 2 OFFSET 1",
        "SELECT table_name FROM information_schema.tables",
        "FROM orders SELECT id",
    ],
)
def test_the_engines_sql_is_read_and_its_canonical_text_gives_the_same_rows(shop, query):
    result = shop.sql(query)

    assert (result.gate.lane, result.gate.notes) == ("checked", ())
    assert rows(shop.sql(result.gate.canonical)) == rows(result)


def rows(result):
    table = result.to_arrow()
    return sorted(repr(row) for row in zip(*(column.to_pylist() for column in table.columns), strict=True))


@pytest.mark.parametrize(
    "query",
    [
        "FROM orders",
        "SELECT * FROM orders JOIN (SELECT 1 AS id) t USING (id)",
        "SELECT * FROM orders NATURAL JOIN orders o",
    ],
)
def test_where_a_rewrite_could_change_the_meaning_there_is_none(shop, query):
    report = shop.sql(query).gate

    assert report.canonical is None
    assert report.tree is None
    assert report.notes
    assert report.lane == "checked"


def test_the_engine_gets_the_text_as_it_was_written(shop):
    plan = shop.explain("SELECT id FROM orders WHERE 2 > 1 AND amount > 1.50 + 0", analyze=False)

    assert plan.query == "SELECT id FROM orders WHERE 2 > 1 AND amount > 1.50 + 0"
    assert "Int64(2) > Int64(1)" in plan.logical


def test_a_text_that_only_the_engine_can_read(shop, monkeypatch):
    unread = _reading.Reading("query", problem="Invalid expression")
    monkeypatch.setattr(_reading, "read", lambda *_: unread)

    with pytest.raises(SqlUnreadableError, match="Invalid expression"):
        shop.sql("SELECT id FROM orders")
    with pytest.raises(SqlUnreadableError):
        shop.register("v", "SELECT id FROM orders")
    result = shop.sql("SELECT id FROM orders", policy=TRUSTED)
    assert (result.gate.lane, result.gate.notes) == ("passed", ("Invalid expression",))
    assert result.to_arrow().num_rows == 2


@pytest.mark.parametrize(
    ("query", "word"),
    [
        ("SELECT * FROM 'data.csv'", "data.csv"),
        ('SELECT *\nFROM "s3://bucket/data.parquet"', "s3://bucket/data.parquet"),
        ('SELECT * FROM "/etc/passwd"', "/etc/passwd"),
        ("SELECT * FROM read_parquet('x')", "read_parquet"),
        ("SELECT * FROM orders, read_csv('x')", "read_csv"),
        ("SELECT id FROM orders WHERE id IN (SELECT a FROM parquet_scan('x'))", "parquet_scan"),
    ],
)
def test_files_are_not_tables(shop, query, word):
    with pytest.raises(PolicyError, match=word) as caught:
        shop.sql(query)

    assert "^" * len(word) in str(caught.value)


def test_a_registered_name_may_look_like_a_path(shop):
    shop.register("lake/orders.parquet", ORDERS)

    assert shop.sql('SELECT * FROM "lake/orders.parquet"').to_arrow().num_rows == 2


def test_policies_deny_functions(shop):
    policy = SqlPolicy.read_only(denied_functions=("random",))

    with pytest.raises(PolicyError, match="random"):
        shop.sql("SELECT id FROM orders ORDER BY Random()", policy=policy)


def test_a_definition_may_read_files_only_where_files_are_allowed(shop, tmp_path):
    text = f"CREATE EXTERNAL TABLE t (a INT) STORED AS CSV LOCATION '{tmp_path}/'"

    with pytest.raises(PolicyError, match="files"):
        shop.sql(text, policy=SqlPolicy(ddl=True))
    with pytest.raises(PolicyError, match="files"):
        shop.sql(f"COPY orders TO '{tmp_path}/x.csv'", policy=SqlPolicy(dml=True))
    shop.sql(text, policy=SqlPolicy(ddl=True, files=True, unread=True))


@pytest.mark.parametrize("query", ["SELECT id INTO stolen FROM orders", "SELECT 1; DROP TABLE orders"])
def test_queries_that_do_more_than_read(shop, query):
    with pytest.raises((PolicyError, MultipleStatementsError)):
        shop.sql(query)


@pytest.mark.parametrize(
    "query",
    [
        "SELECT " + "(" * 10_000 + "1" + ")" * 10_000,
        "SELECT " + "abs(" * 3_000 + "1" + ")" * 3_000,
        "SELECT * FROM " + "(SELECT * FROM " * 2_000 + "orders" + ")" * 2_000,
        "SELECT " + "[" * 5_000 + "]" * 5_000,
        "SELECT " + "CASE WHEN true THEN " * 2_000 + "1" + " END" * 2_000,
        "SELECT " + "NOT " * 20_000 + "true",
    ],
)
def test_deep_texts_are_refused_and_say_so(shop, query):
    with pytest.raises(SqlLimitError, match="nested deeper"):
        shop.sql(query)


@pytest.mark.parametrize(
    "query", ["SELECT 1" + " + 1" * 5_000, "SELECT id FROM orders WHERE true" + " AND true" * 4_000]
)
def test_long_chains_are_refused_and_say_so(shop, query):
    with pytest.raises(SqlLimitError, match="chained"):
        shop.sql(query)


@pytest.mark.parametrize("operator", ["EXCEPT ALL", "INTERSECT ALL"])
def test_what_the_engine_answers_wrongly_is_refused(shop, operator):
    with pytest.raises(SqlUnsupportedError, match="copies"):
        shop.sql(f"SELECT id FROM orders {operator} SELECT 1")

    without = operator.removesuffix(" ALL")
    assert shop.sql(f"SELECT id FROM orders {without} SELECT 1").to_arrow().num_rows == 1


@pytest.mark.parametrize("sample", ["TABLESAMPLE SYSTEM (10)", "TABLESAMPLE BERNOULLI (10) REPEATABLE (1)"])
def test_samples_that_the_engine_would_not_take_are_refused(shop, sample):
    with pytest.raises(SqlUnsupportedError, match="random"):
        shop.sql(f"SELECT id FROM (SELECT * FROM orders {sample}) WHERE id > 0")


def test_long_texts_are_refused_where_the_policy_says_so(shop):
    text = f"SELECT id FROM orders WHERE id IN ({', '.join(map(str, range(200_000)))})"

    with pytest.raises(SqlLimitError, match="1,000,000"):
        shop.sql(text)
    assert shop.sql("SELECT 1", policy=SqlPolicy.read_only(max_characters=8)).to_arrow().num_rows == 1
    with pytest.raises(SqlLimitError):
        shop.sql("SELECT 11", policy=SqlPolicy.read_only(max_characters=8))


def test_a_long_line_is_shown_around_its_mistake(shop):
    with pytest.raises(Exception, match="amout") as caught:
        shop.sql(f"SELECT {'id, ' * 3000} amout, {'id, ' * 3000} id FROM orders")

    assert len(str(caught.value)) < 1500


def test_names_of_any_length_are_answered_soon(shop):
    with pytest.raises(Exception, match="Unknown"):
        shop.sql(f"SELECT {'amout' * 50_000} FROM orders")


def test_a_session_that_keeps_case():
    with SessionFactory(RuntimeProfile(normalize_identifiers=False)).open() as session:
        session.register("Orders", ORDERS)
        report = session.gate("SELECT Customer FROM Orders")

    assert report.tables == ('"Orders"',)
    assert report.columns == (("Customer", "TEXT"),)


def test_a_deep_caller_is_no_reason_to_refuse(shop):
    def down(levels):
        return shop.gate("SELECT " + "(" * 20 + "1" + ")" * 20) if levels == 0 else down(levels - 1)

    assert down(700).lane == "checked"


def test_many_threads_check_at_once(shop):
    found = []

    def check(number):
        texts = [f"SELECT id + {turn % 7} AS x FROM orders WHERE id > {number % 3}" for turn in range(30)]
        found.extend(shop.gate(text).columns for text in texts)

    threads = [threading.Thread(target=check, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert found == [(("x", "BIGINT"),)] * 240
