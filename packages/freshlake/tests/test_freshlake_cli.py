"""The commands, driven as a user drives them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from delta_io import Table


def test_from_nothing_to_nothing_left_to_do(shop, document, strategies):
    first = document("run")
    assert first["project"] == "shop"
    assert first["ingest"] is None
    assert [view["name"] for view in first["views"]] == ["revenue", "big_days"]
    assert strategies(first) == {"revenue": "full", "big_days": "full"}
    revenue = first["views"][0]
    assert revenue["sources"] == {"orders": 1}
    assert revenue["rows_changed"] == 2
    assert {"code", "reason", "bytes_read", "seconds", "commit_version"} <= revenue.keys()
    second = document("run")
    assert strategies(second) == {"revenue": "none", "big_days": "none"}
    assert {view["commit_version"] for view in second["views"]} == {None}
    assert second["run_id"] != first["run_id"]


def test_only_what_changed_is_written(shop, document):
    document("run")
    shop.sell((4, 2, "0.01"))
    planned = document("plan")
    report = document("run")
    assert [view["name"] for view in planned["views"]] == ["revenue", "big_days"]
    assert planned["views"][0]["sources"] == {"orders": 2}
    assert planned["views"][0]["rows_changed"] is None
    revenue, big_days = report["views"]
    assert (revenue["strategy"], revenue["rows_changed"]) == (planned["views"][0]["strategy"], 2)
    assert big_days["rows_changed"] == 0
    rows = document("query", "SELECT day, orders, revenue FROM revenue ORDER BY day")["rows"]
    assert rows == [
        {"day": "2026-01-01", "orders": 2, "revenue": "120.00"},
        {"day": "2026-01-02", "orders": 2, "revenue": "10.00"},
    ]


def test_plan_writes_nothing(shop, document):
    before = shop.tree()
    document("plan")
    assert shop.tree() == before


def test_the_table_a_run_prints(shop, command):
    code, out, err = command("run")
    assert (code, err) == (0, "")
    heading, *_ = out.splitlines()
    assert heading.split("  ")[0] == "view"
    assert all(word in heading for word in ("strategy", "reason", "rows changed", "seconds"))
    assert [line.split()[0] for line in out.splitlines()[2:]] == ["revenue", "big_days"]
    assert command("run", "--quiet") == (0, "", "")
    _, out, _ = command("plan")
    assert "nothing to do" in out
    _, out, _ = command("status")
    assert "current" in out


def test_select_takes_what_a_view_depends_on(shop, document, strategies):
    shop.write({"views/other.sql": "SELECT id FROM orders"})
    assert list(strategies(document("run", "--select", "big_days"))) == ["revenue", "big_days"]
    assert set(strategies(document("plan", "--select", "revenue", "other"))) == {"other", "revenue"}


def test_select_checks_names(shop, refused):
    found = refused("run", "--select", "revenu")
    assert (found["code"], found["suggestions"]) == ("selection-unknown", ["revenue"])


def test_verify_finds_what_was_tampered_with(shop, command, document):
    assert command("verify")[0] == 1
    document("run")
    verified = document("verify")
    assert [(view["name"], view["ok"]) for view in verified["views"]] == [
        ("revenue", True),
        ("big_days", True),
    ]
    Table(str(shop.root / "lake" / "revenue")).delete("orders = 1")
    tampered = document("verify", "--select", "revenue", code=1)
    assert tampered["views"][0]["missing"] == 1
    code, out, _ = command("verify", "--select", "revenue")
    assert code == 1
    assert "different" in out


def test_a_failing_view_leaves_the_others(shop, command):
    shop.write({"views/broken.sql": "SELECT id, 1 / (id - id) AS boom FROM orders"})
    code, out, err = command("run", "--json")
    assert code == 1
    report = json.loads(out)
    errors = {view["name"]: view["error"] for view in report["views"]}
    assert errors["broken"]
    assert errors["revenue"] is None
    assert "broken" in err
    code, out, err = command("run")
    assert code == 1
    assert [line.split()[:2] for line in out.splitlines() if "broken" in line] == [["broken", "failed"]]
    code, _, err = command("query", "SELECT * FROM broken")
    assert (code, "not refreshed yet" in err) == (2, True)


def test_help_names_only_commands_that_work(command):
    code, out, _ = command("--help")
    assert code == 0
    for name in ("init", "plan", "run", "verify", "query", "status"):
        assert name in out
        code, out_of_command, _ = command(name, "--help")
        assert code == 0
        assert "--project" in out_of_command
    assert "maintain" not in out
    assert command() == command("--help")
    assert command("--version")[1].startswith("freshlake ")


def test_init_writes_a_project_that_works(empty, document, refused, strategies):
    written = document("init", "new/shop")
    assert Path("new/shop/freshlake.toml").is_file()
    assert all(Path(path).exists() for path in written["written"])
    assert strategies(document("run", "--project", "new/shop")) == {"revenue": "full"}
    rows = document("query", "SELECT sum(revenue) AS total FROM revenue", "--project", "new/shop")["rows"]
    assert rows == [{"total": "417.14"}]
    assert document("verify", "--project", "new/shop")["views"][0]["ok"]
    assert refused("init", "new/shop")["code"] == "init-not-empty"
    assert refused("init", "new/shop/freshlake.toml")["code"] == "init-not-empty"


def test_the_installed_command(shop):
    script = Path(sys.executable).with_name("freshlake")
    done = subprocess.run([script, "run", "--json"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(json.loads(done.stdout)["views"]) == 2
    done = subprocess.run(
        [script, "run", "--project", "nowhere"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    reader = f"{script} query 'SELECT * FROM generate_series(1, 100000)' --limit 100000 | head -n 1"
    done = subprocess.run(["bash", "-c", reader], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "value"
    assert done.stderr == ""


@pytest.mark.parametrize("seen", ["_delta_log/*0.json", "*.parquet", "_delta_log/*2.json"])
def test_a_run_killed_on_the_way_is_resumed(shop, document, strategies, seen):
    if "2" in seen:
        document("run")
    shop.sell(*((number, number % 28 + 1, "1.00") for number in range(10, 3000)))
    child = subprocess.Popen(
        [sys.executable, "-m", "freshlake", "run", "--json"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    while child.poll() is None and not any((shop.root / "lake" / "revenue").glob(seen)):
        time.sleep(0.0005)
    os.kill(child.pid, signal.SIGKILL)
    _, err = child.communicate()
    assert err == b""
    document("run")
    assert strategies(document("run")) == {"revenue": "none", "big_days": "none"}
    assert all(view["ok"] for view in document("verify")["views"])
    rows = document("query", "SELECT count(*) AS days, sum(orders) AS orders FROM revenue")["rows"]
    assert rows == [{"days": 28, "orders": 2993}]
