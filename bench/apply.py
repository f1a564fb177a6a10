"""Seconds and calls of `apply` and `diff` on many flows, in the same process and over the network.

python -m bench.apply [FLOWS]
"""

import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Final

import uvicorn

from offtake.access import clients
from offtake.api.app import create_app
from offtake.api.in_process import InProcess
from offtake.api.serving.listeners import bind
from offtake.client.profiles import Profile
from offtake.client.remote import Remote
from offtake.client.server import Server
from offtake.client.transport import Answer, Receive, Request, Transport
from offtake.clock import Clock
from offtake.declarations import executing, files, parsing, planning
from offtake.declarations.context import Context, Options
from offtake.declarations.state import State
from offtake.deployment.backend import Backend, open_backend
from offtake.settings import Settings

_HEAD: Final = (
    "kind: connection\nname: zone\ndestination: landing-zone\n---\n"
    "kind: dataset\nname: events\ncolumns: ['id:long']\n---\n"
)
_FLOW: Final = (
    "kind: flow\nname: flow-{number}\ndataset: events\nto: zone\npath: out/{number}\nformat: {format}\nevery: 3h\n---\n"
)


class Counting:
    """A transport that counts requests by method."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self.calls = Counter[str]()

    @property
    def server(self) -> str:
        """The server, for messages."""
        return self._transport.server

    def now(self) -> float:
        """The server's time."""
        return self._transport.now()

    def send(self, request: Request, receive: Receive | None = None) -> Answer:
        """Send and count a request."""
        self.calls[request.method] += 1
        return self._transport.send(request, receive)

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()


def main() -> None:
    """Measure both ways, each on a fresh deployment."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    for way in ("in process", "over the network"):
        with tempfile.TemporaryDirectory() as folder:
            backend = open_backend(Settings.at(Path(folder) / "data"), Clock())
            try:
                clients.create_organisation(backend.database, backend.clock)
                if way == "in process":
                    _measure(way, InProcess(backend), Path(folder), count)
                else:
                    _over_the_network(way, backend, Path(folder), count)
            finally:
                backend.close()


def _over_the_network(way: str, backend: Backend, folder: Path, count: int) -> None:
    admin = clients.first_client(backend.database, backend.clock)
    assert admin is not None
    (listener,) = bind("127.0.0.1", 0)
    listener.listen()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    config = uvicorn.Config(create_app(backend), log_config=None, lifespan="off", ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    profile = Profile(
        server=url,
        client_id=admin.client_id,
        client_secret=admin.client_secret,
        organisation=admin.org_id,
        token_url=f"{url}/ims/token/v3",
    )
    try:
        _measure(way, Remote(profile), folder, count)
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


def _measure(way: str, transport: Transport, folder: Path, count: int) -> None:
    with Server(transport):
        for what, written, changes in (
            ("diff, all new", "json", False),
            ("apply, all new", "json", True),
            ("diff, nothing changed", "json", False),
            ("apply, nothing changed", "json", True),
            ("apply, all changed", "parquet", True),
        ):
            file = folder / "documents.yaml"
            file.write_text(_HEAD + "".join(_FLOW.format(number=one, format=written) for one in range(count)))
            counting, started = Counting(transport), time.perf_counter()
            context = Context(State(Server(counting)), parsing.parse(files.read([str(file)])), Options("bench"))
            plan = planning.make_plan(context)
            if changes:
                executing.carry_out(context, plan, lambda _: None)
            seconds = time.perf_counter() - started
            calls = ", ".join(f"{method} {number}" for method, number in counting.calls.items())
            print(f"{way}: {count} flows, {what}: {seconds:.1f} s, {counting.calls.total()} calls ({calls})")


if __name__ == "__main__":
    main()
