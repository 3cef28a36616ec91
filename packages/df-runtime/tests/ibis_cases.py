"""Expressions that every way to run them has to answer alike: name, and a function of the tables."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import ibis as typed_ibis
import pyarrow as pa
from ibis import _

ibis: Any = typed_ibis  # whose types say less than its values do

ORDERS = pa.table(
    {
        "id": pa.array([1, 2, 3, 4, 5, 6, 7], pa.int64()),
        "customer": pa.array([10, 10, 20, 20, None, 30, 40], pa.int64()),
        "amount": pa.array([5.5, 7.25, None, 9.0, 1.5, -2.0, 9.0], pa.float64()),
        "price": pa.array(
            [Decimal(x) if x else None for x in ("1.50", "20.05", "3.00", None, "0.01", "7.77", "20.05")],
            pa.decimal128(12, 2),
        ),
        "status": pa.array(["open", "done", "open", "Lost", None, "done", "a_b%c"]),
        "day": pa.array(
            [
                dt.date(2026, 1, 31),
                dt.date(2026, 2, 28),
                dt.date(2024, 2, 29),
                dt.date(2025, 12, 31),
                dt.date(1999, 1, 1),
                None,
                dt.date(2026, 1, 1),
            ],
            pa.date32(),
        ),
        "at": pa.array(
            [
                dt.datetime(2026, 1, 31, 23, 59, 59, 999999),
                dt.datetime(2026, 2, 28, 0, 0),
                dt.datetime(2024, 2, 29, 12, 30, 15, 123456),
                dt.datetime(2025, 12, 31, 1, 2, 3),
                dt.datetime(1969, 7, 20, 20, 17, 40),
                None,
                dt.datetime(2026, 1, 1, 6, 0, 1),
            ],
            pa.timestamp("us"),
        ),
        "flag": pa.array([True, False, None, True, True, False, False]),
    }
)
CUSTOMERS = pa.table(
    {
        "customer": pa.array([10, 20, 30, 50], pa.int64()),
        "name": ["Ada", "Grace", "Edsger", "Barbara"],
        "Home Town": ["Lübeck", None, "Rotterdam", "Boston"],
    }
)
NESTED = pa.table(
    {
        "id": pa.array([1, 2, 3, 4], pa.int64()),
        "tags": pa.array([["a", "b", "a"], [], None, ["c", None]], pa.list_(pa.string())),
        "numbers": pa.array([[3, 1, 2], [5], [], None], pa.list_(pa.int64())),
        "place": pa.array(
            [{"x": 1, "y": "p"}, {"x": None, "y": "q"}, None, {"x": 4, "y": None}],
            pa.struct([("x", pa.int64()), ("y", pa.string())]),
        ),
        "attributes": pa.array(
            [[("k", 1), ("l", 2)], [], None, [("k", 3)]], pa.map_(pa.string(), pa.int64())
        ),
    }
)
TABLES = {"orders": ORDERS, "customers": CUSTOMERS, "nested": NESTED}

Case = Callable[..., Any]


RELATIONS: dict[str, Case] = {
    "select": lambda orders, customers, nested: orders.select("id", double=_.amount * 2),
    "filter": lambda orders, **k: orders.filter((_.amount > 5) & (_.status != "done")),
    "filter-or-null": lambda orders, **k: orders.filter((_.amount.isnull()) | ~_.flag),
    "filter-in": lambda orders, **k: orders.filter(_.customer.isin([10, 30]), _.id.notin([1])),
    "between": lambda orders, **k: orders.filter(_.id.between(2, 4)),
    "mutate": lambda orders, **k: orders.mutate(n=_.id + 1, m=lambda t: t.id * 3).drop("at"),
    "rename": lambda orders, **k: orders.rename(Number="id").select("Number", "status"),
    "join-inner": lambda orders, customers, **k: orders.join(customers, "customer").select("id", "name"),
    "join-left": lambda orders, customers, **k: orders.left_join(customers, "customer").select("id", "name"),
    "join-right": lambda orders, customers, **k: orders.right_join(customers, "customer").select(
        "id", "name"
    ),
    "join-outer": lambda orders, customers, **k: orders.outer_join(customers, "customer").select(
        "id", "name"
    ),
    "join-semi": lambda orders, customers, **k: orders.semi_join(customers, "customer").select("id"),
    "join-anti": lambda orders, customers, **k: orders.anti_join(customers, "customer").select("id"),
    "join-cross": lambda orders, customers, **k: orders.cross_join(customers).select("id", "name"),
    "join-unequal": lambda orders, customers, **k: orders.join(
        customers, orders.customer < customers.customer
    ).select("id", "name"),
    "join-self": lambda orders, **k: orders.join(orders.view(), "customer").select("id", "id_right"),
    "join-three": lambda orders, customers, nested: (
        orders.join(customers, "customer").join(nested, "id").select("id", "name", "tags")
    ),
    "aggregate": lambda orders, **k: orders.agg(
        n=_.count(),
        rows=_.amount.count(),
        total=_.amount.sum(),
        mean=_.price.mean(),
        least=_.at.min(),
        most=_.status.max(),
        kinds=_.status.nunique(),
    ),
    "group-by": lambda orders, **k: orders.group_by("customer").agg(
        n=_.count(), total=_.price.sum(), open=_.amount.sum(where=_.status == "open")
    ),
    "group-by-expression": lambda orders, **k: orders.group_by(year=_.day.year()).agg(n=_.count()),
    "having": lambda orders, **k: orders.group_by("customer").having(_.count() > 1).agg(n=_.count()),
    "spread": lambda orders, **k: orders.agg(
        sd=_.amount.std(), sdp=_.amount.std(how="pop"), v=_.amount.var(), vp=_.amount.var(how="pop")
    ),
    "median": lambda orders, **k: orders.agg(m=_.amount.median(), q=_.id.quantile(0.25)),
    "quantiles": lambda orders, **k: orders.agg(q=_.id.quantile([0.25, 0.5])),
    "correlation": lambda orders, **k: orders.agg(
        r=_.id.corr(_.amount, how="pop"), c=_.id.cov(_.amount, how="sample")
    ),
    "argmax": lambda orders, **k: orders.agg(a=_.status.argmax(_.id), b=_.id.argmin(_.price)),
    "first-last": lambda orders, **k: orders.agg(
        f=_.status.first(order_by=_.id), l=_.status.last(order_by=_.id)
    ),
    "any-all": lambda orders, **k: orders.agg(some=_.flag.any(), every=_.flag.all()),
    "bits": lambda orders, **k: orders.agg(a=_.id.bit_and(), o=_.id.bit_or(), x=_.id.bit_xor()),
    "collect": lambda orders, **k: orders.agg(ids=_.id.collect(order_by=_.id.desc())),
    "group-concat": lambda orders, **k: orders.order_by("id").agg(
        s=_.status.group_concat("|", order_by=_.id)
    ),
    "count-distinct-rows": lambda orders, **k: orders.select("customer", "flag").nunique().as_table(),
    "window-rank": lambda orders, **k: orders.mutate(
        row=ibis.row_number().over(order_by=_.id),
        rank=ibis.rank().over(order_by=_.amount.desc()),
        dense=ibis.dense_rank().over(order_by=_.amount),
        share=ibis.percent_rank().over(order_by=_.id),
        tile=ibis.ntile(2).over(order_by=_.id),
        cume=ibis.cume_dist().over(order_by=_.id),
    ).select("id", "row", "rank", "dense", "share", "tile", "cume"),
    "window-frames": lambda orders, **k: orders.mutate(
        running=_.id.sum().over(order_by=_.id, rows=(None, 0)),
        three=_.id.mean().over(order_by=_.id, rows=(-1, 1)),
        part=_.id.max().over(group_by=_.customer),
        near=_.id.count().over(order_by=_.id, range=(-2, 0)),
    ).select("id", "running", "three", "part", "near"),
    "window-lag": lambda orders, **k: orders.mutate(
        before=_.id.lag().over(order_by=_.id),
        after=_.id.lead(2, default=-1).over(order_by=_.id),
        first=_.status.first().over(group_by=_.customer, order_by=_.id),
        last=_.id.last().over(group_by=_.customer, order_by=_.id),
        second=_.id.nth(1).over(order_by=_.id, rows=(None, None)),
    ).select("id", "before", "after", "first", "last", "second"),
    "window-filter": lambda orders, **k: orders.filter(
        ibis.row_number().over(group_by=_.customer, order_by=_.id) == 0
    ).select("id"),
    "union-all": lambda orders, customers, **k: orders.select("customer").union(customers.select("customer")),
    "union": lambda orders, customers, **k: orders.select("customer").union(
        customers.select("customer"), distinct=True
    ),
    "intersect": lambda orders, customers, **k: orders.select("customer").intersect(
        customers.select("customer")
    ),
    "difference": lambda orders, customers, **k: orders.select("customer").difference(
        customers.select("customer")
    ),
    "distinct": lambda orders, **k: orders.select("status").distinct(),
    "distinct-on": lambda orders, **k: (
        orders.select("customer", "flag").distinct(on="customer").select("customer")
    ),
    "value-counts": lambda orders, **k: orders.status.value_counts(),
    "limit-offset": lambda orders, **k: orders.order_by(_.id.desc()).limit(3, offset=2).select("id"),
    "order-nulls": lambda orders, **k: orders.order_by(_.amount.desc(nulls_first=True), _.id).select("id"),
    "scalar-subquery": lambda orders, **k: orders.filter(_.amount > orders.amount.mean()).select("id"),
    "in-subquery": lambda orders, customers, **k: orders.filter(
        _.customer.isin(customers.filter(_.name != "Ada").customer)
    ).select("id"),
    "exists": lambda orders, customers, **k: orders.filter(
        (orders.customer == customers.customer).any()
    ).select("id"),
    "unnest": lambda nested, **k: nested.select("id", tag=_.tags.unnest()),
    "unnest-table": lambda nested, **k: nested.select("id", "numbers").unnest("numbers"),
    "fill-null": lambda orders, **k: orders.select("id", "amount").fill_null({"amount": 0.0}),
    "drop-null": lambda orders, **k: orders.drop_null(["amount", "status"]).select("id"),
    "memtable": lambda orders, **k: orders.join(
        ibis.memtable({"customer": [10, 20], "factor": [2, 3]}), "customer"
    ).select("id", weight=_.amount * _.factor),
    "quoted-names": lambda customers, **k: customers.filter(_["Home Town"].notnull()).select("Home Town"),
    "pivot": lambda orders, **k: orders.pivot_wider(
        id_cols="customer", names_from="status", values_from="id", names=["open", "done"], values_agg="sum"
    ),
    "pivot-longer": lambda orders, **k: orders.select("id", "customer").pivot_longer(
        "customer", names_to="what", values_to="value"
    ),
    "topk": lambda orders, **k: orders.customer.topk(2).select("customer"),
    "head": lambda orders, **k: orders.order_by("id").head(2).select("id"),
}


def _of(columns: Callable[[Any], dict[str, Any]]) -> Case:
    """Compute columns over orders, next to the key."""
    return lambda orders, **others: orders.select("id", **columns(orders))


def _nested(columns: Callable[[Any], dict[str, Any]]) -> Case:
    return lambda nested, **others: nested.select("id", **columns(nested))


VALUES: dict[str, Case] = {
    "arithmetic": _of(
        lambda t: {
            "a": t.id + 1,
            "b": t.id - t.amount,
            "c": t.amount * 2,
            "d": t.id / 2,
            "e": t.id // 2,
            "f": t.id % 3,
            "g": -t.id,
            "h": t.id**2,
        }
    ),
    "decimals": _of(
        lambda t: {
            "a": t.price + 1,
            "b": t.price * 2,
            "c": t.price - t.price,
            "d": t.price.abs(),
            "e": t.price.round(1),
        }
    ),
    "decimal-literal": _of(
        lambda t: {"a": t.price > Decimal("3.00"), "b": t.price == ibis.literal(Decimal("20.05"))}
    ),
    "rounding": _of(
        lambda t: {"a": t.amount.round(), "b": t.amount.round(1), "c": t.amount.ceil(), "d": t.amount.floor()}
    ),
    "maths": _of(
        lambda t: {
            "a": t.id.sqrt(),
            "b": t.id.exp(),
            "c": t.id.ln(),
            "d": t.id.log2(),
            "e": t.id.log10(),
            "f": t.amount.sign(),
            "g": t.id.log(3),
        }
    ),
    "trigonometry": _of(
        lambda t: {
            "a": t.amount.sin(),
            "b": t.amount.cos(),
            "c": t.id.tan(),
            "d": t.id.atan(),
            "e": t.id.atan2(2),
            "f": t.id.cot(),
            "g": t.id.radians(),
            "h": t.amount.degrees(),
        }
    ),
    "bounds": _of(lambda t: {"a": t.id.clip(2, 5), "b": ibis.greatest(t.id, 3), "c": ibis.least(t.id, 4, 2)}),
    "bitwise": _of(
        lambda t: {"a": t.id & 3, "b": t.id | 8, "c": t.id ^ 1, "d": t.id << 2, "e": t.id >> 1, "f": ~t.id}
    ),
    "logic": _of(
        lambda t: {"a": t.flag & (t.id > 2), "b": t.flag | (t.id > 2), "c": ~t.flag, "d": t.flag ^ (t.id > 2)}
    ),
    "comparisons": _of(
        lambda t: {
            "a": t.status == "open",
            "b": t.status != "open",
            "c": t.status < "open",
            "d": t.amount >= 9,
            "e": t.customer.identical_to(None),
            "f": t.id.between(2, 3),
        }
    ),
    "nulls": _of(
        lambda t: {
            "a": t.amount.isnull(),
            "b": t.amount.notnull(),
            "c": t.amount.fill_null(0),
            "d": t.status.nullif("open"),
            "e": ibis.coalesce(t.customer, t.id, 0),
        }
    ),
    "case": _of(
        lambda t: {
            "a": ibis.cases((t.id > 5, "high"), (t.id > 2, "middle"), else_="low"),
            "b": t.status.cases(("open", 1), ("done", 2)),
            "c": ibis.ifelse(t.flag, t.id, -1),
            "d": t.status.substitute({"open": "OPEN"}),
        }
    ),
    "casts": _of(
        lambda t: {
            "a": t.id.cast("string"),
            "b": t.amount.floor().cast("int64"),
            "c": t.id.cast("float32"),
            "d": t.day.cast("string"),
            "e": t.id.cast("decimal(10, 2)"),
            "f": t.day.cast("timestamp"),
            "g": t.at.cast("date"),
            "h": t.flag.cast("int32"),
        }
    ),
    "try-cast": _of(lambda t: {"a": t.status.try_cast("int64"), "b": t.id.cast("string").try_cast("int64")}),
    "literals": _of(
        lambda t: {
            "a": ibis.literal(1),
            "b": ibis.literal("it's"),
            "c": ibis.literal(None, type="string"),
            "d": ibis.literal(True),
            "e": ibis.literal(dt.date(2026, 2, 3)),
            "f": ibis.literal(dt.datetime(2026, 2, 3, 4, 5, 6)),
            "g": ibis.literal(1.5),
            "h": ibis.literal(b"\x00a"),
            "i": ibis.literal("back\\slash"),
        }
    ),
    "strings": _of(
        lambda t: {
            "a": t.status.upper(),
            "b": t.status.lower(),
            "c": t.status.length(),
            "d": t.status.reverse(),
            "e": t.status.capitalize(),
            "f": t.status.repeat(2),
            "g": t.status + "!",
            "h": t.status.ascii_str(),
            "i": t.status.left(2),
            "j": t.status.right(2),
        }
    ),
    "string-parts": _of(
        lambda t: {
            "a": t.status.substr(1, 2),
            "b": t.status[1:3],
            "c": t.status[0],
            "d": t.status.find("e"),
            "e": t.status.replace("o", "0"),
            "f": t.status.translate("od", "xy"),
            "g": t.status.split("e"),
            "h": t.status[1:],
            "i": t.status[:2],
        }
    ),
    "string-tests": _of(
        lambda t: {
            "a": t.status.contains("o"),
            "b": t.status.startswith("o"),
            "c": t.status.endswith("e"),
            "d": t.status.like("%e%"),
            "e": t.status.ilike("LO%"),
            "f": t.status.like(["o%", "d%"]),
        }
    ),
    "string-padding": _of(
        lambda t: {
            "a": t.status.lpad(6, "*"),
            "b": t.status.rpad(6, "*"),
            "c": ("  " + t.status + " ").strip(),
            "d": ("  " + t.status).lstrip(),
            "e": (t.status + "  ").rstrip(),
            "f": t.status.lpad(2, "*"),
        }
    ),
    "regular-expressions": _of(
        lambda t: {
            "a": t.status.re_search("^o"),
            "b": t.status.re_extract("^(.)(.)", 2),
            "c": t.status.re_replace("[aeo]", "-"),
            "d": t.status.re_search("[0-9]"),
        }
    ),
    "joined-strings": _of(
        lambda t: {"a": ibis.literal("-").join([t.status, "x"]), "b": t.status.concat("a", "b")}
    ),
    "levenshtein": _of(lambda t: {"a": t.status.levenshtein("done")}),
    "date-parts": _of(
        lambda t: {
            "a": t.day.year(),
            "b": t.day.month(),
            "c": t.day.day(),
            "d": t.day.quarter(),
            "e": t.day.day_of_year(),
            "f": t.day.week_of_year(),
            "g": t.day.day_of_week.index(),
            "h": t.day.day_of_week.full_name(),
            "i": t.day.epoch_seconds(),
            "j": t.day.iso_year(),
        }
    ),
    "timestamp-parts": _of(
        lambda t: {
            "a": t.at.year(),
            "b": t.at.hour(),
            "c": t.at.minute(),
            "d": t.at.second(),
            "e": t.at.millisecond(),
            "f": t.at.microsecond(),
            "g": t.at.truncate("s").epoch_seconds(),
            "h": t.at.date(),
            "i": t.at.time(),
            "j": t.at.day_of_week.index(),
        }
    ),
    "truncation": _of(
        lambda t: {
            "a": t.day.truncate("M"),
            "b": t.day.truncate("Y"),
            "c": t.day.truncate("W"),
            "d": t.at.truncate("h"),
            "e": t.at.truncate("D"),
            "f": t.at.truncate("m"),
            "g": t.day.truncate("Q"),
            "h": t.at.truncate("s"),
        }
    ),
    "date-arithmetic": _of(
        lambda t: {
            "a": t.day + ibis.interval(days=1),
            "b": t.day - ibis.interval(months=1),
            "c": t.day + ibis.interval(years=1),
            "d": t.at + ibis.interval(hours=3),
            "e": t.at - ibis.interval(minutes=90),
            "f": t.day + ibis.interval(weeks=2),
            "g": t.at + ibis.interval(milliseconds=5),
            "h": t.at + ibis.interval(seconds=61),
        }
    ),
    "date-differences": _of(
        lambda t: {
            "a": t.day.delta(dt.date(2025, 1, 15), unit="day"),
            "b": t.day.delta(dt.date(2025, 1, 15), unit="month"),
            "c": t.at.delta(dt.datetime(2025, 1, 15, 12, 30), unit="hour"),
            "d": t.at.delta(dt.datetime(2025, 1, 15, 12, 30), unit="minute"),
            "e": t.day.delta(dt.date(2025, 1, 15), unit="year"),
            "f": t.at.delta(dt.datetime(2025, 1, 15, 12, 30), unit="second"),
            "g": t.day.delta(dt.date(2025, 1, 15), unit="quarter"),
        }
    ),
    "date-filters": lambda orders, **k: orders.filter(
        _.day >= dt.date(2026, 1, 1),
        _.at < dt.datetime(2026, 2, 1),
        _.day.between("2026-01-01", "2026-12-31"),
    ).select("id"),
    "date-making": _of(
        lambda t: {
            "a": ibis.date(2026, t.id, 3),
            "b": ibis.timestamp(2026, t.id, 3, 4, 5, 6),
            "c": ibis.date("2026-02-03"),
            "d": t.id.as_timestamp("s"),
            "e": t.id.as_timestamp("ms"),
            "f": ibis.timestamp("2026-02-03 04:05:06"),
        }
    ),
    "intervals": _of(lambda t: {"a": t.day + t.id.as_interval("D"), "b": t.at - t.id.as_interval("h")}),
    "formats": _of(lambda t: {"a": t.at.strftime("%Y-%m-%d %H:%M:%S"), "b": t.day.strftime("%d.%m.%Y")}),
    "parsing": _of(
        lambda t: {
            "a": ibis.literal("2026-02-03").as_date("%Y-%m-%d"),
            "b": ibis.literal("03/02/2026 04:05").as_timestamp("%d/%m/%Y %H:%M"),
        }
    ),
    "buckets": _of(
        lambda t: {
            "a": t.at.bucket(ibis.interval(hours=6)),
            "b": t.amount.bucket([0, 5, 10]),
            "c": t.at.bucket(ibis.interval(minutes=15), offset=ibis.interval(minutes=5)),
        }
    ),
    "hashes": _of(lambda t: {"a": t.status.hexdigest("sha256"), "b": t.status.hexdigest("md5")}),
    "arrays": _nested(
        lambda t: {
            "a": t.tags.length(),
            "b": t.tags[0],
            "c": t.tags[1:],
            "d": t.tags.contains("a"),
            "e": t.numbers.sort(),
            "f": t.tags.unique().length(),
            "g": t.numbers.index(1),
            "h": t.numbers.remove(1),
            "i": t.tags.join("+"),
            "j": t.tags[-1],
        }
    ),
    "array-making": _nested(
        lambda t: {
            "a": ibis.array([t.id, 7]),
            "b": t.numbers.concat([9]),
            "c": t.numbers.fill_null([]).union([9]).length(),
            "d": t.numbers.intersect([1, 5]),
            "e": t.numbers.repeat(2),
            "f": ibis.array([t.numbers, [1]]).flatten().length(),
            "g": ibis.range(0, 3),
        }
    ),
    "array-folds": _nested(
        lambda t: {
            "a": t.numbers.maxs(),
            "b": t.numbers.mins(),
            "c": t.numbers.sums(),
            "d": t.numbers.means(),
        }
    ),
    "array-tests": _nested(
        lambda t: {"a": ibis.array([t.id > 1, True]).anys(), "b": ibis.array([t.id > 1, True]).alls()}
    ),
    "structs": _nested(
        lambda t: {
            "a": t.place.x,
            "b": t.place["y"],
            "c": ibis.struct({"n": t.id, "s": t.place.y}),
            "d": t.place.isnull(),
        }
    ),
    "maps": _nested(
        lambda t: {
            "a": t.attributes["k"],
            "b": t.attributes.keys().length(),
            "c": t.attributes.contains("l"),
            "d": t.attributes.get("z", 0),
            "e": t.attributes.length(),
        }
    ),
    "map-making": _nested(
        lambda t: {"a": ibis.map(["a"], [1])["a"], "b": ibis.map({"a": 1, "b": 2}).values()}
    ),
    "nested-literals": _nested(lambda t: {"a": ibis.literal([1, 2]), "b": ibis.literal({"x": 1, "y": "z"})}),
    "uuid-and-time": _of(lambda t: {"a": ibis.time(4, 5, 6), "b": ibis.literal(dt.time(1, 2, 3))}),
    "sampled": lambda orders, **k: orders.sample(1.0).count().as_table(),
    "approximate": lambda orders, **k: orders.agg(n=_.status.approx_nunique()),
    "windowed-share": _of(lambda t: {"share": t.id / t.id.sum()}),
    "ranked-within": _of(
        lambda t: {"r": ibis.row_number().over(group_by=t.customer, order_by=[t.amount.desc(), t.id])}
    ),
    "is-finite": _of(lambda t: {"a": t.amount.isnan(), "b": t.amount.isinf(), "c": (t.amount / 0).isinf()}),
    "histogram": lambda orders, **k: orders.select("id", b=_.id.histogram(nbins=3)),
    "types-of-sums": lambda orders, **k: orders.agg(
        a=_.id.sum(), b=_.price.sum(), c=_.flag.sum(), d=_.flag.mean()
    ),
}
