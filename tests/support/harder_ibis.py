"""Harder queries, and queries of TPC-H, as Ibis expressions: a function of the tables for each name."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import ibis as typed_ibis
from ibis import _

ibis: Any = typed_ibis  # whose types say less than its values do

Build = Callable[[SimpleNamespace], Any]


def running_total(t: SimpleNamespace) -> Any:
    kept = t.sales.filter(_.amount > Decimal("100.50"))
    running = _.amount.sum().over(rows=(None, 0), group_by="shop", order_by=["day", "id"])
    return kept.select("id", "shop", running=running)


def moving_average(t: SimpleNamespace) -> Any:
    kept = t.readings.filter(_.value.notnull())
    smooth = _.value.mean().over(rows=(-2, 0), group_by="sensor", order_by=["day", "value"])
    return kept.select("sensor", "day", smooth=smooth.round(6))


def ranks(t: SimpleNamespace) -> Any:
    window = ibis.window(group_by="shop", order_by=ibis.desc("salary", nulls_first=False))
    return t.staff.select(
        "name",
        "shop",
        place=ibis.rank().over(window) + 1,
        step=ibis.dense_rank().over(window) + 1,
        share=ibis.percent_rank().over(window).round(9),
        quarter=ibis.ntile(4).over(order_by="id") + 1,
    )


def sessions(t: SimpleNamespace) -> Any:
    window = ibis.window(group_by="visitor", order_by="moment")
    before = _.moment.lag().over(window)
    marked = t.events.mutate(starts=ibis.ifelse(_.moment <= before + ibis.interval(hours=12), 0, 1))
    numbered = marked.mutate(
        session=_.starts.sum().over(rows=(None, 0), group_by="visitor", order_by="moment")
    )
    return numbered.group_by("visitor", "session").agg(
        events=_.count(), lasted=_.moment.max().epoch_seconds() - _.moment.min().epoch_seconds()
    )


def first_and_last(t: SimpleNamespace) -> Any:
    window = ibis.window(group_by="shop", order_by=["day", "id"], rows=(None, None))
    return t.sales.select(
        "shop",
        first=_.id.first().over(window),
        last=_.id.last().over(window),
        second=_.id.nth(1).over(window),
    ).distinct()


def qualify(t: SimpleNamespace) -> Any:
    kept = t.sales.filter(_.amount.notnull())
    place = ibis.row_number().over(group_by="shop", order_by=[_.amount.desc(), _.id])
    return kept.filter(place < 2).select("shop", "id", "amount")


def window_over_groups(t: SimpleNamespace) -> Any:
    units = t.sales.join(t.products, "product").group_by("category").agg(units=_.quantity.sum())
    return units.mutate(place=ibis.rank().over(order_by=_.units.desc()) + 1)


def filtered_aggregates(t: SimpleNamespace) -> Any:
    return t.sales.group_by("shop").agg(
        many=_.count(where=_.quantity > 5),
        small=_.amount.sum(where=_.amount < 100),
        products=_.product.nunique(),
    )


def lateral(t: SimpleNamespace) -> Any:
    dear = t.products.filter(_.price > Decimal("20.00"))
    return dear.join(t.sales, "product").select("product", "id", "amount")


def correlated_exists(t: SimpleNamespace) -> Any:
    sold = t.sales.filter(_.amount > Decimal("900.00"))
    west = t.sales.filter(_.shop == "west", _.quantity == 8)
    return t.products.semi_join(sold, "product").anti_join(west, "product").select("product", "name")


def correlated_scalar(t: SimpleNamespace) -> Any:
    usual = t.sales.group_by("shop").agg(usual=_.amount.mean())
    dear = t.sales.join(usual, "shop").filter(_.amount > _.usual, _.day < dt.date(2024, 2, 15))
    return dear.select("id", "amount")


def scalar_in_select(t: SimpleNamespace) -> Any:
    sold = t.sales.group_by("product").agg(sold=_.count())
    joined = t.products.left_join(sold, "product")
    return joined.select("name", sold=_.sold.fill_null(0), top=t.sales.amount.max().as_scalar())


def not_in_with_null(t: SimpleNamespace) -> Any:
    return t.products.filter(_.product.notin(t.sales.filter(_.shop == "north").product)).select("product")


def not_in(t: SimpleNamespace) -> Any:
    there = t.sales.filter(_.shop == "east", _.product.notnull())
    return t.products.filter(_.product.notin(there.product)).select("product", "name")


def any_all(t: SimpleNamespace) -> Any:
    least = t.staff.filter(_.shop == "north").salary.min().as_scalar()
    most = t.staff.salary.max().as_scalar()
    return t.staff.filter(_.salary > least, _.salary >= most - 500).select("name", "salary")


def unnest(t: SimpleNamespace) -> Any:
    return t.sales.select(tag=_.tags.unnest()).group_by("tag").agg(n=_.count())


def unnest_join(t: SimpleNamespace) -> Any:
    tags = t.sales.select("id", "product", tag=_.tags.unnest())
    return tags.join(t.products, "product").filter(_.tag != "rush").select("id", "tag", "category")


def arrays(t: SimpleNamespace) -> Any:
    return t.sales.filter(_.product == 7).group_by("shop").agg(ids=_.id.collect(order_by=_.id))


def array_functions(t: SimpleNamespace) -> Any:
    return t.sales.filter(_.tags.notnull()).select(
        "id", size=_.tags.length(), first=_.tags[0], gift=_.tags.contains("gift"), joined=_.tags.join("+")
    )


def structs(t: SimpleNamespace) -> Any:
    wide = t.products.filter(_.size["width"] > 3)
    return wide.select("product", label=_.size["label"], doubled=_.size["width"] * 2)


def decimal_comparison(t: SimpleNamespace) -> Any:
    some = _.amount.between(Decimal("250.00"), Decimal("400.00"))
    return t.sales.filter(some | (_.amount == Decimal("0.30"))).select("id", "amount")


def intervals(t: SimpleNamespace) -> Any:
    since = ibis.date("2024-01-31")
    kept = t.sales.filter(_.day >= since, _.day < since + ibis.interval(days=20))
    return kept.select(
        "id",
        later=(_.day + ibis.interval(months=1)).cast("date"),
        sooner=(_.day - ibis.interval(weeks=2)).cast("date"),
    )


def time_buckets(t: SimpleNamespace) -> Any:
    kept = t.events.filter(_.moment >= dt.datetime(2024, 1, 5, 12))
    return kept.group_by(bucket=_.moment.bucket(ibis.interval(hours=6))).agg(n=_.count())


def set_operations(t: SimpleNamespace) -> Any:
    def of(shop: str) -> Any:
        return t.sales.filter(_.shop == shop)

    both = of("north").select("product").intersect(of("south").select("product"))
    return both.difference(of("Île").filter(_.quantity > 6).select("product"))


def full_join(t: SimpleNamespace) -> Any:
    sold = t.sales.group_by("shop").agg(sold=_.count())
    staffed = t.staff.group_by("shop").agg(staffed=_.count())
    joined = sold.outer_join(staffed, "shop")
    return joined.select("sold", "staffed", shop=ibis.coalesce(_.shop, _.shop_right)).relocate("shop")


def inequality_join(t: SimpleNamespace) -> Any:
    one, other = t.staff, t.staff.view()
    close = [one.salary < other.salary, one.shop == other.shop, other.salary - one.salary <= 800]
    return one.join(other, close).select(one=one.id, other=other.id)


def null_safe_join(t: SimpleNamespace) -> Any:
    three = t.sales.filter(_.quantity == 3)
    return three.join(t.staff, three.shop.identical_to(t.staff.shop)).select(three.id, t.staff.name)


def pivot(t: SimpleNamespace) -> Any:
    groups = t.sales.group_by("product").having(_.quantity.sum() > 90)
    return groups.agg(
        north=_.quantity.sum(where=_.shop == "north"),
        south=_.quantity.sum(where=_.shop == "south"),
        nowhere=ibis.ifelse(_.shop.isnull(), _.quantity, 0).sum(),
    )


def strings(t: SimpleNamespace) -> Any:
    return t.products.filter(_.name.like("%1%"), ~_.name.like("item _9")).select(
        "name",
        start=_.name.substr(0, 3).upper(),
        place=_.name.find("0") + 1,
        code=_.product.cast("string").lpad(4, "0"),
        renamed=_.name.replace("item", "it's"),
        number=_.name.split(" ")[1],
    )


def distinct_on(t: SimpleNamespace) -> Any:
    kept = t.sales.filter(_.amount < Decimal("800.00"))
    place = ibis.row_number().over(group_by="shop", order_by=[_.amount.desc(), _.id])
    return kept.filter(place == 0).select("shop", "id", "amount")


def paged(t: SimpleNamespace) -> Any:
    order = [ibis.desc("amount", nulls_first=False), "id"]
    placed = t.sales.select("id", "amount", place=ibis.row_number().over(order_by=order) + 1)
    return placed.order_by(order).limit(7, offset=10)


def select_star_except(t: SimpleNamespace) -> Any:
    return t.sales.filter(_.shop.ilike("%ST")).drop("tags", "day")


HARDER: dict[str, Build] = {
    build.__name__: build
    for build in (
        any_all,
        array_functions,
        arrays,
        correlated_exists,
        correlated_scalar,
        decimal_comparison,
        distinct_on,
        filtered_aggregates,
        first_and_last,
        full_join,
        inequality_join,
        intervals,
        lateral,
        moving_average,
        not_in,
        not_in_with_null,
        null_safe_join,
        paged,
        pivot,
        qualify,
        ranks,
        running_total,
        scalar_in_select,
        select_star_except,
        sessions,
        set_operations,
        strings,
        structs,
        time_buckets,
        unnest,
        unnest_join,
        window_over_groups,
    )
}


def _revenue() -> Any:
    return _.l_extendedprice * (1 - _.l_discount)


def q01(t: SimpleNamespace) -> Any:
    rows = t.lineitem.filter(_.l_shipdate <= dt.date(1998, 9, 2))
    groups = rows.mutate(price=_revenue()).group_by("l_returnflag", "l_linestatus")
    return groups.agg(
        sum_qty=_.l_quantity.sum(),
        sum_base_price=_.l_extendedprice.sum(),
        sum_disc_price=_.price.sum(),
        sum_charge=(_.price * (1 + _.l_tax)).sum(),
        # DuckDB's averages are floating-point numbers, the engine's of decimals are decimals.
        avg_qty=_.l_quantity.cast("float64").mean(),
        avg_price=_.l_extendedprice.cast("float64").mean(),
        avg_disc=_.l_discount.cast("float64").mean(),
        count_order=_.count(),
    ).order_by("l_returnflag", "l_linestatus")


def q03(t: SimpleNamespace) -> Any:
    day = dt.date(1995, 3, 15)
    orders = t.orders.filter(_.o_orderdate < day)
    buyers = t.customer.filter(_.c_mktsegment == "BUILDING")
    joined = buyers.join(orders, buyers.c_custkey == orders.o_custkey)
    items = t.lineitem.filter(_.l_shipdate > day)
    joined = joined.join(items, joined.o_orderkey == items.l_orderkey)
    groups = joined.group_by("l_orderkey", "o_orderdate", "o_shippriority").agg(revenue=_revenue().sum())
    rows = groups.select("l_orderkey", "revenue", "o_orderdate", "o_shippriority")
    return rows.order_by(_.revenue.desc(), "o_orderdate").limit(10)


def q04(t: SimpleNamespace) -> Any:
    orders = t.orders.filter(_.o_orderdate >= dt.date(1993, 7, 1), _.o_orderdate < dt.date(1993, 10, 1))
    late = t.lineitem.filter(_.l_commitdate < _.l_receiptdate)
    kept = orders.semi_join(late, orders.o_orderkey == late.l_orderkey)
    return kept.group_by("o_orderpriority").agg(order_count=_.count()).order_by("o_orderpriority")


def q06(t: SimpleNamespace) -> Any:
    low, high = Decimal("0.05"), Decimal("0.07")
    rows = t.lineitem.filter(
        _.l_shipdate >= dt.date(1994, 1, 1),
        _.l_shipdate < dt.date(1995, 1, 1),
        _.l_discount.between(low, high),
        _.l_quantity < 24,
    )
    return rows.agg(revenue=(_.l_extendedprice * _.l_discount).sum())


def q12(t: SimpleNamespace) -> Any:
    items = t.lineitem.filter(
        _.l_shipmode.isin(["MAIL", "SHIP"]),
        _.l_commitdate < _.l_receiptdate,
        _.l_shipdate < _.l_commitdate,
        _.l_receiptdate >= dt.date(1994, 1, 1),
        _.l_receiptdate < dt.date(1995, 1, 1),
    )
    joined = t.orders.join(items, t.orders.o_orderkey == items.l_orderkey)
    urgent = _.o_orderpriority.isin(["1-URGENT", "2-HIGH"])
    groups = joined.group_by("l_shipmode")
    counts = groups.agg(high_line_count=urgent.sum(), low_line_count=(~urgent).sum())
    return counts.order_by("l_shipmode")


def q13(t: SimpleNamespace) -> Any:
    orders = t.orders.filter(~_.o_comment.like("%special%requests%"))
    joined = t.customer.left_join(orders, t.customer.c_custkey == orders.o_custkey)
    counts = joined.group_by("c_custkey").agg(c_count=_.o_orderkey.count())
    return counts.group_by("c_count").agg(custdist=_.count()).order_by(_.custdist.desc(), _.c_count.desc())


def q14(t: SimpleNamespace) -> Any:
    items = t.lineitem.filter(_.l_shipdate >= dt.date(1995, 9, 1), _.l_shipdate < dt.date(1995, 10, 1))
    joined = items.join(t.part, items.l_partkey == t.part.p_partkey).mutate(price=_revenue())
    return joined.agg(promo_revenue=100 * _.price.sum(where=_.p_type.like("PROMO%")) / _.price.sum())


def q18(t: SimpleNamespace) -> Any:
    sums = t.lineitem.group_by("l_orderkey").agg(units=_.l_quantity.sum()).filter(_.units > 300)
    orders = t.orders.filter(_.o_orderkey.isin(sums.l_orderkey))
    joined = t.customer.join(orders, t.customer.c_custkey == orders.o_custkey)
    joined = joined.join(t.lineitem, joined.o_orderkey == t.lineitem.l_orderkey)
    keys = ["c_name", "c_custkey", "o_orderkey", "o_orderdate", "o_totalprice"]
    groups = joined.group_by(keys).agg(quantity=_.l_quantity.sum())
    return groups.order_by(_.o_totalprice.desc(), "o_orderdate").limit(100)


TPCH: dict[str, Build] = {build.__name__.upper(): build for build in (q01, q03, q04, q06, q12, q13, q14, q18)}
