"""A server as users start it, and aepp pointed at it by its own configuration."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.clients.aepp_client import Aepp, Served
from tests.commands import Command
from tests.servers import await_port, free_port


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One `offtake serve` for all tests of the worker; each test names its own resources."""
    with offtake_serve(tmp_path_factory.mktemp("served")) as server:
        yield server


@contextmanager
def offtake_serve(folder: Path, **variables: str) -> Iterator[Served]:
    """A server with its data in the folder, and variables in addition to the environment's."""
    port = free_port()
    command = ["serve", "--data-dir", str(folder / "data"), "--port", str(port)]
    process = Command(command, {**os.environ, **variables}, folder / "log")
    try:
        await_port(port, process)
        yield Served(folder / "data", **json.loads((folder / "data" / "admin.json").read_text()))
    finally:
        process.terminate()
        process.wait(20)
    assert "Traceback" not in (folder / "log").read_text(encoding="utf-8")


@pytest.fixture
def aepp(served: Served) -> Aepp:
    return Aepp(served)


@pytest.fixture(scope="session")
def dataset(served: Served, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The id of a dataset of five rows."""
    rows = tmp_path_factory.mktemp("rows") / "rows.ndjson"
    rows.write_text("".join(f'{{"id": {n}, "city": "town {n}"}}\n' for n in range(5)))
    return served.import_rows("towns", rows)


@pytest.fixture
def name(tmp_path: Path) -> str:
    """A name that nothing else on the server has."""
    return tmp_path.name
