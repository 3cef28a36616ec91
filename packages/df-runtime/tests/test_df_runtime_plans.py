"""Plans as trees and as pages."""

from __future__ import annotations

import re
import shutil
import subprocess
import zlib
from html.parser import HTMLParser
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from delta_io import Table
from df_runtime import PlanArtifacts, PlanNode, PlanTree, Session
from df_runtime._plan_lanes import lanes
from schema_spec import TableSpec

HOSTILE = """<script>alert('"&')</script> </style></td>"""


@pytest.fixture
def orders(session: Session, tmp_path: Path) -> Session:
    rows = pa.table({"id": range(400), "city": ["Ulm", "Bonn"] * 200})
    table = Table.create(tmp_path / "orders", TableSpec.from_arrow("orders", rows.schema))
    for start in range(0, 400, 100):
        table.write(rows.slice(start, 100))
    session.register("orders", table)
    session.register("cities", pa.table({"city": ["Ulm"], "size": [1]}))
    return session


JOIN = "SELECT o.city, count(*) FROM orders o JOIN cities c ON o.city = c.city WHERE id > 250 GROUP BY o.city"


def test_a_plan_is_a_tree_and_tells_what_ran(orders: Session):
    result = orders.sql(JOIN)
    before = result.plan()

    assert not any(node.ran for node in before.physical_tree.nodes)
    assert before.analyzed is None
    assert before.run_id == result.run_id
    result.to_arrow()
    after = result.plan()
    assert after.physical_tree.nodes[0].rows == 1
    assert any(node.operator == "HashJoinExec" for node in after.physical_tree.nodes)


def test_each_operator_has_its_figures(orders: Session):
    plans = orders.explain(JOIN, analyze=True)

    (scan,) = [node for node in plans.physical_tree.nodes if "bytes_scanned" in node.metrics]
    assert scan.rows == 200
    assert scan.bytes == scan.metrics["bytes_scanned"] > 0
    assert scan.nanoseconds > 0
    assert scan.metrics["files_planned"] == 2
    told = {each.what: (each.pruned, each.total) for each in scan.pruning}
    assert told["row groups"] == (0, 2)
    join = next(node for node in plans.physical_tree.nodes if node.operator == "HashJoinExec")
    assert join.rows == 74
    assert str(plans.physical_tree).count("\n") + 1 == len(plans.physical_tree.nodes)


def test_equal_plans_have_equal_digests(orders: Session):
    assert orders.explain(JOIN).digests == orders.explain(JOIN).digests
    other = orders.explain(JOIN.replace("250", "251")).digests
    assert other != orders.explain(JOIN).digests
    assert set(other) == {"logical", "optimized", "physical"}


@st.composite
def trees(draw) -> PlanTree:
    """Trees in the order in which the engine lists them: every child somewhere below its parent."""
    counts = draw(st.lists(st.integers(0, 3), min_size=1, max_size=40))
    nodes: list[PlanNode] = []
    pending: list[int | None] = [None]
    while pending:
        parent = pending.pop()
        position = len(nodes)
        nodes.append(PlanNode(parent=parent, operator=f"n{position}"))
        pending.extend([position] * (counts[position] if position < len(counts) else 0))
    return PlanTree(tuple(nodes))


@given(trees())
def test_lines_lead_from_each_operator_to_its_parent(tree: PlanTree):
    drawn = lanes(tree)

    for position, node in enumerate(tree.nodes):
        lane = drawn[position]
        assert lane.goes_on == bool(tree.children(position))
        assert lane.at not in lane.passing
        if node.parent is None:
            continue
        above = drawn[node.parent]
        assert lane.hangs_from == above.at
        is_last = tree.children(node.parent)[-1] == position
        assert lane.at == above.at + (not is_last)
        # The line comes down from the parent through every row in between, and goes on to later children.
        between = drawn[node.parent + 1 : position]
        assert all(above.at in each.passing for each in between)
        assert (above.at in lane.passing) == (not is_last)


def test_a_chain_goes_straight_down():
    chain = PlanTree(tuple(PlanNode(parent=n - 1 if n else None, operator="n") for n in range(60)))

    assert {lane.at for lane in lanes(chain)} == {0}


