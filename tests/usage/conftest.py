from collections.abc import Iterator
from pathlib import Path

import pytest

from offtake.engines.local import LocalEngine
from tests.deployment import Deployment, deployment
from tests.fake_clock import FakeClock
from tests.postgres import migrated_database


@pytest.fixture(params=["sqlite", "postgres"])
def deployed(
    request: pytest.FixtureRequest, tmp_path: Path, clock: FakeClock, engine: LocalEngine
) -> Iterator[Deployment]:
    """A deployment on each database."""
    more = {} if request.param == "sqlite" else {"database_url": migrated_database(request.getfixturevalue("postgres"))}
    with deployment(tmp_path / "data", clock, engine, **more) as opened:
        yield opened
