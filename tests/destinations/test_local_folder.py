"""What a folder of this machine keeps when the power is cut."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from offtake.destinations.drivers.local_folder import LocalFolderSink
from offtake.destinations.landing_zone.folder import FolderZones
from offtake.errors import EXPORT_FAILED, DeliveryError

MIB = 1024 * 1024


def test_a_file_and_the_folders_it_made_are_on_disk_before_it_is_said_to_be_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zone = FolderZones(tmp_path).zone("org", "prod", "dlz_destination").folder
    file, synced = zone / "out" / "new" / "file.json", list[tuple[str, bool]]()
    sync = os.fsync

    def noted(handle: int) -> None:
        synced.append((os.readlink(f"/proc/self/fd/{handle}"), file.exists()))  # noqa: PTH115 - the link's text may not be a path
        sync(handle)

    monkeypatch.setattr(os, "fsync", noted)
    sink = LocalFolderSink(zone)
    sink.put("out/new/file.json", [b"x"])
    made, written, named = synced[:-2], synced[-2], synced[-1]
    assert made == [(str(folder), False) for folder in (tmp_path, zone, zone / "out")]
    assert written[0].startswith(f"{file.parent}/.file.json.")
    assert not written[1]
    assert named == (str(file.parent), True)
    synced.clear()
    sink.put("out/new/file.json", [b"y"])
    assert len(synced) == 2


def test_a_large_file_goes_to_the_disk_while_more_of_it_comes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced, sync = list[int](), os.fdatasync

    def noted(handle: int) -> None:
        synced.append(os.fstat(handle).st_size)
        sync(handle)

    monkeypatch.setattr(os, "fdatasync", noted)
    sink = LocalFolderSink(tmp_path)
    size = 64 * MIB
    assert sink.put("file", (bytes(MIB) for _ in range(64))) == size
    assert (tmp_path / "file").stat().st_size == size
    assert synced
    assert 16 * MIB <= synced[0] < size
    synced.clear()
    sink.put("small", (bytes(MIB) for _ in range(15)))
    assert synced == []


@pytest.mark.parametrize("more", [0, 40], ids=["at the end", "while more comes"])
def test_a_disk_error_in_a_large_file_is_reported_and_nothing_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: int
) -> None:
    def failing(_handle: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fdatasync", failing)
    with pytest.raises(DeliveryError, match="Input/output error") as caught:
        LocalFolderSink(tmp_path).put("out/file", (bytes(MIB) for _ in range(16 + more)))
    assert caught.value.transient
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_the_producer_may_fail_while_the_disk_is_busy(tmp_path: Path) -> None:
    def half() -> Iterator[bytes]:
        yield from (bytes(MIB) for _ in range(20))
        raise DeliveryError(EXPORT_FAILED, "It cannot be read.", "Fix it.")

    with pytest.raises(DeliveryError, match="cannot be read"):
        LocalFolderSink(tmp_path).put("out/file", half())
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
