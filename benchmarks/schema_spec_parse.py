"""What reading and hashing a contract of 1,000 columns costs, beside decoding the same bytes.

"bare" is msgspec's decoder into plain dictionaries and lists; "parse + hash" is `TableSpec.from_json` (or
another form) and its `schema_identity_hash`, everything validated. Both take the same bytes, in turn
within each round; the ratio is that of the best rounds. Three contracts: "plain" has columns with a name, a
type, nullability and a comment; in "rich", every tenth of them also has a default, a semantic type,
metadata or a nested type; "lean" has names and types alone, which leave bare decoding the least to do.

    python benchmarks/schema_spec_parse.py [--columns 1000] [--rounds 200]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import msgspec

from schema_spec import ColumnSpec, TableSpec

TYPES = ("long", "string", "decimal(10,2)", "timestamp", "double", "date", "boolean", "integer")


def plain_contract(columns: int) -> TableSpec:
    """Return a contract of ordinary columns."""
    specs = [
        ColumnSpec(
            f"column_{n}", TYPES[n % len(TYPES)], nullable=n % 3 != 0, comment=f"What column {n} means."
        )
        for n in range(columns)
    ]
    return TableSpec("wide", specs, primary_key=["column_0"])


def rich_contract(columns: int) -> TableSpec:
    """Return the same contract, every tenth column with something out of the ordinary."""
    special = (
        lambda name: ColumnSpec(name, "decimal(10,2)", default="1.50"),
        lambda name: ColumnSpec(name, "string as NodeId", nullable=False),
        lambda name: ColumnSpec(name, "long", metadata={"unit": "s"}),
        lambda name: ColumnSpec(name, "array<struct<a: long not null, b: string>>"),
    )
    specs = [
        special[n // 10 % len(special)](column.name) if n % 10 == 9 else column
        for n, column in enumerate(plain_contract(columns).columns)
    ]
    return TableSpec("wide", specs, primary_key=["column_0"])


def lean_contract(columns: int) -> TableSpec:
    """Return a contract of columns that are nothing but a name and a type."""
    return TableSpec("wide", [ColumnSpec(f"column_{n}", TYPES[n % len(TYPES)]) for n in range(columns)])


def forms(spec: TableSpec) -> dict[str, tuple[int, Callable[[], object], Callable[[], TableSpec]]]:
    """Return size, bare decoding and reading of each form of a contract."""
    json = msgspec.json.encode(msgspec.json.decode(spec.to_json()))
    packed = spec.to_msgpack()
    toml = spec.to_toml()
    return {
        "json": (len(json), lambda: msgspec.json.decode(json), lambda: TableSpec.from_json(json)),
        "msgpack": (
            len(packed),
            lambda: msgspec.msgpack.decode(packed),
            lambda: TableSpec.from_msgpack(packed),
        ),
        "toml": (len(toml), lambda: msgspec.toml.decode(toml), lambda: TableSpec.from_toml(toml)),
    }


def best_of(rounds: int, *calls: Callable[[], object]) -> list[float]:
    """Return the best processor time of each call in milliseconds; the calls take turns."""
    best = [float("inf")] * len(calls)
    for _ in range(rounds):
        for index, call in enumerate(calls):
            start = time.process_time()
            call()
            best[index] = min(best[index], time.process_time() - start)
    return [seconds * 1000 for seconds in best]


def main() -> None:
    """Measure and print one line per form."""
    parser = argparse.ArgumentParser(description="Time reading and hashing a wide contract.")
    parser.add_argument("--columns", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=200)
    options = parser.parse_args()
    print("contract  form         bytes  bare ms  parse ms  parse + hash ms  ratio")
    for name, make in (("plain", plain_contract), ("rich", rich_contract), ("lean", lean_contract)):
        spec = make(options.columns)
        for form, (size, bare, read) in forms(spec).items():
            rounds = max(5, options.rounds // 20) if form == "toml" else options.rounds
            timed = best_of(rounds, bare, read, lambda read=read: read().schema_identity_hash)
            ratio = timed[2] / timed[0]
            print(
                f"{name:8}  {form:8} {size:9,} {timed[0]:8.3f} {timed[1]:9.3f} {timed[2]:16.3f} {ratio:6.2f}"
            )


if __name__ == "__main__":
    main()
