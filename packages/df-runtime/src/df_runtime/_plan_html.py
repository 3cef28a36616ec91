"""A plan as a page that needs nothing else: no scripts, no fonts, no network."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from df_runtime._plan_lanes import Lane, lanes
from df_runtime.plan_tree import PlanNode, PlanTree, Pruning

if TYPE_CHECKING:
    from df_runtime.datasets import DatasetIdentity
    from df_runtime.plans import PlanArtifacts

_LANE_PIXELS: Final = 18
_NOTHING: Final = '<span class="none">&ndash;</span>'
_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"
_KINDS: Final = {
    "source": ("scan", "source", "values", "empty", "placeholder"),
    "join": ("join",),
    "aggregate": ("aggregate", "window"),
    "sort": ("sort", "limit"),
    "exchange": ("repartition", "coalesce", "union"),
}


def page(artifacts: PlanArtifacts) -> str:
    """Draw the plans of a query as an HTML document."""
    ran = any(node.ran for node in artifacts.physical_tree.nodes)
    meta = (
        '<meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
    )
    title = _tag("title", f"Query plan {escape(artifacts.run_id[:8])}")
    body = (
        _head(artifacts, ran=ran)
        + _section(
            "Physical plan",
            _table(artifacts.physical_tree, ran=ran, datasets=artifacts.datasets),
            opened=True,
        )
        + _section("Optimized logical plan", _table(artifacts.optimized_tree, ran=False))
        + _section("Logical plan as written", _table(artifacts.logical_tree, ran=False))
    )
    head = _tag("head", meta + title + _tag("style", _style()))
    return f"<!DOCTYPE html>\n{_tag('html', head + _tag('body', _tag('main', body)), lang='en')}\n"


@cache
def _style() -> str:
    return files("df_runtime").joinpath("_plan.css").read_text(encoding="utf-8")


def _tag(name: str, body: str, kind: str = "", **attributes: str) -> str:
    """Write an element; the body is HTML, attributes are escaped."""
    given = {"class": kind, **attributes} if kind else attributes
    inside = "".join(f' {key}="{escape(value)}"' for key, value in given.items())
    return f"<{name}{inside}>{body}</{name}>"


def _pair(name: str, value: str) -> str:
    return _tag("div", _tag("dt", escape(name)) + _tag("dd", value))


def _head(artifacts: PlanArtifacts, *, ran: bool) -> str:
    parts = [_tag("h1", "Query plan"), _tag("p", f"run {escape(artifacts.run_id)}", "id")]
    parts.append(_tag("pre", escape(artifacts.query), "query"))
    if artifacts.datasets:
        items = "".join(_tag("li", escape(_dataset(each))) for each in artifacts.datasets)
        parts.append(_tag("ul", items, "datasets"))
    if ran:
        parts.append(_tiles(artifacts.physical_tree))
    else:
        parts.append(_tag("p", "Not run: rows are the planner's estimates."))
    return _tag("header", "".join(parts))


def _dataset(dataset: DatasetIdentity) -> str:
    return _name(dataset) if dataset.version is None else f"{_name(dataset)} at version {dataset.version}"


def _name(dataset: DatasetIdentity) -> str:
    return dataset.name.replace('"', "")


def _tiles(tree: PlanTree) -> str:
    read = tree.total("files_planned")
    there = sum(node.metrics.get("files_total", node.metrics.get("files_planned", 0)) for node in tree.nodes)
    figures = {
        "operators": f"{len(tree.nodes)}",
        "time in operators": _time(sum(node.nanoseconds for node in tree.nodes)),
        "rows out": _count(tree.nodes[0].rows or 0),
        "read": _size(tree.total("bytes_scanned")),
        "files read": f"{read} of {there}",
        "spilled": _size(tree.total("spilled_bytes")),
    }
    return _tag("dl", "".join(_pair(name, value) for name, value in figures.items()), "tiles")


def _section(title: str, body: str, *, opened: bool = False) -> str:
    is_open = {"open": ""} if opened else {}
    return _tag("details", _tag("summary", title) + body, "plan", **is_open)


def _table(tree: PlanTree, *, ran: bool, datasets: Sequence[DatasetIdentity] = ()) -> str:
    columns = ["Operator"]
    if ran:
        columns += ["Time", "Rows", "Expected", "Bytes", "Left out"]
    elif any(node.estimated_rows is not None for node in tree.nodes):
        columns.append("Expected")
    head = "".join(_tag("th", name, scope="col") for name in columns)
    figures = _Figures(tree, columns)
    rows = "".join(
        _tag("tr", _operator(node, lane, datasets) + figures.cells(node))
        for node, lane in zip(tree.nodes, lanes(tree), strict=True)
    )
    return _tag("div", _tag("table", _tag("thead", _tag("tr", head)) + _tag("tbody", rows)), "scroll")


def _operator(node: PlanNode, lane: Lane, datasets: Sequence[DatasetIdentity]) -> str:
    lines = [_line("pass", column) for column in lane.passing]
    if lane.hangs_from is not None:
        lines.append(_line("from" if lane.hangs_from == lane.at else "elbow", lane.hangs_from))
    if lane.goes_on:
        lines.append(_line("to", lane.at))
    lines.append(_line(f"dot {_kind(node.operator)}", lane.at))
    title = _tag("b", escape(node.operator)) + " "
    scanned = _scanned(node, datasets)
    if scanned is not None:
        title += _tag("em", escape(_name(scanned).rpartition(".")[2])) + " "
    title += _tag("span", escape(_rest(node)), "detail")
    body = _tag("details", _tag("summary", title) + _more(node))
    indent = (lane.at + 1) * _LANE_PIXELS + 12
    return _tag("td", "".join(lines) + body, "operator", style=f"padding-left:{indent}px")


def _line(kind: str, column: int) -> str:
    return _tag("i", "", kind, style=f"left:{column * _LANE_PIXELS + 14}px")


def _scanned(node: PlanNode, datasets: Sequence[DatasetIdentity]) -> DatasetIdentity | None:
    """Find the dataset whose files a scan reads: its place is part of their paths."""
    if "file_groups=" not in node.detail:
        return None
    places = {each.uri.partition("://")[2] or each.uri: each for each in datasets if each.uri}
    found = [place for place in places if f"{place.strip('/')}/" in node.detail]
    return places[max(found, key=len)] if found else None


def _rest(node: PlanNode) -> str:
    """Return the detail without the operator's name and the files, which are many and long."""
    return re.sub(r"file_groups=\{.*?\]\]\}, ", "", node.detail.partition(": ")[2], count=1)


