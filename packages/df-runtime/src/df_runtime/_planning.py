"""Plans that are kept between queries, and what identifies them."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Mapping
from functools import lru_cache

import msgspec
import pyarrow as pa

from datafusion_ext import DATAFUSION_VERSION, Engine, Query
from datafusion_ext import __version__ as _extension_version
from df_runtime._caches import CACHE_FUNCTIONS
from df_runtime._lexer import canonical
from df_runtime._names import TableName
from df_runtime._references import Text
from df_runtime._resolve import Dataset, DeltaDataset, ViewDataset
from df_runtime.plans import PlanInputs, PlanStore
from df_runtime.profile import RuntimeProfile

_VERSIONS = (("datafusion", DATAFUSION_VERSION), ("datafusion-ext", _extension_version))
# The planner replaces these functions by the time at which it runs, and these tables show one session.
_OF_ITS_MOMENT = (
    *sorted(CACHE_FUNCTIONS),
    "current_date",
    "current_time",
    "current_timestamp",
    "information_schema",
    "localtime",
    "localtimestamp",
    "now",
    "show",
    "today",
)
# What a plan weighs beside its text and the file lists of its tables; measured on TPC-H, rounded up.
_PLAN_BYTES = 64 * 1024
_BYTES_PER_CHARACTER = 16
_BYTES_PER_FILE = 1024


class Planner:
    """The session's side of a plan store."""

    def __init__(self, engine: Engine, profile: RuntimeProfile, store: PlanStore | None) -> None:
        self._engine = engine
        self._profile = profile
        self._store = store
        self._environment: tuple[str, str] | None = None
        self._salt = ""

    @property
    def stores(self) -> bool:
        """Whether plans are kept at all."""
        return self._store is not None

    @property
    def environment_salt(self) -> str:
        """Changes when a statement may have changed settings, functions or tables of the engine."""
        return self._salt

    def inputs(
        self, query: str, row: pa.RecordBatch | None, scope: Mapping[TableName, Dataset]
    ) -> PlanInputs:
        """Everything that the plan of a query over these datasets depends on."""
        settings, functions = self._environment or self._read_environment()
        definitions = (d.query for d in scope.values() if isinstance(d, ViewDataset))
        types = () if row is None else tuple((field.name, str(field.type)) for field in row.schema)
        return PlanInputs(
            query=_canonical(query, normalize=self._profile.normalize_identifiers),
            parameter_types=types,
            parameter_values="" if row is None else _hash_of_values(row),
            datasets=tuple(dataset.identity(name) for name, dataset in sorted(scope.items())),
            settings=settings,
            functions=functions,
            versions=_VERSIONS,
            reusable=not self._salt
            and all(dataset.reusable for dataset in scope.values())
            and not any(map(_is_of_its_moment, (query, *definitions))),
        )

    def kept(self, inputs: PlanInputs | None) -> Query | None:
        """Take a plan of equal inputs that nobody else is using."""
        if self._store is None or inputs is None or not inputs.reusable:
            return None
        plan = self._store.take(inputs)
        return plan if isinstance(plan, Query) else None

    def keeper(
        self, inputs: PlanInputs | None, scope: Mapping[TableName, Dataset]
    ) -> Callable[[Query], None] | None:
        """Say what to do with a plan when its user is done with it."""
        store = self._store
        if store is None or inputs is None or not inputs.reusable:
            return None
        files = sum(d.scan.num_files for d in scope.values() if isinstance(d, DeltaDataset))
        size = _PLAN_BYTES + _BYTES_PER_CHARACTER * len(inputs.query) + _BYTES_PER_FILE * files
        return lambda query: store.keep(inputs, query, size_bytes=size)

    def forget_environment(self) -> None:
        """Note that a statement may have changed settings, functions or tables that no identity describes."""
        self._environment = None
        self._salt = uuid.uuid4().hex

    def _read_environment(self) -> tuple[str, str]:
        settings = _hash((self._profile.planning_hash, sorted(self._engine.settings().items()), self._salt))
        self._environment = (settings, _hash(self._engine.functions()))
        return self._environment


@lru_cache(maxsize=1024)
def _is_of_its_moment(query: str) -> bool:
    text = Text(query)
    return any(text.mentions(word) for word in _OF_ITS_MOMENT)


@lru_cache(maxsize=1024)
def _canonical(query: str, *, normalize: bool) -> str:
    return canonical(query, normalize=normalize)


def _hash(value: object) -> str:
    return hashlib.sha256(msgspec.json.encode(value, order="deterministic")).hexdigest()


def _hash_of_values(row: pa.RecordBatch) -> str:
    return hashlib.sha256(row.serialize().to_pybytes()).hexdigest()
