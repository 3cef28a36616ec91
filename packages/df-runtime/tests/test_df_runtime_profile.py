from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from datetime import timedelta

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from delta_io import FeatureError, FeaturePolicy, FeatureRules, ScanConfig, Table
from df_runtime import (
    CachePolicy,
    DatasetUnsupportedError,
    FunctionPolicy,
    Observability,
    ProfileError,
    RuntimeProfile,
    SessionFactory,
    SqlPolicy,
    UnknownFunctionError,
)
from schema_spec import ColumnSpec, TableSpec

SETTINGS = st.dictionaries(st.text(max_size=8).map("datafusion.{}".format), st.text(max_size=8), max_size=3)
NAME = st.none() | st.text(max_size=8)
NAMES = st.frozensets(st.text(max_size=8), max_size=3)
FEATURES = st.sampled_from(["columnMapping", "deletionVectors", "variantType"])
RULES = st.builds(FeatureRules, forbid=st.frozensets(FEATURES))
PROFILES = st.builds(
    RuntimeProfile,
    name=st.text(max_size=8),
    catalog=st.text(min_size=1, max_size=8),
    schema=st.text(min_size=1, max_size=8),
    target_partitions=st.none() | st.integers(1, 64),
    batch_size=st.integers(1, 10**6),
    memory_limit_bytes=st.none() | st.integers(1, 2**40),
    spill_directory=st.none() | st.text(max_size=8),
    information_schema=st.booleans(),
    normalize_identifiers=st.booleans(),
    sql_policy=st.sampled_from(["read_only", "trusted"]),
    max_result_bytes=st.none() | st.integers(1, 2**40),
    timeout=st.none() | st.timedeltas(timedelta(microseconds=1), timedelta(days=30)),
    spill_limit_bytes=st.none() | st.integers(1, 2**40),
    evolution=st.none() | st.sampled_from(["strict", "additive", "widening", "any"]),
    features=st.builds(FeaturePolicy, environment=st.text(max_size=8), read=RULES, write=RULES),
    functions=st.builds(FunctionPolicy, only=st.none() | NAMES, without=NAMES),
    caches=st.builds(CachePolicy, plans=st.booleans(), list_files_bytes=st.none() | st.integers(0, 2**40)),
    observability=st.builds(
        Observability, events=st.none() | st.text(max_size=8), keep_runs=st.integers(0, 9)
    ),
    settings=SETTINGS,
)


@given(PROFILES)
def test_a_profile_survives_toml(profile: RuntimeProfile):
    again = RuntimeProfile.from_toml(profile.to_toml())

    assert again == profile
    assert again.identity_hash == profile.identity_hash


def test_the_hash_is_the_same_in_another_process():
    code = "from df_runtime import RuntimeProfile; print(RuntimeProfile(settings={%s}).identity_hash)"
    one, two = '"datafusion.a": "1"', '"datafusion.b": "2"'
    hashes = {
        subprocess.run(
            [sys.executable, "-c", code % ", ".join(order)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed, order in (("1", (one, two)), ("2", (two, one)))
    }
    assert len(hashes) == 1


def test_the_hash_tells_shapes_apart_and_leaves_the_label_out():
    profile = RuntimeProfile()

    assert RuntimeProfile(batch_size=1024).identity_hash != profile.identity_hash
    assert RuntimeProfile(name="other").identity_hash == profile.identity_hash


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("batch_sise = 1", "Did you mean `batch_size`"),
        ("zzz = 1", "Known fields"),
        ("batch_size = 0", "at least 1"),
        ('batch_size = "many"', "batch_size"),
        ('sql_policy = "all"', "sql_policy"),
        ("timeout = 0", "longer than nothing"),
        ('timeout = "soon"', "timeout"),
        ("max_result_bytes = 0", "at least 1"),
        ("catalog = ''", "must not be empty"),
        ("[settings]\ncolour = 'red'", "datafusion."),
        ("[settings]\n'datafusion.execution.batch_size' = '7'", "the field `batch_size`"),
        ("[settings]\n'datafusion.optimizer.enable_aggregate_dynamic_filter_pushdown' = 'true'", "is fixed"),
        ("batch_size", "not TOML"),
        ("timeout = inf", "no duration"),
        ("base = 'servise'", "Did you mean 'service'"),
        ("base = 7", "name of a profile"),
        ("[caches]\nplan = true", "`caches` in the profile has no field 'plan'. Did you mean `plans`"),
        ("[caches]\n\nplans = 3", "from file the profile:3"),
        ("[features.read]\nforbit = []", "Did you mean `forbid`"),
        ("[features.read]\nforbid = ['deletionVector']", "'deletionVector'.*Did you mean deletionVectors"),
        ("[features.write]\nallow = ['nothing like it']", "There are allowColumnDefaults"),
        ("caches = 7", "caches"),
        ("[caches]\nlist_files_bytes = -1", "caches.list_files_bytes"),
    ],
)
def test_a_wrong_profile_is_refused(text: str, finding: str):
    with pytest.raises(ProfileError, match=finding) as caught:
        RuntimeProfile.from_toml(text)

    assert str(caught.value).endswith("[profile-invalid]")


