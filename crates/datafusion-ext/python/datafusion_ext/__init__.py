"""DataFusion with native scans of Delta Lake snapshots.

The low level under ``df_runtime``: an :class:`Engine` takes SQL and hands out Arrow C streams, and a
:class:`DeltaScan` makes a pinned snapshot of a Delta table a table of the engine, or of any
``datafusion.SessionContext``.
"""

from __future__ import annotations

from importlib.metadata import version as _installed_version

from datafusion_ext import _native
from datafusion_ext._native import DATAFUSION_VERSION, DeltaScan, Engine, Prepared, Query, TableHandles
from datafusion_ext._native import __version__ as _compiled_version
from datafusion_ext.errors import EngineError

__all__ = [
    "DATAFUSION_VERSION",
    "DeltaScan",
    "Engine",
    "EngineError",
    "Prepared",
    "Query",
    "TableHandles",
    "__version__",
]

__version__ = _installed_version("datafusion-ext")

if _compiled_version != __version__:
    _message = (
        f"datafusion-ext {__version__} is installed, but its compiled module at {_native.__file__} is "
        f"{_compiled_version}. Reinstall datafusion-ext."
    )
    raise ImportError(_message)
