"""What is told of one run of a query. Values, parameters and secrets are no part of it."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

Outcome = Literal["planned", "running", "finished", "failed", "cancelled", "abandoned"]


class Timings(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds that each phase of a run took.

    Parameters
    ----------
    gate : float
        Looking at the logs of the tables, and checking the text.
    plan : float
        Making the plan, or finding it.
    execute : float
        Waiting for the engine.
    fetch : float
        The rest of the time until the last row was taken: what the reader did between two batches.
    """

    gate: float = 0.0
    plan: float = 0.0
    execute: float = 0.0
    fetch: float = 0.0

    @property
    def total(self) -> float:
        """All phases together."""
        return self.gate + self.plan + self.execute + self.fetch


class RunDataset(msgspec.Struct, frozen=True, kw_only=True):
    """A dataset that a query reads, without what its place may hold of passwords.

    Parameters
    ----------
    name : str
        Complete name in the session.
    kind : str
        As in `DatasetIdentity`.
    uri : str
        Where it lies.
    version : int, optional
        Version of the Delta table.
    """

    name: str
    kind: str
    uri: str = ""
    version: int | None = None


class RunEnvelope(msgspec.Struct, frozen=True, kw_only=True):
    """What is told of one run.

    Parameters
    ----------
    run_id : str
        `Result.run_id`.
    execution : int
        Which run of the same result it is, counted from 1; 0 before the first.
    session_id : str
        `Session.session_id`.
    lane : str
        How the query came in: `sql`, `ibis`, or another name of `Result.lane`.
    query_hash : str
        Hexadecimal SHA-256 of the text without its literals, or of the plan where there is no text.
    query_text : str, optional
        The text with `?` for its literals; None where there is none, where it cannot be told without them, or
        where it was not wanted.
    started : datetime
        When the session was asked, in UTC.
    finished : datetime, optional
        When the run ended.
    outcome : str
        `planned` before a run, `running`, `finished`, `failed`, `cancelled`, or `abandoned`: the reader was
        dropped before the end.
    error_code : str, optional
        Code of the error.
    timings : Timings
    rows, batches, bytes : int
        What was handed out.
    bytes_scanned : int
        What was read of files.
    spills, spilled_bytes : int
        How often and how much was spilled.
    files_read, files_pruned : int
        How many files of tables were planned to be read, and how many were left out before.
    row_groups_pruned : int
        How many row groups of the files were left out.
    cache : {"off", "hit", "miss"}
        Whether a plan was looked for in a plan cache, and found.
    datasets : tuple of RunDataset
        What the query may read.
    """

    run_id: str
    execution: int = 0
    session_id: str
    lane: str
    query_hash: str
    query_text: str | None = None
    started: datetime
    finished: datetime | None = None
    outcome: Outcome
    error_code: str | None = None
    timings: Timings = Timings()
    rows: int = 0
    batches: int = 0
    bytes: int = 0
    bytes_scanned: int = 0
    spills: int = 0
    spilled_bytes: int = 0
    files_read: int = 0
    files_pruned: int = 0
    row_groups_pruned: int = 0
    cache: Literal["off", "hit", "miss"] = "off"
    datasets: tuple[RunDataset, ...] = ()

    def to_json(self) -> str:
        """Write the envelope as one line of JSON.

        Returns
        -------
        str
        """
        return msgspec.json.encode(self).decode()
