"""Everything that shapes a session, as data."""

from __future__ import annotations

import difflib
import hashlib
import os
from collections.abc import Mapping
from datetime import timedelta
from types import NoneType
from typing import Any, Literal

import msgspec

from delta_io import FeaturePolicy
from df_runtime import _profile_loading, _toml
from df_runtime._arguments import check_fields, expect
from df_runtime._profile_loading import Environment, Layers
from df_runtime.errors import ProfileError
from df_runtime.policy import SqlPolicy
from df_runtime.profile_parts import CachePolicy, FunctionPolicy, Observability, Provenance
from schema_spec import EvolutionPolicy


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
    spill_limit_bytes : int, optional
        Most bytes of spilled data at one time; None is the engine's default.
    information_schema : bool
        Whether `information_schema` can be queried.
    normalize_identifiers : bool
        Whether names without quotes are lower-cased, as SQL in DataFusion does.
    sql_policy : {"read_only", "trusted"}
        The policy of a query that is given none.
    max_result_bytes : int, optional
        Size of the largest result that is collected in memory without being told to; None is two gigabytes.
    timeout : timedelta, optional
        How long a query may run; None is no limit. In TOML a number of seconds, or a duration like "PT30S".
    evolution : {"strict", "additive", "widening", "any"}, optional
        The most that a table may differ from the contract that it is scanned under; a contract that admits
        less is kept to. None leaves it to the contract.
    features : delta_io.FeaturePolicy
        Which tables may be registered, by their protocol features.
    functions : FunctionPolicy
        Which functions texts may call.
    caches : CachePolicy
        What is kept between queries.
    observability : Observability
        Where runs are told of.
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
    spill_limit_bytes: int | None = None
    information_schema: bool = True
    normalize_identifiers: bool = True
    sql_policy: Literal["read_only", "trusted"] = "read_only"
    max_result_bytes: int | None = None
    timeout: timedelta | None = None
    evolution: EvolutionPolicy | None = None
    features: FeaturePolicy = FeaturePolicy()
    functions: FunctionPolicy = FunctionPolicy()
    caches: CachePolicy = CachePolicy()
    observability: Observability = Observability()
    settings: dict[str, str] = {}

    def __post_init__(self) -> None:
        check_fields(self)
        for field in _SIZES:
            value = getattr(self, field)
            if value is not None and value < 1:
                raise ProfileError(f"`{field}` must be at least 1, found {value}.")
        for part, fields in _SIZES_OF_PARTS.items():
            for field in fields:
                value = getattr(getattr(self, part), field)
                if value is not None and value < 0:
                    raise ProfileError(f"`{part}.{field}` must not be negative, found {value}.")
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
    def named(cls, name: str) -> RuntimeProfile:
        """Return a ready-made profile.

        Parameters
        ----------
        name : {"default", "service", "batch", "test"}
            `service` is for texts from elsewhere: read-only, with limits on memory, spilling, time and the
            size of results, and without functions that tell of the process. `batch` is for large work:
            batches and caches are larger, and nothing is limited. `test` gives the same rows in the same
            order everywhere: one partition, small batches, and no caches.

        Returns
        -------
        RuntimeProfile

        Raises
        ------
        ProfileError
            There is no such profile.

        Examples
        --------
        >>> RuntimeProfile.named("service").sql_policy
        'read_only'
        """
        expect("name", name, str, "the name of a ready-made profile")
        if name not in _READY_MADE:
            close = difflib.get_close_matches(name, _READY_MADE, n=1)
            hint = f"Did you mean {close[0]!r}?" if close else f"There are: {', '.join(_READY_MADE)}."
            raise ProfileError(f"There is no profile {name!r}. {hint}")
        return _READY_MADE[name]

    @classmethod
    def from_toml(cls, text: str) -> RuntimeProfile:
        """Read a profile from the text of a TOML document.

        Parameters
        ----------
        text : str
            Fields at the top level, the parts of a profile and engine settings in tables such as
            `[settings]`. `base = "service"` starts from a ready-made profile.

        Returns
        -------
        RuntimeProfile

        Raises
        ------
        ProfileError
            The text is not TOML, or a field is unknown or has the wrong type.
        """
        expect("text", text, str, "the text of a TOML document")
        return _resolved(_profile_loading.parse(text, "the profile"), environment=None, arguments={}).profile

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> RuntimeProfile:
        """Read a profile from a TOML file.

        Parameters
        ----------
        path : str or PathLike

        Returns
        -------
        RuntimeProfile

        Raises
        ------
        ProfileError
            The file cannot be read, or its content does not fit.
        """
        expect("path", path, (str, os.PathLike), "a path")
        return _resolved(_profile_loading.read_file(path), environment=None, arguments={}).profile

    @classmethod
    def resolve(
        cls,
        path: str | os.PathLike[str] | None = None,
        *,
        environ: Mapping[str, str] | None = None,
        base: str | None = None,
        **arguments: object,
    ) -> ResolvedProfile:
        """Put a profile together from a file, variables and arguments, and tell where each value came from.

        Each later one wins: the ready-made profile, the file, variables, arguments. The variable of a field
        is its name in upper case behind `DF_RUNTIME_`, with two underscores before the fields of a part:
        `DF_RUNTIME_BATCH_SIZE`, `DF_RUNTIME_CACHES__PLANS`. Lists are separated by commas, settings are
        written as a TOML table, and an empty text stands for None. `DF_RUNTIME_BASE` names a ready-made
        profile and `DF_RUNTIME_FILE` a file, where the arguments do not.

        Parameters
        ----------
        path : str or PathLike, optional
            A TOML file.
        environ : mapping of str to str, optional
            Variables; those of the process by default.
        base : {"default", "service", "batch", "test"}, optional
            The ready-made profile to start from, in place of the one that the file names.
        **arguments
            Fields.

        Returns
        -------
        ResolvedProfile

        Raises
        ------
        ProfileError
            A field, a variable or a file is unknown, or a value does not fit.

        Examples
        --------
        >>> found = RuntimeProfile.resolve(environ={"DF_RUNTIME_BATCH_SIZE": "1024"}, target_partitions=2)
        >>> found.profile.batch_size, str(found.provenance["batch_size"])
        (1024, 'environment DF_RUNTIME_BATCH_SIZE')
        """
        expect("path", path, (str, os.PathLike, NoneType), "a path")
        expect("environ", environ, (Mapping, NoneType), "a mapping of variables")
        environment = _profile_loading.Environment(environ)
        place = path if path is not None else environment.file
        named, layers = (None, Layers()) if place is None else _profile_loading.read_file(place)
        chosen = base if base is not None else environment.base or named
        return _resolved((chosen, layers), environment=environment, arguments=arguments)

    def to_toml(self) -> str:
        """Write the profile as a TOML document that `from_toml` reads back to an equal profile.

        Returns
        -------
        str
        """
        return _toml.written(_plain(self))

    @property
    def identity_hash(self) -> str:
        """Hexadecimal SHA-256 of the canonical bytes of everything that shapes a session."""
        return self._hash_without({"name"})

    @property
    def planning_hash(self) -> str:
        """As `identity_hash`, of what can shape a plan: limits of a run and reports of it do not."""
        return self._hash_without({"name", "observability", "max_result_bytes", "timeout", "caches"})

    def _hash_without(self, fields: set[str]) -> str:
        shape = {field: getattr(self, field) for field in self.__struct_fields__ if field not in fields}
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


