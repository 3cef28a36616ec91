"""Change data that leaves rows out.

deltalake takes the rows before an update, or a merge, and those after it from each other as if each occurred
once: a row that becomes equal to another one is in neither image.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from delta_io._places import placed
from delta_io._rows import open_parquet
from delta_io._threads import in_threads

if TYPE_CHECKING:
    from delta_io._log import Actions, ChangeData
    from delta_io.storage import Location

_ENGINE: Final = "delta-rs"
# How many rows of change data each of the rows that a metric counts gives.
_IMAGES: Final = {
    "UPDATE": {"num_updated_rows": 2},
    "MERGE": {"num_target_rows_inserted": 1, "num_target_rows_updated": 2, "num_target_rows_deleted": 1},
}


def leaves_out(location: Location, actions: Actions) -> bool:
    """Tell whether the change data of a commit may have fewer rows than the commit changed."""
    info = actions.commit_info
    images = _IMAGES.get(str(info.get("operation")))
    if images is None or not actions.change_data or not str(info.get("engineInfo")).startswith(_ENGINE):
        return False
    metrics = info.get("operationMetrics") or {}
    try:
        expected = sum(times * int(metrics[name]) for name, times in images.items())
    except (KeyError, TypeError, ValueError):
        return True

    def count(each: ChangeData) -> int:
        with open_parquet(location, placed(location, each.path)) as file:
            return int(file.metadata.num_rows)

    return expected != sum(in_threads(count, actions.change_data))
