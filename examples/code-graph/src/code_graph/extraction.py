"""Rows of Python sources as Arrow record batches, without any table."""

from __future__ import annotations

import os
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from code_graph._arrow import ArrowRows
from code_graph._columns import LAYOUT, RowChunk
from code_graph._extract import add_file, extract, extractor_id
from code_graph._pool import WorkerPool, usable_cores
from code_graph._tree import package_prefix, source_file, walk_tree
from code_graph._worker import Task
from code_graph.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pyarrow as pa

    from code_graph._tree import FoundFile, SourceTree

_CHUNK_BYTES = 1_000_000
_EXCLUDED = (".*", "__pycache__", "dist-packages", "node_modules", "site-packages")


class ExtractOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Options of an extraction.

    Parameters
    ----------
    source : str, optional
        Directory to read; the running interpreter's standard library when left out. Best the one that imports
        start from, as on `sys.path`.
    workers : int, optional
        Number of parsing processes; one for each usable core when left out.
    exclude : tuple of str
        Patterns of directory names not to enter, such as `build*`.
    """

    source: str | None = None
    workers: int | None = None
    exclude: tuple[str, ...] = _EXCLUDED

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise ValueError(f"`workers` is {self.workers}; at least one is needed")

    @property
    def directory(self) -> Path:
        """The directory to read, absolute.

        Raises
        ------
        SourceError
            When it is not there or cannot be listed.
        """
        root = Path(self.source or sysconfig.get_path("stdlib")).absolute()
        try:
            with os.scandir(root):
                return root
        except OSError as error:
            message = (
                f"The source {root} cannot be read as a directory: {error.strerror}. Name one with --source."
            )
            raise SourceError(message) from error


def extract_source(data: bytes, path: str, *, prefix: str = "") -> dict[str, pa.RecordBatch]:
    r"""Extract one file.

    Parameters
    ----------
    data : bytes
        Its content.
    path : str
        Where it is below the directory that imports start from, with `/` between the parts.
    prefix : str
        Dotted name of that directory, where it is a package itself.

    Returns
    -------
    dict of str to pyarrow.RecordBatch
        Its rows by table, as in `SPECS`.

    Examples
    --------
    >>> rows = extract_source(b"import os.path as p\nprint(p.join('a', 'b'))\n", "tools/paths.py")
    >>> sorted(rows["references"].column("target").to_pylist())
    ['builtins.print', 'os.path.join']
    """
    rows = RowChunk()
    extract(rows, source_file(path, prefix), data, extractor_id(prefix))
    return _batches(ArrowRows(rows.pack()))


def extract_tree(options: ExtractOptions | None = None) -> Iterator[Mapping[str, pa.RecordBatch]]:
    """Extract a tree of sources in worker processes.

    Parameters
    ----------
    options : ExtractOptions, optional
        What to read, and how; the running interpreter's standard library when left out.

    Yields
    ------
    Mapping of str to pyarrow.RecordBatch
        Rows by table, as in `SPECS`, for some files at a time in the order of their paths.

    Raises
    ------
    SourceError
        When the source directory is not there or cannot be listed.
    """
    chosen = options or ExtractOptions()
    root = chosen.directory
    extractor = extractor_id(package_prefix(root))
    tree = walk_tree(root, chosen.exclude)
    if tree.broken:
        yield _batches(broken_rows(tree, extractor))
    for _, rows in extract_files(tree.files, extractor, chosen.workers or usable_cores()):
        yield _batches(rows)


def extract_files(
    files: Sequence[FoundFile], extractor: str, workers: int
) -> Iterator[tuple[int, ArrowRows]]:
    """Extract files in worker processes.

    Parameters
    ----------
    files : sequence of FoundFile
        The files.
    extractor : str
        From `extractor_id`.
    workers : int
        Number of processes at most.

    Yields
    ------
    tuple of int and ArrowRows
        The number of files done with these rows, and the rows.
    """
    chunks = _chunked(files)
    if not chunks:
        return
    done = 0
    with WorkerPool(min(workers, len(chunks)), extractor) as pool:
        for chunk, results in zip(chunks, pool.extract(chunks), strict=True):
            done += len(chunk)
            for rows in results:
                yield done, ArrowRows(rows)


def broken_rows(tree: SourceTree, extractor: str) -> ArrowRows:
    """Give the rows of what the walk could not look into."""
    rows = RowChunk()
    for file, why in tree.broken:
        add_file(rows, file, status=why.code, extractor=extractor, diagnostics=[why])
    return ArrowRows(rows.pack())


def _batches(rows: ArrowRows) -> dict[str, pa.RecordBatch]:
    return {table: rows.batch(table) for table in LAYOUT}


def _chunked(files: Sequence[FoundFile]) -> list[list[Task]]:
    """Cut a list of files into chunks of about a megabyte."""
    chunks: list[list[Task]] = []
    size = _CHUNK_BYTES
    for found in files:
        if size >= _CHUNK_BYTES:
            chunks.append([])
            size = 0
        chunks[-1].append(Task(found.location, found.file.path, found.file.module, found.file.is_package))
        size += found.size_bytes
    return chunks
