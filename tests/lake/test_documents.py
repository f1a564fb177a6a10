"""JSON documents that are not NDJSON are split into their objects, at any size."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offtake.lake.catalog import Lake
from offtake.lake.parsing import json_documents
from offtake.lake.parsing.errors import ImportRefusedError
from offtake.lake.parsing.files import InputFile
from offtake.lake.parsing.json_documents import DocumentError, blocks
from offtake.lake.parsing.options import ParseOptions
from offtake.lake.parsing.parse import parse
from tests.lake.lakes import add_files, full

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
OBJECTS = st.lists(st.dictionaries(st.text(max_size=3), VALUES, max_size=3), max_size=6)


def objects(text: bytes, chunk: int = 2**20) -> list[Any]:
    """The objects of the document, read a few bytes at a time."""

    class Slow(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            return super().read(min(size or chunk, chunk) if size != -1 else chunk)

    return [json.loads(one) for block in blocks(Slow(text)) for one in block.objects]


@given(some=OBJECTS, indent=st.none() | st.integers(0, 2), chunk=st.integers(1, 50), array=st.booleans())
def test_a_document_is_split_into_its_objects(some: list[Any], indent: int | None, chunk: int, array: bool) -> None:
    text = json.dumps(some, indent=indent) if array else "\n ".join(json.dumps(one, indent=indent) for one in some)
    assert objects(text.encode(), chunk) == some
    assert objects(b"\xef\xbb\xbf" + text.encode() + b" \r\n\t", chunk) == some


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b'[{"a": 1}', "ends before its array is closed"),
        (b'[{"a": 1}]]', "has text after its end"),
        (b'[{"a": 1}] {}', "has text after its end"),
        (b'[{"a": 1} {"a": 2}]', "no comma after object 1"),
        (b'[{"a": 1},]', "element 2 is not an object"),
        (b"[1]", "element 1 is not an object"),
        (b"nonsense", "element 1 is not an object"),
        (b'{"a": 1}, {"a": 2}', "element 2 is not an object"),
        (b'{"a": ', "object 1 is malformed"),
        (b'[{"a": 1}, {"a" 2}]', "object 2 is malformed: .* at its line 1"),
        (b'{"a": NaN}', "NaN, which is not JSON"),
        (b'{"a": "\xff"}', "not UTF-8 text"),
        (b'{"a":' * 100_000, "nested deeper than 64 levels"),
    ],
)
def test_malformed_documents_are_refused_with_the_reason(text: bytes, said: str) -> None:
    with pytest.raises(DocumentError, match=said):
        objects(text)


def test_objects_have_a_maximum_length(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_documents, "_LONGEST", 1000)
    with pytest.raises(DocumentError, match="object 2 is malformed, or longer than 1000 characters"):
        objects(b'{"a": 1} {"a": "' + b"x" * 5000 + b'"}', 100)


def test_arrays_are_imported_in_blocks(lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_documents, "_BLOCK", 500)
    rows = [{"id": n, "text": "x\ny", "place": {"city": f"town {n}"}} for n in range(100)]
    (tmp_path / "rows.json").write_text(json.dumps(rows, indent=2))
    assert add_files(lake, tmp_path / "rows.json").rows == 100
    assert full(lake) == rows


def test_errors_name_the_object_that_does_not_match(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_text(json.dumps([{"id": 1}, {"id": 2}, {"id": {"a": 1}}, {"id": 4}]))
    with pytest.raises(ImportRefusedError, match=r"rows\.json, object 3: ") as refused:
        parse([InputFile(path, "json", "rows.json")], None, ParseOptions())
    assert refused.value.row == 3


def test_errors_name_the_line_across_blank_lines_and_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("offtake.lake.parsing.json_blocks._BLOCK", 64)
    lines = [f'{{"id": {n}}}' for n in range(50)]
    lines[7] = lines[20] = ""
    lines[33] = '{"id": '
    path = tmp_path / "rows.json"
    path.write_text("\n".join(lines))
    with pytest.raises(ImportRefusedError, match=r"rows\.json, line 34: "):
        parse([InputFile(path, "ndjson", "rows.json")], None, ParseOptions())
