"""SFTP servers that take files away when they are renamed into place, and connections that break at that moment."""

import gzip
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from offtake.destinations.sftp import DESTINATION
from offtake.errors import DeliveryError
from tests.deployment import WITH_MANIFEST, Deployment, deployment, flow_body, rows, source_body
from tests.destinations.test_sftp import opened
from tests.fake_clock import FakeClock
from tests.scheduling.flaky_destination import FaultyEngine
from tests.servers import free_port
from tests.sftp_server import listening


@dataclass
class Inbox:
    """A server. `picks_up`: each file is moved away at its rename; `breaks`: before or after which renames it hangs up.

    `opened`: the names of the files that were written; `loses`: bytes that it does not keep of each.
    """

    root: Path
    port: int
    picks_up: bool = True
    breaks: list[str] = field(default_factory=list)
    opened: list[str] = field(default_factory=list)
    loses: int = 0

    @property
    def picked(self) -> list[Path]:
        return sorted(self.root.with_name("picked").glob("*-part-*"))

    def params(self) -> dict[str, object]:
        return {"domain": "127.0.0.1", "port": self.port, "username": "u", "password": "secret"}

    def rows(self) -> list[bytes]:
        """The lines of all files that are there or were picked up."""
        files = [*self.picked, *self.root.rglob("part-*.json.gz")]
        return sorted(line for path in files for line in gzip.decompress(path.read_bytes()).splitlines())


@contextmanager
def served(inbox: Inbox) -> Iterator[Inbox]:
    inbox.root.mkdir(parents=True)
    with listening(inbox.port, _files(inbox)):
        yield inbox


def _files(inbox: Inbox) -> type[asyncssh.SFTPServer]:
    class Files(asyncssh.SFTPServer):
        def __init__(self, chan: Any) -> None:
            super().__init__(chan, chroot=os.fsencode(inbox.root))
            self._connection = chan.get_connection()

        def open(self, path: bytes, pflags: int, attrs: Any) -> object:
            found = super().open(path, pflags, attrs)  # which fails where the folder is still to be made
            if pflags & asyncssh.FXF_WRITE:
                inbox.opened.append(path.decode())
            return found

        def fstat(self, file_obj: object) -> Any:
            found = super().fstat(file_obj)
            return asyncssh.SFTPAttrs(size=found.st_size - inbox.loses) if inbox.loses else found  # type: ignore[union-attr]

        def posix_rename(self, oldpath: bytes, newpath: bytes) -> None:
            breaks = inbox.breaks.pop(0) if inbox.breaks else ""
            if breaks != "before":
                super().posix_rename(oldpath, newpath)
                self._pick_up(newpath)
            if breaks:
                self._connection.abort()

        def _pick_up(self, path: bytes) -> None:
            file = Path(os.fsdecode(self.map_path(path)))
            if inbox.picks_up and file.name.startswith(("part-", "manifest-")):
                folder = inbox.root.with_name("picked")
                folder.mkdir(exist_ok=True)
                file.rename(folder / f"{len([*folder.iterdir()])}-{file.name}")

    return Files


@pytest.fixture
def inbox(tmp_path: Path) -> Iterator[Inbox]:
    with served(Inbox(tmp_path / "inbox", free_port())) as found:
        yield found


@pytest.fixture
def delivering(tmp_path: Path, clock: FakeClock) -> Iterator[Deployment]:
    with deployment(tmp_path / "data", clock, FaultyEngine()) as found:
        yield found


def flow_to(deployed: Deployment, inbox: Inbox, *datasets: str) -> str:
    spec = {"id": DESTINATION.connection_spec_id, "version": "1.0"}
    auth = {"specName": "SFTP with Password", "params": inbox.params()}
    base = deployed.post("/connections", {"name": "b", "connectionSpec": spec, "auth": auth})["id"]
    params = {"remotePath": "in", "datasetFileType": "JSON", "compression": "GZIP", **WITH_MANIFEST}
    target = {"name": "t", "baseConnectionId": base, "connectionSpec": spec, "params": params}
    target_id = deployed.post("/targetConnections", target)["id"]
    source = deployed.post("/sourceConnections", source_body(*datasets))["id"]
    flow_spec = {"id": DESTINATION.flow_spec_id, "version": "1.0"}
    body = flow_body(source, target_id, deployed.clock) | {"flowSpec": flow_spec}
    return str(deployed.post("/flows", body)["id"])


FINE = ""


@pytest.mark.matrix(one_in=2)
@pytest.mark.parametrize(
    "breaks",
    [
        [],
        ["after"],
        ["before"],
        ["before", "after"],
        ["after", "before"],
        [FINE, FINE, "after"],
        [FINE, FINE, "before"],
    ],
)
def test_an_inbox_that_is_emptied_at_once_receives_every_row_once(
    delivering: Deployment, inbox: Inbox, breaks: list[str]
) -> None:
    """Also when the connection breaks at a rename, done or not; no file is written a second time."""
    flow = flow_to(delivering, inbox, *(delivering.import_rows(name, rows(0, 7)) for name in ("a", "b")))
    inbox.breaks = list(breaks)
    delivering.run_due()
    delivering.import_rows("a", rows(7, 2))
    delivering.clock.advance(hours=3)
    delivering.run_due()
    statuses = [run["metrics"]["statusSummary"] for run in delivering.runs(flow)]
    assert [one["status"] for one in statuses] == ["success", "success"], statuses
    assert len(inbox.rows()) == 7 + 7 + 2
    for begins, files in (("part", 3), ("manifest", 2)):
        assert len([name for name in inbox.opened if f"/.{begins}-" in name]) == files
        assert len([*inbox.root.with_name("picked").glob(f"*-{begins}-*")]) == files


def test_a_server_that_has_fewer_bytes_than_were_sent_is_not_believed(inbox: Inbox) -> None:
    inbox.loses = 1
    sink = opened(inbox.params(), "in")
    try:
        with pytest.raises(DeliveryError, match="2 bytes, but 3 were sent") as caught:
            sink.put("in/part-1.json", [b"abc"])
    finally:
        sink.close()
    assert caught.value.transient
    assert [path for path in inbox.root.rglob("*") if path.is_file()] == []
