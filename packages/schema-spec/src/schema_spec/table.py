"""The contract of a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from schema_spec._frozen import EMPTY
from schema_spec._table_checks import check_table
from schema_spec.columns import ColumnSpec
from schema_spec.constraints import Constraint
from schema_spec.errors import ColumnMissingError, closest
from schema_spec.policies import EvolutionPolicy

if TYPE_CHECKING:
    import os

    import pyarrow as pa

    from schema_spec._delta import DeltaSchema
    from schema_spec.alignment import Alignment
    from schema_spec.diff import SchemaDiff


class TableSpec(Struct, frozen=True, forbid_unknown_fields=True, dict=True):
    """The contract of a table: columns, key, partitioning, constraints and how it may evolve.

    Parameters
    ----------
    name : str
        Name of the table; dots separate catalog, schema and table.
    columns : Sequence[ColumnSpec]
        The columns, in order, with names that differ in more than case.
    primary_key : Sequence[str], default ()
        Columns whose values identify a row.
    partition_by : Sequence[str], default ()
        Columns that the files are partitioned by.
    constraints : Sequence[Constraint or str] or Mapping[str, str], default ()
        Conditions on rows: `Check`, `Range`, `AcceptedValues`; SQL text stands for a `Check`.
    evolution : {"strict", "additive", "widening", "any"}, default "additive"
        Which differences `diff` and `alignment` admit.
    comment : str, optional
        For people.
    properties : Mapping[str, str], default {}
        Table properties, such as ``delta.enableChangeDataFeed``.

    Raises
    ------
    SpecError
        When the parts do not fit together; the code says what is wrong.

    Examples
    --------
    >>> orders = TableSpec(
    ...     "orders",
    ...     [ColumnSpec("id", "long", nullable=False), ColumnSpec("note", "string")],
    ...     primary_key=["id"],
    ... )
    >>> TableSpec.from_toml(orders.to_toml()) == orders
    True
    >>> TableSpec.from_arrow("orders", orders.to_arrow()) == orders
    True
    """

    if TYPE_CHECKING:
        name: str
        columns: tuple[ColumnSpec, ...]
        primary_key: tuple[str, ...]
        partition_by: tuple[str, ...]
        constraints: tuple[Constraint, ...]
        evolution: EvolutionPolicy
        comment: str | None
        properties: Mapping[str, str]

        def __init__(  # noqa: PLR0917 the fields, in their documented order
            self,
            name: str,
            columns: Sequence[ColumnSpec],
            primary_key: Sequence[str] = (),
            partition_by: Sequence[str] = (),
            constraints: Sequence[Constraint | str] | Mapping[str, str] = (),
            evolution: EvolutionPolicy = "additive",
            comment: str | None = None,
            properties: Mapping[str, str] = {},
        ) -> None: ...

    else:
        name: str
        columns: tuple[ColumnSpec, ...]
        primary_key: tuple[str, ...] = ()
        partition_by: tuple[str, ...] = ()
        constraints: tuple[Constraint | str, ...] | dict[str, str] = ()
        evolution: EvolutionPolicy = "additive"
        comment: str | None = None
        properties: Mapping[str, str] = EMPTY

    def __post_init__(self) -> None:
        check_table(self)

    def __hash__(self) -> int:
        return hash((self.name, self.columns))

    def column(self, name: str) -> ColumnSpec:
        """Return a column by its exact name.

        Parameters
        ----------
        name : str
            Name of the column.

        Returns
        -------
        ColumnSpec
            The column.

        Raises
        ------
        ColumnMissingError
            When the table has no such column; the closest names are given.
        """
        found = self.by_name.get(name)
        if found is None:
            raise ColumnMissingError(
                f"table {self.name!r} has no column {name!r}", fix=closest(name, self.by_name), value=name
            )
        return found

    @cached_property
    def by_name(self) -> dict[str, ColumnSpec]:
        """The columns by name."""
        return {column.name: column for column in self.columns}

    @cached_property
    def column_names(self) -> tuple[str, ...]:
        """Names of the columns, in order."""
        return tuple(column.name for column in self.columns)

    @cached_property
    def schema_identity_hash(self) -> str:
        """SHA-256 of what gives the data its meaning, as 64 hexadecimal digits.

        Names, types, nullability, order, defaults, semantic types, key, partitioning and constraints count;
        the table's name, comments, properties, evolution policy, column-mapping ids and other metadata don't.
        """
        from schema_spec._identity import identity_hash

        return identity_hash(self)

    def to_arrow(self) -> pa.Schema:
        """Return the Arrow schema; its metadata holds what Arrow has no place for.

        Returns
        -------
        pyarrow.Schema
            Semantic types are extension types, timestamps have microseconds.
        """
        from schema_spec._arrow import to_arrow

        return to_arrow(self)

    @classmethod
    def from_arrow(cls, name: str, schema: pa.Schema) -> TableSpec:
        """Make a contract from an Arrow schema.

        Parameters
        ----------
        name : str
            Name of the table.
        schema : pyarrow.Schema
            Or anything with ``__arrow_c_schema__``.

        Returns
        -------
        TableSpec
            The contract, with the key, constraints and the like that the schema's metadata holds.

        Raises
        ------
        SpecTypeError
            When a Delta table cannot hold one of the types.
        """
        from schema_spec._arrow import from_arrow

        return from_arrow(name, schema)

    def to_delta(self) -> DeltaSchema:
        """Return the Delta schema as JSON text, with the rest of the table's metadata as attributes.

        Returns
        -------
        DeltaSchema
            A ``str``, with ``name``, ``description``, ``partition_columns`` and ``configuration``.
        """
        from schema_spec._delta import to_delta

        return to_delta(self)

    @classmethod
    def from_delta(
        cls,
        schema: str | bytes | Mapping[str, object],
        *,
        name: str | None = None,
        description: str | None = None,
        partition_columns: Sequence[str] | None = None,
        configuration: Mapping[str, str] | None = None,
    ) -> TableSpec:
        """Make a contract from a Delta schema and the rest of a table's metadata.

        Parameters
        ----------
        schema : str, bytes or Mapping
            Schema JSON; a `DeltaSchema` brings the other arguments along.
        name : str, optional
            Name of the table; ``"table"`` when neither here nor in `schema`.
        description : str, optional
            Becomes the comment.
        partition_columns : Sequence[str], optional
            Columns that the files are partitioned by.
        configuration : Mapping[str, str], optional
            Table properties, check constraints among them.

        Returns
        -------
        TableSpec
            The contract.

        Raises
        ------
        SpecError
            When the text is not a Delta schema.
        """
        from schema_spec._delta import from_delta

        return from_delta(
            schema,
            name=name,
            description=description,
            partition_columns=partition_columns,
            configuration=configuration,
        )

    def to_toml(self) -> str:
        """Return the contract as TOML text, defaults left out.

        Returns
        -------
        str
            What `from_toml` reads.
        """
        from schema_spec._wire import to_toml

        return to_toml(self)

    @classmethod
    def from_toml(cls, text: str | bytes) -> TableSpec:
        """Read a contract from TOML text.

        Parameters
        ----------
        text : str or bytes
            A TOML document.

        Returns
        -------
        TableSpec
            The contract.

        Raises
        ------
        SpecError
            When the text is no contract, naming the place.
        """
        from schema_spec._wire import from_toml

        return from_toml(text)

    def to_json(self) -> str:
        """Return the contract as JSON text, defaults left out.

        Returns
        -------
        str
            What `from_json` reads.
        """
        from schema_spec._wire import to_json

        return to_json(self)

    @classmethod
    def from_json(cls, text: str | bytes) -> TableSpec:
        """Read a contract from JSON text.

        Parameters
        ----------
        text : str or bytes
            A JSON object.

        Returns
        -------
        TableSpec
            The contract.

        Raises
        ------
        SpecError
            When the text is no contract, naming the place.
        """
        from schema_spec._wire import from_json

        return from_json(text)

    def to_msgpack(self) -> bytes:
        """Return the contract as msgpack, defaults left out.

        Returns
        -------
        bytes
            What `from_msgpack` reads.
        """
        from schema_spec._wire import to_msgpack

        return to_msgpack(self)

    @classmethod
    def from_msgpack(cls, data: bytes) -> TableSpec:
        """Read a contract from msgpack.

        Parameters
        ----------
        data : bytes
            What `to_msgpack` wrote.

        Returns
        -------
        TableSpec
            The contract.

        Raises
        ------
        SpecError
            When the bytes are no contract.
        """
        from schema_spec._wire import from_msgpack

        return from_msgpack(data)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> TableSpec:
        """Read a contract from a file.

        Parameters
        ----------
        path : str or PathLike
            A ``.toml``, ``.json`` or ``.sql`` file.

        Returns
        -------
        TableSpec
            The contract.

        Raises
        ------
        SpecFileError
            When the file cannot be read or has another suffix.
        SpecError
            When it holds no contract; the message names the file.
        """
        from schema_spec._wire import load

        return load(path)

    def to_ddl(self, *, location: str, options: Mapping[str, str] | None = None) -> str:
        """Return a ``CREATE EXTERNAL TABLE`` statement.

        Parameters
        ----------
        location : str
            Path or URI of the table.
        options : Mapping[str, str], optional
            Scan options of this table; session settings are refused.

        Returns
        -------
        str
            What `from_ddl` reads.
        """
        from schema_spec._ddl import to_ddl

        return to_ddl(self, location, options or {})

    @classmethod
    def from_ddl(cls, sql: str) -> TableSpec:
        """Read a contract from a ``CREATE EXTERNAL TABLE`` statement; needs the extra ``ddl``.

        Parameters
        ----------
        sql : str
            One statement; `parse_ddl` also returns its location and options.

        Returns
        -------
        TableSpec
            The contract.

        Raises
        ------
        SpecError
            When the text is no such statement.
        """
        from schema_spec._ddl import parse_ddl

        return parse_ddl(sql).spec

    @classmethod
    def from_type(cls, python_type: type, *, name: str | None = None, **fields: Any) -> TableSpec:
        """Make a contract from a dataclass or a msgspec struct.

        Parameters
        ----------
        python_type : type
            Fields become columns; ``Annotated`` adds a type, semantic type, `msgspec.Meta` or `Field`.
        name : str, optional
            Name of the table; the class's name in snake case otherwise.
        **fields : object
            Further fields of the contract, such as ``partition_by``.

        Returns
        -------
        TableSpec
            The contract.

        Raises
        ------
        SpecTypeError
            When a field's type has no place in a table.
        """
        from schema_spec.python_types import from_type

        return from_type(python_type, name, fields)

    def diff(self, other: TableSpec, *, policy: EvolutionPolicy | None = None) -> SchemaDiff:
        """Compare with a later version of the contract.

        Parameters
        ----------
        other : TableSpec
            What the table would become.
        policy : str, optional
            Which differences are admitted; the contract's own `evolution` by default.

        Returns
        -------
        SchemaDiff
            One entry per difference.
        """
        from schema_spec.diff import compare

        return compare(self, other, policy or self.evolution)

    def alignment(
        self, actual_schema: pa.Schema | TableSpec, *, policy: EvolutionPolicy | None = None
    ) -> Alignment:
        """Tell how each column is obtained from data of another schema.

        Parameters
        ----------
        actual_schema : pyarrow.Schema or TableSpec
            What the data has.
        policy : str, optional
            Which differences are admitted; the contract's own `evolution` by default.

        Returns
        -------
        Alignment
            One expression per column of the contract.

        Raises
        ------
        EvolutionError
            When the policy does not admit a difference, or nothing bridges it.
        """
        from schema_spec.alignment import align

        return align(self, actual_schema, policy or self.evolution)
