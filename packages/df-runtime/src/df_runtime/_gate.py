"""The one gate that every text passes on its way to the engine."""

from __future__ import annotations

import hashlib
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import partial

import msgspec
import pyarrow as pa

from datafusion_ext import Engine, EngineError
from df_runtime import _reading
from df_runtime._canonical import (
    Canonical,
    Columns,
    canonical,
    columns_of,
    result_columns,
    serialised,
    written,
)
from df_runtime._diagnosis import refusal, second_statement, too_deep
from df_runtime._dialect import ENGINE, ENGINE_WITH_CASE
from df_runtime._lexer import has_second_statement
from df_runtime._names import TableName, ascii_lower
from df_runtime._reading import Facts, Parts, Reading
from df_runtime._resolve import Dataset
from df_runtime._secrets import masked
from df_runtime.errors import (
    DfRuntimeError,
    SqlLimitError,
    SqlSyntaxError,
    SqlUnreadableError,
    SqlUnsupportedError,
)
from df_runtime.gate import GateReport
from df_runtime.policy import SqlPolicy
from df_runtime.profile import RuntimeProfile

_MOST_REPORTS = 1024
_MOST_SCHEMAS = 1024
_VIEW = "view: "
_MOST_CHARACTERS = 4_000_000
# Where planning takes seconds; the engine stops at a like number of its own.
_MOST_LEVELS = 2_000
_MOST_TABLES = 10_000
_LONGEST_REWRITTEN = 100_000
_PATH = re.compile(
    r"[/\\]|://|\.(csv|tsv|json|jsonl|ndjson|parquet|avro|arrow|ipc|orc|txt|gz|bz2|xz|zst)$", re.IGNORECASE
)
_READS_FILES = re.compile(
    r"(?!delta_(files|history)$)(read|scan|parquet|csv|json|avro|arrow|orc|iceberg|delta)_\w+"
    r"|\w+_scan|glob|pg_read\w*"
)

# The tables in scope, and what identifies the schema of each.
_Schemas = tuple[tuple[TableName, str], ...]
_Key = tuple[str, SqlPolicy, _Schemas]


