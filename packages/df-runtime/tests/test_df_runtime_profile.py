from __future__ import annotations

import os
import subprocess
import sys
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from df_runtime import ProfileError, RuntimeProfile, SessionFactory, SqlPolicy

SETTINGS = st.dictionaries(st.text(max_size=8).map("datafusion.{}".format), st.text(max_size=8), max_size=3)
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