_SIZES = ("target_partitions", "batch_size", "memory_limit_bytes", "spill_limit_bytes", "max_result_bytes")
_SIZES_OF_PARTS = {
    "caches": ("file_metadata_bytes", "file_statistics_bytes", "list_files_bytes"),
    "observability": ("keep_runs",),
}
_GIGABYTE = 1_000_000_000
_READY_MADE = {
    "default": RuntimeProfile(),
    "service": RuntimeProfile(
        name="service",
        memory_limit_bytes=_GIGABYTE,
        spill_limit_bytes=4 * _GIGABYTE,
        max_result_bytes=_GIGABYTE // 4,
        timeout=timedelta(seconds=30),
        functions=FunctionPolicy(without=frozenset({"version"})),
    ),
    "batch": RuntimeProfile(
        name="batch",
        batch_size=16_384,
        caches=CachePolicy(file_metadata_bytes=_GIGABYTE // 2),
    ),
    "test": RuntimeProfile(name="test", target_partitions=1, batch_size=1024, caches=CachePolicy.none()),
}


class ResolvedProfile(msgspec.Struct, frozen=True, kw_only=True):
    """A profile and where each of its values came from.

    Parameters
    ----------
    profile : RuntimeProfile
    provenance : dict of str to Provenance
        By field, those of a part with a dot: `batch_size`, `caches.plans`,
        `settings.datafusion.execution.time_zone`.
    """

    profile: RuntimeProfile
    provenance: dict[str, Provenance]


def _resolved(
    source: tuple[str | None, Layers], *, environment: Environment | None, arguments: Mapping[str, object]
) -> ResolvedProfile:
    base, given = source
    fields = _profile_loading.fields_of(RuntimeProfile)
    layers = Layers()
    start = _READY_MADE["default"] if base is None else RuntimeProfile.named(base)
    default = dict(_toml.leaves(_plain(_READY_MADE["default"])))
    for path, value in _toml.leaves(_plain(start)):
        of_profile = value != default.get(path)
        where = Provenance(kind="profile", name=start.name) if of_profile else Provenance(kind="default")
        layers.add(path, value, where)
    places = {provenance.name for provenance in given.provenance.values()}
    _profile_loading.check_known(given.values, fields, "".join(places))
    sources = [given] if environment is None else [given, environment.layers(fields)]
    for source_layers in sources:
        for path, value in source_layers.values.items():
            layers.add(path, value, source_layers.provenance[path])
    _profile_loading.check_known([(name,) for name in arguments], fields, "a profile")
    try:
        plain = _plain(arguments)
    except TypeError as error:
        raise ProfileError(f"An argument is no value that a profile can have: {error}.") from error
    for path, value in _toml.leaves(plain):
        layers.add(path, value, Provenance(kind="argument"))
    profile = _profile_loading.converted(layers, RuntimeProfile)
    return ResolvedProfile(
        profile=profile,
        provenance={".".join(path): provenance for path, provenance in layers.provenance.items()},
    )


def _plain(values: object) -> dict[str, Any]:
    return msgspec.to_builtins(values, order="deterministic")


def given(profile: RuntimeProfile | None) -> ResolvedProfile:
    """Take a profile as the argument that it is; the default one if there is none."""
    taken = _READY_MADE["default"] if profile is None else profile
    default = dict(_toml.leaves(_plain(_READY_MADE["default"])))
    provenance = {
        ".".join(path): Provenance(kind="argument" if value != default.get(path) else "default")
        for path, value in _toml.leaves(_plain(taken))
    }
    return ResolvedProfile(profile=taken, provenance=provenance)