class Gate:
    """Reads texts, checks them against a policy and remembers what it found.

    The engine gets the text that was checked, never one that was rewritten: SQLGlot's idea of a query may
    differ from the engine's. What must hold whatever the text looks like, which kinds of statement may run,
    the engine decides from its own parse; the gate adds what takes a tree to see.
    """

    def __init__(
        self,
        engine: Engine,
        profile: RuntimeProfile,
        diagnosed: Callable[[EngineError, str], DfRuntimeError],
    ) -> None:
        self._engine = engine
        self._diagnosed = diagnosed
        self._profile = profile
        self._dialect = ENGINE if profile.normalize_identifiers else ENGINE_WITH_CASE
        self._reports: OrderedDict[_Key, GateReport] = OrderedDict()
        self._characters = 0
        self._schemas: dict[tuple[TableName, str], Columns] = {}
        self._lock = threading.Lock()

    def check(self, query: str, policy: SqlPolicy, scope: Mapping[TableName, Dataset]) -> GateReport:
        """Let a text through, or say why not.

        Raises
        ------
        PolicyError
            The policy does not allow what stands in the text.
        MultipleStatementsError
            The text holds more than one statement.
        """
        schemas = tuple(sorted((name, _schema_key(name, dataset)) for name, dataset in scope.items()))
        key = (query, policy, schemas)
        with self._lock:
            report = self._reports.get(key)
            if report is not None:
                self._reports.move_to_end(key)
                return report
        report = self._checked(query, policy, schemas, scope)
        if report.query == query:  # others hold keys of a store
            self._remember(key, report)
        return report

    def _remember(self, key: _Key, report: GateReport) -> None:
        with self._lock:
            if key not in self._reports:
                self._characters += len(report.query) + len(report.canonical or "")
            self._reports[key] = report
            while len(self._reports) > _MOST_REPORTS or self._characters > _MOST_CHARACTERS:
                _, dropped = self._reports.popitem(last=False)
                self._characters -= len(dropped.query) + len(dropped.canonical or "")

    def _checked(
        self, query: str, policy: SqlPolicy, schemas: _Schemas, scope: Mapping[TableName, Dataset]
    ) -> GateReport:
        if len(query) > policy.max_characters:
            raise SqlLimitError(
                f"The text has {len(query):,} characters; the policy allows {policy.max_characters:,}. "
                "Shorten it, or register its values as a table.",
                query=query,
            )
        reading = _reading.read(query, self._dialect)
        if reading.second is not None and (second := has_second_statement(query)):
            raise second_statement(query, second)
        if reading.problem is not None and not policy.unread:
            self._refuse_unread(query, reading.problem)
        if reading.facts is not None:
            _refuse_what_cannot_be_planned(query, reading.facts)
        self._enforce(query, reading, policy, scope)
        return self._report(query, reading, policy, schemas)

    def _refuse_unread(self, query: str, problem: str) -> None:
        """Let the engine say what is wrong with a text, or refuse it where the engine sees nothing wrong."""
        try:
            self._engine.sql(query)
        except EngineError as error:
            found = self._diagnosed(error, query)
            # The engine's parser gives up on some deep texts as if they were wrong.
            is_deep = problem == _reading.TOO_DEEP and isinstance(found, SqlSyntaxError)
            raise (too_deep(query) if is_deep else found) from error
        raise SqlUnreadableError(
            f"The gate cannot read this text, though the engine can: {problem}. Write it in other words, or "
            "pass `policy=SqlPolicy.trusted()` if it comes from a source that may do anything.",
            query=query,
        )

    def _enforce(
        self, query: str, reading: Reading, policy: SqlPolicy, scope: Mapping[TableName, Dataset]
    ) -> None:
        """Refuse what the tree shows; the engine refuses kinds of statement by itself."""
        if reading.external and not policy.files:
            raise refusal(query, "Statements that read or write files are not allowed here")
        facts = reading.facts
        if facts is None:
            return
        if facts.writes and not policy.dml:
            raise refusal(query, "Statements that write data are not allowed here")
        if facts.defines and not policy.ddl:
            raise refusal(query, "Statements that define things are not allowed here")
        for name in sorted(facts.functions.intersection(policy.denied_functions)):
            raise refusal(query, f"The function {name} is not allowed here", name)
        if not policy.files:
            _refuse_files(query, facts, scope)

    def _report(self, query: str, reading: Reading, policy: SqlPolicy, schemas: _Schemas) -> GateReport:
        facts = reading.facts
        plain = self._plain(reading, len(query))
        rewritten = self._canonical(query, reading, schemas)
        columns = () if rewritten.tree is None else result_columns(rewritten.tree)
        text, loss = (None, None) if rewritten.tree is None else written(rewritten.tree, self._dialect)
        return GateReport(
            query=masked(query) if reading.external else query,
            kind=reading.kind,
            lane="checked" if reading.problem is None else "passed",
            canonical=text,
            tables=() if facts is None else self._names(facts.tables),
            functions=() if facts is None else tuple(sorted(facts.functions)),
            parameters=() if facts is None else tuple(sorted(facts.parameters)),
            columns=columns,
            notes=tuple(note for note in (reading.problem, rewritten.problem, loss) if note),
            policy_hash=policy.identity_hash,
            schema_hash=_hash(schemas),
            _plain=plain,
            _dump=partial(self._dumped, query, schemas),
        )

    def _plain(self, reading: Reading, length: int) -> str | None:
        """Write what can't be rewritten in one way, whatever its words looked like."""
        facts = reading.facts
        kept = reading.implicit_select or (facts is not None and facts.star_over_join)
        if reading.tree is None or not kept or length > _LONGEST_REWRITTEN:
            return None
        return written(reading.tree.copy(), self._dialect)[0]

    def _canonical(self, query: str, reading: Reading, schemas: _Schemas) -> Canonical:
        if reading.tree is None or reading.facts is None:
            return Canonical()
        if reading.implicit_select:
            return Canonical(problem="a FROM without SELECT has no columns in the engine")
        if reading.facts.star_over_join:
            return Canonical(problem="its `*` leaves out columns of a join, which a list would not")
        if len(query) > _LONGEST_REWRITTEN:
            return Canonical(problem=f"it is longer than {_LONGEST_REWRITTEN:,} characters")
        columns = {name: self._columns(name, key) for name, key in schemas}
        profile = self._profile
        return canonical(reading.tree, columns, self._dialect, catalog=profile.catalog, schema=profile.schema)

    def _columns(self, name: TableName, key: str) -> Columns:
        with self._lock:
            if (name, key) in self._schemas:
                return self._schemas[name, key]
        try:
            columns = columns_of(pa.schema(self._engine.schema(name.quoted())))
        except EngineError:  # a view whose table is gone: the engine says so when it plans
            return {}
        if key.startswith(_VIEW):
            return columns
        with self._lock:
            while len(self._schemas) >= _MOST_SCHEMAS:
                del self._schemas[next(iter(self._schemas))]
            self._schemas[name, key] = columns
        return columns

    def _names(self, tables: tuple[Parts, ...]) -> tuple[str, ...]:
        catalog, schema = self._profile.catalog, self._profile.schema
        names: set[str] = set()
        for parts in tables:
            stored = [part if quoted else self._dialect_name(part) for part, quoted in parts]
            complete = TableName(*[catalog, schema][: 3 - len(stored)], *stored[-3:])
            names.add(complete.relative(catalog=catalog, schema=schema))
        return tuple(sorted(names))

    def _dialect_name(self, part: str) -> str:
        return ascii_lower(part) if self._profile.normalize_identifiers else part

    def _dumped(self, query: str, schemas: _Schemas) -> str | None:
        found = self._canonical(query, _reading.read(query, self._dialect), schemas)
        return None if found.tree is None else serialised(found.tree)


