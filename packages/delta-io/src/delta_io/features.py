"""Protocol features: what a table asks of its readers and writers, and what an environment lets it ask."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Final, Literal

from msgspec import Struct, field

from delta_io.errors import FeatureError, OptionError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Collection

# Legacy protocol versions stand for features: https://github.com/delta-io/delta/blob/master/PROTOCOL.md
_BY_READER_VERSION: Final[dict[int, tuple[str, ...]]] = {2: ("columnMapping",)}
_BY_WRITER_VERSION: Final[dict[int, tuple[str, ...]]] = {
    2: ("appendOnly", "invariants"),
    3: ("checkConstraints",),
    4: ("changeDataFeed", "generatedColumns"),
    5: ("columnMapping",),
    6: ("identityColumns",),
}
_NAMED_READER_VERSION: Final = 3
# What deltalake writes. It refuses tables with other features only after it has written the data files.
_WRITABLE: Final = frozenset(
    (
        "appendOnly",
        "changeDataFeed",
        "checkConstraints",
        "columnMapping",
        "deletionVectors",
        "generatedColumns",
        "invariants",
        "timestampNtz",
        "v2Checkpoint",
        "variantType",
        "variantType-preview",
    )
)
_NAMED_WRITER_VERSION: Final = 7


# Of these, the log is understood; a type that cannot be shown is refused where a column of it is read.
_UNDERSTOOD: Final = frozenset(
    {
        "columnMapping",
        "deletionVectors",
        "timestampNtz",
        "typeWidening",
        "typeWidening-preview",
        "v2Checkpoint",
        "vacuumProtocolCheck",
        "variantShredding",
        "variantShredding-preview",
        "variantType",
        "variantType-preview",
    }
)

# Features of the protocol, and those that engines write ahead of it.
_NAMED: Final = frozenset(
    {
        *_UNDERSTOOD,
        *_WRITABLE,
        "allowColumnDefaults",
        "catalogManaged",
        "catalogOwned-preview",
        "checkpointProtection",
        "clustering",
        "collations-preview",
        "coordinatedCommits-preview",
        "domainMetadata",
        "geospatial",
        "icebergCompatV1",
        "icebergCompatV2",
        "icebergCompatV3",
        "icebergWriterCompatV1",
        "icebergWriterCompatV3",
        "identityColumns",
        "inCommitTimestamp",
        "inCommitTimestamp-preview",
        "managedCommits-dev",
        "materializePartitionColumns",
        "redirectReaderWriter-preview",
        "redirectWriterOnly-preview",
        "rowTracking",
        "rowTracking-preview",
    }
)

_SHREDDING: Final = frozenset({"variantShredding", "variantShredding-preview"})


class Protocol(Struct, frozen=True, kw_only=True):
    """What a table asks of its readers and writers.

    Parameters
    ----------
    min_reader_version, min_writer_version : int
        Protocol versions.
    reader_features, writer_features : frozenset[str]
        Named features, for tables that name them.

    Examples
    --------
    >>> sorted(Protocol(min_reader_version=1, min_writer_version=3).features_to_write)
    ['appendOnly', 'checkConstraints', 'invariants']
    """

    min_reader_version: int
    min_writer_version: int
    reader_features: frozenset[str] = frozenset()
    writer_features: frozenset[str] = frozenset()

    @property
    def features_to_read(self) -> frozenset[str]:
        """Features that a reader has to know: the named ones, or those that the version stands for."""
        if self.min_reader_version >= _NAMED_READER_VERSION:
            return self.reader_features
        return _legacy(_BY_READER_VERSION, self.min_reader_version)

    @property
    def features_to_write(self) -> frozenset[str]:
        """Features that a writer has to know: the named ones, or those that the version stands for."""
        if self.min_writer_version >= _NAMED_WRITER_VERSION:
            return self.writer_features
        return _legacy(_BY_WRITER_VERSION, self.min_writer_version)

    @property
    def shreds_variants(self) -> bool:
        """Whether files may hold parts of variants in columns of their own."""
        return not self.features_to_read.isdisjoint(_SHREDDING)


def unwritable(protocol: Protocol) -> str | None:
    """Return a feature that keeps a table from being written by this package, or None."""
    return min(protocol.features_to_write - _WRITABLE, default=None)


def _legacy(by_version: dict[int, tuple[str, ...]], version: int) -> frozenset[str]:
    return frozenset(name for since, names in by_version.items() if since <= version for name in names)


def check_readable(protocol: Protocol, *, table: str) -> None:
    """Refuse a table whose protocol asks its readers for more than this package knows."""
    if protocol.min_reader_version > _NAMED_READER_VERSION:
        found = f"it asks for reader version {protocol.min_reader_version}"
    elif unknown := sorted(protocol.features_to_read - _UNDERSTOOD):
        found = f"it asks readers for the feature {unknown[0]!r}"
    else:
        return
    raise UnsupportedError(f"{table!r} cannot be read", found, "Read it with an engine that knows it.")


class FeatureRules(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which features a table may ask for.

    Parameters
    ----------
    allow : Collection[str], optional
        The only features that a table may ask for; any when left out.
    require : Collection[str], default ()
        Features that a table must have.
    forbid : Collection[str], default ()
        Features that a table must not have.

    Raises
    ------
    OptionError
        A feature is required and refused, or no feature has that name.
    """

    allow: frozenset[str] | None = None
    require: frozenset[str] = frozenset()
    forbid: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        both = frozenset(self.require) & frozenset(self.forbid)
        hidden = frozenset() if self.allow is None else frozenset(self.require) - frozenset(self.allow)
        if both or hidden:
            raise OptionError(
                f"feature {min(both or hidden)!r} is required and refused",
                fix="Remove it from one of the lists.",
            )
        for name in sorted(frozenset(self.require) | frozenset(self.forbid) | frozenset(self.allow or ())):
            if name not in _NAMED:
                close = get_close_matches(name, _NAMED, n=3)
                all_of_them = f"There are {', '.join(sorted(_NAMED))}."
                fix = f"Did you mean {' or '.join(close)}?" if close else all_of_them
                raise OptionError(f"no table feature is called {name!r}", fix=fix)

    def refusal(self, features: Collection[str]) -> tuple[str, str] | None:
        """Return the first feature that breaks the rules and how, or None.

        Parameters
        ----------
        features : Collection[str]
            The features of a table.

        Returns
        -------
        tuple[str, str] or None
            The feature, and one of ``forbidden``, ``not allowed`` and ``missing``.
        """
        for name in sorted(features):
            if name in self.forbid:
                return name, "forbidden"
            if self.allow is not None and name not in self.allow:
                return name, "not allowed"
        for name in sorted(frozenset(self.require) - frozenset(features)):
            return name, "missing"
        return None


