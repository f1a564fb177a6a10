"""Live pages of runs, from a server in a process of its own."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlalchemy import delete, select

from offtake.access import web_sessions
from offtake.store.database import Database
from offtake.store.tables import Batch, Client, Role
from offtake.web.cookies import csrf_token
from tests.attacks.server import LAKE, ZONE, ZONE_FLOW, Server, serving
from tests.web.importing import multipart
from tests.web.world import change_run

FLOWS = "/data/foundation/flowservice"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("live")) as started:
        yield started


@contextmanager
def person(server: Server) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=server.origin, timeout=30, limits=httpx2.Limits(max_connections=None)) as found:
        form = {"client_id": server.admin["client_id"], "client_secret": server.admin["client_secret"]}
        assert found.post("/ui/sign-in", data=form).status_code == 303
        yield found


def make_run(server: Server, name: str) -> str:
    """A run that waits: its flow's slot is due, and its row says that a process holds it."""

    def post(path: str, body: dict[str, Any]) -> Any:
        answer = server.call("POST", path, json=body)
        assert answer.status_code < 300, answer.text
        return answer.json()

    dataset = post("/data/foundation/catalog/dataSets", {"name": name})[0].split("/")[-1]
    spec = {"id": ZONE, "version": "1.0"}
    base = post(f"{FLOWS}/connections", {"name": name, "connectionSpec": spec})["id"]
    params = {"path": "out", "compression": "NONE", "datasetFileType": "PARQUET"}
    target = {"name": name, "baseConnectionId": base, "connectionSpec": spec, "params": params}
    lake = {"id": LAKE, "version": "1.0"}
    source = {"name": name, "connectionSpec": lake, "params": {"datasets": [{"dataSetId": dataset}]}}
    schedule = {"exportMode": "FIRST_FULL_THEN_INCREMENTAL", "timeUnit": "hour", "interval": 3}
    flow = post(
        f"{FLOWS}/flows",
        {
            "name": name,
            "flowSpec": {"id": ZONE_FLOW, "version": "1.0"},
            "sourceConnectionIds": [post(f"{FLOWS}/sourceConnections", source)["id"]],
            "targetConnectionIds": [post(f"{FLOWS}/targetConnections", target)["id"]],
            "transformations": [],
            "scheduleParams": schedule | {"startTime": int(time.time()) - 60},
        },
    )["id"]
    until = time.monotonic() + 30
    while time.monotonic() < until:
        runs = server.call("GET", f"{FLOWS}/runs?property=flowId=={flow}").json()["items"]
        if runs and runs[0]["metrics"]["statusSummary"]["status"] == "success":
            return str(runs[0]["id"])
        time.sleep(0.1)
    pytest.fail("no run ended")


def hold(server: Server, run_id: str) -> None:
    """Make an ended run look as if another process executed it."""
    change_run(
        server.data_dir, run_id, status="processing", completed_at=None, lease_owner="elsewhere", heartbeat_counter=1
    )


def events(stream: httpx2.Response) -> Iterator[tuple[str, Any]]:
    name = ""
    for line in stream.iter_lines():
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield name, json.loads(line.removeprefix("data: "))


def test_an_open_page_learns_what_changes_and_when_the_run_ends(server: Server) -> None:
    run = make_run(server, "live")
    hold(server, run)
    with person(server) as visitor, visitor.stream("GET", f"/ui/prod/runs/{run}/live") as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        found = events(stream)
        name, numbers = next(found)
        assert (name, numbers["rows"]) == ("progress", "0")
        change_run(server.data_dir, run, status="success", completed_at=int(time.time() * 1000), heartbeat_counter=0)
        assert [name for name, _ in found][-1] == "end"


def test_a_stream_of_a_run_that_has_ended_ends_at_once(server: Server) -> None:
    run = make_run(server, "ended")
    with person(server) as visitor, visitor.stream("GET", f"/ui/prod/runs/{run}/live") as stream:
        assert [name for name, _ in events(stream)] == ["end"]


def test_streams_need_a_session_and_a_run_of_the_sandbox(server: Server) -> None:
    with httpx2.Client(base_url=server.origin) as visitor:
        assert visitor.get("/ui/prod/runs/unknown/live").status_code == 303
    with person(server) as visitor:
        assert visitor.get("/ui/prod/runs/unknown/live").status_code == 404


def left_open(read: Iterator[tuple[str, Any]], most_seconds: float) -> float:
    """How many seconds the stream stays open; its last event is `end`."""
    begun = time.monotonic()
    names = [name for name, _ in read]
    assert names[-1] == "end"
    taken = time.monotonic() - begun
    assert taken < most_seconds
    return taken