def test_a_profile_is_read_from_a_file(tmp_path):
    path = tmp_path / "runtime.toml"
    path.write_text("target_partitions = 3\n", encoding="utf-8")

    assert RuntimeProfile.load(path) == RuntimeProfile(target_partitions=3)
    with pytest.raises(ProfileError, match="Cannot read"):
        RuntimeProfile.load(tmp_path / "absent.toml")


def test_a_setting_that_the_engine_does_not_know_is_refused_when_the_session_opens():
    with pytest.raises(ProfileError, match="nosuch"):
        SessionFactory(RuntimeProfile(settings={"datafusion.execution.nosuch": "1"})).open()


def test_the_profile_reaches_the_engine():
    profile = RuntimeProfile(catalog="lake", schema="raw", target_partitions=3, batch_size=17)
    with SessionFactory(profile).open() as session:
        query = "SELECT name, value FROM information_schema.df_settings"
        settings = {row["name"]: row["value"] for row in session.sql(query).to_arrow().to_pylist()}

    assert settings["datafusion.catalog.default_catalog"] == "lake"
    assert settings["datafusion.catalog.default_schema"] == "raw"
    assert settings["datafusion.execution.target_partitions"] == "3"
    assert settings["datafusion.execution.batch_size"] == "17"


def test_the_policy_of_the_profile_is_the_default():
    with SessionFactory(RuntimeProfile(sql_policy="trusted")).open() as session:
        session.sql("CREATE TABLE t AS SELECT 1 AS a")

        assert session.sql("SELECT a FROM t").to_arrow().to_pylist() == [{"a": 1}]
    assert RuntimeProfile().policy == SqlPolicy.read_only()


TOML = """\
base = "service"
# a comment
batch_size = 1024

[functions]
without = [
  "random",
]

[settings]
"datafusion.execution.time_zone" = "UTC"
"""


def test_each_value_tells_where_it_came_from(tmp_path):
    path = tmp_path / "runtime.toml"
    path.write_text(TOML, encoding="utf-8")
    environ = {"DF_RUNTIME_CACHES__PLANS": "false", "DF_RUNTIME_BATCH_SIZE": "2048", "HOME": "/root"}

    found = RuntimeProfile.resolve(path, environ=environ, target_partitions=3)

    told = {name: str(where) for name, where in found.provenance.items()}
    assert told["batch_size"] == "environment DF_RUNTIME_BATCH_SIZE"
    assert told["catalog"] == "default"
    assert told["target_partitions"] == "argument"
    assert told["timeout"] == "profile service"
    assert told["functions.without"] == f"file {path}:6"
    assert told["settings.datafusion.execution.time_zone"] == f"file {path}:11"
    assert told["caches.plans"] == "environment DF_RUNTIME_CACHES__PLANS"
    assert found.profile.batch_size == 2048
    assert found.profile.functions.without == {"random"}
    assert not found.profile.caches.plans
    assert set(found.provenance) >= set(RuntimeProfile().__struct_fields__) - {
        "caches",
        "features",
        "functions",
        "observability",
        "settings",
    }


def test_variables_hold_every_kind_of_value(tmp_path):
    path = tmp_path / "runtime.toml"
    path.write_text("memory_limit_bytes = 1000\n[settings]\n'datafusion.a' = '1'\n", encoding="utf-8")
    environ = {
        "DF_RUNTIME_FILE": str(path),
        "DF_RUNTIME_BASE": "batch",
        "DF_RUNTIME_MEMORY_LIMIT_BYTES": "",
        "DF_RUNTIME_TIMEOUT": "2.5",
        "DF_RUNTIME_FUNCTIONS__ONLY": "abs, sum",
        "DF_RUNTIME_SETTINGS": '{"datafusion.b" = "2"}',
    }

    profile = RuntimeProfile.resolve(environ=environ).profile

    assert profile.name == "batch"
    assert profile.memory_limit_bytes is None
    assert profile.timeout == timedelta(seconds=2.5)
    assert profile.functions.only == {"abs", "sum"}
    assert profile.settings == {"datafusion.a": "1", "datafusion.b": "2"}
    assert RuntimeProfile.resolve(base="test", environ=environ).profile.name == "test"


