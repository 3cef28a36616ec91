"""Project files: what is accepted, and what each refusal says."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freshlake import FreshlakeError, InputError, load_project

PROJECT = '[project]\nname = "shop"\n'
CONTRACT = 'name = "orders"\n\n[[columns]]\nname = "id"\ntype = "long"\n'


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write_files(files):
        for name, content in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return tmp_path

    return write_files


def refusal(directory=".", **environment):
    with pytest.raises(InputError) as caught:
        load_project(directory, environment=environment)
    assert caught.value.exit_code == 2
    assert str(caught.value).endswith(f"[{caught.value.code}]")
    return caught.value


def test_a_whole_project(write):
    root = write(
        {
            "freshlake.toml": PROJECT
            + 'lake = "out/lake"\n[tables.orders]\nuri = "data/orders"\ncontract = "contracts/orders.toml"\n'
            '[tables.remote]\nuri = "s3://bucket/remote"\n'
            '[storage]\naws_secret_access_key = "${SECRET}"\nplain = "$${x}"\n'
            '[ingest]\nentry = "shop.load:run"\n[ingest.options]\nsource = "src"\nworkers = 2\n',
            "contracts/orders.toml": CONTRACT,
            "views/late.sql": '-- freshlake: key = [\n-- freshlake:   "id",\n-- freshlake: ]\n\n'
            "SELECT id FROM orders",
            "views/early.sql": "-- a comment\n-- freshlake: refresh = 'strict'\nSELECT 1 AS one",
            "views/notes.md": "not a view",
        }
    )
    project = load_project(".", environment={"SECRET": "hunter2!"})
    assert (project.name, project.lake) == ("shop", str(root / "out/lake"))
    assert {table.name: table.uri for table in project.tables} == {
        "orders": str(root / "data/orders"),
        "remote": "s3://bucket/remote",
    }
    assert project.tables[0].contract is not None
    assert [view.name for view in project.views] == ["early", "late"]
    early, late = project.views
    assert (early.header.refresh, early.header.key) == ("strict", None)
    assert (late.header.key, late.target) == (("id",), str(root / "out/lake/late"))
    assert late.query.split("\n").index("SELECT id FROM orders") == 4
    assert "freshlake:" not in late.query
    assert dict(project.storage_options) == {"aws_secret_access_key": "hunter2!", "plain": "${x}"}
    assert project.ingest is not None
    assert project.ingest.options == {"source": str(root / "src"), "workers": 2}
    assert "hunter2!" not in repr(project)


def test_views_over_a_remote_lake_keep_its_scheme(write):
    write({"freshlake.toml": PROJECT + 'lake = "s3://bucket/lake/"\n', "views/v.sql": "SELECT 1 AS one"})
    assert load_project(".").views[0].target == "s3://bucket/lake/v"


def test_files_are_named_as_the_user_would_open_them(write):
    write({"shops/freshlake.toml": PROJECT + "laek = 1\n"})
    assert refusal("shops").file == str(Path("shops/freshlake.toml"))


def test_no_project_file_names_one_nearby(write):
    write({"examples/freshlake.toml": PROJECT})
    error = refusal()
    assert error.code == "project-missing"
    assert "examples" in error.message


def test_no_directory(write):
    write({})
    error = refusal("nowhere")
    assert error.code == "project-missing"
    assert '"nowhere"' in error.message


@pytest.mark.parametrize(
    ("text", "code", "line", "says"),
    [
        ("[project\nname = 1", "project-syntax", 1, "']'"),
        (PROJECT + "\nname = = 3", "project-syntax", 4, "invalid value"),
        (PROJECT + "x = " + "[" * 5000, "project-syntax", None, "nested too deeply"),
        (PROJECT + "x = " + "9" * 5000, "project-syntax", None, "too long"),
        (PROJECT + "\nlaek = 'l'", "project-key", 4, 'Did you mean "lake"?'),
        ("[projct]\nname = 'x'", "project-key", 1, 'Did you mean "project"?'),
        ("", "project-key", None, '"project"'),
        ("[project]\nlake = 'x'", "project-key", 1, '"name"'),
        (PROJECT + "[tables.o]\n\n# where\nurl = 'x'", "project-key", 6, 'Did you mean "uri"?'),
        (PROJECT + "[tables.o]\n", "project-key", 3, '"uri"'),
        (PROJECT + "[tables.o]\nuri = 3", "project-value", 4, "`str`"),
        (PROJECT + "[tables.o]\nuri = ''", "project-value", 4, "tables.o.uri"),
        (PROJECT + "[tables]\no = [\n 1,\n]\n", "project-value", 4, "must be a table"),
        (PROJECT + "[tables.'Or ders']\nuri = 'x'", "project-name", 3, 'Did you mean "or_ders"?'),
        (PROJECT + "[tables.o]\nuri = 'x'\n[tables.o]\nuri = 'y'", "project-syntax", 5, "twice"),
        (PROJECT + "[tables.o]\nuri = 'x'\ncontract = 'no.toml'", "project-value", 5, "no.toml"),
        (PROJECT + "[ingest]\nentry = 'shop'", "project-value", 4, '"module:function"'),
        (PROJECT + "[ingest]\nentry = 'a:b'\noption = 1", "project-key", 5, 'Did you mean "options"?'),
        (PROJECT + "[storage]\nkey = '${ABSENT}'", "project-value", 4, "ABSENT"),
        (PROJECT + "[storage]\nkey = '${oops'", "project-value", 4, "$${"),
        (PROJECT + "[storage]\nkey = 1", "project-value", 4, "storage.key"),
    ],
)
def test_wrong_project_files(write, text, code, line, says):
    write({"freshlake.toml": text})
    error = refusal()
    assert (error.code, error.file, error.line) == (code, "freshlake.toml", line)
    assert says in error.message


def test_a_project_file_that_is_not_utf8(write):
    write({"freshlake.toml": PROJECT.encode() + b"\n# \xff"})
    error = refusal()
    assert (error.code, error.line) == ("project-syntax", 4)


def test_secrets_written_into_the_file_are_not_shown_with_an_error(write):
    for text in ("key = 'hunter2", "key = 'hunter2'\nother = 1", "'hunter2' = 1"):
        write({"freshlake.toml": PROJECT + "[storage]\n" + text})
        error = refusal()
        assert error.excerpt is None


@pytest.mark.parametrize(
    ("file", "code", "line", "says"),
    [
        (("v.sql", "-- freshlake: refesh = 'full'\nSELECT 1"), "view-file", 1, 'Did you mean "refresh"?'),
        (("v.sql", "\n-- freshlake: refresh = 'ful'\nSELECT 1"), "view-file", 2, 'Did you mean "full"?'),
        (("v.sql", "-- freshlake: key = ['a'\nSELECT 1"), "view-file", 1, "not valid TOML"),
        (("v.sql", "-- freshlake: key = 'a'\nSELECT 1"), "view-file", 1, "`array`"),
        (("v.sql", "SELECT 1\n  -- freshlake: refresh = 'full'"), "view-file", 2, "header lines come before"),
        (("v.sql", "-- freshlake: refresh = 'full'\n-- nothing\n"), "view-file", 1, "no query"),
        (("v.sql", ""), "view-file", 1, "no query"),
        (("v.py", "def v(orders): ..."), "view-python-unsupported", None, "SQL"),
        (("Daily-Sales.sql", "SELECT 1"), "project-name", None, "daily_sales.sql"),
    ],
)
def test_wrong_view_files(write, file, code, line, says):
    name, text = file
    write({"freshlake.toml": PROJECT, f"views/{name}": text})
    error = refusal()
    assert (error.code, error.file, error.line) == (code, str(Path("views", name)), line)
    assert says in error.message


def test_one_name_for_a_table_and_a_view(write):
    write({"freshlake.toml": PROJECT + "[tables.orders]\nuri = 'o'", "views/orders.sql": "SELECT 1"})
    error = refusal()
    assert (error.code, error.line) == ("project-name", 3)
    assert str(Path("views/orders.sql")) in error.message


def test_a_table_where_a_view_is_kept(write):
    write({"freshlake.toml": PROJECT + "[tables.o]\nuri = 'lake/v/'", "views/v.sql": "SELECT 1"})
    error = refusal()
    assert (error.code, error.line) == ("project-name", 4)


def test_a_wrong_contract_names_its_line(write):
    text = CONTRACT + '\n[[columns]]\nname = "day"\ntype = "dte"\n'
    write({"freshlake.toml": PROJECT, "contracts/orders.toml": text})
    error = refusal()
    assert (error.file, error.line) == (str(Path("contracts/orders.toml")), 9)
    assert error.code.startswith("spec-")


def test_a_contract_file_close_to_the_one_named(write):
    write(
        {
            "freshlake.toml": PROJECT + "[tables.o]\nuri = 'o'\ncontract = 'contracts/ordres.toml'",
            "contracts/orders.toml": CONTRACT,
        }
    )
    assert refusal().suggestions == ("contracts/orders.toml",)


_words = st.sampled_from(
    [
        "project",
        "name",
        "lake",
        "tables",
        "orders",
        "uri",
        "contract",
        "storage",
        "ingest",
        "entry",
        "options",
        "[",
        "]",
        "[[",
        "]]",
        "{",
        "}",
        "=",
        ".",
        ",",
        '"',
        "'",
        '"""',
        "#",
        "\n",
        "\r\n",
        "1",
        "1.5",
        "true",
        "2026-01-01",
        "0x",
        "\\u0000",
        "${X}",
        "a:b",
        "é",
    ]
)
_texts = st.one_of(
    st.text(max_size=200).map(str.encode),
    st.binary(max_size=200),
    st.lists(_words, max_size=60).map(lambda words: " ".join(words).encode()),
    st.lists(_words, max_size=30).map(lambda words: (PROJECT + "".join(words)).encode()),
)


