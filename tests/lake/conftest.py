from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from offtake.lake.catalog import Lake
from tests import stored_lakes
from tests.lake.lakes import lake_in
from tests.servers import S3Server

IN_S3_TOO = pytest.mark.lakes("folder", "s3")
"""For modules whose tests run on a lake in S3 as well."""


@pytest.fixture(scope="session")
def s3_of_lakes() -> Iterator[S3Server]:
    with stored_lakes.s3_server() as server:
        yield server


@pytest.fixture
def open_lake(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Lake]]:
    """Opens the test's lake, as often as it is called."""
    opened: list[Lake] = []
    location = access = None
    if getattr(request, "param", "folder") == "s3":
        server = request.getfixturevalue("s3_of_lakes")
        location = stored_lakes.place_in(server)
        access = stored_lakes.access_in(server, location)

    def open_one() -> Lake:
        if location is None:
            opened.append(lake_in(tmp_path))
        else:
            opened.append(Lake(f"sqlite:///{tmp_path / 'catalog.db'}", location, access=access))
        return opened[-1]

    yield open_one
    for one in opened:
        one.close()


@pytest.fixture
def lake(open_lake: Callable[[], Lake]) -> Lake:
    return open_lake()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    kinds: tuple[Any, ...] = next((mark.args for mark in metafunc.definition.iter_markers("lakes")), ())
    if kinds and "open_lake" in metafunc.fixturenames:
        metafunc.parametrize("open_lake", kinds, indirect=True)