@pytest.mark.parametrize(
    ("environ", "finding"),
    [
        ({"DF_RUNTIME_BATCH_SISE": "1"}, "Did you mean DF_RUNTIME_BATCH_SIZE"),
        ({"DF_RUNTIME_BATCH_SIZE": "many"}, "'many' from environment DF_RUNTIME_BATCH_SIZE"),
        ({"DF_RUNTIME_SETTINGS": "x"}, "no TOML table"),
        ({"DF_RUNTIME_BASE": "servise"}, "Did you mean 'service'"),
        ({"DF_RUNTIME_FILE": "/no/such/file"}, "Cannot read"),
    ],
)
def test_a_wrong_variable_is_refused(environ: dict[str, str], finding: str):
    with pytest.raises(ProfileError, match=finding):
        RuntimeProfile.resolve(environ=environ)


def test_a_wrong_argument_is_refused():
    with pytest.raises(ProfileError, match="Did you mean `batch_size`"):
        RuntimeProfile.resolve(environ={}, batch_sise=1)
    with pytest.raises(ProfileError, match="no value"):
        RuntimeProfile.resolve(environ={}, batch_size=object())


@given(st.text(max_size=60) | st.binary(max_size=60).map(lambda raw: raw.decode("latin-1")))
def test_any_text_is_a_profile_or_refused(text: str):
    with contextlib.suppress(ProfileError):
        assert isinstance(RuntimeProfile.from_toml(text), RuntimeProfile)


def test_ready_made_profiles_open():
    for name in ("default", "service", "batch", "test"):
        profile = RuntimeProfile.named(name)
        assert profile.name == name
        assert RuntimeProfile.from_toml(f"base = '{name}'") == profile
        with SessionFactory(profile).open() as session:
            assert session.sql("SELECT 1 AS a").to_arrow().to_pylist() == [{"a": 1}]
    assert RuntimeProfile.named("service").policy == SqlPolicy.read_only()


def test_functions_are_taken_away():
    profile = RuntimeProfile(functions=FunctionPolicy(without=frozenset({"upper"})))
    with SessionFactory(profile).open() as session:
        assert session.sql("SELECT lower('A') AS a").to_arrow().to_pylist() == [{"a": "a"}]
        with pytest.raises(UnknownFunctionError):
            session.sql("SELECT upper('a')")
    only = RuntimeProfile(functions=FunctionPolicy(only=frozenset({"lower"})))
    with SessionFactory(only).open() as session, pytest.raises(UnknownFunctionError):
        session.sql("SELECT upper('a')")
    with pytest.raises(ProfileError, match="Did you mean 'upper'"):
        SessionFactory(RuntimeProfile(functions=FunctionPolicy(without=frozenset({"uper"})))).open()


def test_a_setting_that_is_close_to_one_is_named():
    with pytest.raises(ProfileError, match=r"Did you mean 'datafusion\.execution\.collect_statistics'"):
        SessionFactory(RuntimeProfile(settings={"datafusion.execution.colect_statistics": "true"})).open()


def test_what_only_reports_on_plans_is_no_part_of_their_identity():
    told = RuntimeProfile(observability=Observability(keep_runs=3))

    assert told.identity_hash != RuntimeProfile().identity_hash
    assert told.planning_hash == RuntimeProfile().planning_hash
    assert RuntimeProfile(batch_size=7).planning_hash != RuntimeProfile().planning_hash


def test_tables_with_forbidden_features_are_not_registered(tmp_path):
    rows = pa.table({"id": [1]})
    table = Table.create(tmp_path / "t", TableSpec.from_arrow("t", rows.schema))
    table.write(rows)
    refusing = FeaturePolicy(environment="here", read=FeatureRules(require=frozenset({"deletionVectors"})))

    with SessionFactory(RuntimeProfile(features=refusing)).open() as session:
        with pytest.raises(FeatureError, match="environment 'here' does not read"):
            session.register("t", table)
        assert session.tables() == ()


def test_a_resolution_tells_what_let_the_table_in(tmp_path):
    rows = pa.table({"id": pa.array([1], pa.int32())})
    Table.create(tmp_path / "t", TableSpec.from_arrow("t", rows.schema)).write(rows)
    wider = TableSpec("t", [ColumnSpec("id", "long")], evolution="any")
    profile = RuntimeProfile(features=FeaturePolicy(environment="here"), evolution="widening")

    with SessionFactory(profile).open() as session:
        session.register("t", Table(tmp_path / "t", spec=wider))
        told = session.resolution("t")
        assert session.sql("SELECT id FROM t").to_arrow().schema.field("id").type == pa.int64()
    assert (told.environment, told.evolution) == ("here", "widening")
    assert told.scan_identity_hash == ScanConfig().identity_hash
    assert [column.action for column in told.adapted] == ["cast"]
    assert told.files == 1
    strict = RuntimeProfile(evolution="strict")
    with SessionFactory(strict).open() as session, pytest.raises(DatasetUnsupportedError):
        session.register("t", Table(tmp_path / "t", spec=wider))