def _kind(operator: str) -> str:
    folded = operator.lower()
    return next((kind for kind, words in _KINDS.items() if any(word in folded for word in words)), "other")


def _more(node: PlanNode) -> str:
    detail = _tag("pre", escape(node.detail)) if node.detail else ""
    shown = [_pair(name, _exact(name, value)) for name, value in sorted(node.metrics.items()) if value]
    return _tag("div", detail + _tag("dl", "".join(shown)), "more")


def _exact(name: str, value: int) -> str:
    is_time = name.endswith("_time") or name.startswith("time_") or name == "elapsed_compute"
    return _time(value) if is_time else f"{value:,}"


class _Figures:
    """The cells beside an operator."""

    def __init__(self, tree: PlanTree, columns: Sequence[str]) -> None:
        times = [node.nanoseconds for node in tree.nodes]
        self._longest = max(times, default=0)
        self._everything = sum(times)
        cells = {
            "Time": self._time,
            "Rows": _rows,
            "Expected": _expected,
            "Bytes": _bytes,
            "Left out": _left_out,
        }
        self._cells = [cells[column] for column in columns if column in cells]

    def cells(self, node: PlanNode) -> str:
        return "".join(cell(node) for cell in self._cells)

    def _time(self, node: PlanNode) -> str:
        if not node.nanoseconds:
            return _tag("td", _NOTHING, "number")
        percent = 100 * node.nanoseconds / self._everything
        share = f"{percent:.0f} %" if percent >= 1 else "&lt; 1 %"
        bar = _track("bar", max(round(100 * node.nanoseconds / self._longest), 1))
        return _tag("td", _time(node.nanoseconds) + _tag("small", share) + bar, "time")


def _track(kind: str, percent: int) -> str:
    return _tag("span", _tag("span", "", kind, style=f"width:{percent}%"), "track")


def _rows(node: PlanNode) -> str:
    return _tag("td", _NOTHING if node.rows is None else _count(node.rows), "number")


def _expected(node: PlanNode) -> str:
    rows, estimate = node.rows, node.estimated_rows
    if estimate is None:
        return _tag("td", _NOTHING, "number")
    far = " far" if rows is not None and _is_far(rows, estimate) else ""
    return _tag("td", _count(estimate), f"number soft{far}")


def _is_far(rows: int, estimate: int) -> bool:
    low, high = sorted((max(rows, 1), max(estimate, 1)))
    return high > 10 * low


def _bytes(node: PlanNode) -> str:
    if node.bytes is None:
        return _tag("td", _NOTHING, "number")
    spilled = _tag("small", f"{_size(node.spilled_bytes)} spilled", "far") if node.spilled_bytes else ""
    return _tag("td", _size(node.bytes) + spilled, "number")


def _left_out(node: PlanNode) -> str:
    items = "".join(
        _tag("li", _track("cut", round(100 * each.pruned / each.total)) + _tag("span", _told(each)))
        for each in _worth_telling(node.pruning)
    )
    return _tag("td", _tag("ul", items) if items else _NOTHING, "pruning")


def _told(pruning: Pruning) -> str:
    return f"{_count(pruning.pruned)} of {_count(pruning.total)} {escape(pruning.what)}"


def _worth_telling(pruning: Sequence[Pruning]) -> Iterator[Pruning]:
    """Files and row groups always, the rest where something was left out."""
    for each in pruning:
        if each.total and (each.pruned or each.what in {"files by the log", "row groups"}):
            yield each


def _time(nanoseconds: int) -> str:
    return _scaled(nanoseconds, {"s": 1e9, "ms": 1e6, "&micro;s": 1e3}, f"{nanoseconds} ns")


def _size(count: int) -> str:
    return _scaled(count, {"GB": 1e9, "MB": 1e6, "kB": 1e3}, f"{count} B")


def _count(count: int) -> str:
    return f"{count:,}" if count < 10_000 else _scaled(count, {"G": 1e9, "M": 1e6, "k": 1e3}, "")


def _scaled(value: int, units: dict[str, float], small: str) -> str:
    for unit, size in units.items():
        if value >= size:
            short = value / size
            return f"{short:.3g} {unit}" if short < 999.5 else f"{short:,.0f} {unit}"
    return small
