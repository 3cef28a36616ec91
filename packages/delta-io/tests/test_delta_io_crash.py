"""A process killed while it writes or maintains: the table opens, holds what was committed, goes on."""

from __future__ import annotations

import multiprocessing
import os
import random
import resource
import signal
import time
from contextlib import suppress

import pytest
from delta_io_crash import APP, SPEC, expected, maintain, step, work

from delta_io import StorageError, Table

FORKING = multiprocessing.get_context("forkserver")
FORKING.set_forkserver_preload(["delta_io_crash"])


def killed(uri, seed, *, seconds=None, most_bytes=None):
    """Let a process step on until it is killed after some time, or at a write of a file."""
    receiver, sender = FORKING.Pipe(duplex=False)
    process = FORKING.Process(target=work, args=(uri, seed, most_bytes, sender))
    process.start()
    sender.close()
    try:
        assert receiver.poll(60)
        receiver.recv_bytes()
        if seconds is not None:
            time.sleep(seconds)
            os.kill(process.pid, signal.SIGKILL)
        process.join(60)
        assert process.exitcode == -(signal.SIGKILL if seconds is not None else signal.SIGXFSZ)
    finally:
        process.kill()
        process.join()
        process.close()
        receiver.close()


def check(uri, before):
    """Return the last step committed, after the next one was made; the table has to hold what steps say."""
    table = Table(uri)
    found = table.transaction_version(APP)
    last = -1 if found is None else found
    assert last >= before
    assert content(table) == expected(last)
    step(table, last + 1)
    assert content(Table(uri)) == expected(last + 1)
    return last + 1


def content(table):
    return sorted((row["id"], row["v"]) for row in table.snapshot().to_reader().read_all().to_pylist())


def run(tmp_path, times, by_bytes):
    uri, chance = str(tmp_path / "t"), random.Random(times)
    last = -1
    for number in range(times):
        if last > 40:  # histories stay short, so that the model stays quick
            uri, last = str(tmp_path / f"t{number}"), -1
        if last == -1:
            Table.create(uri, SPEC)
        how = {"most_bytes": chance.randrange(64, 14_000)} if by_bytes else {"seconds": chance.random() * 0.2}
        killed(uri, number, **how)
        last = check(uri, last)
    table = Table(uri)
    for seed in range(6):
        maintain(table, random.Random(seed))
    assert content(Table(uri)) == expected(last)


@pytest.mark.parametrize("by_bytes", [False, True], ids=["at any time", "at a write"])
@pytest.mark.parametrize("times", [12, pytest.param(100, marks=pytest.mark.slow)])
def test_killed_at_any_instant(tmp_path, times, by_bytes):
    run(tmp_path, times, by_bytes)


@pytest.mark.parametrize("most_bytes", [64, 600, 1500, 5000, 12_000])
def test_a_full_disk_is_an_error_and_nothing_more(tmp_path, most_bytes):
    table = Table.create(tmp_path / "t", SPEC)
    step(table, 0)
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most))  # Python ignores the signal: writes fail
    try:
        for number in range(1, 6):
            with suppress(StorageError):
                step(table, number)
            with suppress(StorageError):
                table.checkpoint()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    steps = table.transaction_version(APP)
    assert steps == 0 or most_bytes > 1000
    found = content(Table(table.uri))
    assert len(found) > 0
    table.write(SPEC.to_arrow().empty_table())
    assert content(Table(table.uri)) == found
