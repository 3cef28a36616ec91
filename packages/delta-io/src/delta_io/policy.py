"""Policies of a table: how it is written, retried, and whether it keeps a change data feed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING, Final, Literal, get_args

from deltalake import BloomFilterProperties, ColumnProperties, WriterProperties
from msgspec import Struct, ValidationError, convert, field

from delta_io.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from schema_spec import TableSpec

Compression = Literal["UNCOMPRESSED", "SNAPPY", "GZIP", "BROTLI", "LZ4", "ZSTD", "LZ4_RAW"]
Encoding = Literal[
    "PLAIN", "RLE", "DELTA_BINARY_PACKED", "DELTA_LENGTH_BYTE_ARRAY", "DELTA_BYTE_ARRAY", "BYTE_STREAM_SPLIT"
]
Statistics = Literal["NONE", "CHUNK", "PAGE"]
# Values that the Parquet writer encodes at a time: more than its own 1024, with the same pages of 20,480.
_ENCODED_AT_ONCE: Final = 4096


class CdfPolicy(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whether new tables keep a change data feed.

    Parameters
    ----------
    enabled : bool, default True
        Write change files, so that the changes between two versions can be read as rows.
    """

    enabled: bool = True


class RetryPolicy(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How often and how long a commit is tried.

    Parameters
    ----------
    rebase_attempts : int, default 1000
        Times a commit that does not conflict is placed on top of commits that came first.
    attempts : int, default 5
        Times an operation is run in all: again when a commit that came first changed what it had read, and
        after a passing fault of the storage.
    initial_backoff : timedelta, default 50 ms
        Pause before the second attempt; it doubles from there, with up to half of it taken off at random.
    max_backoff : timedelta, default 5 s
        Longest pause.
    deadline : timedelta, default 2 min
        No further attempt starts after this time.

    Examples
    --------
    >>> from random import Random
    >>> pauses = RetryPolicy(attempts=4).pauses(random=Random(7))
    >>> [round(pause.total_seconds(), 2) for pause in pauses]
    [0.04, 0.09, 0.13]
    """

    rebase_attempts: int = 1000
    attempts: int = 5
    initial_backoff: timedelta = timedelta(milliseconds=50)
    max_backoff: timedelta = timedelta(seconds=5)
    deadline: timedelta = timedelta(minutes=2)

    def __post_init__(self) -> None:
        if self.attempts < 1 or self.rebase_attempts < 0:
            raise OptionError(
                "a retry policy allows no attempt", f"attempts is {self.attempts}", "Allow at least one."
            )
        if min(self.initial_backoff, self.max_backoff, self.deadline) < timedelta(0):
            raise OptionError("a retry policy has a negative time", fix="Give times from 0 on.")

    def pauses(self, *, random: Random | None = None) -> Iterator[timedelta]:
        """Yield the pauses between attempts, up to half of each taken off at random.

        Parameters
        ----------
        random : random.Random, optional
            Where chance comes from.

        Yields
        ------
        timedelta
            The pause before the next attempt.
        """
        chance = random or Random()
        for attempt in range(self.attempts - 1):
            pause = min(self.max_backoff, self.initial_backoff * 2 ** min(attempt, 40))
            yield pause * (1 - chance.random() / 2)


class BloomFilter(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A Bloom filter in each row group of a column: look-ups by equality skip row groups without the value.

    Parameters
    ----------
    fpp : float, default 0.01
        Share of false positives, between 0 and 1, both excluded.
    ndv : int, optional
        Distinct values expected in a row group; its number of rows when left out.
    """

    fpp: float = 0.01
    ndv: int | None = None

    def __post_init__(self) -> None:
        if not 0 < self.fpp < 1:
            raise OptionError(
                "a Bloom filter needs a share of false positives",
                f"fpp is {self.fpp}",
                "Give one between 0 and 1.",
            )
        if self.ndv is not None and self.ndv < 1:
            raise OptionError(
                "a Bloom filter holds no value", f"ndv is {self.ndv}", "Leave it out, or raise it."
            )


class ColumnPolicy(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How one column is written to Parquet.

    Parameters
    ----------
    encoding : str, optional
        Encoding of pages without a dictionary; the writer's choice when left out.
    dictionary : bool, optional
        Whether a dictionary is tried first; the writer's choice when left out.
    statistics : {"NONE", "CHUNK", "PAGE"}, optional
        How fine the statistics in the file are: none, per row group, per page.
    bloom_filter : BloomFilter, optional
        Write a Bloom filter.
    """

    encoding: Encoding | None = None
    dictionary: bool | None = None
    statistics: Statistics | None = None
    bloom_filter: BloomFilter | None = None

    def __post_init__(self) -> None:
        for name, allowed in (("encoding", get_args(Encoding)), ("statistics", get_args(Statistics))):
            value = getattr(self, name)
            if value is not None and value not in allowed:
                raise OptionError(f"unknown {name} {value!r}", fix=f"Use one of {', '.join(allowed)}.")
        if self.encoding is not None and self.dictionary:
            raise OptionError(
                "a column has an encoding and a dictionary",
                f"the encoding is {self.encoding}",
                "Choose one of them.",
            )

    def properties(self) -> ColumnProperties:
        """Return what the Parquet writer is told.

        Returns
        -------
        deltalake.ColumnProperties
            As deltalake's operations take it.
        """
        bloom = self.bloom_filter
        return ColumnProperties(
            dictionary_enabled=False if self.encoding is not None else self.dictionary,
            statistics_enabled=self.statistics,
            bloom_filter_properties=None
            if bloom is None
            else BloomFilterProperties(set_bloom_filter_enabled=True, fpp=bloom.fpp, ndv=bloom.ndv),
            encoding=self.encoding,
        )


class WritePolicy(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a table is written.

    Parameters
    ----------
    target_file_bytes : int, optional
        Size that data files grow to; the table's ``delta.targetFileSize`` when left out.
    row_group_rows : int, optional
        Most rows of a row group.
    compression : str, default "SNAPPY"
        Codec of the data pages.
    compression_level : int, optional
        Level, for codecs that have one.
    columns : Mapping[str, ColumnPolicy], default {}
        How single columns are written, by name; a contract's column may say ``bloom_filter`` in its metadata
        instead, as ``true`` or as an object with ``fpp`` and ``ndv``.
    statistics_columns : Sequence[str], optional
        Columns whose bounds and null counts go to the log of a table that `Table.create` makes; the first 32
        when left out.
    sort_by : Sequence[str], default ()
        Columns that a write sorts rows by, in runs of `sort_run_bytes`. Where one run holds all rows, each
        file is sorted, and the commit says so.
    z_order_by : Sequence[str], default ()
        Columns that a write orders rows by along a space-filling curve, in such runs, so that each of them
        has narrow bounds in a row group.
    sort_run_bytes : int, default 256 MiB
        Most Arrow data held in memory to be sorted.
    checkpoints : bool, default True
        Write a checkpoint when the table's interval is reached.
    cdf : CdfPolicy
        Whether new tables keep a change data feed.
    retry : RetryPolicy
        How often and how long a commit is tried.
    """

    target_file_bytes: int | None = None
    row_group_rows: int | None = None
    compression: Compression = "SNAPPY"
    compression_level: int | None = None
    columns: Mapping[str, ColumnPolicy] = {}
    statistics_columns: tuple[str, ...] | None = None
    sort_by: tuple[str, ...] = ()
    z_order_by: tuple[str, ...] = ()
    sort_run_bytes: int = 256 << 20
    checkpoints: bool = True
    cdf: CdfPolicy = field(default_factory=CdfPolicy)
    retry: RetryPolicy = field(default_factory=RetryPolicy)

    def __post_init__(self) -> None:
        if self.compression not in get_args(Compression):
            raise OptionError(
                f"unknown compression {self.compression!r}",
                fix=f"Use one of {', '.join(get_args(Compression))}.",
            )
        for name in ("target_file_bytes", "row_group_rows", "sort_run_bytes"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise OptionError(
                    f"{name} is not positive", f"it is {value}", "Leave it out for the default."
                )
        if self.sort_by and self.z_order_by:
            raise OptionError("sort_by and z_order_by are both given", fix="Choose one order.")
        if self.compression_level is not None:
            try:
                self.writer_properties()
            except (KeyError, ValueError) as error:
                raise OptionError(
                    f"compression level {self.compression_level} cannot be used", str(error)
                ) from None

    def writer_properties(
        self, contract: TableSpec | None = None, *, names: Mapping[str, str] | None = None
    ) -> WriterProperties:
        """Return the properties of the Parquet writer.

        Parameters
        ----------
        contract : TableSpec, optional
            Contract whose columns may ask for Bloom filters.
        names : Mapping[str, str], optional
            Names that columns have in the files, where they are other ones than in the table.

        Returns
        -------
        deltalake.WriterProperties
            What deltalake's operations take.
        """
        in_files = names or {}
        columns = {in_files.get(name, name): each for name, each in self.column_policies(contract).items()}
        return WriterProperties(
            compression=self.compression,
            compression_level=self.compression_level,
            max_row_group_size=self.row_group_rows,
            write_batch_size=_ENCODED_AT_ONCE,
            column_properties={name: each.properties() for name, each in columns.items()} or None,
        )

    def column_policies(self, contract: TableSpec | None = None) -> dict[str, ColumnPolicy]:
        """Return how single columns are written: what the contract asks for, overruled by `columns`.

        Parameters
        ----------
        contract : TableSpec, optional
            Contract whose columns may ask for Bloom filters.

        Returns
        -------
        dict[str, ColumnPolicy]
            Policies by column.
        """
        return {**_asked_by(contract), **self.columns}

    def asks_for_bloom_filters(self, contract: TableSpec | None = None) -> bool:
        """Tell whether some column is to have a Bloom filter.

        Parameters
        ----------
        contract : TableSpec, optional
            Contract whose columns may ask for them.

        Returns
        -------
        bool
            Whether one does, or `columns` does.
        """
        return any(each.bloom_filter is not None for each in self.column_policies(contract).values())


_BLOOM_FILTER: Final = "bloom_filter"


def _asked_by(contract: TableSpec | None) -> dict[str, ColumnPolicy]:
    """Return the policies of columns whose contract asks for a Bloom filter."""
    found: dict[str, ColumnPolicy] = {}
    for column in contract.columns if contract is not None else ():
        asked = column.metadata.get(_BLOOM_FILTER)
        if not asked:
            continue
        try:
            bloom = BloomFilter() if asked is True else convert(asked, BloomFilter)
        except ValidationError as error:
            raise OptionError(
                f"column {column.name!r} asks for a Bloom filter",
                str(error),
                'Write true, or an object such as {"fpp": 0.01, "ndv": 1000000}.',
            ) from None
        found[column.name] = ColumnPolicy(bloom_filter=bloom)
    return found
