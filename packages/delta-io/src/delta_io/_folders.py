"""The folders in a folder, in any store that tables can be in."""

from __future__ import annotations

import os
from collections.abc import Mapping
from urllib.parse import quote

import pyarrow.fs as pa_fs

from delta_io._map_errors import mapped
from delta_io.storage import Location


def list_folders(
    uri: str | os.PathLike[str], *, storage_options: Mapping[str, str] | None = None
) -> dict[str, str]:
    """List the folders in a folder; those whose names start with a dot or an underscore are left out.

    Parameters
    ----------
    uri : str or PathLike
        Path or URI of the folder.
    storage_options : Mapping[str, str], optional
        Options of the storage.

    Returns
    -------
    dict of str to str
        The paths or URIs of the folders by their names, sorted; empty where there is no such folder.

    Raises
    ------
    StorageError
        When the storage cannot be reached.

    Examples
    --------
    >>> import tempfile
    >>> from delta_io import Table, list_folders
    >>> from schema_spec import ColumnSpec, TableSpec
    >>> lake = tempfile.mkdtemp()
    >>> _ = Table.create(f"{lake}/orders", TableSpec("orders", [ColumnSpec("id", "long")]))
    >>> list(list_folders(lake))
    ['orders']
    """
    location = Location(uri, storage_options)
    with mapped(location, "listing the folders of"):
        selector = pa_fs.FileSelector("", allow_not_found=True, recursive=False)
        infos = location.filesystem.get_file_info(selector)
    names = sorted(info.base_name for info in infos if info.type == pa_fs.FileType.Directory)
    return {name: _below(location, name) for name in names if not name.startswith((".", "_"))}


def _below(location: Location, name: str) -> str:
    # What a URI has after its scheme is percent-encoded, a path is not.
    return f"{location.uri}/{name if location.local else quote(name)}"
