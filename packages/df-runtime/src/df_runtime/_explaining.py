"""Plans of queries: shown, told apart, and as bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from datafusion_ext import Engine, EngineError
from df_runtime import _parameters
from df_runtime._arguments import expect
from df_runtime._limits import chosen, limited
from df_runtime._parameters import Parameters
from df_runtime._texts import QueryText, text_of
from df_runtime.errors import DfRuntimeError, PlanBytesError, PolicyError
from df_runtime.gate import GateReport
from df_runtime.plans import Lane, PlanArtifacts, PlanInputs
from df_runtime.policy import SqlPolicy
from df_runtime.result import Result

if TYPE_CHECKING:
    from df_runtime._observer import Observer
    from df_runtime._planning import Planner
    from df_runtime._registry import Registry
    from df_runtime.profile import RuntimeProfile


class Explaining:
    """Methods of `Session`, which is the only subclass."""

    if TYPE_CHECKING:
        _observer: Observer
        _planner: Planner
        _profile: RuntimeProfile
        _registry: Registry

        def _opened(self) -> Engine: ...
        def sql(
            self, query: QueryText, *, params: Parameters | None = None, policy: SqlPolicy | None = None
        ) -> Result: ...

    def explain(
        self,
        query: QueryText,
        analyze: bool = False,
        *,
        params: Parameters | None = None,
        policy: SqlPolicy | None = None,
    ) -> PlanArtifacts:
        """Describe how a query is planned.

        Parameters
        ----------
        query : str or sqlglot.exp.Expression
            One statement.
        analyze : bool
            Run the query as well, and tell what each operator did.
        params : mapping or sequence, optional
            Values of the parameters.
        policy : SqlPolicy, optional
            What the text may do.

        Returns
        -------
        PlanArtifacts

        Raises
        ------
        SqlError
            The text is wrong or not allowed.
        """
        return self.sql(query, params=params, policy=policy).explained(analyze=analyze)

    def plan_inputs(self, query: QueryText, *, params: Parameters | None = None) -> PlanInputs:
        """Tell everything that the plan of a query depends on at this moment.

        Parameters
        ----------
        query : str or sqlglot.exp.Expression
        params : mapping or sequence, optional

        Returns
        -------
        PlanInputs
        """
        self._opened()
        query = text_of(query)
        row = _parameters.bind(query, params)
        with self._registry.settled(query) as scope:
            return self._planner.inputs(query, row, scope)

    def from_plan_bytes(self, data: bytes, *, policy: SqlPolicy | None = None) -> Result:
        """Take a physical plan that `Result.plan_bytes` wrote, here or in another process.

        It reads the versions that it was made over, with this session's object stores and functions, within
        its limits. Bytes name the files that they read, so they are as powerful as a text with paths.

        Parameters
        ----------
        data : bytes
        policy : SqlPolicy, optional
            What the plan may do; it must allow `files`. The profile's policy if left out.

        Returns
        -------
        Result

        Raises
        ------
        PlanBytesError
            The bytes are damaged, were written by another version, or need what this session lacks.
        PolicyError
            The policy allows no files, denies functions, or the plan writes and must not.

        Examples
        --------
        >>> from df_runtime import SessionFactory, SqlPolicy
        >>> with SessionFactory().open() as session:
        ...     data = session.sql("SELECT 1 + 1 AS two").plan_bytes()
        ...     session.from_plan_bytes(data, policy=SqlPolicy(files=True)).to_arrow().to_pylist()
        [{'two': 2}]
        """
        engine = self._opened()
        expect("data", data, (bytes, bytearray, memoryview), "the bytes of a plan")
        allowed = chosen(policy, self._profile)
        with self._observer.planning("") as run:
            run.is_plan("", "bytes")
            _refuse(allowed)
            try:
                planned = engine.query_from_bytes(bytes(data), allow_dml=allowed.dml)
                text = planned.explain()["logical"]
            except EngineError as error:
                raise self._refused_bytes(error) from error
            run.is_plan(text, "bytes")
            run.planned(planned, ())
        report = GateReport(
            query=text, kind="query", lane="checked", policy_hash=allowed.identity_hash, schema_hash=""
        )
        return Result(
            limited(planned, allowed, self._profile),
            report,
            run=run,
            datasets=(),
            translate=lambda error: self._registry.diagnosed(error, ""),
            lane=Lane(name="bytes"),
            max_bytes=self._profile.max_result_bytes,
        )

    def _refused_bytes(self, error: EngineError) -> DfRuntimeError:
        if error.code == "engine-plan-bytes":
            return PlanBytesError(f"These bytes cannot be run: {error.message}.")
        return self._registry.diagnosed(error, "")


def _refuse(policy: SqlPolicy) -> None:
    if not policy.files:
        raise PolicyError(
            "Plan bytes name the files that they read, and the policy allows no files. Pass "
            "`policy=SqlPolicy(files=True)` if they come from a source that may read any."
        )
    if policy.denied_functions:
        raise PolicyError(
            "Which functions plan bytes call can't be checked, and the policy denies some. "
            "Use SQL, or pass another `policy`."
        )
