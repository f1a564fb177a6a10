"""Messages are sent at least once: through refusals, outages of a day, processes that die, and slow receivers."""

import hmac
import signal
import socket
import threading
import time
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text, update

from offtake import failpoints
from offtake.alerts import grouping, sender
from offtake.alerts.sender import CLAIM_MS, Result
from offtake.deployment.backend import open_backend, rotate_vault
from offtake.scheduling.notifier import Notifier
from offtake.settings import Settings
from offtake.store.database import Database
from offtake.store.tables import AlertChannel, AlertMessage
from tests.alerts.receivers import Receiver, receiver
from tests.alerts.world import CHANNELS, MESSAGES, SECRET, World
from tests.commands import context
from tests.fake_clock import FakeClock
from tests.local_parsers import LocalParsers
from tests.postgres import migrated_database

DAY = 86_400


def test_a_receiver_that_answers_500_for_a_day_gets_a_bounded_number_of_attempts_and_then_a_dead_letter(
    world: World,
) -> None:
    world.rule(world.channel())
    world.server.status, world.server.text = 500, "no\r\nwonder"
    world.record(world.event("run.failed", 1))
    attempts = world.wait(DAY + 2 * 3600, 600)
    assert 20 <= attempts <= 50
    (message,) = world.messages()
    assert (message["state"], message["attempts"]) == ("dead", attempts)
    assert message["answer"].startswith("127.0.0.1 answers 500 Internal Server Error: no wonder.")
    assert world.wait(DAY, 3600) == 0
    world.server.status = 200
    world.deployed.sign_in()
    world.deployed.post(f"{MESSAGES}/{message['id']}/action?op=retry", None, 200)
    assert world.notify() == 1
    (again,) = world.messages("state=sent")
    assert (again["id"], again["answer"]) == (message["id"], "200 OK")
    assert {one["id"] for one in world.server.documents} == {message["id"]}
    refused = world.deployed.post(f"{MESSAGES}/{message['id']}/action?op=retry", None, 409)
    assert "was sent already" in refused["detail"]


def test_a_message_that_a_receiver_refuses_is_dead_at_once_and_others_are_sent(world: World) -> None:
    world.rule(world.channel(), single=True)
    world.server.statuses = [422]
    world.record(world.event("run.failed", 1), world.event("run.failed", 2))
    world.notify()
    assert sorted(one["state"] for one in world.messages()) == ["dead", "sent"]


def test_retry_after_is_honoured(world: World) -> None:
    world.rule(world.channel(), single=True)
    world.server.statuses, world.server.headers = [429], {"Retry-After": "600"}
    world.record(world.event("run.failed", 1), world.event("run.failed", 2))
    assert world.notify() == 1
    assert world.wait(590) == 0
    assert world.wait(30) == 2


def test_a_receiver_that_asks_for_ever_is_tried_after_an_hour(world: World) -> None:
    world.rule(world.channel(), single=True)
    world.server.statuses, world.server.headers = [503], {"Retry-After": "9" * 400}
    world.record(world.event("run.failed", 1))
    assert world.notify() == 1
    assert [one["attempts"] for one in world.messages()] == [1]
    assert world.wait(3590, 600) == 0
    assert world.wait(30) == 1


def test_a_clock_set_forward_makes_no_dead_letters(world: World) -> None:
    world.rule(world.channel(), single=True)
    world.server.statuses = [500, 500, 500]
    world.record(world.event("run.failed", 1))
    world.notify()
    world.deployed.clock.set_by(days=30)
    assert world.wait(600) == 3
    assert [one["state"] for one in world.messages()] == ["sent"]


def test_an_old_claim_records_nothing(world: World) -> None:
    world.rule(world.channel(), single=True)
    world.record(world.event("run.failed", 1))
    world.notifier.group()
    database, clock = world.deployed.backend.database, world.deployed.clock
    first = sender.claim_next(database, clock.ms)
    assert first is not None
    assert sender.claim_next(database, clock.ms) is None
    clock.advance(seconds=CLAIM_MS / 1000)
    second = sender.claim_next(database, clock.ms)
    assert second is not None
    sender.record(database, first, Result(False, "late", is_permanent=True), clock.ms)
    assert world.messages()[0]["state"] == "waiting"
    sender.record(database, second, Result(True, "200 OK"), clock.ms)
    assert world.messages()[0]["state"] == "sent"


