"""The own lake and uploads in Azure storage, by Azurite."""

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from offtake.lake import upkeep
from offtake.lake.catalog import Lake
from offtake.lake.compaction import compact
from offtake.lake.storage import objects
from offtake.lake.storage.access import FileAccess
from offtake.lake.upkeep import Retention
from offtake.lake.upload_store import StoreUploads
from offtake.network.egress import Network
from tests.azure_servers import ACCOUNT, KEY, AzureServer, azurite
from tests.lake.lakes import TABLE, add, full, increment, numbered

LATER = 2**62


@pytest.fixture(scope="module")
def azure() -> Iterator[AzureServer]:
    with azurite() as server:
        yield server


@pytest.fixture
def access(azure: AzureServer) -> FileAccess:
    """How an empty lake is opened."""
    name = f"lake-{uuid4().hex[:12]}"
    azure.make_container(name)
    given = {"adls.account-name": ACCOUNT, "adls.account-key": KEY, "adls.account-host": azure.endpoint}
    location = f"abfss://{name}@{ACCOUNT}.dfs.core.windows.net/own"
    return FileAccess("azure", given, Network().for_operator(), root=location)


@pytest.fixture
def lake(access: FileAccess, tmp_path: Path) -> Iterator[Lake]:
    assert access.root is not None
    opened = Lake(f"sqlite:///{tmp_path / 'catalog.db'}", access.root, access=access)
    yield opened
    opened.close()


def test_rows_come_in_are_read_merged_and_removed(lake: Lake) -> None:
    snapshots = [add(lake, numbered(n)) for n in range(12)]
    assert sorted(increment(lake, snapshots[8])) == [9, 10, 11]
    assert compact(lake, TABLE, [], LATER).files == 12
    assert upkeep.expire_snapshots(lake, TABLE, Retention(LATER, 1)) == 12
    lake.warehouse.remove(upkeep.unreferenced_files(lake, TABLE, LATER, ()))
    assert sorted(row["n"] for row in full(lake)) == list(range(12))
    assert lake.tables_in("sales") == [TABLE]
    lake.purge(TABLE)
    assert lake.tables_in("sales") == []


def test_a_large_file_is_written_in_parts_and_one_that_fails_is_not_visible(access: FileAccess) -> None:
    location, content = f"{access.root}/big", bytes(20 * 1024 * 1024 + 5)

    def failing() -> Iterator[bytes]:
        yield content
        raise RuntimeError("the source failed")

    with pytest.raises(RuntimeError, match="the source failed"):
        objects.put(access, location, failing())
    assert list(objects.files_in(access, f"{access.root}")) == []
    assert objects.put(access, location, [content[:7], content[7:]]) == len(content)
    assert [one.bytes for one in objects.files_in(access, f"{access.root}")] == [len(content)]
    objects.delete(access, [location, f"{access.root}/missing"])
    assert list(objects.files_in(access, f"{access.root}")) == []


def test_uploads_are_kept_in_parts(access: FileAccess) -> None:
    uploads, parts = StoreUploads(access), list[tuple[str, int, int]]()
    for first, content in ((4, b"5678"), (0, b"12345")):
        incoming = uploads.receive_part("b", "x", first)
        incoming.write(content)
        incoming.finish()
        incoming.publish()
        incoming.close()
        parts.append((incoming.object_id, first, first + len(content) - 1))
    with uploads.content("b", "x", parts).open() as file:
        assert file.read() == b"12345678"
    assert list(uploads.batch_ids()) == ["b"]
    uploads.remove("b")
    assert list(uploads.batch_ids()) == []
