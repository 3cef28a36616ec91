"""Contracts for tables: columns, keys, constraints and evolution as data."""

from schema_spec._ddl import TableDdl, parse_ddl
from schema_spec._delta import DeltaSchema
from schema_spec.alignment import Alignment, ColumnAlignment
from schema_spec.audit import violations_sql
from schema_spec.columns import ColumnSpec, StructType
from schema_spec.constraints import AcceptedValues, Check, Constraint, Range, constraint_sql
from schema_spec.diff import Difference, SchemaDiff
from schema_spec.errors import (
    ColumnDuplicateError,
    ColumnMissingError,
    ConstraintError,
    DefaultError,
    EvolutionError,
    ExtraMissingError,
    SemanticError,
    SpecError,
    SpecFieldError,
    SpecFileError,
    SpecSyntaxError,
    SpecTypeError,
)
from schema_spec.expressions import Expression, render_sql
from schema_spec.policies import EvolutionPolicy
from schema_spec.python_types import Field
from schema_spec.semantics import arrow_type, compatible, register_arrow_types, semantic_of, with_semantic
from schema_spec.table import TableSpec
from schema_spec.types import (
    ArrayType,
    DataType,
    DecimalType,
    EdgeId,
    FileId,
    MapType,
    NodeId,
    PrimitiveType,
    SemanticType,
    SpanId,
    SqlExpression,
)

__all__ = [
    "AcceptedValues",
    "Alignment",
    "ArrayType",
    "Check",
    "ColumnAlignment",
    "ColumnDuplicateError",
    "ColumnMissingError",
    "ColumnSpec",
    "Constraint",
    "ConstraintError",
    "DataType",
    "DecimalType",
    "DefaultError",
    "DeltaSchema",
    "Difference",
    "EdgeId",
    "EvolutionError",
    "EvolutionPolicy",
    "Expression",
    "ExtraMissingError",
    "Field",
    "FileId",
    "MapType",
    "NodeId",
    "PrimitiveType",
    "Range",
    "SchemaDiff",
    "SemanticError",
    "SemanticType",
    "SpanId",
    "SpecError",
    "SpecFieldError",
    "SpecFileError",
    "SpecSyntaxError",
    "SpecTypeError",
    "SqlExpression",
    "StructType",
    "TableDdl",
    "TableSpec",
    "arrow_type",
    "compatible",
    "constraint_sql",
    "parse_ddl",
    "register_arrow_types",
    "render_sql",
    "semantic_of",
    "violations_sql",
    "with_semantic",
]
