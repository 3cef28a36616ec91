"""A plan gives the same rows however often it runs, whatever operators it has."""

from __future__ import annotations

import pytest

from df_runtime import SessionFactory
from df_runtime.testing import delta_table
from plan_cache import PlanCache

QUERIES = [
    "SELECT min(id), max(id), count(*) FROM a",
    "SELECT max(a.id) FROM a JOIN b ON a.id = b.id",
    "SELECT min(k), max(id) FROM a WHERE k = 3",
    "SELECT max(id) FROM (SELECT id FROM a UNION ALL SELECT id FROM b) AS u",
    "SELECT k, max(id) AS m FROM a GROUP BY k ORDER BY m DESC LIMIT 2",
    "SELECT k, min(id) AS m FROM a GROUP BY k ORDER BY k",
    "SELECT id FROM a ORDER BY id DESC LIMIT 3",
    "SELECT id, k FROM a ORDER BY k DESC, id LIMIT 3 OFFSET 2",
    "SELECT a.id FROM a JOIN b ON a.id = b.id ORDER BY a.id LIMIT 5",
    "SELECT count(*) FROM a LEFT JOIN b ON a.id = b.id WHERE b.id IS NULL",
    "SELECT count(*) FROM b RIGHT JOIN a ON a.id = b.id",
    "SELECT count(*) FROM a FULL JOIN b ON a.id = b.id + 90",
    "SELECT count(*) FROM a WHERE id IN (SELECT id FROM b)",
    "SELECT count(*) FROM a WHERE id NOT IN (SELECT id FROM b)",
    "SELECT count(*) FROM a WHERE EXISTS (SELECT 1 FROM b WHERE b.id = a.id AND b.k > 2)",
    "SELECT count(*) FROM a JOIN b ON a.id < b.id",
    "SELECT count(*) FROM a CROSS JOIN b",
    "SELECT id FROM a WHERE id = (SELECT max(id) FROM b)",
    "SELECT a.k, (SELECT max(b.id) FROM b WHERE b.k = a.k) AS m FROM a GROUP BY a.k ORDER BY a.k",
    "SELECT id, row_number() OVER (PARTITION BY k ORDER BY id) AS n FROM a ORDER BY id LIMIT 4",
    "SELECT sum(id) OVER (ORDER BY id ROWS 2 PRECEDING) AS s FROM b ORDER BY s LIMIT 4",
    "SELECT DISTINCT k FROM a ORDER BY k",
    "SELECT id FROM a INTERSECT SELECT id FROM b ORDER BY id LIMIT 3",
    "SELECT id FROM a EXCEPT SELECT id FROM b ORDER BY id LIMIT 3",
    "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 5) SELECT max(n) FROM r",
    "SELECT sum(value) FROM generate_series(1, 100)",
    "SELECT k, count(*) FROM a GROUP BY ROLLUP (k) ORDER BY k NULLS FIRST",
    "SELECT id FROM a LIMIT 0",
]


@pytest.fixture(scope="module")
def sessions(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lake")
    a = delta_table(folder / "a", {"id": list(range(100)), "k": [number % 7 for number in range(100)]})
    b = delta_table(folder / "b", {"id": list(range(20)), "k": [number % 5 for number in range(20)]})
    cache = PlanCache()
    with SessionFactory(plan_cache=cache).open() as cached, SessionFactory().open() as fresh:
        for session in (cached, fresh):
            session.register("a", a)
            session.register("b", b)
        yield cached, fresh, cache


@pytest.mark.parametrize("query", QUERIES)
def test_a_plan_that_runs_again_gives_the_same_rows(sessions, query):
    cached, fresh, cache = sessions
    expected = fresh.sql(query).to_arrow().to_pylist()
    hits = cache.stats().hits

    for _ in range(3):
        assert cached.sql(query).to_arrow().to_pylist() == expected
    assert cache.stats().hits == hits + 2
