"""Refreshes that are cut short, and refreshes that meet."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from delta_io import Table
from incremental_cdf import RefreshFailedError, View, Views

DAILY = "SELECT day, count(*) AS n FROM orders GROUP BY day"


class Killed(BaseException):
    """Stands for the end of the process."""


def commits(lake, name):
    return [info.version for info in lake.target(name).history() if info.transactions]


def insert(lake, number, day="mon"):
    lake.insert("orders", [{"id": number, "customer": 1, "amount": 1, "day": day}])


@pytest.mark.parametrize("instant", ["before", "after"])
@pytest.mark.parametrize("views", [("daily",), ("daily", "days")])
def test_a_refresh_cut_short_is_taken_up_where_it_stood(shop, monkeypatch, instant, views):
    defined = {"daily": DAILY, "days": "SELECT count(*) AS n FROM daily WHERE n > 0"}
    shop.define(*((name, defined[name]) for name in views), refresh="incremental")
    shop.refresh()
    insert(shop, 10)
    write = Table.write

    def killed(self, *arguments, **options):
        if instant == "after":
            write(self, *arguments, **options)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Table, "write", killed)
        with pytest.raises(Killed):
            shop.refresh()
    report = shop.refresh()
    assert report.view("daily").strategy == ("none" if instant == "after" else "affected_keys")
    assert len(commits(shop, "daily")) == 2
    shop.check()
    assert {view.strategy for view in shop.refresh().views} == {"none"}


def test_a_first_refresh_cut_short_leaves_an_empty_table_that_the_next_one_fills(shop, monkeypatch):
    shop.define(("daily", DAILY))

    def killed(*arguments, **options):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Table, "write", killed)
        with pytest.raises(Killed):
            shop.refresh()
    assert not shop.rows("daily")
    assert shop.refreshed("daily").code == "first-build"
    shop.check()


def test_a_failed_query_writes_nothing(shop):
    shop.define(("ratio", "SELECT id, 1 / (id - 10) AS r FROM orders"), key=("id",))
    shop.refresh()
    before = shop.target("ratio").snapshot().version
    insert(shop, 10)
    with pytest.raises(RefreshFailedError) as failed:
        shop.refresh()
    assert failed.value.report.view("ratio").error
    assert shop.target("ratio").snapshot().version == before
    shop.tables["orders"].delete("id = 10")
    assert shop.refreshed("ratio").code == "no-data-change"


def test_a_plan_that_another_refresh_overtook_is_made_anew(shop):
    shop.define(("daily", DAILY), refresh="incremental")
    shop.refresh()
    insert(shop, 10)
    plan = shop.views.plan()
    shop.refresh()
    report = shop.views.refresh(plan).view("daily")
    assert (report.strategy, report.code, report.attempts) == ("none", "up-to-date", 2)
    assert len(commits(shop, "daily")) == 2
    shop.check()


@pytest.mark.parametrize("built", [False, True])
def test_two_refreshers_commit_once(shop, factory, built):
    view = shop.view("daily", DAILY, refresh="incremental")
    shop.define(view)
    if built:
        shop.refresh()
        insert(shop, 10)
    start = threading.Barrier(2)
    reports, errors = [], []

    def run():
        try:
            with factory.open() as session:
                session.register("orders", Table(shop.tables["orders"].uri))
                views = Views([view], session)
                start.wait()
                reports.append(views.refresh().view("daily"))
        except Exception as error:  # noqa: BLE001 - told by the assertion below
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert len(commits(shop, "daily")) == 1 + built
    assert sum(report.commit_version is not None for report in reports) == 1
    assert {report.strategy for report in reports} == {"none", "affected_keys" if built else "full"}
    shop.check()


_CHILD = """
import sys
from df_runtime import SessionFactory
from delta_io import Table
from incremental_cdf import View, Views
import pyarrow as pa
folder = sys.argv[1]
orders = Table(folder + "/orders")
with SessionFactory().open() as session:
    session.register("orders", orders)
    views = Views([View("daily", sys.argv[2], folder + "/views/daily", refresh="incremental")], session)
    print("ready", flush=True)
    for number in range(1000):
        orders.write(pa.table({"id": [number], "day": [str(number % 3)]}))
        views.refresh()
"""


@pytest.mark.slow
def test_killed_refreshes_neither_lose_nor_repeat(shop):
    shop.define(View("daily", DAILY, str(shop.folder / "views" / "daily"), refresh="incremental"))
    chance = random.Random(7)
    for _ in range(12):
        command = [sys.executable, "-c", _CHILD, str(shop.folder), DAILY]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == b"ready\n"
            time.sleep(chance.uniform(0.0, 0.6))
            child.kill()
        shop.refresh()
        shop.check()
    assert Path(shop.target("daily").uri).exists()
