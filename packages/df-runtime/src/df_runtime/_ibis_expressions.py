"""Functions that are Ibis expressions, as expressions in SQL over their arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import ibis
import ibis.common.exceptions as com
import ibis.expr.operations as ops
import ibis.expr.types as ir
import pyarrow as pa
import sqlglot.expressions as sge

from df_runtime._ibis import ibis_schema, ibis_type
from df_runtime._ibis_compiler import compiler
from df_runtime._ibis_functions import is_builtin
from df_runtime.errors import ExpressionError, FunctionError

_TABLE = "arguments"


def text_of(
    name: str,
    function: Callable[..., Any],
    arguments: Mapping[str, pa.DataType],
    returns: pa.DataType | None,
) -> str:
    """Write what a function makes of its arguments.

    Raises
    ------
    FunctionError
        It is no expression of the arguments alone.
    ExpressionError
        The engine has no such operation.
    """
    table = ibis.table(ibis_schema(pa.schema(list(arguments.items()))), name=_TABLE)
    value: Any = function(*(table[each] for each in arguments))
    if not isinstance(value, ir.Value):
        value = ibis.literal(value)
    if returns is not None:
        wanted: Any = ibis_type(returns)
        value = value.cast(wanted)
    if not all(is_builtin(each) for each in value.op().find(ops.ScalarUDF)):
        raise FunctionError(f"{name!r} calls a function of Python; register that with `register_function`.")
    try:
        query: Any = compiler.to_sqlglot(value.name("value").as_table())
    except com.RelationError as error:
        raise FunctionError(f"{name!r} must make a value of its arguments alone: {error}.") from error
    except (com.IbisError, NotImplementedError, ValueError) as error:
        raise ExpressionError(f"{name!r} cannot be written for the engine: {error}.") from error
    return _of_arguments(name, query)


def _of_arguments(name: str, query: Any) -> str:
    """Take the one expression of a query that does nothing but select it from the arguments."""
    clauses = {clause for clause, value in query.args.items() if value} - {"expressions", "from_", "from"}
    tables = list(query.find_all(sge.Table))
    others = [table.name for table in tables if table.name != _TABLE]
    if clauses or len(query.expressions) != 1 or others or len(tables) > 1:
        raise FunctionError(
            f"{name!r} must make a value of its arguments alone, row by row or of a whole group; this is a "
            f"query: {query.sql(dialect=compiler.dialect)}. Register it as a view."
        )
    value = query.expressions[0].unalias()
    for column in list(value.find_all(sge.Column)):
        column.set("table", None)
    return value.sql(dialect=compiler.dialect)
