"""Where tables live: paths and URIs of every kind, one set of options, and secrets that never show."""

from __future__ import annotations

import logging
import pickle
import re
import traceback
from pathlib import Path

import pyarrow as pa
import pytest
from delta_io_s3 import running

from delta_io import (
    BloomFilter,
    ColumnPolicy,
    Consumer,
    DeltaIoError,
    MaintenancePolicy,
    OptionError,
    RetryPolicy,
    StorageError,
    StorageOptions,
    Table,
    Transaction,
    UnsupportedError,
    WritePolicy,
    clone_table,
    export_snapshot,
    migrate_parquet,
)
from delta_io.testing import bag
from schema_spec import ColumnSpec, TableSpec

SPEC = TableSpec("t", [ColumnSpec("id", "long"), ColumnSpec("p", "string")], partition_by=["p"])
DATA = pa.table({"id": [1, 2, 3], "p": ["a b", "é/%", "x[1]?#"]})


def exercise(uri, **options):
    """Let a table live at a place: log, data, change files, checkpoint and readers have to agree on it."""
    table = Table.create(uri, SPEC, **options)
    table.write(DATA)
    table.update({"p": "'u v'"}, "id = 2")
    table.delete("id = 1")
    table.checkpoint()
    table.optimize()
    table.write(pa.table({"id": [9], "p": ["a b"]}), transaction=Transaction("a", 1))
    again = Table(uri, **options)
    expected = bag([{"id": 2, "p": "u v"}, {"id": 3, "p": "x[1]?#"}, {"id": 9, "p": "a b"}])
    assert bag(again.snapshot().to_reader().read_all()) == expected
    assert bag(again.changes(-1).weighted().read_all()) == expected
    assert again.snapshot().files("p = 'u v'").candidates == 1
    assert again.transaction_version("a") == 1
    assert again.vacuum(unknown_files=True).paths == ()
    assert Table.exists(uri, storage_options=options.get("storage_options"))
    return again


NAMES = (
    "with space",
    "ünï códe",
    "a%b",
    "100%",
    "q?uery",
    "ha#sh",
    "semi;colon",
    "plus+amp&",
    "~tilde",
    "quote'x",
    'q"x',
    "star*",
    "emoji😀",
    "colon:x",
    "at@x",
    "{eq=x}",
    ".hidden",
    "<a>`b`",
)


@pytest.mark.parametrize("name", NAMES)
def test_local_paths(tmp_path, name):
    table = exercise(tmp_path / name / "t")
    assert (tmp_path / name / "t" / "_delta_log").is_dir()
    assert table.uri == str(tmp_path / name / "t")
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert bag(Table((tmp_path / name / "t").as_uri()).snapshot().to_reader().read_all()).total() == 3


@pytest.mark.parametrize(
    "name", ["a%20b", "br[ack", "brack]et", "back\\slash", "hat^", "pipe|", "new\nline", "tab\t"]
)
def test_local_paths_that_deltalake_takes_for_others(tmp_path, name):
    with pytest.raises(UnsupportedError, match="cannot hold a table"):
        Table.create(tmp_path / name / "t", SPEC)
    with pytest.raises(UnsupportedError):
        Table(tmp_path / name / "t")
    assert list(tmp_path.iterdir()) == []


