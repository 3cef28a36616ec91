"""Delta tables on an S3-compatible server, scanned with the options that opened their log."""

from __future__ import annotations

import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from typing import Any

import boto3
import pyarrow as pa
import pytest

from datafusion_ext import DeltaScan, Engine
from delta_io import Table
from df_runtime import ExecutionError, SessionFactory, SqlPolicy
from schema_spec import TableSpec

_SECRET = "hunter2-marker"
_ROWS = pa.table({"id": pa.array(range(50), pa.int64()), "name": ["a", "b"] * 25})


# In a process of its own: what waits for it may hold this interpreter's lock.
_SERVER = """
import logging, time
from moto.server import ThreadedMotoServer
logging.getLogger("werkzeug").setLevel(logging.ERROR)
server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
server.start()
print("http://%s:%s" % server.get_host_and_port(), flush=True)
time.sleep(3600)
"""


@pytest.fixture(scope="module")
def options() -> Iterator[dict[str, str]]:
    process = subprocess.Popen([sys.executable, "-c", _SERVER], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    endpoint = process.stdout.readline().strip()
    for bucket in ("lake", "other"):
        urllib.request.urlopen(urllib.request.Request(f"{endpoint}/{bucket}", method="PUT")).close()
    yield {
        "AWS_ACCESS_KEY_ID": "someone",
        "AWS_SECRET_ACCESS_KEY": _SECRET,
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ALLOW_HTTP": "true",
        "AWS_REGION": "us-east-1",
        "max_retries": "1",
    }
    process.kill()
    process.communicate()


def _table(uri: str, options: dict[str, str]) -> Table:
    made = Table.create(uri, TableSpec.from_arrow("t", _ROWS.schema), storage_options=options)
    made.write(_ROWS)
    return made


def test_tables_are_read_written_and_joined(options: dict[str, str]) -> None:
    table = _table("s3://lake/orders", options)
    with SessionFactory().open() as session:
        session.register("orders", table)
        session.register("others", _table("s3://other/orders", options))
        query = "SELECT count(*) AS n FROM orders o JOIN others p ON o.id = p.id WHERE o.name = 'a'"
        assert session.sql(query).to_arrow().to_pylist() == [{"n": 25}]
        insert = session.sql(
            "INSERT INTO orders SELECT id + 50, name FROM others", policy=SqlPolicy.trusted()
        )
        assert insert.to_arrow().to_pylist() == [{"count": 50}]
        assert session.sql("SELECT max(id) AS m FROM orders").to_arrow().to_pylist() == [{"m": 99}]
        changed = session.sql("SELECT count(*) AS n FROM changes('orders', 1) WHERE id > 60").to_arrow()
        assert changed.to_pylist() == [{"n": 39}]


def test_secrets_do_not_show(options: dict[str, str]) -> None:
    table = _table("s3://lake/secret", options)
    with SessionFactory().open() as session:
        session.register("t", table)
        artifacts = session.explain("SELECT * FROM t WHERE id > 7", analyze=True)
        assert _SECRET not in repr(artifacts)
        assert _SECRET not in repr(session.resolution("t"))
        path = table.snapshot().add_actions()["path"][0].as_py()
        store: Any = boto3.client(
            "s3",
            endpoint_url=options["AWS_ENDPOINT_URL"],
            aws_access_key_id=options["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=_SECRET,
            region_name=options["AWS_REGION"],
        )
        store.delete_object(Bucket="lake", Key=f"secret/{path}")
        with pytest.raises(ExecutionError) as gone:
            session.sql("SELECT name FROM t").to_arrow()
        assert _SECRET not in str(gone.value)


def test_plan_bytes_find_their_store_by_url(options: dict[str, str]) -> None:
    table = _table("s3://lake/bytes", options)
    snapshot = table.snapshot()
    scan = DeltaScan(snapshot.uri, snapshot.schema, snapshot.add_actions(), storage_options=options)
    engine, other = Engine(), Engine()
    engine.register_delta("t", scan)
    query = engine.sql("SELECT sum(id) AS s FROM t WHERE name = 'b'")
    data = query.to_bytes()
    assert _SECRET.encode() not in data
    other.register_store("s3://lake", options)
    assert pa.table(other.query_from_bytes(data)) == pa.table(query)
