"""How protocol features are enabled, without losing those that a legacy protocol version stands for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, get_args

from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties, TableFeatures

from delta_io import _operations
from delta_io.errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from delta_io._commit import Operation
    from delta_io.features import Protocol

Feature = Literal[
    "appendOnly", "changeDataFeed", "deletionVectors", "timestampNtz", "v2Checkpoint", "variantType"
]

# deltalake names a legacy feature only if it is told to, so a table would lose it on its way to named ones.
_FEATURES: Final = {
    "appendOnly": TableFeatures.AppendOnly,
    "changeDataFeed": TableFeatures.ChangeDataFeed,
    "checkConstraints": TableFeatures.CheckConstraints,
    "columnMapping": TableFeatures.ColumnMapping,
    "deletionVectors": TableFeatures.DeletionVectors,
    "generatedColumns": TableFeatures.GeneratedColumns,
    "identityColumns": TableFeatures.IdentityColumns,
    "invariants": TableFeatures.Invariants,
    "timestampNtz": TableFeatures.TimestampWithoutTimezone,
    "v2Checkpoint": TableFeatures.V2Checkpoint,
    "variantType": TableFeatures.VariantType,
}
# Features that a property switches on, in tables of legacy protocol versions too.
_PROPERTIES: Final = {
    "appendOnly": {"delta.appendOnly": "true"},
    "changeDataFeed": {"delta.enableChangeDataFeed": "true"},
}


def enabling(feature: Feature, protocol: Protocol, properties: Mapping[str, str]) -> Operation:
    """Return the operation that enables a feature."""
    if feature not in get_args(Feature):
        raise UnsupportedError(
            f"feature {feature!r} cannot be enabled",
            "deltalake cannot write it" if str(feature) in _UNWRITABLE else "there is no such feature",
            f"Features that can be: {', '.join(get_args(Feature))}.",
        )
    wanted = _PROPERTIES.get(feature)
    if wanted is not None:
        return _nothing if wanted.items() <= properties.items() else _operations.set_properties(wanted)
    if feature in protocol.features_to_write:
        return _nothing
    names = sorted({feature, *protocol.features_to_write})
    return _operations.add_features([_FEATURES[name] for name in names if name in _FEATURES])


_UNWRITABLE: Final = frozenset(
    ("columnMapping", "identityColumns", "inCommitTimestamp", "rowTracking", "typeWidening")
)


def _nothing(handle: DeltaTable, commit: CommitProperties, hooks: PostCommitHookProperties) -> None:
    del handle, commit, hooks
