"""Which server a command works with: one over the network, or the deployment of a data directory in this process."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from offtake.client import profiles
from offtake.client.server import Server
from offtake.errors import OfftakeError

if TYPE_CHECKING:
    from offtake.deployment.backend import Backend

_over_network = [False]
_DEFAULT_DATA_DIR = Path("offtake-data")


@contextmanager
def connected(server: str | None, data_dir: Path | None, sandbox: str | None = None) -> Iterator[Server]:
    """Connect to the named server, else to the default one, else open the data directory in this process.

    Raises `OfftakeError` when both are named and when the server is unknown, `NoDeploymentError` when the directory
    has no deployment.
    """
    chosen = chosen_server(server, data_dir)
    _over_network[0] = chosen is not None
    if chosen is not None:
        from offtake.client.remote import Remote  # noqa: PLC0415 - not needed for a local deployment

        profile = profiles.find_profile(chosen, profiles.data_dir(_DEFAULT_DATA_DIR))
        with Server(Remote(profile, sandbox)) as found:
            yield found
        return
    from offtake.api.in_process import InProcess  # noqa: PLC0415 - a remote command loads nothing of a server
    from offtake.cli.local import opened  # noqa: PLC0415 - as above

    with opened(data_dir) as backend, Server(InProcess(backend, sandbox)) as found:
        yield found


def is_over_network() -> bool:
    """Whether the command of this process works with a server over the network."""
    return _over_network[0]


def chosen_server(server: str | None, data_dir: Path | None) -> str | None:
    """The server that a command with these options works with; None for a data directory."""
    if server is not None and data_dir is not None:
        raise OfftakeError("Give --server or --data-dir, not both.")
    return server or (profiles.default_server() if data_dir is None else None)


def local_backend(server: Server) -> "Backend | None":
    """The deployment that is open in this process; None for a server over the network."""
    return getattr(server.transport, "backend", None)
