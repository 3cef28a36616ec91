"""What the footers of files say that a commit added or took out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from delta_io._places import placed
from delta_io._rows import open_parquet
from delta_io._threads import in_threads

if TYPE_CHECKING:
    from delta_io._log import Add, Remove
    from delta_io.storage import Location


class BloomFilters(Struct, frozen=True, kw_only=True):
    """Bloom filters found in the footers of the files that a commit added.

    Parameters
    ----------
    row_groups : int
        Row groups of those files.
    columns : Mapping[str, int]
        Columns, and in how many of the row groups they have a filter.
    bytes : int
        Size of the filters.
    """

    row_groups: int = 0
    columns: Mapping[str, int] = {}
    bytes: int = 0


def bloom_filters(location: Location, adds: Iterable[Add], names: Mapping[str, str]) -> BloomFilters:
    """Count the Bloom filters of files, whose columns may have other names there."""
    shown = {in_files: name for name, in_files in names.items()}
    columns: dict[str, int] = {}
    row_groups = size = 0
    for add in adds:
        with open_parquet(location, placed(location, add.path)) as file:
            metadata = file.metadata
            row_groups += metadata.num_row_groups
            for group in range(metadata.num_row_groups):
                for index in range(metadata.num_columns):
                    chunk = metadata.row_group(group).column(index)
                    if chunk.bloom_filter_offset is not None:
                        path = str(chunk.path_in_schema)
                        name = shown.get(path, path)
                        columns[name] = columns.get(name, 0) + 1
                        size += chunk.bloom_filter_length or 0
    return BloomFilters(row_groups=row_groups, columns=columns, bytes=size)


def rows_taken_out(location: Location, removes: Sequence[Remove]) -> int:
    """Count the rows that files had which left the table, but for those that were deleted before."""

    def count(remove: Remove) -> int:
        with open_parquet(location, placed(location, remove.path)) as file:
            vector = remove.deletion_vector
            return int(file.metadata.num_rows) - (0 if vector is None else vector.cardinality)

    return sum(in_threads(count, removes))
