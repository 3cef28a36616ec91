"""Parts of a profile, and where its values come from."""

from __future__ import annotations

from typing import Literal

import msgspec


class FunctionPolicy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which functions texts may call. What is refused does not exist in the session.

    Parameters
    ----------
    only : frozenset of str, optional
        The only functions; all when left out.
    without : frozenset of str
        Functions that are taken away.
    python : bool
        Whether `Session.register_function` may add functions of Python. Texts that call them run them.

    Examples
    --------
    >>> policy = FunctionPolicy(without={"random", "uuid"})
    >>> sorted(policy.refused(["abs", "random", "uuid"]))
    ['random', 'uuid']
    """

    only: frozenset[str] | None = None
    without: frozenset[str] = frozenset()
    python: bool = False

    def refused(self, known: list[str]) -> frozenset[str]:
        """Return those of the known functions that texts may not call.

        Parameters
        ----------
        known : list of str

        Returns
        -------
        frozenset of str
        """
        kept = frozenset(known) if self.only is None else frozenset(self.only)
        return (frozenset(known) - kept) | (frozenset(known) & frozenset(self.without))

    def unknown(self, known: list[str]) -> frozenset[str]:
        """Return the names in the policy that are no functions.

        Parameters
        ----------
        known : list of str

        Returns
        -------
        frozenset of str
        """
        return (frozenset(self.without) | frozenset(self.only or ())) - frozenset(known)


class CachePolicy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a session keeps between queries. Sizes are in bytes; 0 switches a cache off.

    Parameters
    ----------
    plans : bool
        Whether the plan cache of the factory is used, if it has one.
    file_metadata_bytes : int, optional
        Footers and page indexes of Parquet files; the engine's default when left out, as below.
    file_statistics_bytes : int, optional
        Statistics of files that no log describes.
    list_files_bytes : int, optional
        Listings of directories.

    Examples
    --------
    >>> CachePolicy(file_metadata_bytes=256 * 1024**2).limits_bytes
    {'file_metadata': 268435456}
    """

    plans: bool = True
    file_metadata_bytes: int | None = None
    file_statistics_bytes: int | None = None
    list_files_bytes: int | None = None

    @property
    def limits_bytes(self) -> dict[str, int]:
        """The limits that differ from the engine's, by the name of the cache."""
        limits = {
            "file_metadata": self.file_metadata_bytes,
            "file_statistics": self.file_statistics_bytes,
            "list_files": self.list_files_bytes,
        }
        return {name: limit for name, limit in limits.items() if limit is not None}

    @classmethod
    def none(cls) -> CachePolicy:
        """Keep nothing.

        Returns
        -------
        CachePolicy
        """
        return cls(plans=False, file_metadata_bytes=0, file_statistics_bytes=0, list_files_bytes=0)


class Observability(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a session tells of its runs. Everything is off unless asked for, and costs nothing then.

    Python's logging needs no setting here: the logger `df_runtime.run` tells of every run at level DEBUG, of
    failed ones at WARNING.

    Parameters
    ----------
    opentelemetry : bool
        Report spans and metrics through the OpenTelemetry API, to whatever provider the process has set up.
    events : str, optional
        Path of a file to which each run is appended as one line of JSON.
    keep_runs : int
        How many finished runs `Session.artifacts` remembers.
    query_text : bool
        Whether reports carry the text of the query, its literals replaced by `?`. Its hash is always there.

    Examples
    --------
    >>> Observability(events="runs.jsonl").is_on
    True
    """

    opentelemetry: bool = False
    events: str | None = None
    keep_runs: int = 0
    query_text: bool = True

    @property
    def is_on(self) -> bool:
        """Whether anything besides logging is asked for."""
        return self.opentelemetry or self.events is not None or self.keep_runs > 0


class Provenance(msgspec.Struct, frozen=True, kw_only=True):
    """Where a value came from.

    Parameters
    ----------
    kind : {"default", "profile", "file", "environment", "argument"}
        `profile` is one of the ready-made ones.
    name : str
        Name of the ready-made profile, path of the file, or name of the variable; empty otherwise.
    line : int, optional
        Line of the file, counted from 1.
    """

    kind: Literal["default", "profile", "file", "environment", "argument"]
    name: str = ""
    line: int | None = None

    def __str__(self) -> str:
        place = self.name if self.line is None else f"{self.name}:{self.line}"
        return f"{self.kind} {place}".rstrip()
