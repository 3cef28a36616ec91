"""The tables after runs: exact, minimal, and right whatever came before."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import MappingProxyType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from code_graph import SPECS, ExtractOptions, OptionError, SourceError, TableMismatchError, extract_tree, run
from delta_io import Table
from freshlake import IngestContext, load_project
from schema_spec import ColumnSpec, TableSpec

PROJECT = Path(__file__).parents[1]
CHILD = """
import os, signal, sys
from pathlib import Path
from types import MappingProxyType
from code_graph import SPECS, run
from freshlake import IngestContext
lake, source, phase, step = sys.argv[1:]
def progress(found, done, total):
    if (found, str(done)) == (phase, step):
        os.kill(os.getpid(), signal.SIGKILL)
run(IngestContext(
    project_dir=Path(lake),
    tables={name: os.path.join(lake, name) for name in SPECS},
    storage_options={},
    options={"source": source, "workers": 1},
    progress=progress,
))
"""


def ingest(lake, source, options=MappingProxyType({})):
    context = IngestContext(
        project_dir=Path(lake),
        tables={name: str(Path(lake, name)) for name in SPECS},
        storage_options={},
        options={"workers": 1, "source": str(source)} | options,
    )
    return run(context)


def child(lake, source, phase="", step=""):
    command = [sys.executable, "-c", CHILD, str(lake), str(source), phase, str(step)]
    return subprocess.Popen(command, stderr=subprocess.PIPE)


def versions(lake):
    return {name: Table(Path(lake, name)).snapshot().version for name in SPECS}


def bags(lake):
    return {
        name: Counter(map(repr, Table(Path(lake, name)).snapshot().to_reader().read_all().to_pylist()))
        for name in SPECS
    }


def fresh(source):
    """What the tables have to hold, from an extraction that knows nothing of them."""
    found = {name: Counter() for name in SPECS}
    for batches in extract_tree(ExtractOptions(source=str(source), workers=1)):
        for name, batch in batches.items():
            found[name].update(map(repr, batch.to_pylist()))
    return found


def assert_tables_hold(lake, source):
    found, expected = bags(lake), fresh(source)
    for name in SPECS:
        assert found[name] == expected[name], name


def write_tree(root, files):
    for name, text in files.items():
        path = Path(root, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


FILES = {
    "app/__init__.py": "from app.core import main\n",
    "app/core.py": "import os\nfrom . import helpers\ndef main():\n    return helpers.help(os.getcwd())\n",
    "app/helpers.py": "class Base: pass\ndef help(path):\n    return len(path)\n",
    "app/it's.py": "x = = 1\n",
    "other.py": "import app.core as core\ncore.main()\n",
    "empty.py": "",
}


@pytest.fixture
def source(tmp_path):
    root = tmp_path / "source"
    write_tree(root, FILES)
    return root


@pytest.fixture
def lake(tmp_path):
    return tmp_path / "lake"


def test_a_second_run_commits_nothing(lake, source):
    first = ingest(lake, source)
    assert {table.name for table in first.tables} == set(SPECS)
    assert_tables_hold(lake, source)
    before = versions(lake)
    report = ingest(lake, source)
    assert versions(lake) == before
    assert all(table.rows_inserted == table.rows_deleted == 0 for table in report.tables)
    assert not report.notes


def test_touched_files_alone_change(lake, source):
    write_tree(source, {f"many/m{n}.py": f"import os\ndef f{n}(): os.f()\n" for n in range(60)})
    ingest(lake, source)
    before = versions(lake)
    write_tree(source, {
        "app/core.py": "import sys\n" + FILES["app/core.py"],
        "other.py": FILES["other.py"] + "# a comment at the end\n",
        "many/m7.py": "import os\ndef f7(): os.other()\n",
    })  # fmt: skip
    report = ingest(lake, source)
    assert_tables_hold(lake, source)
    changed = {}
    for name, version in before.items():
        table = Table(Path(lake, name))
        assert table.snapshot().version - version in (0, 1)
        changes = table.changes(version)
        rows = changes.to_reader().read_all()
        changed[name] = set(rows["path"].to_pylist())
        told = next(each for each in report.tables if each.name == name)
        assert Counter(rows["_change_type"].to_pylist()) == Counter(
            {"insert": told.rows_inserted, "delete": told.rows_deleted}
        )
    touched = {"app/core.py", "other.py", "many/m7.py"}
    assert changed["files"] == touched
    assert changed["definitions"] == touched
    assert changed["references"] == {"app/core.py", "many/m7.py"}
    assert changed["imports"] == {"app/core.py"}
    assert changed["diagnostics"] == set()


def test_added_removed_renamed_and_repaired_files(lake, source):
    ingest(lake, source)
    (source / "app" / "core.py").rename(source / "app" / "heart.py")
    (source / "empty.py").unlink()
    write_tree(source, {"app/it's.py": "x = 1\n", "new/a.py": "import b\n"})
    ingest(lake, source)
    assert_tables_hold(lake, source)
    for path in sorted(source.rglob("*.py")):
        path.unlink()
    assert ingest(lake, source).notes == ("The source holds no Python files.",)
    assert_tables_hold(lake, source)


EDITS = st.dictionaries(
    st.sampled_from([f"{directory}m{n}.py" for directory in ("", "a/", "b/") for n in range(4)]),
    st.sampled_from(["", "import os\n", "import os\nos.f()\n", "def f(): pass\n", "x = = 1\n", None]),
    max_size=8,
)


@settings(max_examples=5, deadline=None)
@given(rounds=st.lists(EDITS, min_size=2, max_size=4))
def test_any_edits_end_in_what_a_fresh_extraction_gives(tmp_path_factory, rounds):
    root = tmp_path_factory.mktemp("edits")
    source = root / "source"
    source.mkdir()
    for edits in rounds:
        for name, text in edits.items():
            if text is None:
                (source / name).unlink(missing_ok=True)
            else:
                write_tree(source, {name: text})
        ingest(root / "lake", source)
        assert_tables_hold(root / "lake", source)


@pytest.mark.parametrize(
    ("first_run", "phase", "step"),
    [
        (True, "extract", 0),
        (True, "write", 2),
        (True, "write", 4),
        (False, "write", 1),
        (False, "write", 3),
        (False, "write", 4),
    ],
)
def test_a_killed_run_is_made_good(lake, source, phase, step, first_run):
    if not first_run:
        ingest(lake, source)
    edited = {
        "app/core.py": "from os import path\npath.join('a')\n",
        "app/it's.py": "def repaired(): path()\n",
        "broken.py": "def f(:\n",
    }
    write_tree(source, edited)
    process = child(lake, source, phase, step)
    process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL
    # What the killed run saw is gone again: its traces have to go too.
    (source / "broken.py").unlink()
    write_tree(source, FILES)
    ingest(lake, source)
    assert_tables_hold(lake, source)
    before = versions(lake)
    ingest(lake, source)
    assert versions(lake) == before


def test_runs_at_once_end_right(lake, source):
    write_tree(source, {f"many/m{n}.py": f"import os\ndef f{n}(): os.f()\n" * 50 for n in range(40)})
    for text in ("", "# changed\n"):
        for n in range(0, 40, 3):
            path = source / f"many/m{n}.py"
            path.write_text(text + path.read_text())
        rivals = [child(lake, source) for _ in range(2)]
        for rival in rivals:
            errors = rival.communicate(timeout=240)[1]
            assert rival.returncode == 0, errors.decode()
        assert_tables_hold(lake, source)


def test_rows_that_another_hand_removed_are_made_anew(lake, source):
    ingest(lake, source)
    Table(Path(lake, "references")).delete("path = 'app/core.py'")
    assert ingest(lake, source).notes[0].startswith("A run that ended before its last commit")
    assert_tables_hold(lake, source)


@pytest.mark.parametrize("lost", ["files", "definitions", "diagnostics"])
def test_a_table_that_was_lost_is_made_anew(lake, source, lost):
    ingest(lake, source)
    (lake / lost).rename(lake.parent / "elsewhere")
    ingest(lake, source)
    assert_tables_hold(lake, source)
    before = versions(lake)
    ingest(lake, source)
    assert versions(lake) == before


def test_another_source_replaces_the_first(lake, source, tmp_path):
    ingest(lake, source)
    write_tree(tmp_path / "second", {"other.py": FILES["other.py"], "z.py": "import other\n"})
    ingest(lake, tmp_path / "second")
    assert_tables_hold(lake, tmp_path / "second")


def test_bad_input_is_refused_before_anything_is_written(lake, source):
    for problem, error, code in [
        ({"source": str(source / "missing")}, SourceError, "source-missing"),
        ({"source": 7}, OptionError, "option-invalid"),
        ({"sauces": "x"}, OptionError, "option-invalid"),
        ({"workers": 0}, OptionError, "option-invalid"),
    ]:
        with pytest.raises(error) as caught:
            ingest(lake, source, problem)
        assert (caught.value.code, caught.value.exit_code) == (code, 2)
        assert not lake.exists()
    with pytest.raises(OptionError, match=r"no table .*imports"):
        run(IngestContext(project_dir=lake, tables={}, storage_options={}, options={"source": str(source)}))


def test_a_table_of_another_shape_is_refused(lake, source):
    Table.create(lake / "imports", TableSpec("imports", [ColumnSpec("id", "long")]))
    with pytest.raises(TableMismatchError, match="module string is missing"):
        ingest(lake, source)
    assert [path.name for path in lake.iterdir()] == ["imports"]


def test_contracts_of_the_project_are_those_of_the_package():
    project = load_project(PROJECT)
    assert {table.name: table.contract for table in project.tables} == dict(SPECS)


@pytest.mark.parametrize(("source_exists", "code"), [(True, 0), (False, 2)])
def test_the_command(lake, source, source_exists, code):
    project = lake.parent / "project"
    project.mkdir()
    text = (PROJECT / "freshlake.toml").read_text()
    (project / "freshlake.toml").write_text(text.replace("contract =", "# contract ="))
    given = source if source_exists else source / "none"
    command = [sys.executable, "-m", "code_graph.cli", "--source", str(given), "--project", str(project)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ})
    assert done.returncode == code, done.stderr
    if source_exists:
        assert "references" in done.stdout
        assert_tables_hold(project / "lake", source)
    else:
        assert "none" in done.stderr
        assert not (project / "lake").exists()
