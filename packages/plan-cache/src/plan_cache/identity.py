"""What makes a plan the same plan."""

from __future__ import annotations

import hashlib
from functools import cached_property

import msgspec

from df_runtime import DatasetIdentity, PlanInputs


class PlanIdentity(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """Everything that a plan depends on, by name. Equal identities give equal plans.

    Parameters
    ----------
    query : str
        Canonical text.
    parameter_types : tuple of (str, str)
        Name and Arrow type of each parameter.
    parameter_values : str
        Hash of the parameters' values, which are constants of the plan.
    datasets : tuple of DatasetIdentity
        What the plan may read: place, version and schema identity of each table, and the text of each view.
    settings : str
        Hash of the session's profile and settings.
    functions : str
        Hash of the function registry.
    versions : tuple of (str, str)
        Versions of the packages that plan.

    Examples
    --------
    >>> one = PlanIdentity(query="select 1")
    >>> one.digest == PlanIdentity(query="select 1").digest
    True
    >>> one.differing_parts(PlanIdentity(query="select 2"))
    ('query',)
    """

    query: str
    parameter_types: tuple[tuple[str, str], ...] = ()
    parameter_values: str = ""
    datasets: tuple[DatasetIdentity, ...] = ()
    settings: str = ""
    functions: str = ""
    versions: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, inputs: PlanInputs) -> PlanIdentity:
        """Take the identity of a plan's inputs.

        Parameters
        ----------
        inputs : PlanInputs
            What a session says that the plan depends on.

        Returns
        -------
        PlanIdentity
        """
        return cls(**{part: getattr(inputs, part) for part in cls.__struct_fields__})

    @cached_property
    def digest(self) -> str:
        """Hexadecimal SHA-256 of the canonical bytes; the same in every process and on every machine."""
        return hashlib.sha256(msgspec.json.encode(self, order="deterministic")).hexdigest()

    def differing_parts(self, other: PlanIdentity) -> tuple[str, ...]:
        """Name the parts in which two identities differ.

        Parameters
        ----------
        other : PlanIdentity

        Returns
        -------
        tuple of str
            In the order of the fields; empty if the identities are equal.
        """
        return tuple(part for part in self.__struct_fields__ if getattr(self, part) != getattr(other, part))
