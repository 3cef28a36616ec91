"""Which definitions are refused, and which views can be refreshed by affected keys."""

from __future__ import annotations

import pyarrow as pa
import pytest

from incremental_cdf import (
    IncrementalError,
    SourceUnknownError,
    SourceUnsupportedError,
    View,
    ViewColumnsError,
    ViewCycleError,
    ViewDefinitionError,
    ViewKeyError,
    ViewQueryError,
    Views,
    ViewSyntaxError,
)


@pytest.mark.parametrize(
    ("query", "line"),
    [
        ("", None),
        ("-- nothing but a comment", None),
        ("SELECT 1; SELECT 2", None),
        ("DELETE FROM orders", None),
        ("SELECT day,\n  sum(amount\nFROM orders", 3),
        ("SELECT 'open FROM orders", None),
        ("SELECT * FROM", 1),
    ],
)
def test_text_that_is_not_one_query_is_refused(lake, query, line):
    with pytest.raises(ViewSyntaxError, match=r"view v|View v") as refused:
        lake.define(("v", query))
    assert (refused.value.view, refused.value.line) == ("v", line)
    assert str(refused.value).endswith("[incremental-view-syntax]")


def test_circles_are_refused_with_their_names(lake):
    with pytest.raises(ViewCycleError, match="a -> c -> b -> a") as refused:
        lake.define(
            ("a", "SELECT * FROM c"),
            ("b", "SELECT * FROM a"),
            ("c", "WITH a AS (SELECT * FROM b) SELECT * FROM a"),
        )
    assert refused.value.cycle == ("a", "c", "b", "a")
    with pytest.raises(ViewCycleError, match="reads itself"):
        lake.define(("a", "SELECT 1 AS one WHERE EXISTS (SELECT * FROM a)"))
    with pytest.raises(ViewCycleError):
        lake.define(lake.view("a", "SELECT * FROM t", depends=["b"]), lake.view("b", "SELECT * FROM a"))


def test_a_common_table_expression_is_no_dependency(lake):
    views = lake.define(("a", "WITH b AS (SELECT 1 AS x) SELECT * FROM b"), ("b", "SELECT * FROM a"))
    assert views.names == ("a", "b")
    assert views.dependencies() == {"a": (), "b": ("a",)}


def test_views_are_ordered_by_what_they_wait_for(lake):
    views = lake.define(lake.view("a", "SELECT 1 AS x", depends=["z"]), lake.view("z", "SELECT 1 AS x"))
    assert views.names == ("z", "a")


@pytest.mark.parametrize(
    "options", [{"name": " "}, {"refresh": "sometimes"}, {"key": ()}, {"key": ("a", "a")}]
)
def test_impossible_options_are_refused(options):
    given = {"name": "v", "query": "SELECT 1", "target": "t"} | options
    with pytest.raises(ViewDefinitionError):
        View(**given)


def test_names_and_targets_are_not_shared(lake):
    with pytest.raises(ViewDefinitionError, match="name v"):
        lake.define(("v", "SELECT 1 AS a"), ("v", "SELECT 2 AS a"))
    with pytest.raises(ViewDefinitionError, match="target"):
        Views([View("a", "SELECT 1", "t"), View("b", "SELECT 1", "t/")], lake.session)


def test_unknown_tables_are_refused_with_close_names(shop):
    shop.define(("v", "SELECT * FROM order"), ("w", "SELECT 1 AS a"))
    with pytest.raises(SourceUnknownError, match="orders") as refused:
        shop.refresh()
    assert refused.value.suggestions == ("orders",)
    assert not (shop.folder / "views").exists()


def test_unknown_columns_are_refused_with_their_place(shop):
    shop.define(("w", "SELECT 1 AS a"), ("v", "SELECT id,\n  amuont FROM orders"))
    with pytest.raises(ViewQueryError, match="amount") as refused:
        shop.refresh()
    assert (refused.value.view, refused.value.line) == ("v", 2)
    assert not (shop.folder / "views").exists()


def test_columns_of_views_that_do_not_exist_yet_are_known(shop):
    shop.define(("base", "SELECT id AS number FROM orders"), ("top", "SELECT id FROM base"))
    with pytest.raises(ViewQueryError, match="number"):
        shop.views.plan()


@pytest.mark.parametrize(
    "query",
    [
        "SELECT o.id, c.id FROM orders o, customers c",
        'SELECT id, day AS "ID" FROM orders',
        "SELECT count(*) FROM orders",
        "SELECT NULL AS nothing FROM orders",
        "SELECT INTERVAL '1 day' AS period FROM orders",
    ],
)
def test_results_that_no_table_can_hold_are_refused(shop, query):
    shop.define(("v", query))
    with pytest.raises(ViewColumnsError):
        shop.views.plan()