def _refuse_what_cannot_be_planned(query: str, facts: Facts) -> None:
    if facts.depth > _MOST_LEVELS:
        raise SqlLimitError(
            f"The text is nested or chained {facts.depth:,} levels deep; {_MOST_LEVELS:,} can be planned. "
            "Use IN, or register a table of values and join it.",
            query=query,
        )
    if facts.unfolded > _MOST_TABLES:
        raise SqlLimitError(
            f"WITH queries that name others more than once read over {_MOST_TABLES:,} tables when they are "
            "unfolded, which takes too long to plan. Register what is needed twice as a table.",
            query=query,
        )
    if facts.counts_copies:
        # DataFusion plans them as joins that look whether a row is on the other side, and not how often.
        raise SqlUnsupportedError(
            "EXCEPT ALL and INTERSECT ALL do not count copies in this engine: the answer would be wrong. "
            "Number the copies on both sides with row_number() and leave ALL out.",
            query=query,
        )
    if facts.samples:
        raise SqlUnsupportedError(
            "TABLESAMPLE is passed over by this engine: all rows would come. Write WHERE random() < 0.1.",
            query=query,
        )


def _refuse_files(query: str, facts: Facts, scope: Mapping[TableName, Dataset]) -> None:
    for name in sorted(facts.table_functions):
        if _READS_FILES.fullmatch(name):
            raise refusal(query, f"The function {name} reads files, which is not allowed here", name)
    known = {name.table for name in scope}
    for parts in facts.tables:
        text = ".".join(part for part, _ in parts)
        if _PATH.search(text) and known.isdisjoint({parts[-1][0], text}):
            what = f"{text!r} names a file or URL, and reading those is not allowed here"
            raise refusal(query, what, parts[-1][0])


def _schema_key(name: TableName, dataset: Dataset) -> str:
    identity = dataset.identity(name)
    if identity.definition is not None:
        return _VIEW + identity.definition
    return identity.schema_identity_hash or identity.uri


def _hash(value: object) -> str:
    return hashlib.sha256(msgspec.json.encode(value)).hexdigest()
