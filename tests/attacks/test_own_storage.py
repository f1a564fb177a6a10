"""No table of others reads this deployment's own storage, and nothing of theirs is written or deleted."""

from collections.abc import Callable

import pytest

from offtake.lake.locations import LocationError
from offtake.lake.storage import objects
from offtake.lake.storage.access import FileAccess, place_of

KEYS = {"s3.access-key-id": "A", "s3.secret-access-key": "B"}


@pytest.mark.parametrize("location", ["s3://lake/own/a.parquet", "s3a://lake/own/x/a.parquet", "S3://lake/own/a"])
def test_a_registered_table_names_no_file_of_the_own_warehouse(location: str) -> None:
    access = FileAccess("s3", KEYS, closed=("/data", "s3://lake/own"))
    with pytest.raises(LocationError, match="this deployment's own storage"):
        place_of(access, location)
    assert place_of(access, "s3://lake/owned/a.parquet").key == "owned/a.parquet"
    assert place_of(access, "s3://other/own/a.parquet").bucket == "other"


WRITES: list[Callable[[FileAccess, str], object]] = [
    lambda access, location: objects.put(access, location, [b"x"]),
    lambda access, location: objects.put_small(access, location, b"x"),
    lambda access, location: objects.delete(access, [location]),
    lambda access, location: list(objects.files_in(access, location)),
]


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("root", [None, "s3://lake/own"])
def test_only_the_own_folder_is_written(write: Callable[[FileAccess, str], object], root: str | None) -> None:
    access = FileAccess("s3", KEYS, root=root)
    for location in ("s3://lake/other/a", "s3://lake/own2/a", "s3://other/own/a", "gs://lake/own/a", "/folder/a"):
        with pytest.raises(LocationError, match="nothing is written there"):
            write(access, location)
