"""Ctrl-C while a query runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

PROGRAM = """
    import signal
    from df_runtime import SessionFactory

    # Ignored from birth where the tests run in the background.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    millions = "generate_series(1, 1000000)"
    with SessionFactory().open() as session:
        result = session.sql(f"SELECT sum(a.value * b.value) AS s FROM {millions} a, {millions} b")
        print("started", flush=True)
        try:
            result.to_arrow()
        except KeyboardInterrupt:
            print("interrupted", flush=True)
        print(session.sql("SELECT 1 AS one").to_arrow().to_pylist(), flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT to a child process")
def test_ctrl_c_raises_and_leaves_the_session_usable():
    command = [sys.executable, "-c", textwrap.dedent(PROGRAM)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "started\n"
        time.sleep(0.5)
        os.kill(child.pid, signal.SIGINT)
        try:
            output, errors = child.communicate(timeout=30)
        finally:
            child.kill()
    assert output == "interrupted\n[{'one': 1}]\n", errors
