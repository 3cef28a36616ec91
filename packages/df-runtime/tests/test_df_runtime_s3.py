"""Delta tables on an S3-compatible server, scanned with the options that opened their log."""

from __future__ import annotations

import subprocess
import sys
import urllib.request
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any

import boto3
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datafusion_ext import DeltaScan, Engine
from delta_io import StorageError, Table
from df_runtime import ExecutionError, Session, SessionFactory, SqlPolicy, UnknownTableError
from schema_spec import TableSpec

_SECRET = "hunter2-marker"
_ROWS = pa.table({"id": pa.array(range(50), pa.int64()), "name": ["a", "b"] * 25})


# In a process of its own: what waits for it may hold this interpreter's lock. Requests with another session
# token than the one it was started with, where they have one, are refused.
_SERVER = """
import logging, sys
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server
logging.getLogger("werkzeug").setLevel(logging.ERROR)
application = DomainDispatcherApplication(create_backend_app)
def checked(environ, start_response):
    if environ.get("HTTP_X_AMZ_SECURITY_TOKEN", sys.argv[1]) == sys.argv[1]:
        return application(environ, start_response)
    start_response("403 Forbidden", [("Content-Type", "application/xml")])
    return [b"<Error><Code>AccessDenied</Code></Error>"]
server = make_server("127.0.0.1", 0, checked, threaded=True)
print(f"http://127.0.0.1:{server.server_port}", flush=True)
server.serve_forever()
"""
_TOKEN = "the-right-token-marker"


@contextmanager
def _server() -> Generator[dict[str, str]]:
    command = [sys.executable, "-c", _SERVER, _TOKEN]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
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
        finally:
            process.kill()


@pytest.fixture(scope="module")
def options() -> Iterator[dict[str, str]]:
    with _server() as found:
        yield found


def _client(options: dict[str, str]) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=options["AWS_ENDPOINT_URL"],
        aws_access_key_id=options["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=options["AWS_SECRET_ACCESS_KEY"],
        region_name=options["AWS_REGION"],
    )


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


def test_the_environment_says_what_options_leave_out(
    options: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in options.items():
        if name.startswith("AWS_"):
            monkeypatch.setenv(name, value)
    table = _table("s3://lake/environment", {})
    with SessionFactory().open() as session:
        session.register("t", table)
        assert session.sql("SELECT count(*) AS n FROM t WHERE id > 9").to_arrow().to_pylist() == [{"n": 40}]
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "")
        monkeypatch.setenv("AWS_SESSION_TOKEN", "a-wrong-token")
        given = options | {"AWS_SESSION_TOKEN": _TOKEN}
        session.register("u", Table("s3://lake/environment", storage_options=given))
        assert session.sql("SELECT max(id) AS m FROM u").to_arrow().to_pylist() == [{"m": 49}]


def test_secrets_do_not_show(options: dict[str, str]) -> None:
    table = _table("s3://lake/secret", options)
    with SessionFactory().open() as session:
        session.register("t", table)
        artifacts = session.explain("SELECT * FROM t WHERE id > 7", analyze=True)
        assert _SECRET not in repr(artifacts)
        assert _SECRET not in repr(session.resolution("t"))
        path = table.snapshot().add_actions()["path"][0].as_py()
        _client(options).delete_object(Bucket="lake", Key=f"secret/{path}")
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


def _counts(session: Session, *tables: str) -> list[int]:
    counted = [session.sql(f"SELECT count(*) AS n FROM {table}").to_arrow() for table in tables]
    return [each["n"][0].as_py() for each in counted]


def test_a_folder_is_a_catalog(options: dict[str, str]) -> None:
    for name in ("orders", "sales/items", "Upper", "my%20table"):
        _table(f"s3://lake/shop/{name}", options)
    with SessionFactory().open() as session:
        session.register_catalog("shop", "s3://lake/shop/", storage_options=options)
        names = ("shop.public.orders", "shop.sales.items", 'shop.public."Upper"', 'shop.public."my table"')
        assert _counts(session, *names) == [50] * 4
        late = _table("s3://lake/shop/sales/late", options)
        assert _counts(session, "shop.sales.late") == [50]
        late.write(_ROWS)
        assert _counts(session, "shop.sales.late") == [100]
        listed = session.sql("SELECT table_name FROM information_schema.tables WHERE table_catalog = 'shop'")
        found = set(listed.to_arrow()["table_name"].to_pylist())
        assert {"orders", "items", "Upper", "my table", "late"} <= found
        with pytest.raises(UnknownTableError):
            session.sql("SELECT * FROM shop.public.nothing")
        assert _SECRET not in repr(session.resolution("shop.public.orders"))


