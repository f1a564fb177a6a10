"""What all tests share: databases of both kinds, and a clock that is moved."""

import gc
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from offtake.engines.local import LocalEngine
from offtake.store.database import Database
from tests import computed_once, event_lines, open_sessions, shared_statements
from tests.deployment import Deployment, deployment
from tests.fake_clock import FakeClock
from tests.keyring import Keyring, keyring
from tests.postgres import migrated_database, postgres_server
from tests.sqlite import put_migrated_store

pytest_plugins = ["tests.matrix"]

# It takes a third of the time of imports and of collecting tests, and finds nothing there.
gc.disable()

computed_once.install()
shared_statements.install()
open_sessions.install()
event_lines.install()

NOON = 1_772_366_400_000  # 2026-03-01T12:00:00Z


def pytest_collection_finish() -> None:
    """Collect garbage from now on, but leave out what stays until the end."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    gc.enable()


@pytest.fixture(autouse=True)
def _logs_of_commands_end() -> Iterator[None]:
    """Commands such as `serve` log to the standard error of their test, which is closed after it."""
    root = logging.getLogger()
    level = root.level
    yield
    root.setLevel(level)
    for handler in root.handlers[:]:
        if type(handler) is logging.StreamHandler:
            root.removeHandler(handler)


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    with postgres_server() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A migrated store, once on each database."""
    if request.param == "sqlite":
        put_migrated_store(tmp_path / "store.db")
        url = f"sqlite:///{tmp_path / 'store.db'}"
    else:
        url = migrated_database(request.getfixturevalue("postgres"))
    opened = Database(url)
    yield opened
    opened.close()


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
