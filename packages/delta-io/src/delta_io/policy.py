"""Policies of a table: how it is written, retried, and whether it keeps a change data feed."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Literal, get_args

from deltalake import WriterProperties
from msgspec import Struct, field

from delta_io.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Iterator

Compression = Literal["UNCOMPRESSED", "SNAPPY", "GZIP", "BROTLI", "LZ4", "ZSTD", "LZ4_RAW"]


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
    rebase_attempts : int, default 100
        Times a commit that does not conflict is placed on top of commits that came first.
    attempts : int, default 5
        Times an operation is run in all when a commit that came first changed what it had read.
    initial_backoff : timedelta, default 50 ms
        Pause before the second attempt; it doubles from there, with up to half of it taken off at random.
    max_backoff : timedelta, default 5 s
        Longest pause.
    deadline : timedelta, default 2 min
        No further attempt starts after this time.

    Examples
    --------
    >>> [round(pause.total_seconds(), 2) for pause in RetryPolicy(attempts=4).pauses(jitter=0.0)]
    [0.05, 0.1, 0.2]
    """

    rebase_attempts: int = 100
    attempts: int = 5
    initial_backoff: timedelta = timedelta(milliseconds=50)
    max_backoff: timedelta = timedelta(seconds=5)
    deadline: timedelta = timedelta(minutes=2)

    def __post_init__(self) -> None:
        if self.attempts < 1 or self.rebase_attempts < 0:
            raise OptionError(
                "a retry policy allows no attempt", f"attempts is {self.attempts}", "Allow at least one."
            )

    def pauses(self, *, jitter: float) -> Iterator[timedelta]:
        """Yield the pauses between attempts.

        Parameters
        ----------
        jitter : float
            Share of half the pause to take off, between 0 and 1.

        Yields
        ------
        timedelta
            The pause before the next attempt.
        """
        for attempt in range(self.attempts - 1):
            pause = min(self.max_backoff, self.initial_backoff * 2**attempt)
            yield pause * (1 - jitter / 2)


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
    checkpoints: bool = True
    cdf: CdfPolicy = field(default_factory=CdfPolicy)
    retry: RetryPolicy = field(default_factory=RetryPolicy)

    def __post_init__(self) -> None:
        if self.compression not in get_args(Compression):
            raise OptionError(
                f"unknown compression {self.compression!r}",
                fix=f"Use one of {', '.join(get_args(Compression))}.",
            )
        for name in ("target_file_bytes", "row_group_rows"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise OptionError(
                    f"{name} is not positive", f"it is {value}", "Leave it out for the default."
                )
        if self.compression_level is not None:
            try:
                self.writer_properties()
            except (KeyError, ValueError) as error:
                raise OptionError(
                    f"compression level {self.compression_level} cannot be used", str(error)
                ) from None

    def writer_properties(self) -> WriterProperties:
        """Return the properties of the Parquet writer.

        Returns
        -------
        deltalake.WriterProperties
            What deltalake's operations take.
        """
        return WriterProperties(
            compression=self.compression,
            compression_level=self.compression_level,
            max_row_group_size=self.row_group_rows,
        )
