"""The rows of a query, on their way out."""

from __future__ import annotations

import importlib
import sys
import uuid
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, TextIO

import pyarrow as pa

from datafusion_ext import EngineError, Query
from df_runtime._diagnosis import execution_error
from df_runtime._text_table import text_table
from df_runtime.datasets import DatasetIdentity
from df_runtime.errors import DependencyError, DfRuntimeError
from df_runtime.gate import GateReport
from df_runtime.plan_tree import PlanTree
from df_runtime.plans import Lane, PlanArtifacts

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl


class Result:
    """A planned query that runs when its rows are asked for.

    Each way out runs the query; nothing is kept between two of them. The default way out is the Arrow C
    stream: any library that speaks it takes a `Result` as it is.

    Attributes
    ----------
    query : str
        Text of the query.
    gate : GateReport
        How the text was understood, and against which policy it was checked.
    datasets : tuple of DatasetIdentity
        The datasets whose names occur in the query, at the versions it reads.
    lane : Lane
        Which way the query took, and why.
    """

    def __init__(
        self,
        planned: Query,
        gate: GateReport,
        *,
        datasets: tuple[DatasetIdentity, ...],
        translate: Callable[[EngineError], DfRuntimeError],
        give_back: Callable[[Query], None] | None = None,
        lane: Lane | None = None,
    ) -> None:
        self._planned = planned
        self._translate = translate
        self._give_back = give_back
        self.query = gate.query
        self.gate = gate
        self.datasets = datasets
        self.lane = lane or Lane()

    def __del__(self) -> None:
        # Absent when the constructor itself was called wrongly.
        give_back = getattr(self, "_give_back", None)
        if give_back is not None:
            give_back(self._planned)

    def __repr__(self) -> str:
        return f"Result(run_id={self.run_id!r}, columns={self.schema.names!r})"

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Run the query and export its rows as an Arrow C stream.

        Parameters
        ----------
        requested_schema : capsule, optional
            A schema that the consumer would prefer.

        Returns
        -------
        capsule
        """
        # A stream may outlive this object, and cancelling is by plan: nobody else may get this plan.
        self._give_back = None
        with self._translated():
            return self._planned.__arrow_c_stream__(requested_schema)

    @cached_property
    def run_id(self) -> str:
        """Identifies this result in logs and reports."""
        return uuid.uuid4().hex

    @property
    def schema(self) -> pa.Schema:
        """Names and types of the columns; known before the query runs."""
        return pa.schema(self._planned.schema)

    @property
    def metrics(self) -> dict[str, int]:
        """Figures of the latest run, added up over the operators of the plan; empty before it."""
        return self._planned.metrics()

    def to_reader(self) -> pa.RecordBatchReader:
        """Run the query as a reader of record batches.

        Returns
        -------
        pyarrow.RecordBatchReader
            Batches come as they are asked for; closing or dropping the reader ends the query.
        """
        return pa.RecordBatchReader.from_stream(self)

    def to_arrow(self) -> pa.Table:
        """Run the query and collect its rows in memory.

        Returns
        -------
        pyarrow.Table

        Raises
        ------
        ExecutionError
            The query failed while it ran.
        """
        with self._translated():
            return self._reader().read_all()

    def to_polars(self) -> pl.DataFrame:
        """Run the query and collect its rows as a polars DataFrame.

        Returns
        -------
        polars.DataFrame

        Raises
        ------
        DependencyError
            polars is not installed.
        """
        return _optional("polars").from_arrow(self.to_arrow())

    def to_pandas(self) -> pd.DataFrame:
        """Run the query and collect its rows as a pandas DataFrame.

        Returns
        -------
        pandas.DataFrame

        Raises
        ------
        DependencyError
            pandas is not installed.
        """
        _optional("pandas")
        return self.to_arrow().to_pandas()

    def show(self, limit: int = 20, *, file: TextIO | None = None) -> None:
        """Print the first rows as a table.

        Parameters
        ----------
        limit : int
            Number of rows.
        file : text stream, optional
            Where to print; standard output by default.
        """
        batches: list[pa.RecordBatch] = []
        rows = 0
        with self._translated(), self._reader() as reader:
            for batch in reader:
                batches.append(batch.slice(0, limit + 1 - rows))
                rows += batches[-1].num_rows
                if rows > limit:
                    break
        table = pa.Table.from_batches(batches, schema=self.schema)
        print(text_table(table.slice(0, limit), more=rows > limit), file=file or sys.stdout)

    def plan(self) -> PlanArtifacts:
        """Describe the plans of this query without running it.

        Returns
        -------
        PlanArtifacts
        """
        return self.explained(analyze=False)

    def explained(self, *, analyze: bool) -> PlanArtifacts:
        """Describe the plans of this query.

        Parameters
        ----------
        analyze : bool
            Run the query as well, and tell what each operator did.

        Returns
        -------
        PlanArtifacts
        """
        with self._translated():
            plans = self._planned.explain(analyze=analyze)
        return PlanArtifacts(
            query=self.query,
            logical=plans["logical"],
            optimized=plans["optimized"],
            physical=plans["physical"],
            analyzed=plans["analyzed"],
            datasets=self.datasets,
            run_id=self.run_id,
            logical_tree=PlanTree.of(plans["logical_tree"]),
            optimized_tree=PlanTree.of(plans["optimized_tree"]),
            physical_tree=PlanTree.of(plans["physical_tree"]),
        )

    def cancel(self) -> None:
        """End every run of this result that is under way; its reader raises."""
        self._planned.cancel()

    def _reader(self) -> pa.RecordBatchReader:
        """Run the query as a reader that is read to its end, or closed, before this object can go."""
        return pa.RecordBatchReader.from_stream(self._planned)

    @contextmanager
    def _translated(self) -> Generator[None]:
        try:
            yield
        except EngineError as error:
            raise self._translate(error) from error
        except (pa.ArrowException, OSError) as error:
            # What fails inside a C stream reaches us as text only; the plan remembers the rest.
            cause = self._planned.last_error
            if cause is None or cause.message not in str(error):
                raise
            if cause.code == "engine-interrupted":
                raise KeyboardInterrupt from error
            raise execution_error(cause.code, cause.message) from error


def _optional(package: str) -> Any:
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise DependencyError(
            f"This needs {package}, which is not installed: pip install {package}."
        ) from error
