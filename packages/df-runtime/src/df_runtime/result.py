"""The rows of a query, on their way out."""

from __future__ import annotations

import importlib
import sys
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager, nullcontext
from types import NoneType, TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, Self, TextIO

import pyarrow as pa

from datafusion_ext import EngineError, Query
from df_runtime._arguments import expect
from df_runtime._collecting import MAX_RESULT_BYTES, Limit, collected
from df_runtime._diagnosis import execution_error, raise_cause
from df_runtime._observer import Run
from df_runtime._text_table import text_table
from df_runtime.datasets import DatasetIdentity
from df_runtime.errors import (
    CancelledError,
    DependencyError,
    DfRuntimeError,
    ExecutionError,
    PlanBytesError,
)
from df_runtime.gate import GateReport
from df_runtime.plan_tree import PlanTree
from df_runtime.plans import Lane, PlanArtifacts, SubstraitPlan
from df_runtime.runs import RunEnvelope

if TYPE_CHECKING:
    import ibis.expr.types as ir
    import pandas as pd
    import polars as pl


_NO_TEXT = SubstraitPlan(query="", plan=None, form="none", reason="a plan that came as bytes has no text")


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
        run: Run,
        datasets: tuple[DatasetIdentity, ...],
        translate: Callable[[EngineError], DfRuntimeError],
        give_back: Callable[[Query], None] | None = None,
        lane: Lane | None = None,
        max_bytes: int | None = None,
        to_substrait: Callable[[], SubstraitPlan] | None = None,
    ) -> None:
        self._planned = planned
        self._to_substrait = to_substrait
        self._run = run
        self._translate = translate
        self._give_back = give_back
        self._max_bytes = max_bytes or MAX_RESULT_BYTES
        self._closed = False
        self.query = gate.query
        self.gate = gate
        self.datasets = datasets
        self.lane = lane or Lane()

    def __del__(self) -> None:
        # Absent when the constructor itself was called wrongly.
        give_back = getattr(self, "_give_back", None)
        if give_back is not None:
            give_back(self._planned)

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "A Result is a plan of one session: send its rows, or `plan_bytes`, to other processes."
        )

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
        self._refuse_closed()
        # A stream may outlive this object, and cancelling is by plan: nobody else may get this plan.
        self._give_back = None
        with self._translated(), self._run.starting():
            return self._planned.__arrow_c_stream__(requested_schema)

    @property
    def run_id(self) -> str:
        """Identifies this result in plans, logs, events, spans and stored artifacts."""
        return self._run.run_id

    @property
    def envelope(self) -> RunEnvelope:
        """What is told of the latest run, as far as it has come.

        Examples
        --------
        >>> from df_runtime import SessionFactory
        >>> with SessionFactory().open() as session:
        ...     result = session.sql("SELECT 1 AS one")
        ...     before = result.envelope.outcome
        ...     rows = result.to_arrow()
        >>> before, result.envelope.outcome, result.envelope.rows
        ('planned', 'finished', 1)
        """
        return self._run.envelope(self._planned.last_run)

    @property
    def schema(self) -> pa.Schema:
        """Names and types of the columns; known before the query runs."""
        with self._translated():
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

    def to_arrow(self, *, max_bytes: Limit = "profile") -> pa.Table:
        """Run the query and collect its rows in memory.

        Parameters
        ----------
        max_bytes : int, "profile" or None
            Size beyond which to refuse: that of the profile, or two gigabytes if it names none; None is no
            limit.

        Returns
        -------
        pyarrow.Table

        Raises
        ------
        ResultSizeError
            The rows take more bytes than that; the query ends.
        ExecutionError
            The query failed while it ran.
        """
        if max_bytes == "profile":
            max_bytes = self._max_bytes
        expect("max_bytes", max_bytes, (int, NoneType), 'a number of bytes, "profile" or None')
        with self._translated():
            return collected(self._reader(), max_bytes)

    def to_polars(self, *, max_bytes: Limit = "profile") -> pl.DataFrame:
        """Run the query and collect its rows as a polars DataFrame, which shares their memory.

        Parameters
        ----------
        max_bytes : int, "profile" or None
            As in `to_arrow`.

        Returns
        -------
        polars.DataFrame

        Raises
        ------
        ResultSizeError
            The rows take more bytes than allowed.
        DependencyError
            polars is not installed.
        """
        polars = _optional("polars")
        self._refuse_doubles("polars")
        return polars.from_arrow(self.to_arrow(max_bytes=max_bytes))

    def to_pandas(self, *, max_bytes: Limit = "profile", arrow_types: bool = False) -> pd.DataFrame:
        """Run the query and collect its rows as a pandas DataFrame.

        Parameters
        ----------
        max_bytes : int, "profile" or None
            As in `to_arrow`.
        arrow_types : bool
            Keep Arrow's types, and share the memory of the rows instead of copying them.

        Returns
        -------
        pandas.DataFrame

        Raises
        ------
        ResultSizeError
            The rows take more bytes than allowed.
        DependencyError
            pandas is not installed.
        """
        pandas = _optional("pandas")
        rows = self.to_arrow(max_bytes=max_bytes)
        return rows.to_pandas(types_mapper=pandas.ArrowDtype if arrow_types else None)

    def to_ibis(self, *, max_bytes: Limit = "profile") -> ir.Table:
        """Run the query and collect its rows as an Ibis table, for expressions of any backend.

        Parameters
        ----------
        max_bytes : int, "profile" or None
            As in `to_arrow`.

        Returns
        -------
        ibis.Table

        Raises
        ------
        ResultSizeError
            The rows take more bytes than allowed.
        """
        import ibis  # half a second to import

        self._refuse_doubles("Ibis")
        return ibis.memtable(self.to_arrow(max_bytes=max_bytes))

    def show(self, limit: int = 20, *, file: TextIO | None = None) -> None:
        """Print the first rows as a table.

        Parameters
        ----------
        limit : int
            Number of rows.
        file : text stream, optional
            Where to print; standard output by default.
        """
        expect("limit", limit, int, "a number of rows")
        batches: list[pa.RecordBatch] = []
        rows = 0
        with self._translated(), self._reader() as reader:
            for batch in reader:
                # Batches without columns can be sliced beyond their end.
                batches.append(batch.slice(0, min(limit + 1 - rows, batch.num_rows)))
                rows += batches[-1].num_rows
                if rows > limit:
                    break
        table = pa.Table.from_batches(batches, schema=self.schema)
        print(
            text_table(table.slice(0, min(limit, table.num_rows)), more=rows > limit), file=file or sys.stdout
        )

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
            Run the query as well, within its limits, and tell what each operator did. It is a run as any
            other: `envelope` is of it.

        Returns
        -------
        PlanArtifacts
        """
        with self._translated(), self._analyzing() if analyze else nullcontext():
            plans = self._planned.explain(analyze=analyze)
        substrait = _NO_TEXT if self._to_substrait is None else self._to_substrait()
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
            substrait=substrait.plan,
            substrait_reason=substrait.reason,
        )

    def plan_bytes(self) -> bytes:
        """Write the physical plan as bytes, for `Session.from_plan_bytes` of the same version.

        No secrets are in them, but values of the query are.

        Returns
        -------
        bytes

        Raises
        ------
        PlanBytesError
            The plan reads what exists in this process only, such as a stream.
        """
        try:
            return self._planned.to_bytes()
        except EngineError as error:
            if error.code != "engine-plan-bytes":
                raise self._translate(error) from error
            raise PlanBytesError(f"This plan cannot leave the process: {error.message}.") from error

    def cancel(self) -> None:
        """End every run of this result that is under way; its reader raises."""
        self._planned.cancel()

    def close(self) -> None:
        """End every run that is under way, and start no other."""
        self._closed = True
        self._planned.cancel()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _reader(self) -> pa.RecordBatchReader:
        """Run the query as a reader that is read to its end, or closed, before this object can go."""
        self._refuse_closed()
        with self._run.starting():
            return pa.RecordBatchReader.from_stream(self._planned)

    @contextmanager
    def _analyzing(self) -> Generator[None]:
        self._refuse_closed()
        with self._run.starting(lambda: self._planned.last_run):
            yield

    def _refuse_doubles(self, taker: str) -> None:
        [(name, number)] = Counter(self.schema.names).most_common(1) or [("", 0)]
        if number > 1:
            raise ExecutionError(
                f"{taker} takes one column of each name, and the result has {number} of {name!r}. Give "
                "them names with AS, or take the result with `to_arrow`."
            )

    def _refuse_closed(self) -> None:
        if self._closed:
            raise CancelledError("This result was closed; plan the query again.")

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
                raise ExecutionError(f"The rows cannot leave the engine: {error}") from error
            raise_cause(cause)
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