class FeaturePolicy(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which tables an environment reads and writes, by their protocol features.

    Parameters
    ----------
    environment : str, default "default"
        Name of the environment, for messages.
    read : FeatureRules
        Rules that a table has to keep to be opened.
    write : FeatureRules
        Rules that a table has to keep to be written.

    Examples
    --------
    >>> policy = FeaturePolicy(environment="duckdb readers", write=FeatureRules(forbid={"variantType"}))
    >>> plain = Protocol(min_reader_version=1, min_writer_version=2)
    >>> policy.check(plain, "write", table="orders")
    """

    environment: str = "default"
    read: FeatureRules = field(default_factory=FeatureRules)
    write: FeatureRules = field(default_factory=FeatureRules)

    def check(self, protocol: Protocol, access: Literal["read", "write"], *, table: str) -> None:
        """Refuse a table that breaks the rules.

        Parameters
        ----------
        protocol : Protocol
            What the table asks for.
        access : {"read", "write"}
            What is to be done with it.
        table : str
            Place of the table, for messages.

        Raises
        ------
        FeatureError
            When the table has a feature that it may not have, or lacks one that it must have.
        """
        rules = self.read if access == "read" else self.write
        features = protocol.features_to_read if access == "read" else protocol.features_to_write
        found = rules.refusal(features)
        if found is not None:
            name, how = found
            raise FeatureError(
                f"environment {self.environment!r} does not {access} {table!r}",
                f"feature {name!r} is {how}",
                "Enable the feature." if how == "missing" else "Change the policy, or use another table.",
            )
