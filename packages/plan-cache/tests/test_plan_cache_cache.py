from __future__ import annotations

import gc
import threading
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from df_runtime import PlanInputs, RuntimeProfile, SessionFactory, SqlPolicy
from df_runtime.testing import delta_table
from plan_cache import PlanCache, PlanCacheLimitError

KIB = 1024


def inputs(query: str) -> PlanInputs:
    return PlanInputs(query=query)


def rows(session, query, **options):
    return session.sql(query, **options).to_arrow().to_pylist()


@pytest.fixture
def cache():
    return PlanCache()


@pytest.fixture
def session(cache):
    with SessionFactory(plan_cache=cache).open() as opened:
        yield opened


@pytest.fixture
def table(tmp_path: Path):
    return delta_table(tmp_path / "orders", {"id": [1, 2]})


COUNT = "SELECT count(*) AS n FROM orders"


def test_a_plan_is_reused(session, cache, table):
    session.register("orders", table)

    for _ in range(3):
        assert rows(session, COUNT) == [{"n": 2}]
    assert (cache.stats().hits, cache.stats().misses, cache.stats().entries) == (2, 1, 1)


def test_a_text_that_means_the_same_reuses_the_plan(session, cache, table):
    session.register("orders", table)
    rows(session, COUNT)

    rows(session, "select  COUNT(*)\n as N from Orders;")
    assert cache.stats().hits == 1


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("SELECT 'a  b' AS x", "SELECT 'a b' AS x"),
        ("SELECT 'A' AS x", "SELECT 'a' AS x"),
        ('SELECT 1 AS "X"', 'SELECT 1 AS "x"'),
        ("SELECT 1 AS x", "SELECT 1 AS x -- , 2 AS y"),
        ("SELECT 4-1 AS x", "SELECT 4 --1 AS x"),
        ("SELECT E'\\n' AS x", "SELECT '\\n' AS x"),
        ("SELECT 10 AS x", "SELECT 1 AS x"),
    ],
)
def test_texts_that_mean_something_else_do_not(session, one, two):
    with SessionFactory().open() as plain:
        for query in (one, two, one, two):
            assert rows(session, query) == rows(plain, query)
            assert session.sql(query).schema == plain.sql(query).schema


def test_a_new_version_gets_a_new_plan(session, cache, table):
    session.register("orders", table)
    rows(session, COUNT)
    table.write(session.sql("SELECT CAST(3 AS BIGINT) AS id").to_reader())

    miss = cache.explain_miss(COUNT, session)
    assert miss.code == "changed"
    assert [difference.part for difference in miss.differences] == ['datasets."datafusion"."public"."orders"']
    assert "version 1" in miss.differences[0].kept
    assert "version 2" in miss.differences[0].wanted
    assert rows(session, COUNT) == [{"n": 3}]
    assert cache.explain_miss(COUNT, session).code == "hit"


def test_a_redefined_view_gets_a_new_plan(session, table):
    session.register("orders", table)
    session.register("low", "SELECT id FROM orders WHERE id < 2")
    session.register("v", "SELECT id FROM low")
    assert rows(session, "SELECT id FROM v") == [{"id": 1}]

    session.register("low", "SELECT id FROM orders WHERE id >= 2")
    assert rows(session, "SELECT id FROM v") == [{"id": 2}]


def test_values_of_parameters_are_told_apart(session, cache, table):
    session.register("orders", table)
    query = "SELECT id FROM orders WHERE id = $id"

    for number in (1, 2, 1, 2):
        assert rows(session, query, params={"id": number}) == [{"id": number}]
    assert cache.stats().hits == 2


def test_sessions_of_a_factory_share_plans_and_other_settings_do_not(cache, table):
    factory = SessionFactory(plan_cache=cache)
    for _ in range(2):
        with factory.open() as session:
            session.register("orders", table)
            assert rows(session, COUNT) == [{"n": 2}]
    assert cache.stats().hits == 1

    with SessionFactory(RuntimeProfile(batch_size=100), plan_cache=cache).open() as session:
        session.register("orders", table)
        assert cache.explain_miss(COUNT, session).differences[0].part == "settings"
        assert rows(session, COUNT) == [{"n": 2}]
    assert cache.stats().hits == 1


def test_an_ephemeral_session_leaves_the_cache_alone(cache):
    with SessionFactory(plan_cache=cache).ephemeral() as session:
        rows(session, "SELECT 1 AS one")

    assert cache.stats() == PlanCache().stats()


@pytest.mark.parametrize(
    "query", ["SELECT now()::varchar AS t", "SELECT current_timestamp::varchar AS t", "SHOW TABLES"]
)
def test_what_depends_on_the_moment_is_not_kept(session, cache, query):
    rows(session, query)

    assert cache.stats().entries == 0
    assert cache.explain_miss(query, session).code == "not-reusable"


def test_a_view_that_reads_the_clock_is_not_kept(session):
    session.register("clock", "SELECT now()::varchar AS t")

    assert rows(session, "SELECT t FROM clock") != rows(session, "SELECT t FROM clock")


