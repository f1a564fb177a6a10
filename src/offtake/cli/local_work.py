"""Executes a run in the process of a command, while no server of the data directory is running."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

from offtake.access import access
from offtake.catalog import batch_reverts
from offtake.deployment.backend import Backend
from offtake.documents import Json
from offtake.sandboxes import sandboxes
from offtake.scheduling.background import run_worker
from offtake.scheduling.housekeeping import empty_sandbox


@contextmanager
def working(backend: Backend, run_id: str) -> Iterator[None]:
    """Execute the run by its lease until the block ends; does nothing while a server of this directory is running.

    A server that starts meanwhile sees the lease, and leaves the run to this process.
    """
    if is_served(backend):
        yield
        return
    with run_worker(backend, f"command-{uuid4()}", run_id):
        yield


def is_served(backend: Backend) -> bool:
    """Whether a server of this data directory is running on this machine."""
    try:
        with (backend.settings.data_dir / "server.lock").open("r") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def revert_locally(backend: Backend, batch_id: str, sandbox: str | None) -> None:
    """Revert a batch now, with or without a running server."""
    caller = access.operator_caller(backend.database, sandbox)
    batch_reverts.revert(backend.database, backend.lake, caller, batch_id, backend.clock)


def empty_now(backend: Backend, sandbox_id: str, name: str) -> Json:
    """Empty a sandbox that is being reset or deleted; its document afterwards."""
    for _ in empty_sandbox(backend, sandbox_id):
        pass
    caller = access.organisation_operator(backend.database)
    with backend.database.reading() as session:
        return sandboxes.render(sandboxes.find(session, caller, name)[0])