def test_a_folder_in_a_store_that_cannot_be_reached_is_refused(options: dict[str, str]) -> None:
    gone = {**options, "AWS_ENDPOINT_URL": "http://127.0.0.1:1", "max_retries": "0", "retry_timeout": "1s"}
    with SessionFactory().open() as session, pytest.raises(StorageError) as refused:
        session.register_catalog("shop", "s3://lake/shop", storage_options=gone)
    assert _SECRET not in str(refused.value)


def test_one_bucket_at_two_endpoints_is_two_stores(options: dict[str, str]) -> None:
    with _server() as elsewhere:
        engine = Engine()
        for name, store, first in (("here", options, 0), ("there", elsewhere, 100)):
            # Under one path, with one size and time: nothing but the store tells the two files apart.
            rows = pa.table({"id": pa.array(range(first, first + 50), pa.int64())})
            buffer = pa.BufferOutputStream()
            pq.write_table(rows, buffer, compression="none", use_dictionary=False)
            data = buffer.getvalue().to_pybytes()
            _client(store).put_object(Bucket="lake", Key="twin/part-0.parquet", Body=data)
            files = {
                "path": ["part-0.parquet"],
                "size_bytes": [len(data)],
                "modification_time": [0],
                "num_records": [50],
            }
            scan = DeltaScan("s3://lake/twin", rows.schema, pa.table(files), storage_options=store)
            engine.register_delta(name, scan)
        for _ in range(2):
            for name, least in (("here", 0), ("there", 100)):
                found = pa.table(
                    engine.sql(f"SELECT min(id) AS m, count(*) AS n FROM {name} WHERE id >= {least}")
                )
                assert found.to_pylist() == [{"m": least, "n": 50}]
        joined = engine.sql("SELECT count(*) AS n FROM here h JOIN there t ON h.id + 100 = t.id")
        assert pa.table(joined).to_pylist() == [{"n": 50}]


def test_one_uri_at_two_endpoints_is_followed_apart(options: dict[str, str]) -> None:
    with _server() as elsewhere, SessionFactory().open() as session:
        tables = {"here": _table("s3://lake/apart", options), "there": _table("s3://lake/apart", elsewhere)}
        for name, table in tables.items():
            session.register(name, table)
        for name, counts in (("there", (50, 100)), ("here", (100, 100)), ("here", (150, 100))):
            tables[name].write(_ROWS)
            both = "SELECT (SELECT count(*) FROM here) AS here, (SELECT count(*) FROM there) AS there"
            assert tuple(session.sql(both).to_arrow().to_pylist()[0].values()) == counts


@pytest.mark.parametrize("order", [("good", "bad"), ("bad", "good")])
def test_each_table_keeps_its_own_keys(options: dict[str, str], order: tuple[str, str]) -> None:
    snapshot = _table(f"s3://lake/keys-{order[0]}", options).snapshot()
    tokens = {"good": _TOKEN, "bad": "another-token-marker"}
    engine = Engine()
    for name in order:
        keys = {**options, "AWS_SESSION_TOKEN": tokens[name]}
        scan = DeltaScan(snapshot.uri, snapshot.schema, snapshot.add_actions(), storage_options=keys)
        engine.register_delta(name, scan)
    good = engine.sql("SELECT sum(id) AS s FROM good WHERE name <> 'x'")
    assert pa.table(good).to_pylist() == [{"s": 1225}]
    with pytest.raises(pa.ArrowInvalid, match="privileges") as refused:
        pa.table(engine.sql("SELECT sum(id) AS s FROM bad WHERE name <> 'x'"))
    assert not any(token in str(refused.value) for token in tokens.values())
    assert not any(token.encode() in good.to_bytes() for token in tokens.values())


def test_contexts_of_the_datafusion_package_read_it(options: dict[str, str]) -> None:
    table = _table("s3://lake/neighbour", options)
    with SessionFactory().open() as session:
        session.register("t", table)
        session.register("c", table.changes(0))
        query = "SELECT count(*) AS n, sum(id) AS s FROM {} WHERE name = 'a' AND id > 10"
        expected = [{"n": 19, "s": 570}]
        assert pa.table(session.context.sql(query.format("t"))).to_pylist() == expected
        assert pa.table(session.context.sql(query.format("c"))).to_pylist() == expected
        result = session.dataframe(session.context.sql(query.format("t")))
        assert (result.lane.name, result.to_arrow().to_pylist()) == ("dataframe", expected)
        assert "DataSourceExec" in result.plan().physical
