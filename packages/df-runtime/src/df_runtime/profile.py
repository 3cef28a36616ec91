"""Everything that shapes a session, as data."""

from __future__ import annotations

import difflib
import hashlib
import tomllib
from datetime import timedelta
from pathlib import Path
from typing import Literal

import msgspec

from df_runtime.errors import ProfileError
from df_runtime.policy import SqlPolicy

_SHAPELESS = frozenset({"name"})


class RuntimeProfile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings that every session of a `SessionFactory` is opened with.

    Parameters
    ----------
    name : str
        A label for people; it does not shape sessions and is no part of `identity_hash`.
    catalog, schema : str
        Where a table name without catalog or schema lives.
    target_partitions : int, optional
        Degree of parallelism of a query; None is the number of cores.
    batch_size : int
        Rows per record batch inside the engine.
    memory_limit_bytes : int, optional
        Memory that the operators of all queries of one session may hold together; above it they spill or
        fail.
    spill_directory : str, optional
        Where operators spill; None is the system's temporary directory.
    information_schema : bool
        Whether `information_schema` can be queried.
    normalize_identifiers : bool
        Whether names without quotes are lower-cased, as SQL in DataFusion does.
    sql_policy : {"read_only", "trusted"}
        The policy of a query that is given none.
    max_result_bytes : int, optional
        Size of the largest result that is collected in memory without being told to; None is no limit.
    timeout : timedelta, optional
        How long a query may run; None is no limit. In TOML a number of seconds, or a duration like "PT30S".
    settings : dict of str to str
        Further settings of the engine (`datafusion.…`), applied before the fields above.

    Raises
    ------
    ProfileError
        A value is out of range, or a setting contradicts a field.

    Examples
    --------
    >>> profile = RuntimeProfile(target_partitions=4)
    >>> RuntimeProfile.from_toml(profile.to_toml()) == profile
    True
    """

    name: str = "default"
    catalog: str = "datafusion"
    schema: str = "public"
    target_partitions: int | None = None
    batch_size: int = 8192
    memory_limit_bytes: int | None = None
    spill_directory: str | None = None
    information_schema: bool = True
    normalize_identifiers: bool = True
    sql_policy: Literal["read_only", "trusted"] = "read_only"
    max_result_bytes: int | None = None
    timeout: timedelta | None = None
    settings: dict[str, str] = {}

    def __post_init__(self) -> None:
        for field in ("target_partitions", "batch_size", "memory_limit_bytes", "max_result_bytes"):
            value = getattr(self, field)
            if value is not None and value < 1:
                raise ProfileError(f"`{field}` must be at least 1, found {value}.")
        if self.timeout is not None and self.timeout <= timedelta(0):
            raise ProfileError(f"`timeout` must be longer than nothing, found {self.timeout}.")
        for field in ("catalog", "schema"):
            if not getattr(self, field):
                raise ProfileError(f"`{field}` must not be empty.")
        self._check_settings()

    def _check_settings(self) -> None:
        for key in self.settings:
            if not key.startswith("datafusion."):
                raise ProfileError(f"Setting {key!r} is none of the engine's: they start with `datafusion.`.")
            if key in _FIXED:
                raise ProfileError(f"Setting {key!r} is fixed at {_FIXED[key]!r}: plans run more than once.")
            field = _SETTING_OF_FIELD.get(key)
            if field is not None:
                raise ProfileError(f"Setting {key!r} is the field `{field}` of the profile; set it there.")

    @classmethod
    def from_toml(cls, text: str) -> RuntimeProfile:
        """Read a profile from the text of a TOML document.

        Parameters
        ----------
        text : str
            Fields at the top level, engine settings in a table `[settings]`.

        Returns
        -------
        RuntimeProfile

        Raises
        ------
        ProfileError
            The text is not TOML, or a field is unknown or has the wrong type.
        """
        try:
            data = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise ProfileError(f"The profile is not TOML: {error}.") from error
        unknown = [key for key in data if key not in cls.__struct_fields__]
        if unknown:
            raise ProfileError(_unknown_field(unknown[0], cls.__struct_fields__))
        if type(data.get("timeout")) in (int, float):
            data["timeout"] = timedelta(seconds=data["timeout"])
        try:
            return msgspec.convert(data, cls)
        except msgspec.ValidationError as error:
            raise ProfileError(f"The profile does not fit: {error}.") from error

    @classmethod
    def load(cls, path: str | Path) -> RuntimeProfile:
        """Read a profile from a TOML file.

        Parameters
        ----------
        path : str or Path

        Returns
        -------
        RuntimeProfile

        Raises
        ------
        ProfileError
            The file cannot be read, or its content does not fit.
        """
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ProfileError(f"Cannot read the profile {str(path)!r}: {error}.") from error
        return cls.from_toml(text)

    def to_toml(self) -> str:
        """Write the profile as a TOML document that `from_toml` reads back to an equal profile.

        Returns
        -------
        str
        """
        values = {field: getattr(self, field) for field in self.__struct_fields__ if field != "settings"}
        lines = [f"{key} = {_toml_value(value)}" for key, value in values.items() if value is not None]
        if self.settings:
            settings = sorted(self.settings.items())
            lines += ["", "[settings]", *(f"{_toml_value(k)} = {_toml_value(v)}" for k, v in settings)]
        return "\n".join(lines) + "\n"

    @property
    def identity_hash(self) -> str:
        """Hexadecimal SHA-256 of the canonical bytes of everything that shapes a session."""
        shape = {field: getattr(self, field) for field in self.__struct_fields__ if field not in _SHAPELESS}
        return hashlib.sha256(msgspec.json.encode(shape, order="deterministic")).hexdigest()

    @property
    def policy(self) -> SqlPolicy:
        """The policy that `sql_policy` names."""
        return SqlPolicy.trusted() if self.sql_policy == "trusted" else SqlPolicy.read_only()

    def engine_settings(self) -> dict[str, str]:
        """Translate the profile into settings of the engine.

        Returns
        -------
        dict of str to str
            Every setting that is not left at the engine's default.
        """
        settings = {**self.settings, **_FIXED}
        for key, field in _SETTING_OF_FIELD.items():
            value = getattr(self, field)
            if value is not None:
                settings[key] = str(value).lower() if isinstance(value, bool) else str(value)
        return settings


_SETTING_OF_FIELD = {
    "datafusion.catalog.default_catalog": "catalog",
    "datafusion.catalog.default_schema": "schema",
    "datafusion.catalog.information_schema": "information_schema",
    "datafusion.execution.batch_size": "batch_size",
    "datafusion.execution.target_partitions": "target_partitions",
    "datafusion.sql_parser.enable_ident_normalization": "normalize_identifiers",
}
# The bounds that this filter has found in one run would prune the rows of the next one: the engine resets
# all state of a plan but these.
_FIXED = {"datafusion.optimizer.enable_aggregate_dynamic_filter_pushdown": "false"}


def _unknown_field(name: str, known: tuple[str, ...]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"Did you mean `{close[0]}`?" if close else f"Known fields: {', '.join(known)}."
    return f"The profile has no field {name!r}. {hint}"


def _toml_value(value: object) -> str:
    # TOML's basic strings and JSON's strings share their escapes, apart from DEL.
    return msgspec.json.encode(value).decode().replace("\x7f", "\\u007f")
