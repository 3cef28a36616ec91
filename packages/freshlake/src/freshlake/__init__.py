"""Keep SQL views over Delta Lake tables current."""

from freshlake.errors import FreshlakeError, IngestInputError, InputError
from freshlake.ingest import IngestContext, IngestedTable, IngestReport
from freshlake.loading import load_project
from freshlake.project import Project

__all__ = [
    "FreshlakeError",
    "IngestContext",
    "IngestInputError",
    "IngestReport",
    "IngestedTable",
    "InputError",
    "Project",
    "load_project",
]
