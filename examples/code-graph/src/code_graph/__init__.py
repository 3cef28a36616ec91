"""Python source trees as a code graph on Delta Lake."""

from code_graph.errors import BusyError, CodeGraphError, OptionError, SourceError, TableMismatchError
from code_graph.extraction import ExtractOptions, extract_source, extract_tree
from code_graph.ingest import run
from code_graph.tables import SPECS

__all__ = [
    "BusyError",
    "CodeGraphError",
    "ExtractOptions",
    "OptionError",
    "SPECS",
    "SourceError",
    "TableMismatchError",
    "extract_source",
    "extract_tree",
    "run",
]
