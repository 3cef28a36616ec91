from __future__ import annotations

import os
import subprocess
import sys

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from df_runtime import DatasetIdentity
from plan_cache import PlanIdentity

TEXT = st.text(max_size=6)
DATASETS = st.builds(
    DatasetIdentity,
    name=TEXT,
    kind=st.sampled_from(["delta", "view"]),
    uri=TEXT,
    version=st.none() | st.integers(0, 9),
    table_id=st.none() | TEXT,
    schema_identity_hash=st.none() | TEXT,
    definition=st.none() | TEXT,
)
PAIRS = st.lists(st.tuples(TEXT, TEXT), max_size=2).map(tuple)
IDENTITIES = st.builds(
    PlanIdentity,
    query=TEXT,
    parameter_types=PAIRS,
    parameter_values=TEXT,
    datasets=st.lists(DATASETS, max_size=2).map(tuple),
    settings=TEXT,
    functions=TEXT,
    versions=PAIRS,
)


@given(IDENTITIES, IDENTITIES)
def test_digests_are_equal_when_all_parts_are(one: PlanIdentity, two: PlanIdentity):
    assert (one.digest == two.digest) == (one == two) == (not one.differing_parts(two))


@given(IDENTITIES, st.sampled_from(PlanIdentity.__struct_fields__))
def test_each_part_counts(identity: PlanIdentity, part: str):
    value = getattr(identity, part)
    changed = (*value, ("x", "y")) if isinstance(value, tuple) else value + "x"
    if part == "datasets":
        changed = (*value, DatasetIdentity(name="more", kind="delta"))
    other = msgspec.structs.replace(identity, **{part: changed})

    assert identity.differing_parts(other) == (part,)
    assert identity.digest != other.digest


def test_the_digest_is_the_same_in_every_process():
    code = (
        "from plan_cache import PlanIdentity; from df_runtime import DatasetIdentity; "
        "print(PlanIdentity(query='select 1', datasets=(DatasetIdentity(name='t', kind='delta', version=3),),"
        " versions=(('datafusion', '55'),)).digest)"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }

    assert len(digests) == 1