class Page(HTMLParser):
    """Reads a page, and fails where elements are not closed in order."""

    VOID = frozenset({"meta"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text.append(data)


def rows_of(page: Page) -> int:
    return sum(tag == "td" and attributes.get("class") == "operator" for tag, attributes in page.seen)


def test_the_page_shows_every_operator_and_needs_nothing_else(orders: Session):
    plans = orders.explain(JOIN, analyze=True)

    text = plans.to_html()

    page = Page(text)
    trees_shown = (plans.physical_tree, plans.optimized_tree, plans.logical_tree)
    assert rows_of(page) == sum(len(tree.nodes) for tree in trees_shown)
    words = " ".join(page.text)
    for needed in (JOIN, plans.run_id, "HashJoinExec", "orders", "at version 4", "0 of 2 row groups"):
        assert needed in words
    assert not {"script", "link", "img", "iframe"} & {tag for tag, _ in page.seen}
    assert not re.search(r"url\(|https?://|@import| on\w+=", text)
    assert "default-src 'none'" in text.replace("&#x27;", "'")
    assert "prefers-color-scheme:dark" in text


def test_what_did_not_run_shows_what_is_expected(orders: Session):
    page = Page(orders.explain(JOIN).to_html())

    assert "Not run" in " ".join(page.text)
    assert rows_of(page) > 0


@given(st.text(max_size=40))
def test_no_text_gets_out_of_its_place(text: str):
    node = PlanNode(operator=text, detail=f"{text}: {HOSTILE}", metrics={text: 1, "output_rows": 1})
    tree = PlanTree((node,))
    plans = PlanArtifacts(
        query=HOSTILE,
        logical="",
        optimized="",
        physical="",
        run_id=HOSTILE,
        logical_tree=tree,
        optimized_tree=tree,
        physical_tree=tree,
    )

    page = Page(plans.to_html())

    assert rows_of(page) == 3
    assert "script" not in {tag for tag, _ in page.seen}


def test_figures_of_any_size_are_drawn():
    node = PlanNode(
        operator="DataSourceExec",
        metrics={
            "output_rows": 10**13,
            "estimated_rows": 1,
            "elapsed_compute": 10**15,
            "bytes_scanned": 10**16,
            "files_total": 100_000,
            "files_planned": 12,
            "row_groups_pruned_statistics_pruned": 40,
            "spilled_bytes": 5_000_000,
        },
    )
    plans = PlanArtifacts(query="q", logical="", optimized="", physical="", physical_tree=PlanTree((node,)))

    words = " ".join(Page(plans.to_html()).text)

    for needed in (
        "10,000 G",
        "1,000,000 s",
        "100 k files by the log",
        "40 of 40 row groups",
        "5 MB spilled",
    ):
        assert needed in words


@pytest.mark.slow
def test_the_page_follows_the_choice_of_light_or_dark(orders: Session, tmp_path: Path):
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("Chromium is not installed; the page is tested by its structure alone.")
    page = tmp_path / "plan.html"
    page.write_text(orders.explain(JOIN, analyze=True).to_html(), encoding="utf-8")

    shades = [_corner(browser, page, scheme) for scheme in (0, 1)]

    assert max(shades[0]) < 60
    assert min(shades[1]) > 200


def _corner(browser: str, page: Path, scheme: int) -> tuple[int, int, int]:
    picture = page.with_suffix(f".{scheme}.png")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
    flags += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    flags += [f"--user-data-dir={page.with_suffix(f'.{scheme}')}", "--window-size=1200,800"]
    flags += [f"--blink-settings=preferredColorScheme={scheme}", f"--screenshot={picture}"]
    subprocess.run([browser, *flags, page.as_uri()], check=True, capture_output=True, timeout=120)
    return _first_pixel(picture.read_bytes())


def _first_pixel(png: bytes) -> tuple[int, int, int]:
    """Decode the corner of a PNG: before it there is nothing, so every filter leaves it as it is."""
    packed = b""
    at = 8
    while at < len(png):
        size = int.from_bytes(png[at : at + 4], "big")
        if png[at + 4 : at + 8] == b"IDAT":
            packed += png[at + 8 : at + 8 + size]
        at += size + 12
    red, green, blue = zlib.decompress(packed)[1:4]
    return red, green, blue
