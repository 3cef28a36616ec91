"""What a refresh does, case by case."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from delta_io import Table
from df_runtime import SessionFactory
from incremental_cdf import (
    PlanStaleError,
    RefreshFailedError,
    StrictRefreshError,
    TargetError,
    View,
    Views,
    ViewUnbuiltError,
    ViewUnknownError,
)
from schema_spec import ColumnSpec, TableSpec

DAILY = "SELECT day, sum(amount) AS total, count(*) AS n FROM orders GROUP BY day"
NAMED = "SELECT o.id, c.name FROM orders o LEFT JOIN customers c ON o.customer = c.id"


def order(number, customer=1, amount="1.00", day: str | None = "mon"):
    return {"id": number, "customer": customer, "amount": Decimal(amount), "day": day}


def test_the_first_refresh_builds_and_the_second_does_nothing(shop):
    shop.define(("daily", DAILY))
    first = shop.refreshed("daily")
    assert (first.strategy, first.code, first.rows_changed) == ("full", "first-build", 3)
    second = shop.refreshed("daily")
    assert (second.strategy, second.code, second.commit_version) == ("none", "up-to-date", None)
    assert shop.target("daily").snapshot().version == first.commit_version
    shop.check()


def test_only_rows_of_affected_groups_are_replaced_and_null_is_a_group(shop):
    shop.define(("daily", DAILY), refresh="incremental")
    shop.refresh()
    shop.insert("orders", [order(10, day=None)])
    report = shop.refreshed("daily")
    assert (report.strategy, report.rows_in, report.rows_changed) == ("affected_keys", 1, 2)
    changed = shop.target("daily").changes(since=report.commit_version - 1).weighted().read_all().to_pylist()
    assert {row["day"] for row in changed} == {None}
    shop.check()


def test_a_refresh_is_one_commit_with_its_sources_and_a_transaction(shop):
    shop.define(("named", NAMED), key=("id",))
    shop.refresh()
    shop.insert("orders", [order(10)])
    shop.tables["customers"].delete("id = 1")
    before = shop.target("named").snapshot().version
    report = shop.refreshed("named")
    table = shop.target("named")
    assert report.commit_version == table.snapshot().version == before + 1
    info = table.commit_info(report.commit_version)
    cursor = json.loads(info.metadata["incremental_cdf.cursor"])
    assert {name: source["version"] for name, source in cursor["sources"].items()} == report.sources
    assert report.sources == {"orders": 2, "customers": 2}
    assert info.transactions == {"incremental_cdf/named": 2}
    shop.check()


def test_commits_that_change_no_rows_are_nothing_to_do(shop):
    shop.define(("daily", DAILY), ("named", NAMED), refresh="incremental")
    shop.refresh()
    shop.optimize("orders")
    version = shop.target("daily").snapshot().version
    report = shop.refreshed("daily")
    assert (report.strategy, report.code) == ("none", "no-data-change")
    assert shop.target("daily").snapshot().version == version
    shop.insert("orders", [order(10)])
    assert shop.refreshed("daily").rows_in == 1
    shop.check()


def test_rows_that_come_and_go_between_refreshes_are_nothing_to_do(shop):
    shop.define(("daily", DAILY))
    shop.refresh()
    shop.insert("orders", [order(10)])
    shop.tables["orders"].delete("id = 10")
    assert shop.refreshed("daily").code == "no-data-change"


def test_a_change_without_effect_is_remembered_but_writes_no_rows(shop):
    shop.define(("mondays", "SELECT id, amount FROM orders WHERE day = 'mon'"), key=("id",))
    shop.refresh()
    shop.insert("orders", [order(10, day="sun")])
    report = shop.refreshed("mondays")
    assert (report.strategy, report.code, report.rows_changed) == ("affected_keys", "result-unchanged", 0)
    table = shop.target("mondays")
    assert table.changes(since=report.commit_version - 1).weighted().read_all().num_rows == 0
    assert shop.refreshed("mondays").code == "up-to-date"
    shop.check()


def test_a_recomputed_view_with_the_same_rows_writes_none(shop):
    shop.define(("most", "SELECT max(amount) AS most FROM orders"))
    shop.refresh()
    shop.insert("orders", [order(10)])
    report = shop.refreshed("most")
    assert (report.strategy, report.code, report.rows_changed) == ("full", "result-unchanged", 0)
    assert shop.refreshed("most").strategy == "none"


def test_views_over_views_see_the_new_version_in_the_same_run(shop):
    shop.define(
        ("best", "SELECT day, total FROM daily WHERE total > 3"),
        ("daily", DAILY),
        refresh="incremental",
        key=("day",),
    )
    assert shop.views.names == ("daily", "best")
    shop.refresh()
    shop.insert("orders", [order(10, amount="5.00", day="wed")])
    plan = shop.views.plan()
    assert [source.state for source in plan.view("best").sources] == ["pending"]
    report = shop.views.refresh(plan)
    assert [view.strategy for view in report.views] == ["affected_keys", "affected_keys"]
    assert report.view("best").sources == {"daily": report.view("daily").commit_version}
    shop.check()


def test_views_that_do_not_depend_on_a_change_do_nothing(shop):
    shop.define(("daily", DAILY), ("names", "SELECT DISTINCT name FROM customers"))
    shop.refresh()
    shop.insert("orders", [order(10)])
    report = shop.refresh()
    assert report.view("daily").strategy == "full"
    assert report.view("names").strategy == "none"


def test_both_sides_of_a_join_may_change_at_once(shop):
    query = "SELECT name, sum(amount) AS total FROM orders JOIN customers c ON customer = c.id GROUP BY name"
    shop.define(("by_name", query), refresh="incremental")
    shop.refresh()
    shop.tables["orders"].delete("customer = 1")
    shop.tables["customers"].delete("id = 1")
    shop.insert("customers", [{"id": 9, "name": "bob"}, {"id": 9, "name": "eve"}])
    assert shop.refreshed("by_name").strategy == "affected_keys"
    shop.check()


def test_the_missing_side_of_a_left_join_may_appear_and_vanish(shop):
    unknown = "SELECT o.id FROM orders o LEFT JOIN customers c ON o.customer = c.id WHERE c.id IS NULL"
    shop.define(("unknown", unknown), key=("id",))
    shop.refresh()
    shop.insert("customers", [{"id": 9, "name": "bob"}])
    assert shop.refreshed("unknown").rows_changed == 2
    shop.check()
    shop.tables["customers"].delete("id = 1")
    assert shop.refreshed("unknown").rows_changed == 2
    shop.check()


def test_a_table_may_be_joined_with_itself(shop):
    pairs = "SELECT a.id, b.id AS other FROM orders a, orders b WHERE a.day = b.day AND a.id < b.id"
    shop.define(("pairs", pairs), key=("other",))
    shop.refresh()
    shop.insert("orders", [order(10), order(11, day="tue")])
    shop.tables["orders"].delete("id = 1")
    assert shop.refreshed("pairs").strategy == "affected_keys"
    shop.check()


def test_a_changed_query_recomputes_the_view(shop):
    shop.define(("daily", DAILY))
    shop.refresh()
    shop.define(("daily", f"{DAILY} -- only the text differs\n"))
    assert shop.refreshed("daily").strategy == "none"
    shop.define(("daily", "SELECT day, min(amount) AS total, count(*) AS n FROM orders GROUP BY day"))
    report = shop.refreshed("daily")
    assert (report.strategy, report.code) == ("full", "definition-changed")
    shop.check()


def test_a_changed_result_replaces_the_columns(shop):
    shop.define(("daily", DAILY))
    shop.refresh()
    shop.define(("daily", "SELECT day, max(id) AS last FROM orders GROUP BY day"))
    assert shop.refreshed("daily").code == "definition-changed"
    assert shop.target("daily").snapshot().schema.names == ["day", "last"]
    shop.check()


def test_a_recreated_source_recomputes_the_view(shop):
    shop.define(("names", "SELECT name, count(*) AS n FROM customers GROUP BY name"), refresh="incremental")
    shop.refresh()
    other = Table.create(
        shop.folder / "customers_2", TableSpec.from_arrow("c", shop.tables["customers"].snapshot().schema)
    )
    other.write(pa.table({"id": [7], "name": ["zoe"]}))
    other.write(pa.table({"id": [8], "name": ["zoe"]}))
    shop.tables["customers"] = other
    shop.session.register("customers", other)
    assert shop.refreshed("names").code == "source-recreated"
    shop.check()


def test_an_older_version_of_a_source_recomputes_the_view(shop):
    shop.define(("daily", DAILY), refresh="incremental")
    shop.refresh()
    shop.session.register("orders", shop.tables["orders"], version=0)
    report = shop.refreshed("daily")
    assert (report.code, report.sources) == ("source-rewound", {"orders": 0})
    assert not shop.rows("daily")


def test_rows_written_to_the_table_by_others_are_undone(shop):
    shop.define(("daily", DAILY), refresh="incremental")
    shop.refresh()
    shop.target("daily").delete("day = 'mon'")
    report = shop.refreshed("daily")
    assert (report.strategy, report.code) == ("full", "target-modified")
    shop.check()


def test_a_column_that_a_source_gains_does_not_matter(shop):
    shop.define(("names", "SELECT name, count(*) AS n FROM customers GROUP BY name"), refresh="incremental")
    shop.refresh()
    wider = pa.table({"id": [1, 2], "name": ["ada", "bob"], "since": [1, 2]})
    shop.tables["customers"].write(wider, mode="overwrite", replace_schema=True)
    report = shop.refreshed("names")
    assert (report.strategy, report.rows_changed) == ("affected_keys", 2)
    shop.check()


def test_a_column_that_a_source_loses_recomputes_the_view(shop):
    shop.define(("names", "SELECT name, count(*) AS n FROM customers GROUP BY name"), refresh="incremental")
    shop.refresh()
    narrower = pa.table({"name": ["ada", "bob"]})
    shop.tables["customers"].write(narrower, mode="overwrite", replace_schema=True)
    report = shop.refreshed("names")
    assert (report.strategy, report.code) == ("full", "source-schema-changed")
    shop.check()


def test_all_columns_follow_the_source(shop):
    shop.define(("everything", "SELECT * FROM customers"), key=("id",))
    shop.refresh()
    wider = pa.table({"id": [1], "name": ["ada"], "since": [1]})
    shop.tables["customers"].write(wider, mode="overwrite", replace_schema=True)
    report = shop.refreshed("everything")
    assert (report.strategy, report.code) == ("full", "schema-changed")
    assert shop.target("everything").snapshot().schema.names == ["id", "name", "since"]
    shop.check()


def test_files_of_old_versions_may_be_gone(shop):
    query = "SELECT c.name, count(*) AS n FROM customers c JOIN orders o ON o.customer = c.id GROUP BY c.name"
    shop.define(("by_name", query), refresh="incremental")
    shop.refresh()
    old = {file["path"] for file in _files(shop.tables["customers"])}
    shop.tables["customers"].delete("id = 2")
    shop.insert("orders", [order(10)])
    for path in old - {file["path"] for file in _files(shop.tables["customers"])}:
        (Path(shop.tables["customers"].uri) / path).unlink()
    report = shop.refreshed("by_name")
    assert (report.strategy, report.code) == ("full", "old-version-unreadable")
    shop.check()


def _files(table):
    return table.snapshot().add_actions().select(["path"]).to_pylist()


def test_a_strict_view_is_never_recomputed_once_it_is_built(shop):
    shop.define(
        shop.view("daily", DAILY, refresh="strict"), shop.view("n", "SELECT count(*) AS n FROM orders")
    )
    assert shop.refreshed("daily").code == "first-build"
    shop.insert("orders", [order(10)])
    assert shop.refreshed("daily").strategy == "affected_keys"
    shop.target("daily").delete("day = 'mon'")
    shop.insert("orders", [order(11)])
    assert shop.views.plan().view("daily").refused
    version = shop.target("daily").snapshot().version
    with pytest.raises(RefreshFailedError, match="incremental-strict") as failed:
        shop.refresh()
    assert isinstance(failed.value.failures["daily"], StrictRefreshError)
    assert failed.value.report.view("daily").code == "incremental-strict"
    assert failed.value.report.view("n").rows_changed == 2
    assert shop.target("daily").snapshot().version == version


def test_views_that_read_a_failed_view_are_skipped(shop):
    shop.define(
        shop.view("daily", DAILY, refresh="strict"), shop.view("days", "SELECT count(*) AS n FROM daily")
    )
    shop.refresh()
    shop.target("daily").delete("day = 'mon'")
    with pytest.raises(RefreshFailedError) as failed:
        shop.refresh()
    assert failed.value.report.view("days").code == "skipped"
    assert set(failed.value.failures) == {"daily", "days"}


@pytest.mark.parametrize(
    ("mode", "strategy"), [("full", "full"), ("incremental", "affected_keys"), ("auto", "full")]
)
def test_the_refresh_mode_chooses(shop, mode, strategy):
    shop.define(("daily", DAILY), refresh=mode)
    shop.refresh()
    shop.insert("orders", [order(10)])
    report = shop.refreshed("daily")
    assert report.strategy == strategy
    assert report.code == {"full": "full-requested", "auto": "full-cheaper"}.get(mode, "key-from-group-by")
    shop.check()
    assert shop.refreshed("daily").strategy == "none"


def test_the_primary_key_of_a_contract_serves_as_key(lake):
    lake.table("items", {"id": pa.int64(), "label": pa.string()}, primary_key=("id",))
    lake.define(("kept", "SELECT id AS item, label FROM items WHERE label <> 'x'"), refresh="incremental")
    lake.refresh()
    lake.insert("items", [{"id": 1, "label": "a"}, {"id": 2, "label": "x"}])
    report = lake.refreshed("kept")
    assert (report.strategy, report.code) == ("affected_keys", "key-from-contract")
    lake.check()


def test_a_foreign_table_is_left_alone(shop):
    table = Table.create(
        shop.folder / "views" / "daily", TableSpec.from_arrow("daily", pa.schema([("a", pa.int64())]))
    )
    table.write(pa.table({"a": [1]}))
    shop.define(("daily", DAILY))
    with pytest.raises(TargetError, match="incremental-target-foreign"):
        shop.refresh()
    assert table.snapshot().version == 1


def test_empty_sources_give_empty_views(lake):
    lake.table("orders", {"id": pa.int64(), "day": pa.string()})
    lake.define(("days", "SELECT day, count(*) AS n FROM orders GROUP BY day"), refresh="incremental")
    assert lake.refreshed("days").rows_changed == 0
    assert lake.refreshed("days").strategy == "none"
    lake.insert("orders", [{"id": 1, "day": None}])
    assert lake.refreshed("days").strategy == "affected_keys"
    lake.tables["orders"].delete()
    assert lake.refreshed("days").rows_changed == 1
    lake.check()


def test_volatile_queries_are_recomputed_but_written_only_if_they_differ(shop):
    query = "SELECT id FROM orders WHERE now() > TIMESTAMP '2020-01-01 00:00:00'"
    shop.define(("recent", query), key=("id",))
    shop.refresh()
    report = shop.refreshed("recent")
    assert (report.strategy, report.code, report.commit_version) == ("full", "result-unchanged", None)


def test_data_in_memory_can_be_read_and_is_compared(shop):
    shop.session.register("rates", pa.table({"day": ["mon"], "rate": [2]}))
    shop.define(("rated", "SELECT o.id, r.rate FROM orders o JOIN rates r ON o.day = r.day"), key=("id",))
    shop.refresh()
    assert shop.refreshed("rated").commit_version is None
    shop.session.register("rates", pa.table({"day": ["tue"], "rate": [3]}))
    report = shop.refreshed("rated")
    assert (report.strategy, report.code, report.rows_changed) == ("full", "source-unversioned", 4)


def test_types_that_delta_lacks_are_widened(shop):
    columns = "arrow_cast(id, 'UInt64') AS big, to_timestamp(id) AS at"
    query = f"SELECT {columns}, count(*) AS n FROM orders GROUP BY 1, 2"
    shop.define(("wide", query), refresh="incremental")
    shop.refresh()
    schema = shop.target("wide").snapshot().schema
    assert schema.types == [pa.decimal128(20, 0), pa.timestamp("us"), pa.int64()]
    shop.insert("orders", [order(10)])
    report = shop.refreshed("wide")
    assert (report.strategy, report.code) == ("full", "key-type")
    assert shop.views.verify("wide").ok


def test_a_plan_is_carried_out_as_it_says(shop):
    shop.define(("daily", DAILY), refresh="incremental")
    shop.refresh()
    shop.insert("orders", [order(10)])
    plan = shop.views.plan()
    shop.insert("orders", [order(11, day="sat")])
    report = shop.views.refresh(plan).view("daily")
    assert report.sources == {"orders": plan.view("daily").sources[0].new}
    assert report.steps == plan.view("daily").steps
    assert shop.refreshed("daily").rows_in == 1
    shop.check()


def test_a_plan_of_other_definitions_is_refused(shop):
    shop.define(("daily", DAILY))
    plan = shop.views.plan()
    shop.define(("daily", "SELECT 1 AS one FROM orders"))
    with pytest.raises(PlanStaleError):
        shop.views.refresh(plan)
    assert not Table.exists(shop.folder / "views" / "daily")


def test_plans_and_reports_are_data(shop):
    shop.define(("daily", DAILY), refresh="incremental")
    shop.refresh()
    shop.insert("orders", [order(10)])
    plan = shop.views.plan()
    data = json.loads(plan.to_json())["views"][0]
    assert data["strategy"] == "affected_keys"
    assert data["key"] == ["day"]
    assert [step["name"] for step in data["steps"]] == [
        "keys",
        "rows",
        "difference",
        "changed_keys",
        "replacement",
    ]
    assert data["sources"][0] | {"bytes": 0} == {
        "name": "orders",
        "kind": "table",
        "state": "changed",
        "old": 1,
        "new": 2,
        "table_id": shop.tables["orders"].snapshot().table_id,
        "changed_rows": 1,
        "rows": 6,
        "bytes": 0,
    }
    assert plan == shop.views.plan()
    report = json.loads(shop.views.refresh(plan).to_json())["views"][0]
    assert report["commit_version"] == 2
    assert report["bytes_read"] > 0
    with pytest.raises(ViewUnknownError):
        plan.view("nightly")


def test_progress_is_told(shop):
    shop.define(("daily", DAILY), ("names", "SELECT DISTINCT name FROM customers"))
    told = []
    shop.views.refresh(progress=lambda name, done, total: told.append((name, done, total)))
    assert told == [("daily", 0, 2), ("names", 1, 2), ("names", 2, 2)]


def test_verify_finds_what_is_missing_and_what_is_too_many(shop):
    shop.define(("daily", DAILY))
    with pytest.raises(ViewUnbuiltError):
        shop.views.verify("daily")
    shop.refresh()
    shop.insert("orders", [order(10)])
    found = shop.views.verify("daily")
    assert (found.ok, found.rows, found.sources) == (True, 3, {"orders": 1})
    table = shop.target("daily")
    table.delete("day = 'mon'")
    table.write(pa.table({"day": ["sun", "sun"], "n": [7, 7]}))
    found = shop.views.verify("daily")
    assert (found.ok, found.missing, found.extra) == (False, 1, 2)
    assert [row["day"] for row in found.missing_rows] == ["mon"]
    assert found.extra_rows == ({"day": "sun", "total": None, "n": 7},)
    assert json.loads(found.to_json())["missing_rows"] == [{"day": "mon", "total": "1.50", "n": 1}]
    with pytest.raises(ViewUnknownError):
        shop.views.verify("nightly")


def test_verify_allows_for_rounding_of_sums(lake):
    lake.table(
        "points", {"k": pa.int64(), "x": pa.float64()}, [{"k": 1, "x": 0.1}, {"k": 2, "x": float("nan")}]
    )
    lake.define(("sums", "SELECT k, sum(x) AS x FROM points GROUP BY k"))
    lake.refresh()
    table = lake.target("sums")
    table.write(pa.table({"k": [1], "x": [0.1 + 1e-16]}), mode="overwrite", predicate="k = 1")
    found = lake.views.verify("sums")
    assert (found.ok, found.close) == (True, 1)
    table.write(pa.table({"k": [1], "x": [0.1001]}), mode="overwrite", predicate="k = 1")
    found = lake.views.verify("sums")
    assert (found.missing, found.extra) == (1, 1)


def test_a_view_is_its_definition():
    options: dict[str, Any] = {"target": Path("lake") / "v", "key": ["a"], "depends": "b"}
    view = View(name="v", query="SELECT 1", **options)
    assert (view.target, view.key, view.depends) == ("lake/v", ("a",), ("b",))
    assert view == View("v", "SELECT 1", "lake/v", key=("a",), depends=("b",))


def test_one_column_may_stand_for_a_key_of_many(lake):
    columns = {"k": pa.int64(), "g": pa.string(), "x": pa.int64()}
    rows = [{"k": k or None, "g": g, "x": k} for k in range(60) for g in ("a", "b", None)]
    lake.table("facts", columns, rows)
    lake.define(("sums", "SELECT g, k, sum(x) AS s FROM facts GROUP BY g, k"), refresh="incremental")
    lake.refresh()
    lake.insert("facts", [{"k": k or None, "g": "a", "x": 1} for k in range(40)])
    report = lake.refreshed("sums")
    assert (report.strategy, report.rows_changed) == ("affected_keys", 80)
    predicate = lake.target("sums").commit_info(report.commit_version).parameters["predicate"]
    assert predicate == "g IS NOT NULL IS TRUE AND g = 'a' IS TRUE"
    lake.check()


def test_a_key_of_a_semantic_type_is_written_as_its_storage(tmp_path: Path):
    spec = TableSpec("lines", (ColumnSpec("path", "string as FileId"), ColumnSpec("n", "long")))
    lines = Table.create(str(tmp_path / "lines"), spec)
    lines.write(pa.table({"path": ["a", "b"], "n": [1, 2]}))
    with SessionFactory().open() as session:
        session.register("lines", lines)
        query = "SELECT path, sum(n) AS total FROM lines GROUP BY path"
        views = Views([View("totals", query, str(tmp_path / "totals"), refresh="incremental")], session)
        views.refresh()
        lines.write(pa.table({"path": ["b"], "n": [5]}))
        report = views.refresh().view("totals")
        assert (report.strategy, report.rows_changed) == ("affected_keys", 2)
        assert views.verify("totals").ok
