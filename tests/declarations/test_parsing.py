"""Documents that cannot be applied: all problems, with files, lines and the nearest known names."""

import re
from pathlib import Path

import pytest

from offtake.declarations import files, parsing
from offtake.declarations.problems import DocumentsError
from offtake.errors import OfftakeError

FLOW = "kind: flow\nname: f\ndataset: d\nto: c\nformat: json\nevery: 3h\n"


def problems(folder: Path, text: str) -> list[str]:
    file = folder / "x.yaml"
    file.write_text(text)
    with pytest.raises(DocumentsError) as error:
        parsing.parse(files.read([str(file)]))
    return [one.removeprefix(f"{file}:") for one in error.value.problems]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a text", ["1: a document must be an object with kind and name"]),
        ("name: x", ["1: kind is required; it is one of catalog, dataset, connection, role, client, flow, alert-"]),
        ("name: x\nkind: flo", ["2: kind 'flo' is unknown; did you mean flow?; it is one of"]),
        (FLOW + "shedule: x", ["7: flow f: shedule is unknown; known: name"]),
        (FLOW + "fromat: json", ["7: flow f: fromat is unknown; did you mean format?"]),
        (FLOW + "start: [1]", ["7: flow f: start must be text"]),
        (FLOW.replace("json", "csv"), ["5: flow f: format must be 'json', 'ndjson', 'parquet', 'JSON' or 'PARQUET'"]),
        (FLOW.replace("name: f\n", ""), ["1: flow: name is required"]),
        (FLOW + "daily: '06:00'", ["7: flow f: daily needs one of every, daily, once; it has every and daily"]),
        (FLOW.replace("every: 3h", ""), ["flow f: needs one of every, daily, once; it has none"]),
        (FLOW + "datasets: [e]", ["flow f: needs either dataset or datasets"]),
        (FLOW.replace("dataset: d", "datasets: [e, {name: e}]"), ["flow f: datasets has the dataset e twice"]),
        (
            FLOW.replace("dataset: d", "datasets: [{name: e, colums: [a]}]"),
            ["colums is unknown; did you mean columns?"],
        ),
        (FLOW + "full: yes", ["7: flow f: full must be true or false"]),
        (FLOW + "---\n" + FLOW, ["flow f: name is that of another document already"]),
        (FLOW + "id: x\n---\n" + FLOW.replace("name: f", "name: g") + "id: x", ["id is that of another document"]),
        ("kind: dataset\nname: d\ncolumns: [{name: a, typ: long}]", ["typ is unknown; did you mean type?"]),
        ("kind: connection\nname: 5\ndestination: sftp", ["2: connection 5: name must be text"]),
        (FLOW + "Every: 3h", ["7: flow f: Every is unknown; did you mean every?"]),
        (FLOW + '"a[\\e[31m": 1', ["7: flow f: a[\x1b[31m is unknown; known"]),
        ("kind: alert-rule\nname: a/b\nchannels: [c]", ["2: alert-rule a/b: name must have 1 to 255 printable"]),
        ('kind: catalog\ntype: rest\nname: "a\\nb"', ["3: catalog a\nb: name must have 1 to 255 printable"]),
        ("kind: role\nname: r", ["1: role r: permissions is required"]),
    ],
)
def test_problems_are_named(tmp_path: Path, text: str, expected: list[str]) -> None:
    found = problems(tmp_path, text)
    assert all(any(re.search(re.escape(one), line) for line in found) for one in expected), found


def test_all_problems_are_found_at_once(tmp_path: Path) -> None:
    found = problems(tmp_path, FLOW + "a: 1\nb: 2\n---\nkind: x\n---\nkind: role\nname: r\n")
    assert len(found) == 4


def test_folders_are_read_in_order_and_standard_names(tmp_path: Path) -> None:
    (tmp_path / "b.yml").write_text(FLOW)
    (tmp_path / "a.json").write_text('[{"kind": "role", "name": "r", "permissions": []}]')
    (tmp_path / "notes.txt").write_text("not a document")
    assert [one.name for one in parsing.parse(files.read([str(tmp_path)]))] == ["r", "f"]


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", None])
def test_files_that_cannot_be_read_are_named(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "x.yaml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(OfftakeError, match=r"x\.yaml"):
        files.read([str(file)])


def test_an_empty_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(OfftakeError, match="has no file that ends in"):
        files.read([str(tmp_path)])


def test_the_documents_of_the_page_are_valid(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "as-code.md").read_text()
    blocks = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert blocks
    for block in blocks:
        (file := tmp_path / "page.yaml").write_text(block)
        assert parsing.parse(files.read([str(file)]))
