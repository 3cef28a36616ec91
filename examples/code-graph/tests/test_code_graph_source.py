"""Bytes, encodings, names and findings of single files and of trees."""

from __future__ import annotations

import os
import sys
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from code_graph import CodeGraphError, ExtractOptions, SourceError, extract_source, extract_tree


def rows(data, table, path="m.py"):
    return extract_source(data, path)[table].to_pylist()


def tree_rows(root, table, **options):
    batches = extract_tree(ExtractOptions(source=str(root), **options))
    return [row for batch in batches for row in batch[table].to_pylist()]


def spans(data):
    """Bytes that the spans of definitions, references and imports cut out of the file."""
    tables = extract_source(data, "m.py")
    for table in ("definitions", "references", "imports"):
        for row in tables[table].to_pylist():
            if row["kind"] != "module":
                yield row, data[row["start_byte"] : row["end_byte"]]


SNIPPETS = st.lists(
    st.sampled_from(
        [
            "def {0}(x):{n}    return x.{0}({1}){n}",
            "class {0}:{n}\x0c\tdef {1}(self): self.{0}(){n}",
            "{0} = '{t}'; {1}('{t}').{0}(){n}",
            "# {t}{n}",
            "'''{t}{n}{t}'''.{0}({1}()){n}",
            "\x0c{n}",
            "{0}(f'{t}{{{1}()}} {{ {0}() }}'){n}",
            "import {0}, {1} as {0}{n}",
        ]
    ),
    max_size=6,
)
ENCODINGS = {
    "utf-8": "é€𝄞",
    "utf-8-sig": "é€𝄞",
    "latin-1": "é£ÿ",
    "cp1252": "é€”",
    "koi8-r": "яЖщ",
    "shift_jis": "日本表",
    "euc-jp": "日本表",
    "gb18030": "日本𝄞",
}


@settings(max_examples=150, deadline=None)
@given(
    snippets=SNIPPETS,
    encoding=st.sampled_from(sorted(ENCODINGS)),
    newline=st.sampled_from(["\n", "\r\n", "\r"]),
    data=st.data(),
)
def test_spans_are_offsets_in_the_bytes_of_the_file(snippets, encoding, newline, data):
    text = data.draw(st.text(st.sampled_from("a " + ENCODINGS[encoding]), max_size=5))
    letters = [letter for letter in ENCODINGS[encoding] if letter.isidentifier()] + ["a"]
    first, second = (data.draw(st.sampled_from(letters)) + "b" for _ in range(2))
    cookie = "" if encoding.startswith("utf-8") else f"# -*- coding: {encoding} -*-{newline}"
    body = "".join(each.format(first, second, t=text, n=newline) for each in snippets)
    content = (cookie + body).encode(encoding)
    decode = "utf-8" if encoding == "utf-8-sig" else encoding
    assert rows(content, "files")[0]["status"] == "ok"
    for row, cut in spans(content):
        told = cut.decode(decode)
        if "expression" in row:
            assert told.endswith(row["name"] or ")")
            assert not told.startswith((" ", newline))
        elif "bound_name" in row:
            assert told.split(" as ")[0] == row["target"]
        else:
            assert told.split()[1].startswith(row["name"])
    module = rows(content, "definitions")[0]
    assert (module["start_byte"], module["end_byte"]) == (0, len(content))


@pytest.mark.parametrize(
    ("data", "code", "line"),
    [
        (b"x = 1\ndef f(:\n", "syntax-error", 2),
        (b"if x:\npass\n", "syntax-error", 2),
        (b"x = 08\n", "syntax-error", 1),
        (b"x = 1\ny = '\0'\n", "null-byte", 2),
        (b"x = 1\n# \xff\n", "encoding-invalid", 2),
        (b"# coding: utf-99\n", "encoding-unknown", None),
        (b"\xef\xbb\xbf# coding: latin-1\n", "encoding-unknown", None),
        (b"(" * 5000 + b")" * 5000, "nesting-too-deep", 1),
        (b"x = " + b"-" * 200_000 + b"1\n", "nesting-too-deep", None),
        (b"x = " + b"1 + " * 100_000 + b"1\n", "nesting-too-deep", None),
    ],
)
def test_a_file_that_cannot_be_parsed_becomes_a_finding(data, code, line):
    (finding,) = rows(data, "diagnostics")
    assert (finding["code"], finding["severity"], finding["line"]) == (code, "error", line)
    (file,) = rows(data, "files")
    assert (file["status"], file["size_bytes"]) == (code, len(data))
    assert not rows(data, "definitions")


def test_an_odd_encoding_is_noted_and_its_file_read():
    data = "# coding: latin-1\nclass Café: pass\n".encode("latin-1")
    (finding,) = rows(data, "diagnostics")
    assert (finding["code"], finding["severity"]) == ("encoding-not-utf-8", "note")
    assert [row["name"] for row in rows(data, "definitions")] == ["m", "Café"]
    assert rows(data, "files")[0]["encoding"] == "iso-8859-1"


def test_an_encoding_with_states_is_refused():
    (finding,) = rows("# coding: iso2022_jp\n日本 = 1\n".encode("iso2022_jp"), "diagnostics")
    assert finding["code"] == "encoding-unmapped"
    assert rows(b"# coding: iso2022_jp\nx = 1\n", "files")[0]["status"] == "ok"


