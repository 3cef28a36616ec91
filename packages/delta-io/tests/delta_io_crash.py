"""A writer that is killed: what it does, and what the table has to hold after any number of its steps."""

from __future__ import annotations

import contextlib
import random
import resource
import signal
from datetime import timedelta

import pyarrow as pa

from delta_io import MaintenancePolicy, Table, Transaction
from schema_spec import ColumnSpec, TableSpec

APP = "crash"
SPEC = TableSpec("t", [ColumnSpec("id", "long"), ColumnSpec("v", "long")])
NOW = {"retention": timedelta(0), "dry_run": False}


def rows(ids, value):
    return pa.table({"id": pa.array(ids, pa.int64()), "v": pa.array([value] * len(ids), pa.int64())})


def step(table, number):
    """Commit a step, which its number says all of."""
    once = {"transaction": Transaction(APP, number), "metadata": {"padding": "x" * (number * 997 % 7000)}}
    base = number - number % 5
    match number % 5:
        case 0:
            table.write(rows(range(base * 10, base * 10 + 500), number).to_reader(), **once)
        case 1:
            table.merge(rows(range(base * 10 + 2, base * 10 + 9), number), on="id", **once)
        case 2:
            table.delete(f"id = {base * 10} OR (id >= {base * 10 + 50} AND id < {base * 10 + 490})", **once)
        case 3:
            table.update({"v": "v + 1"}, f"id >= {base * 10 - 100}", **once)
        case _:
            one = base * 10 + 1
            table.write(rows([one, one], number), mode="overwrite", predicate=f"id = {one}", **once)


def expected(last):
    """Return the rows, as a sorted list of id and value, after the steps up to one."""
    held = []
    for number in range(last + 1):
        base = (number - number % 5) * 10
        match number % 5:
            case 0:
                held += [(each, number) for each in range(base, base + 500)]
            case 1:
                came = range(base + 2, base + 9)
                inserted = [(each, number) for each in came if all(each != known for known, _ in held)]
                held = [(known, number if known in came else v) for known, v in held] + inserted
            case 2:
                held = [(i, v) for i, v in held if i != base and not base + 50 <= i < base + 490]
            case 3:
                held = [(i, v + (i >= base - 100)) for i, v in held]
            case _:
                held = [(i, v) for i, v in held if i != base + 1] + [(base + 1, number)] * 2
    return sorted(held)


def maintain(table, chance):
    match chance.randrange(6):
        case 0:
            table.checkpoint()
        case 1:
            table.optimize()
        case 2:
            table.maintain(
                MaintenancePolicy(small_files=2, checkpoint_interval=3, log_retention=timedelta(0))
            )
        case 3:
            table.vacuum(unknown_files=True, allow_short_retention=True, **NOW)
        case 4:
            table.clean_log(**NOW)
        case _:
            pass


def work(uri, seed, most_bytes, started):
    """Step on until killed; with a number of bytes, by the first write of a file beyond it."""
    table = Table(uri)
    chance = random.Random(seed)
    applied = table.transaction_version(APP)
    number = 0 if applied is None else applied + 1
    if most_bytes is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))
    with contextlib.suppress(BrokenPipeError):
        started.send_bytes(b"")
    while True:
        step(table, number)
        number += 1
        maintain(table, chance)
