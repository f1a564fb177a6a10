"""Uploads behave alike in a folder and in an object store."""

import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from offtake.lake.parsing.files import InputFile
from offtake.lake.storage.object_parts import ObjectParts
from offtake.lake.upload_folder import FolderUploads
from offtake.lake.upload_store import StoreUploads
from offtake.lake.uploads import Incoming, Part, Uploads
from tests import stored_lakes

NAME = "Bestellungen/März.json"


@pytest.fixture(params=["folder", "s3"])
def uploads(request: pytest.FixtureRequest, tmp_path: Path) -> Uploads:
    if request.param == "folder":
        return FolderUploads(tmp_path / "uploads")
    server = request.getfixturevalue("s3_of_lakes")
    return StoreUploads(stored_lakes.access_in(server, stored_lakes.place_in(server)))


def send(incoming: Incoming, content: bytes, step: int = 1000) -> str | None:
    try:
        for first in range(0, len(content), step):
            incoming.write(content[first : first + step])
        incoming.finish()
        incoming.publish()
        return incoming.object_id
    finally:
        incoming.close()


def part(object_id: str | None, first: int, size: int) -> list[Part]:
    return [] if object_id is None else [(object_id, first, first + size - 1)]


def whole(uploads: Uploads, content: bytes, name: str = NAME) -> list[Part]:
    return part(send(uploads.receive("b", name), content), 0, len(content))


def content_of(uploads: Uploads, parts: list[Part], name: str = NAME) -> bytes:
    with uploads.content("b", name, parts).open("rb") as file:
        return file.read()


def test_a_whole_file_replaces_the_one_before(uploads: Uploads) -> None:
    whole(uploads, b"first")
    parts = whole(uploads, b"second one")
    content = uploads.content("b", NAME, parts)
    assert (content_of(uploads, parts), content.stat().st_size, content.exists()) == (b"second one", 10, True)


def test_a_file_that_is_larger_than_a_part_of_an_upload_arrives(uploads: Uploads) -> None:
    content = random.Random(1).randbytes(20 * 1024 * 1024 + 7)
    assert content_of(uploads, whole(uploads, content)) == content


@pytest.mark.parametrize("seed", range(6))
def test_parts_arrive_in_any_order_and_later_ones_win(uploads: Uploads, seed: int) -> None:
    chance = random.Random(seed)
    size = 5000
    expected, parts = bytearray(size), list[Part]()
    uploads.start("b", NAME)
    ranges = [(first, min(first + 700, size)) for first in range(0, size, 700)]
    chance.shuffle(ranges)
    for _ in range(8):
        first = chance.randrange(size)
        ranges.append((first, min(size, first + chance.randrange(1, 2000))))
    for first, end in ranges:
        content = chance.randbytes(end - first)
        expected[first:end] = content
        parts += part(send(uploads.receive_part("b", NAME, first), content), first, len(content))
    assert content_of(uploads, parts) == expected
    with uploads.content("b", NAME, parts).open("rb") as file:
        for first, length in ((4990, 10), (0, 3), (650, 1400), (4999, 1)):
            file.seek(first)
            assert file.read(length) == expected[first : first + length]


def test_what_is_not_published_is_gone(uploads: Uploads) -> None:
    parts = whole(uploads, b"kept")
    for finished in (False, True):
        incoming = uploads.receive("b", NAME)
        incoming.write(b"left")
        if finished:
            incoming.finish()
        incoming.close()
    assert content_of(uploads, parts) == b"kept"
    if isinstance(uploads, FolderUploads):
        assert len(list(uploads.root.rglob("*.part"))) == 0
    else:
        content = uploads.content("b", NAME, [])
        assert isinstance(content, ObjectParts)
        assert len(stored_lakes.objects_in(content.access, content.folder)) == 1


def test_batches_are_listed_and_removed(uploads: Uploads) -> None:
    assert list(uploads.batch_ids()) == []
    for batch, name in (("b2", "x"), ("b1", "x"), ("b1", "y")):
        send(uploads.receive(batch, name), b"content")
    assert list(uploads.batch_ids()) == ["b1", "b2"]
    uploads.remove("b1")
    uploads.remove("b1")
    assert list(uploads.batch_ids()) == ["b2"]


def parquet(folder: Path) -> bytes:
    pq.write_table(pa.table({"n": range(3000), "city": [f"town {n}" for n in range(3000)]}), folder / "x.parquet")
    return (folder / "x.parquet").read_bytes()


def test_parquet_is_read_from_parts(uploads: Uploads, tmp_path: Path) -> None:
    content, parts = parquet(tmp_path), list[Part]()
    uploads.start("b", "x.parquet")
    for first in range(0, len(content), 4000):
        chunk = content[first : first + 4000]
        parts += part(send(uploads.receive_part("b", "x.parquet", first), chunk), first, len(chunk))
    file = InputFile(uploads.content("b", "x.parquet", parts), "parquet", "x.parquet")
    with file.open_parquet() as opened:
        assert opened.read().column("n").to_pylist() == list(range(3000))


def test_gzip_is_read_from_parts(uploads: Uploads) -> None:
    content, parts = pa.compress(b'{"n": 1}\n' * 9000, "gzip", asbytes=True), list[Part]()
    uploads.start("b", "x.json.gz")
    for first in range(0, len(content), 50):
        chunk = content[first : first + 50]
        parts += part(send(uploads.receive_part("b", "x.json.gz", first), chunk), first, len(chunk))
    with InputFile(uploads.content("b", "x.json.gz", parts), "ndjson", "x.json.gz").open() as stream:
        assert stream.read() == b'{"n": 1}\n' * 9000


def test_an_empty_file_is_empty(uploads: Uploads) -> None:
    send(uploads.receive("b", "e.json"), b"")
    file = InputFile(uploads.content("b", "e.json", []), "ndjson", "e.json")
    assert file.is_empty
    with file.open() as stream:
        assert stream.read() == b""