def test_data_in_memory_is_not_kept(session, cache):
    session.register("t", session.sql("SELECT 1 AS a"))
    assert rows(session, "SELECT a FROM t") == [{"a": 1}]
    session.register("t", session.sql("SELECT 2 AS a"))
    assert rows(session, "SELECT a FROM t") == [{"a": 2}]

    assert cache.explain_miss("SELECT a FROM t", session).code == "not-reusable"


def test_statements_that_change_the_session_part_it_from_kept_plans(session, cache):
    trusted = SqlPolicy.trusted()
    session.sql("CREATE TABLE t AS SELECT 1 AS a", policy=trusted)
    assert rows(session, "SELECT a FROM t") == [{"a": 1}]
    session.sql("CREATE OR REPLACE TABLE t AS SELECT 2 AS a", policy=trusted)
    assert rows(session, "SELECT a FROM t") == [{"a": 2}]


def test_a_plan_in_use_is_not_shared(session, cache):
    query = "SELECT value FROM generate_series(1, 3)"
    first, second = session.sql(query), session.sql(query)
    assert cache.explain_miss(query, session).code == "never-seen"

    first.cancel()
    assert second.to_arrow().num_rows == 3
    del first, second
    gc.collect()
    assert cache.stats().entries == 2

    taken = [session.sql(query), session.sql(query)]
    assert cache.stats().hits == 2
    assert cache.explain_miss(query, session).code == "in-use"
    assert [result.to_arrow().num_rows for result in taken] == [3, 3]


def test_a_stream_that_left_keeps_its_plan(session, cache):
    query = "SELECT value FROM generate_series(1, 3)"
    reader = session.sql(query).to_reader()
    gc.collect()
    assert cache.stats().entries == 0

    session.sql(query).cancel()
    assert reader.read_all().num_rows == 3


def test_the_least_recently_used_goes_first():
    cache = PlanCache(entries=2)
    for name in "abc":
        cache.keep(inputs(name), name, size_bytes=1)

    assert [cache.take(inputs(name)) for name in "abc"] == [None, "b", "c"]
    assert cache.stats().evicted == 1


def test_a_plan_larger_than_the_cache_is_not_kept():
    cache = PlanCache(memory_bytes=KIB)
    cache.keep(inputs("a"), "a", size_bytes=KIB)
    cache.keep(inputs("b"), "b", size_bytes=KIB + 1)

    assert (cache.take(inputs("b")), cache.take(inputs("a"))) == (None, "a")


def test_an_evicted_plan_is_told_from_one_never_seen():
    cache = PlanCache(entries=1)
    with SessionFactory(plan_cache=cache).open() as session:
        rows(session, "SELECT 1")
        rows(session, "SELECT 2")
        assert cache.explain_miss("SELECT 1", session).code == "evicted"
        assert cache.explain_miss("SELECT 2", session).code == "hit"
        assert cache.explain_miss("SELECT 3", session).code == "never-seen"

        cache.clear()
        assert cache.explain_miss("SELECT 2", session).code == "never-seen"
        assert cache.stats().entries == 0


@pytest.mark.parametrize("limits", [{"memory_bytes": 0}, {"entries": 0}])
def test_a_limit_is_positive(limits):
    with pytest.raises(PlanCacheLimitError, match=r"at least 1, found 0.*\[plan-cache-limit\]"):
        PlanCache(**limits)


def test_many_threads_get_their_own_answers(session, cache, table):
    session.register("orders", table)
    failures: list[object] = []

    def work(offset: int):
        for number in range(25):
            value = (number + offset) % 3
            got = rows(session, f"SELECT count(*) + {value} AS n FROM orders")
            if got != [{"n": 2 + value}]:
                failures.append(got)

    threads = [threading.Thread(target=work, args=(offset,)) for offset in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    assert cache.stats().hits + cache.stats().misses == 8 * 25
    assert cache.stats().hits > 0


class Cache(RuleBasedStateMachine):
    """A cache hands out each plan to one taker, never the wrong one, and stays within its limits."""

    names = st.sampled_from("abcd")

    def __init__(self):
        super().__init__()
        self.cache = PlanCache(memory_bytes=100, entries=4)
        self.made = 0
        self.out: list[tuple[str, int]] = []

    @rule(name=names, size=st.integers(1, 60))
    def keep_new(self, name, size):
        self.made += 1
        self.cache.keep(inputs(name), (name, self.made), size_bytes=size)

    @rule(name=names)
    def take(self, name):
        plan = self.cache.take(inputs(name))
        if plan is not None:
            assert isinstance(plan, tuple)
            assert plan[0] == name
            assert plan not in self.out
            self.out.append(plan)

    @rule(size=st.integers(1, 60))
    def give_back(self, size):
        if self.out:
            plan = self.out.pop()
            self.cache.keep(inputs(plan[0]), plan, size_bytes=size)

    @rule()
    def clear(self):
        self.cache.clear()

    @invariant()
    def within_limits(self):
        stats = self.cache.stats()
        assert 0 <= stats.entries <= 4
        assert 0 <= stats.bytes <= 100
        assert (stats.bytes == 0) == (stats.entries == 0)


TestCache = Cache.TestCase
TestCache.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)
