"""The texts of the harder queries."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

TEXTS: dict[str, str] = {
    "running_total": """
        SELECT id, shop, sum(amount) OVER (PARTITION BY shop ORDER BY day, id) AS running
        FROM sales WHERE amount > $least
    """,
    "moving_average": """
        SELECT sensor, day, round(avg(value) OVER (
            PARTITION BY sensor ORDER BY day, value ROWS BETWEEN 2 PRECEDING AND CURRENT ROW), 6) AS smooth
        FROM readings WHERE value IS NOT NULL
    """,
    "range_frame": """
        SELECT id, count(*) OVER (ORDER BY day RANGE BETWEEN INTERVAL '3 days' PRECEDING
            AND INTERVAL '1 day' FOLLOWING) AS nearby
        FROM sales
    """,
    "ranks": """
        SELECT name, shop, rank() OVER w AS place, dense_rank() OVER w AS step,
            round(percent_rank() OVER w, 9) AS share, ntile(4) OVER (ORDER BY id) AS quarter
        FROM staff WINDOW w AS (PARTITION BY shop ORDER BY salary DESC NULLS LAST)
    """,
    "lag_and_lead": """
        SELECT visitor, moment, kind, lag(kind, 1, 'none') OVER w AS before,
            extract(epoch FROM lead(moment) OVER w) - extract(epoch FROM moment) AS gap
        FROM events WHERE kind <> $kind WINDOW w AS (PARTITION BY visitor ORDER BY moment, kind)
    """,
    "sessions": """
        WITH marked AS (
            SELECT visitor, moment, CASE
                WHEN moment - lag(moment) OVER (PARTITION BY visitor ORDER BY moment)
                    <= INTERVAL '12 hours' THEN 0 ELSE 1 END AS starts
            FROM events),
        numbered AS (
            SELECT visitor, moment, sum(starts) OVER (PARTITION BY visitor ORDER BY moment
                ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS session
            FROM marked)
        SELECT visitor, session, count(*) AS events,
            extract(epoch FROM max(moment)) - extract(epoch FROM min(moment)) AS lasted
        FROM numbered GROUP BY visitor, session
    """,
    "first_and_last": """
        SELECT DISTINCT shop, first_value(id) OVER w AS first, last_value(id) OVER w AS last,
            nth_value(id, 2) OVER w AS second
        FROM sales WINDOW w AS (PARTITION BY shop ORDER BY day, id
            ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)
    """,
    "qualify": """
        SELECT shop, id, amount FROM sales WHERE amount IS NOT NULL
        QUALIFY row_number() OVER (PARTITION BY shop ORDER BY amount DESC, id) <= $most
    """,
    "window_over_groups": """
        SELECT category, sum(quantity) AS units, rank() OVER (ORDER BY sum(quantity) DESC) AS place
        FROM sales JOIN products USING (product) GROUP BY category
    """,
    "grouping_sets": """
        SELECT shop, product, count(*) AS n, sum(amount) AS total, grouping(shop) AS all_shops
        FROM sales GROUP BY GROUPING SETS ((shop, product), (shop), (product), ())
    """,
    "rollup": """
        SELECT category, shop, sum(quantity) AS units
        FROM sales JOIN products USING (product) GROUP BY ROLLUP (category, shop)
    """,
    "cube": """
        SELECT shop, kind, count(*) AS n FROM (
            SELECT shop, CASE WHEN quantity > $limit THEN 'large' ELSE 'small' END AS kind FROM sales) AS t
        GROUP BY CUBE (shop, kind) HAVING count(*) > 5
    """,
    "filtered_aggregates": """
        SELECT shop, count(*) FILTER (WHERE quantity > $many) AS many, sum(amount) FILTER (WHERE amount < 100)
            AS small, count(DISTINCT product) AS products
        FROM sales GROUP BY shop
    """,
    "lateral": """
        SELECT p.product, t.id, t.amount FROM products p,
            LATERAL (SELECT s.id, s.amount FROM sales s WHERE s.product = p.product) AS t
        WHERE p.price > $price
    """,
    "correlated_exists": """
        SELECT p.product, p.name FROM products p WHERE EXISTS (
            SELECT 1 FROM sales s WHERE s.product = p.product AND s.amount > $amount)
            AND NOT EXISTS (SELECT 1 FROM sales s WHERE s.product = p.product AND s.shop = 'west'
                AND s.quantity = 8)
    """,
    "correlated_scalar": """
        SELECT s.id, s.amount FROM sales s WHERE s.amount > (
            SELECT avg(x.amount) FROM sales x WHERE x.shop = s.shop) AND s.day < $until
    """,
    "scalar_in_select": """
        SELECT p.name, (SELECT count(*) FROM sales s WHERE s.product = p.product) AS sold,
            (SELECT max(amount) FROM sales) AS top
        FROM products p
    """,
    "not_in_with_null": """
        SELECT product FROM products WHERE product NOT IN (SELECT product FROM sales WHERE shop = $shop)
    """,
    "not_in": """
        SELECT product, name FROM products WHERE product NOT IN (
            SELECT product FROM sales WHERE shop = $shop AND product IS NOT NULL)
    """,
    "any_all": """
        SELECT name, salary FROM staff
        WHERE salary > (SELECT min(salary) FROM staff WHERE shop = 'north')
            AND salary >= (SELECT max(salary) - $below FROM staff)
    """,
    "unnest": """
        SELECT tag, count(*) AS n FROM (SELECT unnest(tags) AS tag FROM sales) AS t GROUP BY tag
    """,
    "unnest_join": """
        SELECT t.id, t.tag, p.category FROM (SELECT id, product, unnest(tags) AS tag FROM sales) AS t
        JOIN products p ON p.product = t.product WHERE t.tag <> $tag
    """,
    "arrays": """
        SELECT shop, array_agg(id ORDER BY id) AS ids FROM sales WHERE product = $product GROUP BY shop
    """,
    "array_functions": """
        SELECT id, array_length(tags) AS size, tags[1] AS first, array_has(tags, $tag) AS gift,
            array_to_string(tags, '+') AS joined
        FROM sales WHERE tags IS NOT NULL
    """,
    "structs": """
        SELECT product, size['label'] AS label, size['width'] * 2 AS doubled FROM products
        WHERE size['width'] > $width
    """,
    "decimals": """
        SELECT s.product, sum(s.amount * s.quantity) AS gross, sum(s.amount * (1 - 0.05)) AS net,
            min(s.amount) - max(p.price) AS margin, cast(sum(s.amount) AS DECIMAL(18, 1)) AS rounded
        FROM sales s JOIN products p ON s.product = p.product WHERE s.amount >= $least GROUP BY s.product
    """,
    "decimal_comparison": """
        SELECT id, amount FROM sales WHERE amount BETWEEN $low AND $high OR amount = 0.10 + 0.20
    """,
    "intervals": """
        SELECT id, cast(day + INTERVAL '1 month' AS DATE) AS later,
            cast(day - INTERVAL '2 weeks' AS DATE) AS sooner
        FROM sales WHERE day >= $since AND day < $since + INTERVAL '20 days'
    """,
    "date_parts": """
        SELECT extract(month FROM day) AS month, extract(dow FROM day) AS weekday, count(*) AS n,
            date_trunc('month', min(day)) AS month_start
        FROM sales GROUP BY extract(month FROM day), extract(dow FROM day)
    """,
    "time_buckets": """
        SELECT date_bin(INTERVAL '6 hours', moment, TIMESTAMP '2024-01-01 00:00:00') AS bucket, count(*) AS n
        FROM events WHERE moment >= $since GROUP BY 1
    """,
    "recursive": """
        WITH RECURSIVE chain AS (
            SELECT id, name, 0 AS depth FROM staff WHERE manager IS NULL
            UNION ALL
            SELECT s.id, s.name, c.depth + 1 FROM staff s JOIN chain c ON s.manager = c.id)
        SELECT depth, count(*) AS n, min(name) AS first FROM chain WHERE depth <= $deepest GROUP BY depth
    """,
    "calendar": """
        WITH RECURSIVE days AS (
            SELECT DATE '2024-01-01' AS day
            UNION ALL
            SELECT cast(day + INTERVAL '1 day' AS DATE) FROM days WHERE day < $last)
        SELECT d.day, count(s.id) AS n FROM days d LEFT JOIN sales s ON s.day = d.day GROUP BY d.day
    """,
    "set_operations": """
        (SELECT product FROM sales WHERE shop = 'north' INTERSECT SELECT product FROM sales
            WHERE shop = 'south')
        EXCEPT SELECT product FROM sales WHERE shop = $shop AND quantity > 6
    """,
    "set_operations_all": """
        SELECT shop, quantity FROM sales WHERE quantity > $many
        UNION ALL (SELECT shop, 0 FROM staff UNION SELECT shop, 1 FROM staff)
        UNION ALL SELECT NULL, count(*) FROM products
    """,
    "full_join": """
        SELECT coalesce(a.shop, b.shop) AS shop, a.n AS sold, b.n AS staffed
        FROM (SELECT shop, count(*) AS n FROM sales GROUP BY shop) a
        FULL OUTER JOIN (SELECT shop, count(*) AS n FROM staff GROUP BY shop) b ON a.shop = b.shop
    """,
    "inequality_join": """
        SELECT a.id AS one, b.id AS other FROM staff a JOIN staff b
            ON a.salary < b.salary AND a.shop = b.shop AND b.salary - a.salary <= $gap
    """,
    "null_safe_join": """
        SELECT s.id, t.name FROM sales s JOIN staff t ON s.shop IS NOT DISTINCT FROM t.shop
        WHERE s.quantity = $quantity
    """,
    "pivot": """
        SELECT product, sum(CASE WHEN shop = 'north' THEN quantity END) AS north,
            sum(CASE WHEN shop = 'south' THEN quantity END) AS south,
            sum(CASE WHEN shop IS NULL THEN quantity ELSE 0 END) AS nowhere
        FROM sales GROUP BY product HAVING sum(quantity) > $units
    """,
    "strings": """
        SELECT name, upper(substr(name, 1, 3)) AS start, position('0' IN name) AS place,
            lpad(cast(product AS VARCHAR), 4, '0') AS code, replace(name, 'item', $word) AS renamed,
            split_part(name, ' ', 2) AS number
        FROM products WHERE name LIKE '%1%' AND name NOT LIKE 'item _9'
    """,
    "statistics": """
        SELECT sensor, round(stddev(value), 6) AS spread, round(var_pop(value), 6) AS variance,
            round(corr(value, extract(day FROM day)), 6) AS trend, median(value) AS middle
        FROM readings WHERE value < $most GROUP BY sensor
    """,
    "distinct_on": """
        SELECT DISTINCT ON (shop) shop, id, amount FROM sales WHERE amount < $most
        ORDER BY shop, amount DESC, id
    """,
    "paged": """
        SELECT id, amount, row_number() OVER (ORDER BY amount DESC NULLS LAST, id) AS place FROM sales
        ORDER BY amount DESC NULLS LAST, id LIMIT 7 OFFSET 10
    """,
    "values_list": """
        SELECT v.shop, v.rate, count(s.id) AS n FROM (VALUES ('north', 1.5), ('Île', 2.5), (NULL, 0.5))
            AS v (shop, rate) LEFT JOIN sales s ON s.shop = v.shop AND s.quantity > $many
        GROUP BY v.shop, v.rate
    """,
    "select_star_except": """
        SELECT * EXCLUDE (tags, day) FROM sales WHERE shop ILIKE $pattern
    """,
}

DUCKDB: dict[str, str] = {
    "time_buckets": """
        SELECT time_bucket(INTERVAL '6 hours', moment, TIMESTAMP '2024-01-01 00:00:00') AS bucket,
            count(*) AS n
        FROM events WHERE moment >= $since GROUP BY 1
    """,
}

PARAMS: dict[str, dict[str, Any]] = {
    "running_total": {"least": Decimal("100.50")},
    "lag_and_lead": {"kind": "cart"},
    "qualify": {"most": 2},
    "cube": {"limit": 4},
    "filtered_aggregates": {"many": 5},
    "lateral": {"price": Decimal("20.00")},
    "correlated_exists": {"amount": Decimal("900.00")},
    "correlated_scalar": {"until": dt.date(2024, 2, 15)},
    "not_in_with_null": {"shop": "north"},
    "not_in": {"shop": "east"},
    "any_all": {"below": 500},
    "unnest_join": {"tag": "rush"},
    "arrays": {"product": 7},
    "array_functions": {"tag": "gift"},
    "structs": {"width": 3},
    "decimals": {"least": Decimal("10.00")},
    "decimal_comparison": {"low": Decimal("250.00"), "high": Decimal("400.00")},
    "intervals": {"since": dt.date(2024, 1, 31)},
    "time_buckets": {"since": dt.datetime(2024, 1, 5, 12)},
    "recursive": {"deepest": 4},
    "calendar": {"last": dt.date(2024, 2, 10)},
    "set_operations": {"shop": "Île"},
    "set_operations_all": {"many": 6},
    "inequality_join": {"gap": 800},
    "null_safe_join": {"quantity": 3},
    "pivot": {"units": 90},
    "strings": {"word": "it's"},
    "statistics": {"most": 28.5},
    "distinct_on": {"most": Decimal("800.00")},
    "values_list": {"many": 4},
    "select_star_except": {"pattern": "%ST"},
}