def test_one_place_named_in_several_ways(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    exercise("there/../t/")
    (tmp_path / "link").symlink_to(tmp_path / "t")
    for name in (
        "t", "./t", "t/", "~/t", str(tmp_path / "t"), f"{tmp_path}//t", (tmp_path / "t").as_uri(),
        f"file:{tmp_path}/t", f"file://localhost{tmp_path}/t", f"file://{tmp_path}/t/", Path("t"),
    ):  # fmt: skip
        assert Table(name).uri == str(tmp_path / "t")
    linked = Table("link")
    assert linked.uri == str(tmp_path / "link")
    version = linked.write(DATA).version
    assert Table("t").snapshot().version == version


@pytest.mark.parametrize(
    "place", ["", b"t", None, 7, "file://data/t", "file:///t?x=1", "ftp://host/t", "nonsense://x/t"]
)
def test_what_is_no_place(place):
    with pytest.raises(OptionError):
        Table(place)


@pytest.mark.parametrize("place", ["s3://lake/q?x=1", "s3://lake/t#x", "s3://lake/br[a]ck", "az://lake/a|b"])
def test_places_that_deltalake_would_cut(place):
    with pytest.raises(UnsupportedError):
        Table.create(place, SPEC)


@pytest.fixture(scope="module")
def server():
    with running() as started:
        yield started


@pytest.mark.parametrize(
    "name", ["plain/t", "with space/t", "ünï", "a%b", "enc%3Foded", "plus+&=", "trailing/", "{x}"]
)
def test_places_of_an_object_store(server, name):
    server.fail()
    table = exercise(f"s3://lake/of/{name}", storage_options=server.options)
    assert (
        Table(f"s3a://lake/of/{name}", storage_options=server.options).snapshot().version
        == table.snapshot().version
    )


def test_two_places_are_two_tables(server):
    server.fail()
    for name in ("q", "q%3Fx", "q%23x"):
        assert not Table.exists(f"s3://lake/two/{name}", storage_options=server.options)
        exercise(f"s3://lake/two/{name}", storage_options=server.options)


# Nobody answers at these places; what is asked for shows that the options reached log and data.
ELSEWHERE = {
    "abfss://lake@account.dfs.core.windows.net/t": {
        "azure_storage_account_key": "TUFSS0VSLTVlY3JldA==", "azure_storage_endpoint": "http://127.0.0.1:9",
        "allow_http": "true",
    },
    "az://lake/t": {
        "azure_storage_account_name": "account", "azure_storage_account_key": "TUFSS0VSLTVlY3JldA==",
        "azure_storage_endpoint": "http://127.0.0.1:9", "allow_http": "true",
    },
    "gs://lake/t": {
        "google_service_account_key": '{"gcs_base_url": "http://127.0.0.1:9", "disable_oauth": true,'
        ' "client_email": "", "private_key": "", "private_key_id": "MARKER-5ecret"}',
    },
    "s3://lake/t": {
        "AWS_ACCESS_KEY_ID": "MARKER-5ecret", "AWS_SECRET_ACCESS_KEY": "MARKER-5ecret",
        "AWS_REGION": "eu-west-1", "AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_ALLOW_HTTP": "true",
    },
}  # fmt: skip
NO_PATIENCE = {"max_retries": "0", "retry_timeout": "1s", "timeout": "1s", "connect_timeout": "1s"}


@pytest.mark.parametrize("uri", ELSEWHERE)
def test_options_reach_the_log_and_the_data(uri):
    from delta_io.storage import Location

    options = ELSEWHERE[uri] | NO_PATIENCE
    for reach in (
        lambda: Table(uri, storage_options=options),
        lambda: Table.create(uri, SPEC, storage_options=options),
        lambda: Table.exists(uri, storage_options=options),
    ):
        with pytest.raises(StorageError, match=re.escape("127.0.0.1:9")) as caught:
            reach()
        assert_silent(caught.value)
    with pytest.raises(OSError, match=re.escape("127.0.0.1:9")):
        Location(uri, options).filesystem.open_input_file("part.parquet")


MARKER = re.compile("MARKER|5ecret|TUFSS0V|hunter2")


def assert_silent(error):
    """Check an error, what caused it, what it came up in, and how it is printed and stored."""
    seen, queue = [], [error]
    while queue:
        each = queue.pop()
        if each is None or each in seen:
            continue
        seen.append(each)
        queue += [each.__cause__, each.__context__]
        texts = [
            str(each),
            repr(each),
            repr(each.args),
            repr(vars(each)),
            repr(getattr(each, "__notes__", "")),
        ]
        assert not MARKER.search("".join(texts)), texts
    assert not MARKER.search("".join(traceback.format_exception(error)))
    assert not MARKER.search(repr(pickle.dumps(error)))


def test_secrets_show_nowhere(server, caplog, capfd, tmp_path):
    server.fail()
    caplog.set_level(logging.DEBUG)
    options = server.options | {
        "AWS_SECRET_ACCESS_KEY": "MARKER-5ecret",
        "AWS_SESSION_TOKEN": "hunter2-token",
    }
    policy = WritePolicy(
        retry=RetryPolicy(attempts=1), columns={"id": ColumnPolicy(bloom_filter=BloomFilter())}
    )
    uri = "s3://lake/secrets/t"
    table = Table.create(uri, SPEC, storage_options=options, policy=policy)
    commit = table.write(DATA)
    consumer = Consumer(name="x", uri=uri, app_id="y", storage_options=options)
    index = table.snapshot().files()
    for each in (
        table, table.snapshot(), table.snapshot().storage_options, StorageOptions(options), commit, index,
        table.commit_info(1), table.history(), table.changes(0), consumer, table.policy,
        MaintenancePolicy(consumers=(consumer,)), table.maintain(dry_run=True), table.vacuum(),
        export_snapshot(table.snapshot(), tmp_path / "x"), table.spec, table.snapshot().properties,
    ):  # fmt: skip
        assert not MARKER.search(f"{each!r} {each!s}")
    log = tmp_path / "log.json"
    log.write_text(str(table.snapshot().add_actions().to_pylist()))
    assert not MARKER.search(log.read_text())

    def failing(fault, way):
        server.fail({"status": 403, "count": 999} | fault)
        with pytest.raises(DeltaIoError) as caught:
            way()
        assert_silent(caught.value)
        server.fail()

    everything, log_only, data_only = {"path": ""}, {"path": "_delta_log"}, {"path": r"\.parquet"}
    failing(everything, lambda: Table(uri, storage_options=options))
    failing(everything, lambda: Table.create(f"{uri}2", SPEC, storage_options=options))
    failing(data_only, lambda: table.snapshot().to_reader().read_all())
    failing(data_only, lambda: table.changes(0).to_reader().read_all())
    failing(data_only | {"method": "PUT"}, lambda: table.write(DATA))
    failing(log_only | {"method": "PUT"}, lambda: table.merge(DATA, on="id"))
    failing(log_only, lambda: table.snapshot(0))
    failing(log_only, table.history)
    failing(log_only | {"method": "PUT"}, table.checkpoint)
    failing(log_only | {"method": "PUT"}, lambda: table.enable("deletionVectors"))
    failing(log_only | {"method": "PUT", "status": 501}, lambda: table.keep_statistics(["id"]))
    failing(everything, lambda: clone_table(table.snapshot(), f"{uri}3", shallow=True))
    failing(everything, lambda: migrate_parquet(f"{uri}4", storage_options=options))
    failing(everything, lambda: table.vacuum(dry_run=False))
    shown = capfd.readouterr()
    assert not MARKER.search(caplog.text + shown.out + shown.err)


def test_secrets_in_places_show_nowhere():
    for place in (
        "s3://user:hunter2@lake/t",
        "s3://lake/t?sig=hunter2",
        "https://account/c?sv=1&sig=hunter2",
    ):
        with pytest.raises(DeltaIoError) as caught:
            Table(place, storage_options=ELSEWHERE["s3://lake/t"] | NO_PATIENCE)
        assert_silent(caught.value)


def test_containers_show_and_passwords_do_not():
    container = "abfss://lake@account.dfs.core.windows.net/t"
    assert StorageOptions().redact(container) == container
    for place in ("s3://user:hunter2@lake/t", "s3://user@lake/t", "abfss://lake:hunter2@account/t"):
        assert "@" in StorageOptions().redact(place)
        assert not {"hunter2", "user"} & set(re.findall(r"\w+", StorageOptions().redact(place)))


def test_options_that_are_no_texts_are_refused_without_their_values():
    options = {"token": [b"MARKER"]}
    with pytest.raises(OptionError) as caught:
        StorageOptions(options)
    assert_silent(caught.value)
