"""What a folder of this machine keeps when the power is cut."""

import os
from pathlib import Path

import pytest

from offtake.destinations.landing_zones import LocalZones
from offtake.destinations.local_folder import LocalFolderSink


def test_a_file_and_the_folders_it_made_are_on_disk_before_it_is_said_to_be_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zone = LocalZones(tmp_path).folder("prod", "dlz_destination")
    file, synced = zone / "out" / "new" / "file.json", list[tuple[str, bool]]()
    sync = os.fsync

    def noted(handle: int) -> None:
        synced.append((os.readlink(f"/proc/self/fd/{handle}"), file.exists()))  # noqa: PTH115 - of a link that is no path
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
