"""Storage options with values from the environment."""

from __future__ import annotations

import re
from collections.abc import Mapping

from delta_io import StorageOptions
from freshlake._toml import TomlSource
from freshlake.errors import ProjectValueError

_REFERENCE = re.compile(r"\$\$\{|\$\{([^}]*)\}|\$\{")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def expand_storage(
    entries: Mapping[str, str], toml: TomlSource, environment: Mapping[str, str]
) -> StorageOptions:
    """Replace each `${NAME}` in `[storage]` from the environment; `$${` stands for `${`."""

    def expanded(key: str, found: re.Match[str]) -> str:
        if found[0] == "$${":
            return "${"
        name = found[1]
        if name is None or _VARIABLE.fullmatch(name) is None:
            message = f'storage.{key} has a "${{" that is not ${{NAME}}; write $${{ for a plain "${{".'
            raise toml.error(ProjectValueError, message, ("storage", key))
        if name not in environment:
            message = f"storage.{key} needs the environment variable {name}, which is not set."
            raise toml.error(ProjectValueError, message, ("storage", key))
        return environment[name]

    values: dict[str, str] = {}
    for key, entry in entries.items():
        values[key] = _REFERENCE.sub(lambda found, key=key: expanded(key, found), entry)
    return StorageOptions(values)


def hide_in_uris(text: str) -> str:
    """Mask the passwords of URIs in a text that belongs to no project yet."""
    return StorageOptions().redact(text)