def test_long_chains_and_deep_nests_that_python_parses_are_walked():
    chain = "a" + ".b" * 900
    nest = "".join(f"{' ' * depth}def f{depth}():\n" for depth in range(90)) + " " * 90 + "os.x()\n"
    found = rows(f"import os\n{chain}()\n{nest}".encode(), "references")
    assert {row["expression"] for row in found} == {chain, "os.x"}
    assert {row["target"] for row in found} == {None, "os.x"}


@given(data=st.binary(max_size=200))
def test_no_bytes_stop_the_extraction(data):
    (file,) = rows(data, "files")
    assert file["size_bytes"] == len(data)
    assert (file["status"] == "ok") == bool(rows(data, "definitions"))


@pytest.mark.parametrize(
    ("path", "source", "written", "module", "target"),
    [
        ("p/q/r.py", "from . import s", ".", "p.q", "p.q.s"),
        ("p/q/__init__.py", "from . import s", ".", "p.q", "p.q.s"),
        ("p/q/r.py", "from ..t import s as u", "..t", "p.t", "p.t.s"),
        ("p/q/r.py", "from .... import s", "....", "....", ".....s"),
        ("r.py", "from . import s", ".", ".", "..s"),
        ("r.py", "import a.b.c", "a.b.c", "a.b.c", "a.b.c"),
        ("r.py", "from a.b import *", "a.b", "a.b", "a.b"),
    ],
)
def test_imports_are_resolved_against_their_package(path, source, written, module, target):
    (row,) = rows(source.encode(), "imports", path)
    assert (row["written_module"], row["imported_module"], row["target"]) == (written, module, target)


def test_a_tree_is_listed_with_what_is_broken_in_it(tmp_path):
    (tmp_path / "pkg" / "sub").mkdir(parents=True)
    (tmp_path / "pkg" / "sub" / "__init__.py").write_text("x = 1\n")
    (tmp_path / "pkg" / "dir.py").mkdir()
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "cached.py").write_text("")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "module.py").write_text("")
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / "broken.py").symlink_to(tmp_path / "nowhere.py")
    (tmp_path / "linked.py").symlink_to(tmp_path / "pkg" / "sub" / "__init__.py")
    (tmp_path / "loop").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "pipe.py")
    found = {row["path"]: (row["module"], row["status"]) for row in tree_rows(tmp_path, "files")}
    assert found == {
        "broken.py": ("broken", "symlink-broken"),
        "linked.py": ("linked", "ok"),
        "pipe.py": ("pipe", "not-a-file"),
        "pkg/sub/__init__.py": ("pkg.sub", "ok"),
    }


def test_a_directory_that_cannot_be_listed_is_a_finding(tmp_path):
    if os.geteuid() == 0:
        pytest.skip("root may list every directory")
    (tmp_path / "closed").mkdir()
    (tmp_path / "closed").chmod(0)
    assert [row["code"] for row in tree_rows(tmp_path, "diagnostics")] == ["directory-unreadable"]
    (tmp_path / "closed").chmod(0o700)


@pytest.mark.skipif(sys.platform != "linux", reason="names of any bytes")
def test_file_names_of_any_bytes_stay_apart(tmp_path):
    names = [
        b"\xff.py",
        b"\\xff.py",
        "é.py".encode(),
        unicodedata.normalize("NFD", "é.py").encode(),
        b"a\nb'.py",
    ]
    for name in names:
        (tmp_path / os.fsdecode(name)).write_bytes(b"def f(): pass\n")
    found = [row["path"] for row in tree_rows(tmp_path, "files")]
    assert len(set(found)) == len(names)
    assert "\\xff.py" in found
    assert "\\x5cxff.py" in found
    assert {row["status"] for row in tree_rows(tmp_path, "files")} == {"ok"}


def test_a_package_is_named_by_the_directories_above_it(tmp_path):
    inner = tmp_path / "outer" / "inner"
    inner.mkdir(parents=True)
    for directory in (inner.parent, inner):
        (directory / "__init__.py").write_text("")
    (inner / "m.py").write_text("from .. import x\n")
    assert [row["module"] for row in tree_rows(inner, "files")] == ["outer.inner", "outer.inner.m"]
    assert [row["target"] for row in tree_rows(inner, "imports")] == ["outer.x"]


def test_rows_do_not_depend_on_the_number_of_processes(tmp_path):
    for number in range(8):
        (tmp_path / f"m{number}.py").write_text("import os\n" + f"os.f{number}()\n" * 4_000)
    assert tree_rows(tmp_path, "references", workers=1) == tree_rows(tmp_path, "references", workers=3)


@pytest.mark.parametrize("name", ["missing", "file.py"])
def test_a_source_that_is_no_directory_is_refused(tmp_path, name):
    (tmp_path / "file.py").write_text("")
    with pytest.raises(SourceError) as caught:
        list(extract_tree(ExtractOptions(source=str(tmp_path / name))))
    assert isinstance(caught.value, CodeGraphError)
    assert (caught.value.code, caught.value.exit_code) == ("source-missing", 2)
    assert "--source" in str(caught.value)