def test_a_key_must_be_in_the_result(shop):
    shop.define(("v", "SELECT id FROM orders"), key=("day",))
    with pytest.raises(ViewKeyError, match="id"):
        shop.views.plan()


def test_a_stream_is_no_source(lake):
    lake.session.register("once", pa.table({"a": [1]}).to_reader())
    lake.define(("v", "SELECT a FROM once"))
    with pytest.raises(SourceUnsupportedError):
        lake.views.plan()


def test_every_code_is_its_own():
    def below(kind):
        return {kind} | {found for child in kind.__subclasses__() for found in below(child)}

    codes = [kind.code for kind in below(IncrementalError)]
    assert len(set(codes)) == len(codes)
    assert all(code.startswith("incremental-") for code in codes)


GROUPED = [
    "SELECT day, sum(amount) AS s FROM orders GROUP BY day",
    "SELECT o.day AS d, count(*) AS n FROM orders AS o GROUP BY 1",
    "SELECT upper(day) AS d, count(*) AS n FROM orders GROUP BY d HAVING count(*) > 1 ORDER BY n",
    "SELECT left(day, 1) AS d, count(*) AS n FROM orders GROUP BY LEFT(day, 1)",
    'SELECT "day" AS "Day", min(id) AS lo FROM "orders" GROUP BY ORDERS.DAY',
    "SELECT day FROM orders WHERE day IS DISTINCT FROM 'mon' GROUP BY day, customer -- the end",
    "SELECT name, count(*) FILTER (WHERE amount > 1) AS n FROM orders, customers c GROUP BY c.name",
    "SELECT id, count(*) AS n FROM orders JOIN customers USING (id) GROUP BY id",
    "SELECT o.day, count(c.id) AS n FROM orders o LEFT JOIN customers c ON o.customer = c.id GROUP BY o.day",
]


@pytest.mark.parametrize("query", GROUPED)
def test_grouped_views_have_a_key(shop, query):
    shop.define(("v", query), refresh="incremental")
    shop.refresh()
    shop.insert("orders", [{"id": 1, "customer": 2, "amount": None, "day": "sun"}])
    shop.insert("customers", [{"id": 9, "name": "eve"}])
    report = shop.refreshed("v")
    assert (report.strategy, report.code) in [
        ("affected_keys", "key-from-group-by"),
        ("affected_keys", "result-unchanged"),
    ]
    shop.check()


LEFT = "FROM orders o LEFT JOIN customers c ON o.customer = c.id"
KEYED = [
    ("SELECT * FROM orders WHERE day = 'mon'", ("id",)),
    ("SELECT o.*, c.name FROM orders o JOIN customers c ON o.customer = c.id", ("amount", "name")),
    ("SELECT DISTINCT customer, day FROM orders", ("customer",)),
    ("SELECT id + 1 AS following FROM orders -- why\n WHERE amount > 1 -- because\n", ("following",)),
    ("SELECT day, customer, sum(amount) AS s FROM orders GROUP BY day, customer", ("customer",)),
    (f"SELECT o.id, d.name {LEFT} JOIN customers d ON o.id = d.id", ("name",)),
]


@pytest.mark.parametrize(("query", "key"), KEYED)
def test_a_declared_key_is_followed(shop, query, key):
    shop.define(("v", query), key=key)
    shop.refresh()
    shop.insert("orders", [{"id": 2, "customer": 1, "amount": 3, "day": "mon"}])
    shop.tables["customers"].delete("id = 1")
    report = shop.refreshed("v")
    assert report.strategy == "affected_keys"
    assert report.code in ("key-declared", "result-unchanged")
    shop.check()


