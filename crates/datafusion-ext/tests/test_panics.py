"""A panic in the crate is an exception, wherever it happens; the process, and its engines, go on."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import datafusion_ext

CRATE = Path(__file__).parents[1]
QUESTIONS = """
import pyarrow as pa
from datafusion_ext import Engine, EngineError

engine = Engine({"datafusion.execution.target_partitions": "3"})
engine.register_batches("t", pa.table({"x": list(range(100_000))}))
for query in (
    "SELECT planted_panic(1)",
    "SELECT planted_panic(x) FROM t",
    "SELECT planted_panic(x), count(*) FROM t GROUP BY 1",
    "SELECT x FROM t WHERE planted_panic(x) = 1 ORDER BY x",
):
    planned = None
    try:
        planned = engine.sql(query)
        pa.table(planned)
    except EngineError as error:
        print(error.code, "on purpose" in error.message)
    except pa.ArrowException:
        print(planned.last_error.code, "on purpose" in planned.last_error.message)
print(pa.table(engine.sql("SELECT sum(x) AS s FROM t")).to_pylist())
"""


@pytest.fixture(scope="module")
def with_planted_panic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the extension with a function that panics, and return a folder to import it from."""
    cargo = shutil.which("cargo")
    if cargo is None:
        pytest.skip("building the extension takes cargo")
    build = [cargo, "build", "--locked", "--release", "--lib", "--features", "python,planted-panic"]
    default = Path.home() / ".cache" / "freshlake" / "target"
    target = Path(os.environ.setdefault("CARGO_TARGET_DIR", str(default)))
    subprocess.run(build, cwd=CRATE, check=True, capture_output=True)
    folder = tmp_path_factory.mktemp("planted")
    package = Path(datafusion_ext.__file__).parent
    shutil.copytree(package, folder / "datafusion_ext", ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    name = {"darwin": "libdatafusion_ext.dylib", "win32": "datafusion_ext.dll"}
    library = target / "release" / name.get(sys.platform, "libdatafusion_ext.so")
    shutil.copy(library, folder / "datafusion_ext" / "_native.abi3.so")
    return folder


@pytest.mark.slow
def test_a_panic_is_an_exception(with_planted_panic: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(with_planted_panic)}
    done = subprocess.run(
        [sys.executable, "-c", QUESTIONS], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [
        "engine-internal True",
        "engine-internal True",
        "engine-internal True",
        "engine-internal True",
        "[{'s': 4999950000}]",
    ]


def test_wheels_do_not_have_the_function_that_panics() -> None:
    assert "planted_panic" not in datafusion_ext.Engine().functions()
