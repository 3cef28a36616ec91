"""What a session tells of itself. All of it is read from `information_schema`."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

import msgspec

from df_runtime._names import TableName
from df_runtime._observer import of_our_own
from df_runtime.artifacts import Artifacts, Source
from df_runtime.catalog import Function, Signature, TableConstraint
from df_runtime.errors import MetadataOffError

if TYPE_CHECKING:
    from datafusion_ext import Engine
    from df_runtime._caches import Caches
    from df_runtime._observer import Observer
    from df_runtime.profile import RuntimeProfile

_TABLE = ("table_catalog", "table_schema", "table_name")


class Introspection:
    """Methods of `Session`, which is the only subclass."""

    if TYPE_CHECKING:
        _caches: Caches
        _observer: Observer
        _profile: RuntimeProfile

        def _opened(self) -> Engine: ...
        def _relative(self, name: TableName) -> str: ...

    def functions(self) -> dict[str, Function]:
        """List the functions that texts can call.

        Returns
        -------
        dict of str to Function
            By name, sorted.

        Raises
        ------
        MetadataOffError
            The profile switches `information_schema` off.

        Examples
        --------
        >>> from df_runtime import SessionFactory
        >>> with SessionFactory().open() as session:
        ...     sqrt = session.functions()["sqrt"]
        >>> sqrt.kinds, sqrt.volatility, sqrt.tier, sqrt.signatures[-1].returns
        (('scalar',), 'immutable', 'built-in', 'Float64')
        """
        signatures = self._signatures()
        found: dict[str, Function] = {}
        for row in self._rows("routines ORDER BY routine_name, function_type, data_type"):
            name, kind = row["routine_name"], row["function_type"].lower()
            known = found.get(name)
            if known is None:
                found[name] = Function(
                    name=name,
                    kinds=(kind,),
                    deterministic=bool(row["is_deterministic"]),
                    volatility=row["volatility"],
                    tier=row["tier"],
                    signatures=tuple(signatures.get(name, ())),
                    description=row["description"],
                    syntax=row["syntax_example"],
                )
            elif kind not in known.kinds:
                found[name] = msgspec.structs.replace(known, kinds=(*known.kinds, kind))
        return found

    def _signatures(self) -> dict[str, list[Signature]]:
        parts: defaultdict[tuple[str, int], list[dict[str, Any]]] = defaultdict(list)
        for row in self._rows("parameters ORDER BY specific_name, rid, parameter_mode, ordinal_position"):
            parts[row["specific_name"], row["rid"]].append(row)
        found: defaultdict[str, list[Signature]] = defaultdict(list)
        for (name, _), rows in parts.items():
            taken = [row for row in rows if row["parameter_mode"] == "IN"]
            given = [row for row in rows if row["parameter_mode"] != "IN"]
            found[name].append(
                Signature(
                    arguments=tuple((row["parameter_name"] or "", row["data_type"]) for row in taken),
                    returns=given[0]["data_type"] if given else "",
                    variadic=any(row["is_variadic"] for row in taken),
                )
            )
        return found

    def settings(self) -> dict[str, str | None]:
        """List the settings of the engine.

        Where a value of the profile came from, `SessionFactory.provenance` tells.

        Returns
        -------
        dict of str to str or None
            By name, sorted; None is the engine's choice.

        Raises
        ------
        MetadataOffError
            The profile switches `information_schema` off.

        Examples
        --------
        >>> from df_runtime import RuntimeProfile, SessionFactory
        >>> with SessionFactory(RuntimeProfile(batch_size=1024)).open() as session:
        ...     session.settings()["datafusion.execution.batch_size"]
        '1024'
        """
        return {row["name"]: row["value"] for row in self._rows("df_settings ORDER BY name")}

    def constraints(self) -> tuple[TableConstraint, ...]:
        """List the keys and checks that the contracts of the tables state.

        Returns
        -------
        tuple of TableConstraint
            Sorted by table and name.

        Raises
        ------
        MetadataOffError
            The profile switches `information_schema` off.
        """
        keys: defaultdict[tuple[str, ...], list[str]] = defaultdict(list)
        for row in self._rows("key_column_usage ORDER BY ordinal_position"):
            keys[_constraint(row)].append(row["column_name"])
        checks = {_constraint(row): row["check_clause"] for row in self._rows("check_constraints")}
        order = f"{', '.join(_TABLE)}, constraint_name"
        return tuple(
            TableConstraint(
                table=self._relative(TableName(*(row[part] for part in _TABLE))),
                name=row["constraint_name"],
                kind=row["constraint_type"],
                columns=tuple(keys.get(_constraint(row), ())),
                condition=checks.get(_constraint(row)),
                enforced=row["enforced"] == "YES",
            )
            for row in self._rows(f"table_constraints ORDER BY {order}")
        )

    @property
    def artifacts(self) -> Artifacts:
        """What there is to keep of this session: runs, plans, catalogs, configuration."""
        return Artifacts(self._source())

    def _rows(self, source: str) -> list[dict[str, Any]]:
        if not self._profile.information_schema:
            raise MetadataOffError(
                "The profile switches `information_schema` off, which tells this; "
                "open the session with `information_schema=True`."
            )
        session: Any = self  # the only subclass is `Session`
        with of_our_own():
            return session.sql(f"SELECT * FROM information_schema.{source}").to_arrow().to_pylist()

    def _source(self) -> Source:
        session: Any = self  # the only subclass is `Session`
        return Source(
            session_id=self._observer.session_id,
            observer=self._observer,
            engine=self._opened,
            rows=self._rows,
            profile=self._profile,
            provenance=session._factory.provenance,
            caches=self._caches,
        )


def _constraint(row: dict[str, Any]) -> tuple[str, ...]:
    return row["constraint_catalog"], row["constraint_schema"], row["constraint_name"]