NATURAL = "orders NATURAL JOIN customers"
RIGHT = "orders o RIGHT JOIN customers c ON o.customer = c.id"
REFUSED = [
    ("set-operation", "SELECT id FROM orders UNION ALL SELECT id FROM customers"),
    ("cte", "WITH o AS (SELECT * FROM orders) SELECT day, count(*) AS n FROM o GROUP BY day"),
    ("subquery", "SELECT id FROM orders WHERE customer IN (SELECT id FROM customers)"),
    ("subquery", "SELECT day, count(*) AS n FROM (SELECT * FROM orders) AS o GROUP BY day"),
    ("window", "SELECT id, row_number() OVER (ORDER BY id) AS r FROM orders"),
    ("limit", "SELECT id FROM orders ORDER BY id LIMIT 3"),
    ("global-aggregate", "SELECT sum(amount) AS s FROM orders"),
    ("grouping-sets", "SELECT day, count(*) AS n FROM orders GROUP BY ROLLUP (day)"),
    ("distinct-on", "SELECT DISTINCT ON (day) day, id FROM orders"),
    ("join-kind", f"SELECT c.id, count(*) AS n FROM {RIGHT} GROUP BY c.id"),
    ("join-kind", f"SELECT id, count(*) AS n FROM {NATURAL} GROUP BY id"),
    ("from-clause", "SELECT u, count(*) AS n FROM orders, unnest(make_array(1, 2)) AS t(u) GROUP BY u"),
    ("from-clause", "SELECT d, count(*) AS n FROM orders AS o(i, c, a, d) GROUP BY d"),
    ("qualified-column", "SELECT public.orders.day FROM public.orders GROUP BY public.orders.day"),
    ("key-missing", "SELECT id FROM orders"),
    ("group-not-in-result", "SELECT count(*) AS n FROM orders GROUP BY day"),
    ("group-ambiguous", "SELECT upper(day) AS day, count(*) AS n FROM orders GROUP BY day"),
    ("key-on-optional-side", f"SELECT c.name, count(*) AS n {LEFT} GROUP BY c.name"),
    ("key-on-optional-side", f"SELECT d.name {LEFT} JOIN customers d ON d.id = c.id GROUP BY d.name"),
    ("key-type", "SELECT CAST(amount AS DOUBLE) AS x, count(*) AS n FROM orders GROUP BY 1"),
]


@pytest.mark.parametrize(("code", "query"), REFUSED)
def test_other_views_are_recomputed_and_say_why(shop, code, query):
    shop.define(("v", query), refresh="incremental")
    shop.refresh()
    shop.insert("orders", [{"id": 7, "customer": 1, "amount": 3, "day": "sun"}])
    shop.insert("customers", [{"id": 7, "name": "eve"}])
    plan = shop.views.plan().view("v")
    assert (plan.strategy, plan.code) == ("full", code)
    assert plan.reason.startswith("The view is recomputed: ")
    shop.refresh()
    assert shop.views.verify("v").ok


def test_a_declared_key_must_be_grouped_by(shop):
    shop.define(("v", "SELECT day, max(id) AS top FROM orders GROUP BY day"), key=("top",))
    shop.refresh()
    shop.insert("orders", [{"id": 7, "customer": 1, "amount": 3, "day": "sun"}])
    assert shop.views.plan().view("v").code == "key-not-grouped"


def test_more_keys_than_one_commit_replaces_recompute_the_view(lake):
    lake.table("numbers", {"n": pa.int64()}, [{"n": 1}])
    lake.define(("v", "SELECT n, count(*) AS c FROM numbers GROUP BY n"), refresh="incremental")
    lake.refresh()
    lake.insert("numbers", [{"n": number} for number in range(12_000)])
    report = lake.refreshed("v")
    assert (report.strategy, report.code) == ("full", "too-many-keys")
    lake.check()


KEY_VALUES = pa.table(
    {
        "text": ["it's", "back\\slash\n", "", "é😀", None],
        "flag": [True, False, None, True, False],
        "small": pa.array([-128, 127, 0, None, 1], pa.int8()),
        "price": pa.array(["1.20", "-99999999.99", None, "0.00", "3.00"]).cast(pa.decimal128(10, 2)),
        "day": pa.array([0, -719_162, 2_932_896, None, 1], pa.date32()),
        "at": pa.array(
            [1, -62_135_596_800_000_000, 253_402_300_799_999_999, None, 0], pa.timestamp("us", "UTC")
        ),
        "local": pa.array([None, 1, 2, 3, 1_600_000_000_123_456], pa.timestamp("us")),
    }
)


@pytest.mark.parametrize("column", KEY_VALUES.column_names)
def test_every_type_of_key_is_replaced_exactly(lake, column):
    kind = KEY_VALUES.schema.field(column).type
    values = KEY_VALUES.column(column).to_pylist()
    lake.table("facts", {"k": kind, "n": pa.int64()}, [{"k": value, "n": 1} for value in values])
    query = "SELECT k, n % 2 AS odd, sum(n) AS s FROM facts GROUP BY k, n % 2"
    lake.define(lake.view("one", query, key=("k",)), lake.view("two", query, refresh="incremental"))
    lake.refresh()
    for some in (values[:3], values[3:]):
        lake.insert("facts", [{"k": value, "n": number} for value in some for number in (5, 2)])
        report = lake.refresh()
        assert {view.strategy for view in report.views} == {"affected_keys"}
        assert {name: lake.views.verify(name).ok for name in ("one", "two")} == {"one": True, "two": True}
