"""What is known of a plan: its texts, what went into it, and where plans can be kept."""

from __future__ import annotations

import hashlib
from typing import Literal, Protocol, runtime_checkable

import msgspec

from df_runtime import _plan_html
from df_runtime.datasets import DatasetIdentity
from df_runtime.plan_tree import PlanTree


class Lane(msgspec.Struct, frozen=True, kw_only=True):
    """Which way a query took into an engine, and why.

    Parameters
    ----------
    name : str
        `sql` for text; `substrait` for a Substrait plan and `dataframe` for a plan of the `datafusion`
        package, both in our engine; `bytes` for a plan of this engine that came as bytes; `neighbour` for
        one that its own context runs, with its rows streamed through ours.
    reason : str
        Why it did not take the usual way; empty if it did.
    unsupported : tuple of str
        The expressions and operators that stood in the way of the usual one.
    """

    name: str = "sql"
    reason: str = ""
    unsupported: tuple[str, ...] = ()


class SubstraitPlan(msgspec.Struct, frozen=True, kw_only=True):
    """A query in Substrait, as far as Substrait can say it.

    Parameters
    ----------
    query : str
        Text of the query.
    plan : bytes, optional
        The serialised plan; None where there is none.
    form : {"written", "optimized", "none"}
        Whether the plan is of the query as it was written, or of what the optimizer made of it because that
        could not be said.
    unsupported : tuple of str
        The expressions and operators of the query as written that Substrait, or its producer, does not have.
    reason : str
        What the producer said of them.
    """

    query: str
    plan: bytes | None
    form: Literal["written", "optimized", "none"]
    unsupported: tuple[str, ...] = ()
    reason: str = ""


class PlanArtifacts(msgspec.Struct, frozen=True, kw_only=True):
    """The plans of one query, as the engine prints them and as trees.

    Parameters
    ----------
    query : str
        Text of the query.
    logical : str
        The plan as written.
    optimized : str
        The plan after the optimizer's rules.
    physical : str
        The plan as it runs.
    analyzed : str, optional
        The physical plan with what each operator did, if the query was run for it.
    datasets : tuple of DatasetIdentity
        What the plan reads, at which versions.
    run_id : str
        `Result.run_id`, which events, spans and stored artifacts of the same result carry as well.
    logical_tree, optimized_tree, physical_tree : PlanTree
        The plans as trees. The physical one has the figures of the latest run, if there was one.
    substrait : bytes, optional
        The query as a Substrait plan; None where Substrait cannot say it.
    substrait_reason : str
        What Substrait cannot say of the query as it was written; empty if that is nothing.
    """

    query: str
    logical: str
    optimized: str
    physical: str
    analyzed: str | None = None
    datasets: tuple[DatasetIdentity, ...] = ()
    run_id: str = ""
    logical_tree: PlanTree = PlanTree()
    optimized_tree: PlanTree = PlanTree()
    physical_tree: PlanTree = PlanTree()
    substrait: bytes | None = None
    substrait_reason: str = ""

    @property
    def digests(self) -> dict[str, str]:
        """Hexadecimal SHA-256 of each plan's text: equal plans have equal ones, in every process.

        Substrait has none: its producer numbers functions anew each time.
        """
        texts = {"logical": self.logical, "optimized": self.optimized, "physical": self.physical}
        return {name: hashlib.sha256(text.encode()).hexdigest() for name, text in texts.items()}

    def to_html(self) -> str:
        """Draw the plan: a page with the time, rows, bytes and pruning of each operator.

        The page needs nothing beside itself, runs no scripts, and follows the reader's choice of light or
        dark. Values of the query show in it, as in the plans.

        Returns
        -------
        str
            An HTML document.

        Examples
        --------
        >>> from df_runtime import SessionFactory
        >>> with SessionFactory().open() as session:
        ...     page = session.explain("SELECT 1 AS one", analyze=True).to_html()
        >>> page.startswith("<!DOCTYPE html>")
        True
        """
        return _plan_html.page(self)


class PlanInputs(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a plan depends on: equal inputs give equal plans.

    Parameters
    ----------
    query : str
        Canonical text: white space and the case of words outside quotes do not count.
    parameter_types : tuple of (str, str)
        Name and Arrow type of each parameter.
    parameter_values : str
        Hash of the values, which are constants of the plan; empty without parameters.
    datasets : tuple of DatasetIdentity
        Every dataset whose name occurs in the text, sorted by name.
    settings : str
        Hash of the profile and of the engine's settings.
    functions : str
        Hash of the function registry.
    versions : tuple of (str, str)
        Packages whose versions shape plans.
    reusable : bool
        Whether the plan means the same to another session. Not part of the identity.
    """

    query: str
    parameter_types: tuple[tuple[str, str], ...] = ()
    parameter_values: str = ""
    datasets: tuple[DatasetIdentity, ...] = ()
    settings: str = ""
    functions: str = ""
    versions: tuple[tuple[str, str], ...] = ()
    reusable: bool = True


@runtime_checkable
class PlanStore(Protocol):
    """Where a `SessionFactory` keeps plans between queries; `plan_cache.PlanCache` is one.

    A plan has one user at a time, because cancelling and figures are by plan: `take` gives it away, and
    `keep` gives it back. Implementations are called from many threads at once, and do not look into plans.
    """

    def take(self, inputs: PlanInputs) -> object | None:
        """Give away a plan of these inputs, if there is one.

        Parameters
        ----------
        inputs : PlanInputs

        Returns
        -------
        object or None
            What `keep` was given.
        """
        ...

    def keep(self, inputs: PlanInputs, plan: object, *, size_bytes: int) -> None:
        """Take a plan in, for whoever asks for the same inputs next.

        Parameters
        ----------
        inputs : PlanInputs
        plan : object
        size_bytes : int
            Estimate of the memory that the plan holds.
        """
        ...
