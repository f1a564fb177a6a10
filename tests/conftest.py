"""What all tests share: databases of both kinds, and a clock that is moved."""

import functools
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from offtake.access import clients
from offtake.engines.local import LocalEngine
from offtake.store.database import Database
from tests.deployment import Deployment, deployment
from tests.fake_clock import FakeClock
from tests.keyring import Keyring, keyring
from tests.postgres import new_database, postgres_server

# A busy machine is no failure: what is slow is told by the tests' own timeout.
hypothesis.settings.register_profile(
    "offtake", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow], database=None
)
hypothesis.settings.load_profile("offtake")

pytest_plugins = ["tests.matrix"]

# The same secrets are hashed again and again, for 70 ms each time.
clients._scrypt = functools.lru_cache(1024)(clients._scrypt)  # noqa: SLF001 - what is hashed stays as it is

NOON = 1_772_366_400_000  # 2026-03-01T12:00:00Z


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    with postgres_server() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A migrated store, once on each database."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'store.db'}"
    else:
        url = new_database(request.getfixturevalue("postgres"))
    opened = Database(url)
    opened.migrate()
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
