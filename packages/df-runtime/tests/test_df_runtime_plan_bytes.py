"""Plans as bytes and as Substrait."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from delta_io import Table
from df_runtime import PlanBytesError, PolicyError, RuntimeProfile, Session, SessionFactory, SqlPolicy
from schema_spec import TableSpec

FILES = SqlPolicy(files=True)


@pytest.fixture
def orders(session: Session, tmp_path: Path) -> Session:
    rows = pa.table({"id": range(10), "tags": [["a"]] * 10})
    table = Table.create(tmp_path / "orders", TableSpec.from_arrow("orders", rows.schema))
    table.write(rows)
    session.register("orders", table)
    return session


READER = """
import sys
from df_runtime import SessionFactory, SqlPolicy
with SessionFactory().open() as session:
    result = session.from_plan_bytes(open(sys.argv[1], "rb").read(), policy=SqlPolicy(files=True))
    print(result.to_arrow().to_pylist())
"""


def test_bytes_run_in_another_process(orders: Session, tmp_path: Path):
    query = "SELECT sum(id) AS total FROM orders WHERE id > $least"
    path = tmp_path / "plan"
    path.write_bytes(orders.sql(query, params={"least": 7}).plan_bytes())

    read = subprocess.run(
        [sys.executable, "-c", READER, str(path)], capture_output=True, text=True, check=True
    )

    assert read.stdout.strip() == "[{'total': 17}]"


def test_bytes_need_a_policy_with_files(orders: Session):
    data = orders.sql("SELECT id FROM orders").plan_bytes()

    with pytest.raises(PolicyError, match="files"):
        orders.from_plan_bytes(data)
    with pytest.raises(PolicyError, match="denies"):
        orders.from_plan_bytes(data, policy=SqlPolicy(files=True, denied_functions=("random",)))
    with SessionFactory(RuntimeProfile(sql_policy="trusted")).open() as trusting:
        assert trusting.from_plan_bytes(data).to_arrow().num_rows == 10


def test_bytes_that_write_need_a_policy_that_writes(orders: Session):
    writing = SqlPolicy(dml=True, files=True)
    try:
        data = orders.sql("INSERT INTO orders VALUES (11, ['b'])", policy=writing).plan_bytes()
    except PlanBytesError:
        return  # the writer exists in this process only
    with pytest.raises(PolicyError):
        orders.from_plan_bytes(data, policy=FILES)


@pytest.mark.parametrize("cut", [0, 3, 40, -1])
def test_damaged_bytes_are_refused(orders: Session, cut: int):
    data = orders.sql("SELECT id FROM orders").plan_bytes()

    with pytest.raises(PlanBytesError):
        orders.from_plan_bytes(data[:cut], policy=FILES)


def test_what_exists_in_one_process_only_does_not_travel(orders: Session):
    reader = pa.table({"x": [1]}).to_reader()
    orders.register("once", reader)

    with pytest.raises(PlanBytesError, match="cannot leave"):
        orders.sql("SELECT * FROM once").plan_bytes()


def test_plans_hold_the_query_in_substrait(orders: Session):
    plans = orders.explain("SELECT max(id) AS most FROM orders WHERE id < $below", params={"below": 5})

    assert plans.substrait is not None
    assert plans.substrait_reason == ""
    assert orders.substrait(plans.substrait).to_arrow().to_pylist() == [{"most": 4}]


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("SELECT unnest(tags) FROM orders", "Unnest"),
        ("EXPLAIN SELECT id FROM orders", "queries only"),
        ("SHOW TABLES", "queries only"),
        ("SELECT * FROM delta_files('orders')", "delta_files"),
    ],
)
def test_what_substrait_cannot_say_has_a_reason(orders: Session, query: str, reason: str):
    plans = orders.sql(query).plan()

    assert plans.substrait is None
    assert reason in plans.substrait_reason


def test_a_definition_is_not_carried_out_for_its_plan(orders: Session):
    trusted = SqlPolicy.trusted()
    orders.sql("CREATE VIEW v AS SELECT 1 AS one", policy=trusted).plan()

    assert orders.sql("SELECT * FROM v").to_arrow().num_rows == 1


def test_other_lanes_have_substrait_too(orders: Session):
    frame = orders.dataframe(orders.context.sql("SELECT id FROM orders WHERE id < 2")).plan()
    prepared = orders.prepare("p", "SELECT id FROM orders WHERE id < $1").execute([2]).plan()
    came = orders.from_plan_bytes(orders.sql("SELECT id FROM orders").plan_bytes(), policy=FILES).plan()

    for plans in (frame, prepared):
        assert plans.substrait is not None
        assert orders.substrait(plans.substrait).to_arrow().num_rows == 2
    assert came.substrait is None
    assert "bytes" in came.substrait_reason


def test_plans_of_a_closed_session_are_told_without_substrait():
    with SessionFactory().open() as session:
        result = session.sql("SELECT 1 AS one")

    plans = result.plan()
    assert plans.physical
    assert "closed" in plans.substrait_reason
