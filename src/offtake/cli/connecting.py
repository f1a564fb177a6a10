"""Which server a command works with: one over the network, or the deployment of a data directory in this process."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from offtake.client import profiles
from offtake.client.server import Server
from offtake.errors import OfftakeError

ToServer = Annotated[
    str | None,
    typer.Option(
        "--server",
        help="URL of a server, or the name of a profile (or OFFTAKE_SERVER; default: the data directory).",
    ),
]
_DEFAULT_DATA_DIR = Path("offtake-data")


@contextmanager
def connected(server: str | None, data_dir: Path | None, sandbox: str | None = None) -> Iterator[Server]:
    """Connect to the named server, else to the default one, else open the data directory in this process.

    Raises `OfftakeError` when both are named, when the server is unknown, and when the directory has no deployment.
    """
    if server is not None and data_dir is not None:
        raise OfftakeError("Give --server or --data-dir, not both.")
    chosen = server or (profiles.default_server() if data_dir is None else None)
    if chosen is not None:
        from offtake.client.remote import Remote  # noqa: PLC0415 - not needed for a local deployment

        profile = profiles.find_profile(chosen, data_dir or _DEFAULT_DATA_DIR)
        with Server(Remote(profile, sandbox)) as found:
            yield found
        return
    from offtake.api.in_process import InProcess  # noqa: PLC0415 - a remote command loads nothing of a server
    from offtake.cli.options import opened  # noqa: PLC0415 - as above

    with opened(data_dir) as backend, Server(InProcess(backend, sandbox)) as found:
        yield found
