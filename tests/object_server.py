"""An S3 server with the faults of object stores: for reading, in this process, without a check of signatures."""

import http.server
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from offtake.lake.storage.access import FileAccess

KEYS = {"s3.access-key-id": "first", "s3.secret-access-key": "x", "s3.region": "us-east-1"}


@dataclass
class ObjectServer:
    """`objects`: by path, such as `/bucket/key`. `requests`: ranges `(path, start, end)` that were answered.

    `keys`: the access keys that signed the requests. `before`: called with the path before each answer; it may change
    the objects. `hangs`: no further request is answered. `cuts`: bytes that are missing at the end of each answer.
    """

    endpoint: str = ""
    objects: dict[str, bytes] = field(default_factory=dict)
    requests: list[tuple[str, int, int]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    before: Callable[[str], None] | None = None
    hangs: threading.Event = field(default_factory=threading.Event)
    asked: threading.Event = field(default_factory=threading.Event)
    cuts: int = 0
    stopped: threading.Event = field(default_factory=threading.Event)

    def access(self, **properties: str) -> FileAccess:
        """How its objects are read."""
        return FileAccess("s3", {**KEYS, "s3.endpoint": self.endpoint, **properties})

    @property
    def sent(self) -> int:
        """The bytes of all answers."""
        return sum(end - start for _, start, end in self.requests)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        found: ObjectServer = self.server.found  # type: ignore[attr-defined]
        found.asked.set()
        if found.hangs.is_set():
            found.stopped.wait()
            self.close_connection = True
            return
        if found.before is not None:
            found.before(self.path)
        key = re.search(r"Credential=([^/]+)", self.headers.get("authorization", ""))
        found.keys.append(key[1] if key else "")
        data = found.objects.get(self.path)
        if data is None:
            self._answer(404, b"", {})
            return
        start, end = _range(self.headers.get("range"), len(data))
        if start >= end and "range" in self.headers:
            self._answer(416, b"", {})
            return
        found.requests.append((self.path, start, end))
        headers = {"ETag": f'"{hash(data):x}"', "Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT"}
        if "range" in self.headers:
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(data)}"
        self._answer(206 if "range" in self.headers else 200, data[start:end], headers, found.cuts)

    do_HEAD = do_GET  # noqa: N815 - the base class's name

    def _answer(self, status: int, body: bytes, headers: dict[str, str], cuts: int = 0) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body[: len(body) - cuts])
            self.close_connection = cuts > 0

    def log_message(self, *_: Any) -> None:
        pass


def _range(header: str | None, size: int) -> tuple[int, int]:
    found = re.fullmatch(r"bytes=(\d*)-(\d*)", header or "")
    if found is None:
        return 0, size
    if not found[1]:
        return max(0, size - int(found[2])), size
    return int(found[1]), min(size, int(found[2]) + 1) if found[2] else size


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """Clients that stop reading are expected."""


@contextmanager
def object_server() -> Iterator[ObjectServer]:
    """The server on a port of its own."""
    server = _Server(("127.0.0.1", 0), _Handler)
    found = ObjectServer(f"http://127.0.0.1:{server.server_port}")
    server.found = found  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield found
    finally:
        found.stopped.set()
        server.shutdown()
        server.server_close()