@settings(max_examples=300, deadline=None)
@given(project=_texts, view=_texts, contract=st.none() | _texts)
def test_any_bytes_are_a_project_or_refused(tmp_path_factory, project, view, contract):
    root = tmp_path_factory.mktemp("fuzz")
    (root / "views").mkdir()
    (root / "contracts").mkdir()
    (root / "freshlake.toml").write_bytes(project)
    (root / "views" / "v.sql").write_bytes(view)
    if contract is not None:
        (root / "contracts" / "c.toml").write_bytes(contract)
    try:
        load_project(root, environment={"X": "expanded"})
    except FreshlakeError as error:
        refused = error
    else:
        return
    assert refused.exit_code == 2
    assert refused.file is not None


_keys = st.text("abc_-'\" .", min_size=1, max_size=6)


def _toml_key(key):
    return '"' + key.replace("\\", "\\\\").replace('"', '\\"') + '"'


@settings(max_examples=200, deadline=None)
@given(
    before=st.lists(
        st.sampled_from(["", "# note", 'x{n} = """\n[tables.o]\n"""', "y{n} = [\n1,\n2]"]), max_size=5
    ),
    key=_keys.filter(lambda key: key not in {"uri", "contract"}),
)
def test_the_line_named_is_that_of_the_key(tmp_path_factory, before, key):
    root = tmp_path_factory.mktemp("lines")
    options = "\n".join(text.format(n=number) for number, text in enumerate(before))
    ingest = f"[ingest]\nentry = 'a:b'\n[ingest.options]\n{options}\n"
    text = f"{PROJECT}{ingest}[tables.o]\nuri = 'x'\n{_toml_key(key)} = 1\n"
    (root / "freshlake.toml").write_text(text, encoding="utf-8")
    error = refusal(root)
    assert error.code == "project-key"
    assert error.line == text.split("\n").index(f"{_toml_key(key)} = 1") + 1
