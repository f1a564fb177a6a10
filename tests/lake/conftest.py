from collections.abc import Iterator
from pathlib import Path

import pytest

from offtake.lake.catalog import Lake
from tests.lake.lakes import lake_in


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    opened = lake_in(tmp_path)
    yield opened
    opened.close()
