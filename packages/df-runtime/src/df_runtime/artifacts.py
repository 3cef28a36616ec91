"""What there is to keep of a session, with hashes, and where it can be kept."""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
import pyarrow as pa

from datafusion_ext import DATAFUSION_VERSION, Engine
from datafusion_ext import __version__ as _extension_version
from delta_io import Commit, Table
from df_runtime._information_schema import TABLES
from df_runtime._sanitise import fingerprint, redacted
from df_runtime.plans import PlanArtifacts
from df_runtime.runs import RunEnvelope
from schema_spec import ColumnSpec, TableSpec

if TYPE_CHECKING:
    from df_runtime._caches import Caches
    from df_runtime._observer import Observer
    from df_runtime.profile import RuntimeProfile
    from df_runtime.profile_parts import Provenance


class Artifact(msgspec.Struct, frozen=True, kw_only=True):
    """Something that was seen at one moment.

    Parameters
    ----------
    artifact_id : str
    session_id : str
    run_id : str, optional
        Of the result that it is about: the same for each of its plans, its envelope, events and spans.
    kind : str
        `catalog`, `configuration`, `caches`, `plan` or `run`.
    name : str
        Which one of its kind, such as `columns` or `physical`.
    digest : str
        Hexadecimal SHA-256 of the content: equal contents have equal ones, in every process.
    recorded_at : datetime
        In UTC.
    content : str
        A JSON document.
    """

    artifact_id: str
    session_id: str
    run_id: str | None = None
    kind: str
    name: str
    digest: str
    recorded_at: datetime
    content: str


ARTIFACTS: Final = TableSpec(
    "artifacts",
    [
        ColumnSpec("artifact_id", "string", nullable=False),
        ColumnSpec("session_id", "string", nullable=False),
        ColumnSpec("run_id", "string"),
        ColumnSpec("kind", "string", nullable=False),
        ColumnSpec("name", "string", nullable=False),
        ColumnSpec("digest", "string", nullable=False),
        ColumnSpec("recorded_at", "timestamp", nullable=False),
        ColumnSpec("content", "string", nullable=False),
    ],
    primary_key=["artifact_id"],
    comment="Artifacts of sessions.",
)


class Source(NamedTuple):
    """What artifacts are made of."""

    session_id: str
    observer: Observer
    engine: Callable[[], Engine]
    rows: Callable[[str], list[dict[str, Any]]]
    profile: RuntimeProfile
    provenance: Mapping[str, Provenance]
    caches: Caches


class Artifacts:
    """What there is to keep of a session; `Session.artifacts` makes it.

    Nothing of it holds values of queries, parameters or secrets.

    Examples
    --------
    >>> from df_runtime import SessionFactory
    >>> with SessionFactory().open() as session:
    ...     [each.name for each in session.artifacts.catalog()][:3]
    ['tables', 'columns', 'views']
    """

    def __init__(self, source: Source) -> None:
        self._source = source

    @property
    def runs(self) -> tuple[RunEnvelope, ...]:
        """The latest runs that ended, oldest first; as many as `Observability.keep_runs` says."""
        return self._source.observer.runs

    def catalog(self) -> tuple[Artifact, ...]:
        """Take a snapshot of every table of `information_schema`.

        Returns
        -------
        tuple of Artifact
            One for each table, its rows sorted.

        Raises
        ------
        MetadataOffError
            The profile switches `information_schema` off.
        """
        return tuple(self._made("catalog", name, self._sorted_rows(name)) for name in TABLES)

    def _sorted_rows(self, name: str) -> list[dict[str, Any]]:
        rows = self._source.rows(name)
        return sorted(rows, key=lambda row: msgspec.json.encode(row, order="deterministic"))

    def configuration(self) -> Artifact:
        """Take a snapshot of the profile, where its values came from, the settings and the versions.

        Returns
        -------
        Artifact
        """
        profile, engine = self._source.profile, self._source.engine()
        content = {
            "profile": msgspec.to_builtins(profile, order="deterministic"),
            "profile_hash": profile.identity_hash,
            "provenance": {name: str(where) for name, where in self._source.provenance.items()},
            "settings": engine.settings(),
            "functions": engine.functions(),
            "versions": {"datafusion": DATAFUSION_VERSION, "datafusion-ext": _extension_version},
        }
        return self._made("configuration", "session", content)

    def caches(self) -> Artifact:
        """Take a snapshot of the caches: how much they may hold, how much they do, and how often it helped.

        Returns
        -------
        Artifact
            With the plan cache of the factory, if it has one that tells.

        Examples
        --------
        >>> from df_runtime import SessionFactory
        >>> with SessionFactory().open() as session:
        ...     sorted(msgspec.json.decode(session.artifacts.caches().content))
        ['file_metadata', 'file_statistics', 'list_files']
        """
        self._source.engine()
        content = self._source.caches.figures()
        return self._made("caches", "session", content)

    def plans(self, plans: PlanArtifacts) -> tuple[Artifact, ...]:
        """Take down the plans of a query: operators and figures, without the values that they show.

        Parameters
        ----------
        plans : PlanArtifacts

        Returns
        -------
        tuple of Artifact
            The logical, the optimised and the physical plan, and how large the Substrait plan is, all with
            the run's id.
        """
        trees = {
            "logical": plans.logical_tree,
            "optimized": plans.optimized_tree,
            "physical": plans.physical_tree,
        }
        told: dict[str, dict[str, Any]] = {
            name: {"nodes": msgspec.to_builtins(tree.withheld().nodes)} for name, tree in trees.items()
        }
        # The plan itself and the reason against it may show values.
        told["substrait"] = {"size_bytes": None if plans.substrait is None else len(plans.substrait)}
        digests = plans.digests
        query = {"query_text": redacted(plans.query), "query_hash": fingerprint(plans.query)}
        return tuple(
            self._made(
                "plan",
                name,
                {**query, "plan_digest": digests.get(name), **content},
                run_id=plans.run_id,
            )
            for name, content in told.items()
        )

    def run(self, envelope: RunEnvelope) -> Artifact:
        """Take down what is told of a run.

        Parameters
        ----------
        envelope : RunEnvelope

        Returns
        -------
        Artifact
        """
        return self._made("run", "envelope", msgspec.to_builtins(envelope), run_id=envelope.run_id)

    def store(self, target: str | os.PathLike[str] | Table, artifacts: Iterable[Artifact]) -> Commit:
        """Append artifacts to a Delta table, in one commit.

        Parameters
        ----------
        target : str, PathLike or Table
            The table; it is made if there is none at the path.
        artifacts : iterable of Artifact

        Returns
        -------
        delta_io.Commit

        Raises
        ------
        delta_io.DeltaIoError
            The table cannot be made or written.
        """
        table = target if isinstance(target, Table) else _opened(os.fspath(target))
        rows = [msgspec.structs.asdict(artifact) for artifact in artifacts]
        return table.write(pa.Table.from_pylist(rows, schema=ARTIFACTS.to_arrow()))

    def _made(self, kind: str, name: str, content: object, *, run_id: str | None = None) -> Artifact:
        encoded = msgspec.json.encode(content, order="deterministic")
        return Artifact(
            artifact_id=uuid.uuid4().hex,
            session_id=self._source.session_id,
            run_id=run_id,
            kind=kind,
            name=name,
            digest=hashlib.sha256(encoded).hexdigest(),
            recorded_at=datetime.now(UTC),
            content=encoded.decode(),
        )


def _opened(uri: str) -> Table:
    return Table(uri) if Table.exists(uri) else Table.create(uri, ARTIFACTS)
