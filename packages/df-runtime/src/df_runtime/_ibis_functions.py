"""Python functions that Ibis expressions bring along: `ibis.udf.scalar.python`, `.pyarrow` and `.pandas`."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from df_runtime._functions import Volatility, add_ibis_function
from df_runtime.errors import FunctionError

if TYPE_CHECKING:
    from df_runtime.session import Session

_VOLATILITIES: Final = ("immutable", "stable", "volatile")
_NULLS: Final = ("default", "special")


def is_builtin(op: Any) -> bool:
    """Whether a function is one of the engine's."""
    return op.__input_type__.name == "BUILTIN"


def sql_name(op: Any) -> str:
    """Name a function of Python: two of one name, or of other types, are two functions."""
    types = ", ".join(str(each.dtype) for each in op.args)
    # Ibis numbers the definitions of a name.
    identity = hashlib.sha256(f"{type(op).__name__}({types})".encode()).hexdigest()[:8]
    stem = re.sub(r"[^a-z0-9_]", "_", op.__func_name__.lower(), flags=re.ASCII)
    return f"{stem if stem[:1].isalpha() else '_' + stem}_{identity}"


def register(op: Any, session: Session) -> None:
    """Make a function known to a session, if its policy lets Python in.

    Raises
    ------
    PolicyError
        The profile does not allow Python functions.
    FunctionError
        The function has options that mean nothing here.
    """
    if is_builtin(op):
        return
    volatility, sees_nulls = _options(op)
    add_ibis_function(
        session,
        sql_name(op),
        _CALLERS[op.__input_type__.name](op.__func__, sees_nulls),
        arguments={name: each.dtype.to_pyarrow() for name, each in zip(op.argnames, op.args, strict=True)},
        returns=op.dtype.to_pyarrow(),
        volatility=volatility,
    )


def _options(op: Any) -> tuple[Volatility, bool]:
    options: Mapping[str, Any] = op.__config__
    volatility, nulls = options.get("volatility", "volatile"), options.get("null_handling", "default")
    unknown = options.keys() - {"volatility", "null_handling"}
    if unknown or volatility not in _VOLATILITIES or nulls not in _NULLS:
        raise FunctionError(
            f"Function {op.__func_name__!r} has options that mean nothing here: {dict(options)}. A session "
            f"knows `volatility`, one of {', '.join(_VOLATILITIES)}, and `null_handling`, one of "
            f"{', '.join(_NULLS)}."
        )
    return volatility, nulls == "special"


def _over_values(function: Callable[..., Any], sees_nulls: bool) -> Callable[..., Any]:
    def called(*columns: pa.Array) -> list[Any]:
        rows = zip(*(column.to_pylist() for column in columns), strict=True)
        return [None if not sees_nulls and None in row else function(*row) for row in rows]

    return called


def _over_arrays(function: Callable[..., Any], sees_nulls: bool) -> Callable[..., Any]:
    del sees_nulls  # arrays say where they are
    return lambda *columns: function(*(pa.chunked_array([column]) for column in columns))


def _over_series(function: Callable[..., Any], sees_nulls: bool) -> Callable[..., Any]:
    del sees_nulls
    return lambda *columns: function(*(column.to_pandas() for column in columns))


_CALLERS: Final = {"PYTHON": _over_values, "PYARROW": _over_arrays, "PANDAS": _over_series}
