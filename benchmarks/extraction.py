"""What extracting a source tree costs, beside parsing the same files.

Three ways, one after the other in shuffled order within each round:

- parse     list the tree, read every file and call `ast.parse` on it, in worker processes; nothing comes back
- extract   all of the extraction but the tables: list, read, hash, parse, walk, rows back as Arrow batches
- write     the whole ingest step into empty Delta tables

All use the same number of processes, started anew each time, with the same chunks of files, and the cyclic
garbage collector off in the workers (which favours `parse`: with it on, parsing takes about a fifth longer).
Besides the time on the clock, the processor time of all processes together is told, which other work on the
machine disturbs less.

    python benchmarks/extraction.py [--source DIR] [--rounds 7] [--workers N]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from code_graph import SPECS, ExtractOptions, extract_tree, run
from freshlake import IngestContext

CHUNK_BYTES = 1_000_000
PARSER = """
import ast, gc, json, os, sys
gc.disable()
for line in sys.stdin:
    for path in json.loads(line):
        with open(os.fsencode(path), "rb") as stream:
            data = stream.read()
        try:
            ast.parse(data)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            pass
    print(len(line), flush=True)
"""


def files_of(options: ExtractOptions) -> Iterator[Path]:
    """List the files that the extraction reads; the default patterns exclude directories by these names."""
    excluded = {"__pycache__", "dist-packages", "node_modules", "site-packages"}
    for directory, names, files in os.walk(options.directory):
        names[:] = [name for name in names if name not in excluded and not name.startswith(".")]
        yield from (Path(directory, name) for name in sorted(files) if name.endswith(".py"))


def chunks_of(files: Iterator[Path]) -> Iterator[list[str]]:
    """Cut the list of files into chunks of a megabyte."""
    chunk: list[str] = []
    size = 0
    for path in files:
        chunk.append(str(path))
        size += path.stat().st_size
        if size >= CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    yield chunk


def parse(options: ExtractOptions, workers: int) -> None:
    """Parse every file in worker processes."""
    chunks = chunks_of(files_of(options))

    def serve(_: int) -> None:
        command = [sys.executable, "-I", "-S", "-W", "ignore", "-c", PARSER]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            for chunk in queue:
                process.stdin.write(json.dumps(chunk) + "\n")
                process.stdin.flush()
                process.stdout.readline()

    queue = iter(list(chunks))
    with ThreadPoolExecutor(workers) as threads:
        list(threads.map(serve, range(workers)))


def extract(options: ExtractOptions) -> None:
    """Extract every file, and drop the rows."""
    for batches in extract_tree(options):
        assert set(batches) == set(SPECS)


def write(options: ExtractOptions) -> None:
    """Extract every file into tables of its own."""
    with tempfile.TemporaryDirectory() as lake:
        given = {"source": options.source, "workers": options.workers}
        context = IngestContext(
            project_dir=Path(lake),
            tables={name: str(Path(lake, name)) for name in SPECS},
            storage_options={},
            options={key: value for key, value in given.items() if value is not None},
        )
        run(context)


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--source", help="directory to read (default: the standard library)")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    given = parser.parse_args()
    options = ExtractOptions(source=given.source, workers=given.workers)
    ways: dict[str, Callable[[], None]] = {
        "parse": lambda: parse(options, given.workers),
        "extract": lambda: extract(options),
        "write": lambda: write(options),
    }
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    processor: dict[str, list[float]] = {way: [] for way in ways}
    names = list(ways)
    extract(options)  # brings the files into the page cache
    for number in range(given.rounds):
        random.shuffle(names)
        for name in names:
            started, busy = time.perf_counter(), processor_seconds()
            ways[name]()
            seconds[name].append(time.perf_counter() - started)
            processor[name].append(processor_seconds() - busy)
        told = ", ".join(f"{way} {seconds[way][-1]:.2f} s ({processor[way][-1]:.2f} s)" for way in ways)
        print(f"round {number + 1}: {told}", flush=True)
    report(list(files_of(options)), given.workers, seconds, processor)


def processor_seconds() -> float:
    """Processor time of this process and of its children that ended."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def report(
    files: list[Path], workers: int, seconds: dict[str, list[float]], processor: dict[str, list[float]]
) -> None:
    """Print a Markdown table."""
    size = sum(path.stat().st_size for path in files)
    print(
        f"\n{len(files)} files, {size / 1e6:.1f} MB, {workers} processes, Python {sys.version.split()[0]}\n"
    )
    print("| way | best | median | best / parse | median of rounds / parse | processor best | best / parse |")
    print("|---|---|---|---|---|---|---|")
    for way, each in seconds.items():
        ratio = statistics.median(a / b for a, b in zip(each, seconds["parse"], strict=True))
        busy = min(processor[way])
        print(
            f"| {way} | {min(each):.2f} s | {statistics.median(each):.2f} s "
            f"| {min(each) / min(seconds['parse']):.2f} | {ratio:.2f} "
            f"| {busy:.2f} s | {busy / min(processor['parse']):.2f} |"
        )


if __name__ == "__main__":
    main()
