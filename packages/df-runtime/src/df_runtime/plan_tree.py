"""Plans as trees, with what each operator did."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

# Where an operator has no time of its own, these are what it did.
_TIMES: Final = ("elapsed_compute", "time_elapsed_processing", "repartition_time")
_PRUNED: Final = {
    "files": "files_ranges_pruned_statistics",
    "row groups": "row_groups_pruned_statistics",
    "row groups by Bloom filter": "row_groups_pruned_bloom_filter",
    "pages": "page_index_pages_pruned",
    "rows by page index": "page_index_rows_pruned",
    "rows while decoding": "pushdown_rows",
}


class Pruning(msgspec.Struct, frozen=True, kw_only=True):
    """How much of one kind of thing a scan did not have to read.

    Parameters
    ----------
    what : str
        `files`, `row groups`, `pages` and so on.
    pruned, total : int
        How many were left out, and of how many.
    """

    what: str
    pruned: int
    total: int


class PlanNode(msgspec.Struct, frozen=True, kw_only=True):
    """One operator of a plan.

    Parameters
    ----------
    parent : int, optional
        Position of the parent in `PlanTree.nodes`; None for the root.
    operator : str
        Name of the operator.
    detail : str
        The operator on one line, as the engine prints it; empty where it was withheld.
    metrics : dict of str to int
        What the planner knows before a run, such as `estimated_rows`, `partitions` and `files_planned`, and
        what the operator counted in it. Times are in nanoseconds, added up over partitions.
    """

    parent: int | None = None
    operator: str
    detail: str = ""
    metrics: dict[str, int] = {}

    @property
    def ran(self) -> bool:
        """Whether there are figures of a run."""
        return "output_rows" in self.metrics

    @property
    def rows(self) -> int | None:
        """Rows that the operator handed on in the run."""
        return self.metrics.get("output_rows")

    @property
    def estimated_rows(self) -> int | None:
        """Rows that the planner expected, where it knew."""
        return self.metrics.get("estimated_rows")

    @property
    def nanoseconds(self) -> int:
        """Time of the operator itself, added up over partitions; 0 where it does not tell."""
        return max(self.metrics.get(name, 0) for name in _TIMES)

    @property
    def bytes(self) -> int | None:
        """Bytes that a scan read, or that another operator handed on; None where it does not tell."""
        return self.metrics.get("bytes_scanned", self.metrics.get("output_bytes"))

    @property
    def spilled_bytes(self) -> int:
        """Bytes that the operator spilled."""
        return self.metrics.get("spilled_bytes", 0)

    @property
    def pruning(self) -> tuple[Pruning, ...]:
        """What a scan left out, from the largest things to the smallest."""
        found: list[Pruning] = []
        total, planned = self.metrics.get("files_total"), self.metrics.get("files_planned")
        if total is not None and planned is not None:
            found.append(Pruning(what="files by the log", pruned=max(total - planned, 0), total=total))
        for what, name in _PRUNED.items():
            pruned = self.metrics.get(f"{name}_pruned", 0)
            checked = pruned + self.metrics.get(f"{name}_matched", 0)
            if checked:
                found.append(Pruning(what=what, pruned=pruned, total=checked))
        return tuple(found)


class PlanTree(msgspec.Struct, frozen=True):
    """The operators of a plan, parents before their children.

    Parameters
    ----------
    nodes : tuple of PlanNode

    Examples
    --------
    >>> scan = PlanNode(parent=0, operator="DataSourceExec", metrics={"output_rows": 3})
    >>> tree = PlanTree((PlanNode(operator="FilterExec"), scan))
    >>> print(tree)
    FilterExec
      DataSourceExec  rows=3
    """

    nodes: tuple[PlanNode, ...] = ()

    @classmethod
    def of(cls, nodes: Iterable[Mapping[str, Any]]) -> PlanTree:
        """Take the tree that the engine tells.

        Parameters
        ----------
        nodes : iterable of mapping

        Returns
        -------
        PlanTree
        """
        return cls(tuple(msgspec.convert(node, PlanNode) for node in nodes))

    def children(self, position: int) -> tuple[int, ...]:
        """Positions of the children of a node, in order.

        Parameters
        ----------
        position : int

        Returns
        -------
        tuple of int
        """
        return tuple(at for at, node in enumerate(self.nodes) if node.parent == position)

    def total(self, metric: str) -> int:
        """Add up a figure over all operators.

        Parameters
        ----------
        metric : str

        Returns
        -------
        int
        """
        return sum(node.metrics.get(metric, 0) for node in self.nodes)

    def withheld(self) -> PlanTree:
        """Leave out what the engine prints of the operators: it may hold values of the query.

        Returns
        -------
        PlanTree
        """
        return PlanTree(tuple(msgspec.structs.replace(node, detail="") for node in self.nodes))

    def __str__(self) -> str:
        depths: list[int] = []
        lines: list[str] = []
        for node in self.nodes:
            depth = 0 if node.parent is None else depths[node.parent] + 1
            depths.append(depth)
            rows = "" if node.rows is None else f"  rows={node.rows}"
            lines.append(f"{'  ' * depth}{node.operator}{rows}")
        return "\n".join(lines)