def test_servers_whose_clocks_differ_group_as_usual_and_send_once(world: World) -> None:
    world.rule(world.channel())
    world.rule(world.channel("second"), "single", single=True)
    world.record(world.event("run.failed", 1))
    world.notifier.group()
    database, now = world.deployed.backend.database, world.deployed.clock.ms
    first = sender.claim_next(database, now)
    assert first is not None
    for behind_ms in (1, 100, 5_000, 30_000):
        assert not grouping.has_work(database, now - behind_ms)
        assert sender.claim_next(database, now - behind_ms) is None
    assert [one["ruleName"] for one in world.messages()] == ["single"]


def test_a_message_that_another_process_sent_meanwhile_is_not_claimed(
    postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL evaluates the conditions again for the locked channel only; the message is that of the snapshot."""
    database = Database(migrated_database(postgres))
    who = {"org_id": "o", "sandbox_id": "s", "created_at": 0, "updated_at": 0}
    by = {"created_by": "t", "updated_by": "t", "created_client": "t", "updated_client": "t", "version": "1"}
    with database.writing() as session:
        session.add(AlertChannel(id="c", name="c", kind="webhook", settings={}, failures=0, **who, **by))
        session.flush()
        times = {"tried_since": 0, "next_at": 0}
        session.add(AlertMessage(id="m", channel_id="c", rule_id="r", document={}, state="waiting", **who, **times))
    selected, due = threading.Event(), sender._due  # noqa: SLF001 - to delay its query

    def slow(now_ms: int, busy: Any, *, only_healthy: bool) -> Any:
        selected.set()
        return due(now_ms, busy, only_healthy=only_healthy).where(text("pg_sleep(0.3) IS NOT NULL"))

    claims: list[Any] = []
    monkeypatch.setattr(Database, "finds", lambda _self, _query: True)
    monkeypatch.setattr(sender, "_due", slow)
    other = threading.Thread(target=lambda: claims.append(sender.claim_next(database, 1)))
    other.start()
    assert selected.wait(10)
    time.sleep(0.1)
    monkeypatch.setattr(sender, "_due", due)
    first = sender.claim_next(database, 1)
    assert first is not None
    sender.record(database, first, Result(True, "200 OK"), 1)
    other.join()
    database.close()
    assert claims == [None]


def test_the_example_in_the_docs_verifies_signatures(world: World) -> None:
    page = (Path(__file__).parents[2] / "docs" / "alerts.md").read_text()
    example: dict[str, Any] = {}
    exec(page.partition("```python\n")[2].partition("```")[0], example)  # noqa: S102 - of our own page
    world.deployed.clock.ms = time.time_ns() // 1_000_000
    world.deployed.sign_in()
    channel = world.channel()
    world.deployed.post(f"{CHANNELS}/{channel}/action?op=test", None, 200)
    (request,) = world.server.received
    header, is_genuine = request.headers["offtake-signature"], example["is_genuine"]
    assert is_genuine(header, request.body, SECRET)
    assert not is_genuine(header, request.body + b" ", SECRET)
    assert not is_genuine(header, request.body, SECRET + "x")
    assert not is_genuine(header, request.body, SECRET, tolerance=-1)


def _send(folder: Path, now_ms: int, armed: str) -> None:
    backend = open_backend(Settings(data_dir=folder), FakeClock(now_ms), LocalParsers.of)
    failpoints.arm(armed)
    Notifier(backend).send_all()


def test_a_message_is_sent_again_with_the_same_id_after_its_sender_was_killed(world: World) -> None:
    world.rule(world.channel(), single=True)
    world.record(world.event("run.failed", 1))
    world.notifier.group()
    folder = world.deployed.backend.settings.data_dir
    process = context.Process(target=_send, args=(folder, world.deployed.clock.ms, "alert_sent"))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert len(world.server.received) == 1
    assert world.messages()[0]["state"] == "waiting"
    assert world.notify() == 0
    world.deployed.clock.advance(seconds=CLAIM_MS / 1000)
    assert world.notify() == 1
    assert world.messages()[0]["state"] == "sent"
    first, second = world.server.documents
    assert first["id"] == second["id"]


def test_receivers_that_hang_delay_no_others(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """20 channels hang, more than there are threads; a message to another one still arrives at once."""
    monkeypatch.setattr("offtake.alerts.channels.base.SECONDS", 4.0)

    def hang(connection: socket.socket) -> None:
        slow.ended.wait(10)
        connection.close()

    with receiver() as slow:
        slow.reply = hang
        hanging = [world.channel(f"slow {number}", url=slow.url) for number in range(20)]
        for start in (0, 10):
            world.rule(hanging[start], f"slow {start}", single=True, channelIds=hanging[start : start + 10])
        world.rule(world.channel(), single=True, topics=["delivered"])
        with world.deployed.backend.database.writing() as session:
            session.execute(update(AlertChannel).where(AlertChannel.id.in_(hanging)).values(failures=1))
        world.record(world.event("run.failed", 1))
        stop = threading.Event()
        thread = threading.Thread(target=world.notifier.run, args=(stop,))
        thread.start()
        try:
            _wait_for(lambda: len(slow.received) >= 8)
            begun = time.monotonic()
            world.record(world.event("run.delivered", 1))
            world.deployed.backend.database.wakeup.notify()
            _wait_for(lambda: len(world.server.received) == 1)
            assert time.monotonic() - begun < 2
        finally:
            slow.ended.set()
            stop.set()
            world.deployed.backend.database.wakeup.notify()
            thread.join()


def _wait_for(condition) -> None:  # type: ignore[no-untyped-def] # noqa: ANN001 - any condition
    until = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_rotating_the_vaults_key_keeps_secrets_of_channels(world: World) -> None:
    channel = world.channel()
    database = world.deployed.backend.database
    with database.reading() as session:
        before = session.get_one(AlertChannel, channel).sealed
    rotate_vault(world.deployed.backend)
    with database.reading() as session:
        assert session.get_one(AlertChannel, channel).sealed != before
    world.deployed.post(f"{CHANNELS}/{channel}/action?op=test", None, 200)
    (request,) = world.server.received
    at, _, digest = request.headers["offtake-signature"].partition(",v1=")
    signed = at.removeprefix("t=").encode() + b"." + request.body
    assert digest == hmac.new(SECRET.encode(), signed, sha256).hexdigest()


def test_a_channel_with_too_many_waiting_messages_gets_dead_letters(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("offtake.alerts.messages._MOST_WAITING", 2)
    world.rule(world.channel(), single=True)
    world.server.status = 503
    for number in range(3):
        world.record(world.event("run.failed", number))
        world.notify()
    assert sorted(one["state"] for one in world.messages()) == ["dead", "waiting", "waiting"]
    assert "has 2 waiting messages" in world.messages("state=dead")[0]["answer"]


def test_old_messages_are_deleted_and_waiting_ones_stay(world: World) -> None:
    from offtake.alerts import messages  # noqa: PLC0415 - of this test alone

    world.rule(world.channel(), single=True)
    world.record(world.event("run.failed", 1))
    world.notify()
    world.server.status = 503
    world.record(world.event("run.failed", 2))
    world.notify()
    world.deployed.clock.advance(days=31)
    with world.deployed.backend.database.writing() as session:
        assert messages.delete_old(session, world.deployed.clock.ms) == 1
        assert [one.state for one in session.query(AlertMessage)] == ["waiting"]


def test_a_receiver_of_one_thread_gets_one_message_at_a_time(world: World, server: Receiver) -> None:
    world.rule(world.channel(), single=True)
    world.record(*(world.event("run.failed", number) for number in range(30)))
    stop = threading.Event()
    thread = threading.Thread(target=world.notifier.run, args=(stop,))
    thread.start()
    try:
        _wait_for(lambda: len(server.received) == 30)
    finally:
        stop.set()
        world.deployed.backend.database.wakeup.notify()
        thread.join()
    assert len({one["id"] for one in server.documents}) == 30