def test_a_stream_ends_when_its_session_does(server: Server) -> None:
    run = make_run(server, "signed out")
    hold(server, run)
    for end in ("sign out", "revoke"):
        with person(server) as visitor, visitor.stream("GET", f"/ui/prod/runs/{run}/live") as stream:
            read = events(stream)
            assert next(read)[0] == "progress"
            with Database(f"sqlite:///{server.data_dir / 'offtake.db'}").writing() as session:
                client = session.get_one(Client, server.admin["client_id"])
                if end == "sign out":
                    web_sessions.end_all_of(session, client.id)
                else:
                    client.revoked_at = int(time.time() * 1000)
            try:
                left_open(read, 4)
            finally:
                with Database(f"sqlite:///{server.data_dir / 'offtake.db'}").writing() as session:
                    session.get_one(Client, server.admin["client_id"]).revoked_at = None


def test_a_stream_ends_when_the_rights_are_lost(server: Server) -> None:
    run = make_run(server, "no rights")
    hold(server, run)
    with person(server) as visitor, visitor.stream("GET", f"/ui/prod/runs/{run}/live") as stream:
        read = events(stream)
        assert next(read)[0] == "progress"
        database = Database(f"sqlite:///{server.data_dir / 'offtake.db'}")
        with database.writing() as session:
            (role,) = session.scalars(select(Role))
            before, role.permissions = role.permissions, ["view-datasets"]
        try:
            left_open(read, 9)
        finally:
            with database.writing() as session:
                session.scalars(select(Role)).one().permissions = before


def test_one_session_has_few_streams_and_closed_ones_count_no_more(server: Server) -> None:
    run = make_run(server, "few")
    hold(server, run)
    address = f"/ui/prod/runs/{run}/live"
    with ExitStack() as stack:
        visitor, other = (stack.enter_context(person(server)) for _ in range(2))
        mine = [stack.enter_context(visitor.stream("GET", address)) for _ in range(40)]
        assert sorted(one.status_code for one in mine) == [200] * 32 + [503] * 8
        assert stack.enter_context(other.stream("GET", address)).status_code == 200
    with person(server) as again, again.stream("GET", address) as stream:
        assert stream.status_code == 200


def test_a_hundred_open_pages_do_not_delay_the_end_of_the_server(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        run = make_run(server, "many")
        hold(server, run)
        with ExitStack() as stack:
            people = [stack.enter_context(person(server)) for _ in range(4)]
            streams = [
                stack.enter_context(people[number % 4].stream("GET", f"/ui/prod/runs/{run}/live"))
                for number in range(100)
            ]
            assert all(next(events(stream))[0] == "progress" for stream in streams)
            begun = time.monotonic()
            server.process.terminate()
            threads = [threading.Thread(target=stream.close) for stream in streams]
            server.process.wait(timeout=10)
            assert time.monotonic() - begun < 5
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()


def test_a_form_of_which_half_arrives_is_not_an_error_of_the_server(server: Server) -> None:
    with person(server) as known:
        cookie = "; ".join(f"{name}={value}" for name, value in known.cookies.items())
        head = (
            "POST /ui/prod/export/preview HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            f"Cookie: {cookie}\r\nSec-Fetch-Site: same-origin\r\nContent-Length: 100\r\n"
            "Content-Type: application/x-www-form-urlencoded\r\nX-Request-Id: half\r\n\r\nname=ha"
        )
        server.connect(head.encode()).close()
        until = time.monotonic() + 10
        while " half " not in server.log.read_text() and time.monotonic() < until:
            time.sleep(0.05)
    log = server.log.read_text()
    assert "/ui/prod/export/preview 400" in log
    assert "ClientDisconnect" not in log


def statuses(database: Database) -> list[str]:
    """Of all batches."""
    with database.reading() as session:
        return list(session.scalars(select(Batch.status)))


@pytest.mark.parametrize("loss", ["the session", "the permission"])
def test_a_file_that_arrives_after_its_sender_lost_the_right_is_not_kept(server: Server, loss: str) -> None:
    database = Database(f"sqlite:///{server.data_dir / 'offtake.db'}")
    with person(server) as known:
        value = known.cookies["offtake"]
        fields = [("csrf", csrf_token(value)), ("name", "late")]
        body, kind = multipart(fields, [(f"late {loss}.csv", b"id\n1\n2\n")])
        head = (
            "POST /ui/prod/datasets/import HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
            f"Cookie: offtake={value}\r\nSec-Fetch-Site: same-origin\r\n"
            f"Content-Length: {len(body)}\r\nContent-Type: {kind}\r\n\r\n"
        ).encode()
        middle = body.index(b"id\n1") + 3
        connection = server.connect(head + body[:middle])
        until = time.monotonic() + 10
        while not statuses(database) and time.monotonic() < until:
            time.sleep(0.05)
        assert statuses(database) == ["loading"]
        with database.writing() as session:
            (role,) = session.scalars(select(Role))
            before = role.permissions
            if loss == "the session":
                web_sessions.end_all_of(session, server.admin["client_id"])
            else:
                role.permissions = ["view-datasets"]
        connection.sendall(body[middle:])
        connection.recv(65536)
        connection.close()
    with database.writing() as session:
        (role,) = session.scalars(select(Role))
        role.permissions = before
    assert statuses(database) == ["aborted"]
    with database.writing() as session:
        session.execute(delete(Batch))
    assert list(server.data_dir.rglob("late*.csv")) == []
