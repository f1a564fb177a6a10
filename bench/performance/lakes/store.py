"""A fast S3 server for reading: `python -m bench.performance.lakes.store FOLDER MILLISECONDS`.

It serves the files of the folder, which are the objects of one bucket, by `sendfile`; signatures are not checked. The
answers of a REST catalog are files of the folder too. Each request and each new connection waits for the given time
first, like a round trip to a distant store: a proxy that copies the bytes would take processor time from what is
measured. Prints its port.
"""

import os
import re
import socketserver
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Final, cast
from urllib.parse import unquote, urlsplit

from tests.bucket_io import BUCKET

KEYS: Final = {"s3.access-key-id": "bench", "s3.secret-access-key": "bench", "s3.region": "us-east-1"}


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, folder: Path, seconds: float) -> None:
        self.folder, self.seconds = folder, seconds
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 64 * 1024
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        time.sleep(self._store.seconds)

    @property
    def _store(self) -> _Server:
        return cast("_Server", self.server)

    def do_GET(self) -> None:
        time.sleep(self._store.seconds)
        path = self._store.folder / unquote(urlsplit(self.path).path).removeprefix(f"/{BUCKET}").lstrip("/")
        try:
            file = path.open("rb")
        except OSError:
            self._answer(HTTPStatus.NOT_FOUND, 0)
            self.wfile.flush()
            return
        with file:
            stat = os.fstat(file.fileno())
            size, tag = stat.st_size, f'"{stat.st_ino:x}-{stat.st_mtime_ns:x}"'
            start, end = _range(self.headers.get("range", ""), size)
            if start >= end and size:
                self._answer(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, 0)
            elif "range" in self.headers:
                self._answer(HTTPStatus.PARTIAL_CONTENT, end - start, tag, f"bytes {start}-{end - 1}/{size}")
            else:
                self._answer(HTTPStatus.OK, end - start, tag)
            self.wfile.flush()
            if self.command == "GET":
                while start < end:
                    start += os.sendfile(self.connection.fileno(), file.fileno(), start, end - start)

    do_HEAD = do_GET  # noqa: N815 - the base class's name

    def _answer(self, status: HTTPStatus, length: int, tag: str = "", content_range: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        self.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
        if tag:
            self.send_header("ETag", tag)
        if content_range:
            self.send_header("Content-Range", content_range)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """No log."""


def _range(header: str, size: int) -> tuple[int, int]:
    found = re.fullmatch(r"bytes=(\d*)-(\d*)", header)
    if found is None:
        return 0, size
    first, last = found.groups()
    if not first:
        return max(0, size - int(last)), size
    return int(first), min(size, int(last) + 1) if last else size


@contextmanager
def serving(folder: Path, seconds: float) -> Iterator[dict[str, str]]:
    """A server of the folder in a process of its own; yields a catalog's properties for reading from it."""
    command = [sys.executable, "-m", __name__, str(folder), str(seconds * 1000)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield {**KEYS, "s3.endpoint": f"http://127.0.0.1:{int(process.stdout.readline())}"}
        finally:
            process.kill()


if __name__ == "__main__":
    with _Server(Path(sys.argv[1]), float(sys.argv[2]) / 1000) as server:
        print(server.server_address[1], flush=True)
        server.serve_forever()
