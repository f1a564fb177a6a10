"""What all tests share: databases of both kinds, and a clock that is moved."""

import functools
import gc
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from offtake.access import clients
from offtake.engines.local import LocalEngine
from offtake.store.database import Database
from tests import shared_statements
from tests.deployment import Deployment, deployment
from tests.fake_clock import FakeClock
from tests.keyring import Keyring, keyring
from tests.postgres import migrated_database, postgres_server

pytest_plugins = ["tests.matrix"]

# It takes a third of the time of imports and of collecting tests, and finds nothing there.
gc.disable()

shared_statements.install()

# The same secrets are hashed again and again, for 70 ms each time.
clients._scrypt = functools.lru_cache(1024)(clients._scrypt)  # noqa: SLF001 - what is hashed stays as it is

NOON = 1_772_366_400_000  # 2026-03-01T12:00:00Z


def pytest_collection_finish() -> None:
    """Collect garbage from now on, but leave out what stays until the end."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    gc.enable()


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    with postgres_server() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A migrated store, once on each database."""
    if request.param == "sqlite":
        (tmp_path / "store.db").write_bytes(_migrated_file())
        url = f"sqlite:///{tmp_path / 'store.db'}"
    else:
        url = migrated_database(request.getfixturevalue("postgres"))
    opened = Database(url)
    yield opened
    opened.close()


@functools.cache
def _migrated_file() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "store.db")
        made = Database(f"sqlite:///{file}")
        made.migrate()
        made.close()
        return file.read_bytes()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(NOON)


@pytest.fixture(scope="session")
def engine() -> Iterator[LocalEngine]:
    opened = LocalEngine(processes=2)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def keys() -> Iterator[Keyring]:
    with keyring() as opened:
        yield opened


@pytest.fixture
def deployed(tmp_path: Path, clock: FakeClock, engine: LocalEngine) -> Iterator[Deployment]:
    with deployment(tmp_path / "data", clock, engine) as opened:
        yield opened


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory, engine: LocalEngine) -> Iterator[Deployment]:
    """One deployment for all tests of a module that only read, or whose requests are refused."""
    with deployment(tmp_path_factory.mktemp("standing") / "data", FakeClock(NOON), engine) as opened:
        yield opened
