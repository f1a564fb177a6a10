from collections.abc import Iterator

import pytest

from tests.web import browsing


@pytest.fixture(autouse=True)
def closing() -> Iterator[None]:
    yield
    browsing.close_all()
