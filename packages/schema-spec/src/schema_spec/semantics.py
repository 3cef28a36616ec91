"""Semantic types in Arrow: attach, read, compare.

In Arrow a semantic type is the extension type ``schema_spec.<name>`` with empty extension metadata: the
field metadata ``ARROW:extension:name`` says it all. Parquet, IPC and Delta keep field metadata, so the
meaning survives them; a reader that has not registered the type sees the storage type and the metadata.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from schema_spec.errors import SemanticError
from schema_spec.types import EXTENSION_METADATA, EXTENSION_NAME, EXTENSION_PREFIX, SemanticType

if TYPE_CHECKING:
    import pyarrow as pa


def arrow_type(semantic: SemanticType) -> pa.ExtensionType:
    """Return the Arrow extension type of a semantic type, registered in this process.

    Parameters
    ----------
    semantic : SemanticType
        The semantic type.

    Returns
    -------
    pyarrow.ExtensionType
        The extension type over its storage.

    Examples
    --------
    >>> from schema_spec import NodeId
    >>> arrow_type(NodeId).extension_name
    'schema_spec.NodeId'
    """
    from schema_spec._arrow import semantic_arrow_type, storage_type

    return semantic_arrow_type(semantic.name, storage_type(semantic.storage))


def register_arrow_types(*semantics: SemanticType) -> None:
    """Register semantic types with pyarrow, so that it reads them as extension types.

    Every conversion to Arrow registers what it meets, and the predefined ones with it; a process that only
    reads files calls this first.

    Parameters
    ----------
    *semantics : SemanticType
        Further types to register besides the predefined ones.
    """
    from schema_spec.types import PREDEFINED

    for semantic in (*PREDEFINED.values(), *semantics):
        arrow_type(semantic)


def with_semantic(field: pa.Field[Any], semantic: SemanticType | None) -> pa.Field[Any]:
    """Attach a semantic type to an Arrow field, or take it off.

    Parameters
    ----------
    field : pyarrow.Field
        The field, of the storage type or of an extension type over it.
    semantic : SemanticType or None
        The meaning; None takes it off.

    Returns
    -------
    pyarrow.Field
        The field with the extension type.

    Raises
    ------
    SemanticError
        When the field's type is not the storage of the semantic type.
    """
    import pyarrow as pa

    from schema_spec._arrow import storage_type

    plain: Any = field.type.storage_type if isinstance(field.type, pa.BaseExtensionType) else field.type
    dropped = {EXTENSION_NAME.encode(), EXTENSION_METADATA.encode()}
    metadata = {key: value for key, value in (field.metadata or {}).items() if key not in dropped}
    field = field.with_type(plain).with_metadata(metadata)
    if semantic is None:
        return field
    if plain != storage_type(semantic.storage):
        raise SemanticError(
            f"field {field.name!r} cannot be {semantic.name}",
            f"its type is {plain}, {semantic.name} is stored as {semantic.storage.text}",
            "Cast the column first, or use another semantic type.",
            value=str(plain),
        )
    return field.with_type(arrow_type(semantic))


def semantic_of(field: pa.Field[Any]) -> SemanticType | None:
    """Return the semantic type of an Arrow field.

    Parameters
    ----------
    field : pyarrow.Field
        A field, whether its extension type is registered or only named in its metadata.

    Returns
    -------
    SemanticType or None
        The meaning, if it has one.

    Raises
    ------
    SemanticError
        When a predefined semantic type is over another storage than its own.
    """
    import pyarrow as pa

    from schema_spec._arrow import from_storage

    kind: Any = field.type
    name = (field.metadata or {}).get(EXTENSION_NAME.encode(), b"").decode(errors="replace")
    if isinstance(kind, pa.BaseExtensionType):
        name, kind = kind.extension_name, kind.storage_type
    if not name.startswith(EXTENSION_PREFIX):
        return None
    return SemanticType(name.removeprefix(EXTENSION_PREFIX), from_storage(kind))


def compatible(left: SemanticType | None, right: SemanticType | None) -> bool:
    """Tell whether values of two semantic types may be joined and compared.

    Parameters
    ----------
    left, right : SemanticType or None
        Two meanings; None is unknown and goes with everything.

    Returns
    -------
    bool
        True when they are the same, or one is unknown.

    Examples
    --------
    >>> from schema_spec import EdgeId, NodeId
    >>> compatible(NodeId, NodeId), compatible(NodeId, None), compatible(NodeId, EdgeId)
    (True, True, False)
    """
    return left is None or right is None or left == right
