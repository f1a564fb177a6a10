"""Names of files that are being written."""

import re
from pathlib import Path

import pytest

from offtake.destinations.drivers.local_folder import LocalFolderSink
from offtake.destinations.drivers.temporary_names import is_temporary, leftovers_of, temporary_name
from offtake.destinations.landing_zone.folder import FolderZones

NAMES = ["a", "part-0.json.gz", ".hidden", "a\nb", "x" * 241, "x" * 242, "x" * 255, "ü" * 127, "日" * 85, "\udcfc.json"]


@pytest.mark.parametrize("name", NAMES)
def test_a_temporary_name_is_new_hidden_recognised_and_not_too_long(name: str) -> None:
    first, second = temporary_name(name), temporary_name(name)
    assert first != second
    assert is_temporary(first)
    assert len(first.encode("utf-8", "surrogateescape")) <= 255
    assert list(leftovers_of({name}, [first, second, f".{name}.tmp"])) == [first, second, f".{name}.tmp"]


def test_only_the_names_own_files_are_recognised() -> None:
    others = [
        "a",
        ".a",
        "a.tmp",
        ".a.0123abcd",
        ".a.0123ABCD.tmp",
        ".a.0123abc.tmp",
        ".ab.0123abcd.tmp",
        "..tmp",
        ".tmp",
    ]
    assert list(leftovers_of({"a"}, others)) == []
    longest = ["x" * 250 + end for end in ("a", "b")]
    assert list(leftovers_of({longest[0]}, [temporary_name(longest[1])])) == []
    assert list(leftovers_of({"a"}, [temporary_name("a.0123abcd"), temporary_name(".a")])) == []


def test_a_name_as_long_as_the_file_system_takes_can_be_written(tmp_path: Path) -> None:
    sink = LocalFolderSink(FolderZones(tmp_path).zone("org", "prod", "dlz_destination").folder)
    name = "x" * 248 + ".json"
    sink.put(f"out/{name}", [b"x"])
    assert [one.key for one in sink.list("")] == [f"out/{name}"]
    assert re.search(r"~[0-9a-f]{16}\.[0-9a-f]{8}\.tmp$", temporary_name(name))
