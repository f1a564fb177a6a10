"""What the tests of alerts share."""

from collections.abc import Iterator

import pytest

from tests.alerts.receivers import Receiver, receiver
from tests.alerts.world import World
from tests.deployment import Deployment


@pytest.fixture(scope="module")
def _server() -> Iterator[Receiver]:
    with receiver() as found:
        yield found


@pytest.fixture
def server(_server: Receiver) -> Receiver:
    """A receiver that answers 200."""
    _server.received.clear()
    _server.status, _server.statuses, _server.headers, _server.text, _server.reply = 200, [], {}, "ok", None
    return _server


@pytest.fixture
def world(deployed: Deployment, server: Receiver) -> World:
    """A deployment without channels."""
    return World(deployed, server)
