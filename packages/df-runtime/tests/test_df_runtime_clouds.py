"""Delta tables in Azure Blob Storage and Google Cloud Storage, by the protocols of both."""

from __future__ import annotations

import base64
import io
import json
import urllib.request
from collections.abc import Iterator

import cloud_server
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from delta_io import Table, UnsupportedError, clone_table, migrate_parquet
from df_runtime import SessionFactory, SqlPolicy
from schema_spec import ColumnSpec, TableSpec

_MARKER = "hunter2-marker"
_ROWS = pa.table({"id": pa.array(range(40), pa.int64()), "day": ["a b", "é", "x%y", None] * 10})
_SPEC = TableSpec(
    "t", [ColumnSpec("id", "long", nullable=False), ColumnSpec("day", "string")], partition_by=["day"]
)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with cloud_server.running() as address:
        yield address


def _azure(server: str) -> tuple[str, dict[str, str]]:
    return f"abfss://lake@{cloud_server.ACCOUNT}.dfs.core.windows.net", {
        "azure_storage_account_name": cloud_server.ACCOUNT,
        "azure_storage_account_key": base64.b64encode(_MARKER.encode()).decode(),
        "azure_storage_endpoint": f"{server}/{cloud_server.ACCOUNT}",
        "allow_http": "true",
        "max_retries": "1",
    }


def _google(server: str) -> tuple[str, dict[str, str]]:
    account = {
        "gcs_base_url": server,
        "disable_oauth": True,
        "client_email": "someone@example.com",
        "private_key": _MARKER,
        "private_key_id": "one",
    }
    return "gs://lake-of-google", {
        "google_service_account_key": json.dumps(account),
        "allow_http": "true",
        "max_retries": "1",
    }


@pytest.mark.parametrize("place", [_azure, _google], ids=["azure", "google"])
def test_tables_are_written_read_changed_and_found(server: str, place) -> None:
    root, options = place(server)
    table = Table.create(f"{root}/shop/orders", _SPEC, storage_options=options)
    table.write(_ROWS)
    assert sorted(table.snapshot().to_reader().read_all()["id"].to_pylist()) == list(range(40))
    with SessionFactory().open() as session:
        session.register_catalog("shop", f"{root}/shop", storage_options=options)
        session.register("orders", table)
        query = "SELECT count(*) AS n, sum(id) AS s FROM {} WHERE day = 'x%y' AND id > 3"
        expected = [{"n": 9, "s": 198}]
        for name in ("orders", "shop.public.orders"):
            assert session.sql(query.format(name)).to_arrow().to_pylist() == expected
        assert pa.table(session.context.sql(query.format("orders"))).to_pylist() == expected
        insert = session.sql("INSERT INTO orders (id) VALUES (100)", policy=SqlPolicy.trusted())
        assert insert.to_arrow().to_pylist() == [{"count": 1}]
        changed = session.sql("SELECT id, _change_type FROM changes('orders', 1)").to_arrow().to_pylist()
        assert changed == [{"id": 100, "_change_type": "insert"}]
        artifacts = session.explain("SELECT * FROM orders WHERE id > 7")
        assert not any(value in repr(artifacts) for key, value in options.items() if key.endswith("key"))
        assert _MARKER not in repr(artifacts)


@pytest.mark.parametrize("place", [_azure, _google], ids=["azure", "google"])
def test_features_statistics_clones_and_migrations_are_committed(server: str, place) -> None:
    root, options = place(server)
    table = Table.create(f"{root}/kept/orders", _SPEC, storage_options=options)
    table.write(_ROWS)
    for feature in ("columnMapping", "deletionVectors", "v2Checkpoint"):
        assert table.enable(feature).operation == "ENABLE FEATURE"
    assert table.keep_statistics(["id"]).version == 5
    clone = clone_table(table.snapshot(), f"{root}/kept/a clone", shallow=True)
    clone.delete("id >= 20")
    bucket = f"{cloud_server.ACCOUNT}/lake" if place is _azure else "lake-of-google"
    for number, day in enumerate(("a%2520b", "x%2525y")):  # in URLs; the keys have one escape less
        file = io.BytesIO()
        pq.write_table(pa.table({"id": [number]}), file)
        url = f"{server}/{bucket}/kept/raw/day={day}/{number}.parquet"
        urllib.request.urlopen(urllib.request.Request(url, file.getvalue(), method="PUT")).close()
    copied = migrate_parquet(f"{root}/kept/raw", f"{root}/kept/copy", storage_options=options)
    in_place = migrate_parquet(f"{root}/kept/raw", storage_options=options)
    found = [
        sorted(each.snapshot().to_reader(["id"]).read_all()["id"].to_pylist()) for each in (table, clone)
    ]
    assert found == [list(range(40)), list(range(20))]
    expected = [{"id": 0, "day": "a b"}, {"id": 1, "day": "x%y"}]
    for each in (copied, in_place):
        rows = each.snapshot().to_reader().read_all().to_pylist()
        assert sorted(rows, key=lambda row: row["id"]) == expected
    with pytest.raises(UnsupportedError, match="one store"):
        clone_table(table.snapshot(), "s3://lake/clone", shallow=True)
