"""What is particular to SFTP, against OpenSSH's own server."""

import base64
import gzip
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from offtake.destinations import schema, sftp
from offtake.destinations.base import SandboxLocation
from offtake.destinations.drivers.sftp_protocol import SftpClient
from offtake.destinations.drivers.sftp_sink import SftpSink
from offtake.destinations.landing_zone.folder import FolderZones
from offtake.destinations.parameters import Params
from offtake.destinations.probe import probe
from offtake.errors import DeliveryError, InvalidInputError
from offtake.network.egress import Network
from tests.api.tutorial import RSA_KEY, connect, flow_body, source_of
from tests.deployment import Deployment, rows
from tests.middlebox import middlebox
from tests.servers import free_port
from tests.ssh_server import LOGIN, SMALL, SshServer, sshd

SECRET = "MARKEDsecretMARKED"
OTHER = "SHA256:" + "A" * 43
MIB = 1024 * 1024
SANDBOX_LOCATION = SandboxLocation("prod", FolderZones(Path("/")))
IMPATIENT = SandboxLocation("prod", FolderZones(Path("/")), network=Network(read_timeout=1))


def credentials(params: dict[str, object]) -> Params:
    return schema.parse_credentials(
        sftp.DESTINATION, "SFTP with " + ("SSH Key" if "sshKey" in params else "Password"), params
    )


def opened(
    params: dict[str, object], remote: str = "out", sandbox_location: SandboxLocation = SANDBOX_LOCATION
) -> SftpSink:
    location = {"datasetFileType": "JSON", "compression": "GZIP", "remotePath": remote}
    sink = sftp.open_sink(credentials(params), schema.parse_target_params(sftp.DESTINATION, location), sandbox_location)
    assert isinstance(sink, SftpSink)
    return sink


def refused(sink: SftpSink, key: str = "out/file.json", size: int = 1) -> DeliveryError:
    try:
        with pytest.raises(DeliveryError) as caught:
            sink.put(key, [os.urandom(size)])
    finally:
        sink.close()
    assert SECRET not in f"{caught.value!s}{caught.value!r}{caught.value.__cause__!r}"
    assert caught.value.remedy
    return caught.value


def files(root: Path) -> list[str]:
    return sorted(str(one.relative_to(root)) for one in root.rglob("*") if one.is_file())


@pytest.fixture
def server(ssh: SshServer, tmp_path: Path) -> SshServer:
    """A server whose sessions begin in an empty folder."""
    return ssh.within(tmp_path.name)


# Logging in


@pytest.mark.parametrize(
    ("kind", "passphrase"),
    [
        ("ed25519", ""),
        ("rsa", ""),
        ("rsa -m PEM", ""),
        ("rsa -m PEM", "a phrase"),
        ("rsa -m PKCS8", "a phrase"),
        ("ecdsa -b 256 -m PEM", "a phrase"),
        ("ecdsa -b 384", ""),
        ("ecdsa -b 521 -m PKCS8", ""),
        ("ed25519", "a phrase"),
    ],
)
def test_every_kind_of_key_logs_in(ssh: SshServer, tmp_path: Path, kind: str, passphrase: str) -> None:
    command = ["ssh-keygen", "-q", "-t", *kind.split(), "-N", passphrase, "-f", str(tmp_path / "key")]
    subprocess.run([*command, *(["-b", "2048"] if kind.startswith("rsa") else [])], check=True)
    ssh.authorize((tmp_path / "key.pub").read_text().strip())
    params = ssh.login() | {"sshKey": base64.encodebytes((tmp_path / "key").read_bytes()).decode()}
    sink = opened(params | ({"passphrase": passphrase} if passphrase else {}), tmp_path.name)
    sink.put(f"{tmp_path.name}/file.json", [b"x"])
    sink.close()
    assert files(ssh.root / tmp_path.name) == ["file.json"]


def test_a_password_logs_in(ssh: SshServer, tmp_path: Path) -> None:
    sink = opened(ssh.login() | {"password": ssh.password}, tmp_path.name)
    sink.put(f"{tmp_path.name}/file.json", [b"x"])
    sink.close()
    assert files(ssh.root / tmp_path.name) == ["file.json"]


@pytest.mark.parametrize(
    "wrong",
    [{"password": SECRET}, {"sshKey": RSA_KEY}, {"password": SECRET, "username": "unknown-user"}],
    ids=["password", "key", "user"],
)
def test_wrong_credentials_are_terminal(
    ssh: SshServer, wrong: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("DEBUG"):
        error = refused(opened(ssh.login() | wrong))
    assert (error.code, error.transient) == ("EXPORT-2001-401", False)
    assert f"{ssh.host}:{ssh.port}" in error.message
    assert SECRET not in caplog.text


def made_key(tmp_path: Path, *options: str) -> bytes:
    subprocess.run(["ssh-keygen", "-q", *options, "-f", tmp_path / "key"], check=True)
    return (tmp_path / "key").read_bytes()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (lambda _: {"sshKey": SECRET + "!"}, "Base64"),
        (lambda _: {"sshKey": base64.b64encode(SECRET.encode()).decode()}, "private SSH key"),
        (
            lambda _: {"sshKey": base64.b64encode(f"-----BEGIN OPENSSH {SECRET}".encode()).decode()},
            "private SSH key",
        ),
        (lambda _: {"sshKey": base64.b64encode(f"PuTTY-User-Key-File-3: {SECRET}".encode()).decode()}, "PuTTY"),
        (lambda at: {"sshKey": encrypted(at)}, "passphrase too"),
        (lambda at: {"sshKey": encrypted(at), "passphrase": SECRET}, "passphrase is wrong"),
        (lambda at: {"sshKey": public(at)}, "public key"),
    ],
    ids=["not Base64", "not a key", "half a key", "PuTTY's", "no passphrase", "wrong passphrase", "public"],
)
def test_a_key_that_cannot_be_used_is_refused_when_it_is_given(tmp_path: Path, given: Any, said: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        credentials({"domain": "h", "username": "u"} | given(tmp_path))
    (problem,) = caught.value.problems
    assert problem.path == "/auth/params/sshKey"
    assert said in problem.message
    assert SECRET not in str(caught.value)


def encrypted(tmp_path: Path) -> str:
    key = made_key(tmp_path, "-t", "rsa", "-b", "2048", "-m", "PKCS8", "-N", "the phrase")
    return base64.b64encode(key).decode()


def public(tmp_path: Path) -> str:
    made_key(tmp_path, "-t", "ed25519", "-N", "")
    return base64.b64encode((tmp_path / "key.pub").read_bytes()).decode()


def test_the_api_refuses_such_a_key(deployed: Deployment) -> None:
    auth = {"specName": "SFTP with SSH Key", "params": {"domain": "h", "username": "u", "sshKey": "bm8ga2V5"}}
    spec = {"id": sftp.DESTINATION.connection_spec_id, "version": "1.0"}
    body = {"name": "partner", "connectionSpec": spec, "auth": auth}
    answer = deployed.http.post("/data/foundation/flowservice/connections", json=body)
    assert answer.status_code == 400
    assert "/auth/params/sshKey" in answer.text
    assert "bm8ga2V5" not in answer.text


# The server's key


def test_the_right_fingerprint_of_any_of_the_servers_keys_is_accepted(server: SshServer) -> None:
    for fingerprint in (server.fingerprint, server.rsa_fingerprint):
        sink = opened(server.params() | {"hostKeyFingerprint": fingerprint})
        sink.put("out/file.json", [b"x"])
        sink.close()


def test_another_key_than_the_expected_is_terminal_and_tells_both(server: SshServer) -> None:
    error = refused(opened(server.params() | {"hostKeyFingerprint": OTHER}))
    assert (error.code, error.transient) == ("EXPORT-2001-401", False)
    assert server.fingerprint in error.message
    assert OTHER in error.message
    assert "hostKeyFingerprint" in error.remedy
    assert files(server.root) == []


@pytest.mark.parametrize("bad", ["", "SHA256:short", "MD5:aa:bb", "A" * 43, f"256 {OTHER} me (ED25519)"])
def test_what_is_no_fingerprint_is_refused_when_it_is_given(bad: str) -> None:
    with pytest.raises(InvalidInputError, match="hostKeyFingerprint"):
        credentials({"domain": "h", "username": "u", "password": "p", "hostKeyFingerprint": bad})


def test_the_first_connection_teaches_the_fingerprint(server: SshServer, tmp_path: Path) -> None:
    assert sftp.DESTINATION.pin is not None
    pinned = sftp.DESTINATION.pin(credentials(server.params()), None, SANDBOX_LOCATION)
    assert schema.redact(pinned)["hostKeyFingerprint"] == server.fingerprint
    assert schema.with_defaults(pinned) == server.params() | {"hostKeyFingerprint": server.fingerprint}
    opened(schema.with_defaults(pinned)).put("out/file.json", [b"x"])
    with sshd(tmp_path / "another") as another:
        moved = schema.with_defaults(pinned) | {"port": another.port}
        assert refused(opened(moved)).code == "EXPORT-2001-401"
        with pytest.raises(DeliveryError, match="not the expected server"):
            sftp.DESTINATION.pin(credentials(moved), None, SANDBOX_LOCATION)


# Where files go


def test_a_leading_slash_means_the_servers_root_and_none_the_folder_of_the_login(server: SshServer) -> None:
    below_login, below_root = (
        opened(server.params(), "out"),
        opened(server.params(), f"/{LOGIN}/{server.root.name}/abs"),
    )
    below_login.put("out/a.json", [b"x"])
    below_root.put(f"{LOGIN}/{server.root.name}/abs/b.json", [b"x"])
    assert files(server.root) == ["abs/b.json", "out/a.json"]
    host = f"sftp://{server.host}:{server.port}"
    assert below_login.uri("out/a.json") == f"{host}/~/out/a.json"
    assert below_root.uri(f"{LOGIN}/b.json") == f"{host}/{LOGIN}/b.json"
    below_login.close()
    below_root.close()


def test_half_a_file_is_not_listed_and_is_cleared_away(server: SshServer) -> None:
    (server.root / "out").mkdir()
    os.chown(server.root / "out", *owner(server.root))
    (server.root / "out" / ".file.json.tmp").write_bytes(b"longer than what is written now")
    os.chown(server.root / "out" / ".file.json.tmp", *owner(server.root))
    sink = opened(server.params())
    assert list(sink.list("")) == []
    assert sink.clear(["out/file.json"]) == 1
    sink.put("out/file.json", [b"whole"])
    assert [(one.key, one.size) for one in sink.list("")] == [("out/file.json", 5)]
    assert abs(next(sink.list("")).modified_ms / 1000 - time.time()) < 60
    assert files(server.root) == ["out/file.json"]
    sink.close()


def owner(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_uid, found.st_gid


def test_deleting_removes_what_is_left_over_but_not_the_targets_own_folder(server: SshServer) -> None:
    sink = opened(server.params(), "in/out")
    for key in ("in/out/a/b/1.json", "in/out/a/2.json"):
        sink.put(key, [b"x"])
    (server.root / "in/out/a/b/.1.json.tmp").write_bytes(b"half")
    assert sink.clear(["in/out/a/b/1.json"]) == 1
    sink.delete("in/out/a/b/1.json")
    assert not (server.root / "in/out/a/b").exists()
    assert files(server.root) == ["in/out/a/2.json"]
    sink.delete("in/out/a/2.json")
    assert list((server.root / "in/out").iterdir()) == []
    sink.delete("in/out/never/there.json")
    sink.close()


def test_a_place_can_be_tried_and_is_as_it_was_before(server: SshServer) -> None:
    (server.root / "out").mkdir()
    os.chown(server.root / "out", *owner(server.root))
    sink = opened(server.params())
    assert probe(sink, "out") == []
    sink.close()
    assert [one.name for one in server.root.rglob("*")] == ["out"]


def test_links_and_names_in_other_encodings_do_not_disturb_a_list(server: SshServer) -> None:
    sink = opened(server.params())
    sink.put("out/a.json", [b"x"])
    (server.root / "out" / "loop").symlink_to(".")
    (server.root / "out" / "linked.json").symlink_to("a.json")
    (server.root / "out" / "nowhere.json").symlink_to("none.json")
    Path(os.fsdecode(os.fsencode(server.root) + b"/out/\xfc.json")).write_bytes(b"latin-1")
    found = [one.key for one in sink.list("out")]
    assert found == ["out/a.json", "out/linked.json", "out/\udcfc.json"]
    assert b"".join(sink.read(found[-1])) == b"latin-1"
    sink.close()


# Servers of other makes and ages


def test_a_server_that_cannot_rename_over_a_file_is_served_too(ssh: SshServer, tmp_path: Path) -> None:
    old = ssh.within(tmp_path.name, "-P posix-rename,fsync,limits")
    sink = opened(old.params())
    sink.put("out/file.json", [b"a longer first version"])
    sink.put("out/file.json", [b"short"])
    content = os.urandom(3 * MIB + 1)
    sink.put("out/large.json", [content])
    assert b"".join(sink.read("out/large.json")) == content
    sink.close()
    assert files(old.root) == ["out/file.json", "out/large.json"]
    assert (old.root / "out/file.json").read_bytes() == b"short"


@pytest.mark.parametrize("at", ["before the rename", "in the middle"])
def test_there_a_slow_writer_cannot_remove_its_successors_file(
    ssh: SshServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    old = ssh.within(tmp_path.name, "-P posix-rename,fsync,limits")
    sink, successor = opened(old.params()), opened(old.params())
    sink.put("out/file.json", [b"an earlier version"])
    rename, over = SftpClient.rename, threading.Event()

    def overtake() -> None:
        assert successor.clear(["out/file.json"]) == 1
        successor.put("out/file.json", [b"the successor's"])

    def chunks() -> Iterator[bytes]:
        yield os.urandom(MIB)
        if at == "before the rename":
            overtake()
        yield b"and more"

    async def overtaken(self: SftpClient, path: str, new: str) -> None:
        if not path.endswith(".tmp") and not over.is_set():  # the old file is to be put aside
            over.set()
            overtake()
        await rename(self, path, new)

    if at == "in the middle":
        monkeypatch.setattr(SftpClient, "rename", overtaken)
    with pytest.raises(DeliveryError, match="deleted by another process") as caught:
        sink.put("out/file.json", chunks())
    assert (caught.value.code, caught.value.transient) == ("EXPORT-2003-504", True)
    assert files(old.root) == ["out/file.json"]
    assert (old.root / "out/file.json").read_bytes() == b"the successor's"
    sink.close()
    successor.close()


def test_there_too_one_of_two_that_write_at_once_is_there_whole(ssh: SshServer, tmp_path: Path) -> None:
    old = ssh.within(tmp_path.name, "-P posix-rename,fsync,limits")
    contents = (b"1" * MIB, b"2" * (MIB + 1))
    sinks = [opened(old.params()) for _ in contents]
    whole = 0
    with ThreadPoolExecutor(2) as threads:
        for _ in range(30):
            puts = [threads.submit(sink.put, "out/file.json", [one]) for sink, one in zip(sinks, contents, strict=True)]
            failed = [one.exception(60) for one in puts]
            assert all(one is None or (isinstance(one, DeliveryError) and one.transient) for one in failed), failed
            # Rarely, each of the two stops the other; then both are retried.
            if None in failed:
                assert files(old.root) == ["out/file.json"]
                assert (old.root / "out/file.json").read_bytes() in contents
                whole += 1
    assert whole > 20
    for sink in sinks:
        sink.close()


@pytest.mark.parametrize(
    "more",
    ["RekeyLimit 1M", "Ciphers aes256-gcm@openssh.com", "Ciphers aes256-ctr", "Ciphers chacha20-poly1305@openssh.com"],
)
def test_ciphers_and_changes_of_keys(tmp_path: Path, more: str) -> None:
    content = os.urandom(12 * MIB + 5)
    with sshd(tmp_path / "server", more) as other:
        sink = opened(other.params())
        sink.put("out/file.json", [content])
        assert b"".join(sink.read("out/file.json")) == content
        sink.close()
        assert (other.root / "out/file.json").read_bytes() == content


# What goes wrong


@pytest.mark.parametrize(
    ("options", "right"),
    [
        ("-P mkdir", "make folders"),
        ("-P open", "write files"),
        ("-P rename,posix-rename", "rename files"),
        ("-R", "write files"),
    ],
)
def test_a_right_that_is_missing_is_named(ssh: SshServer, tmp_path: Path, options: str, right: str) -> None:
    server = ssh.within(tmp_path.name, options)
    if right == "write files":
        (server.root / "out").mkdir()
    error = refused(opened(server.params()))
    assert (error.code, error.transient) == ("EXPORT-2001-403", False)
    assert right in error.message
    assert files(server.root) == []


def test_the_right_to_remove_is_needed_only_for_removing(ssh: SshServer, tmp_path: Path) -> None:
    sink = opened(ssh.within(tmp_path.name, "-P remove").params())
    sink.put("out/file.json", [b"x"])
    sink.put("out/file.json", [b"y"])
    with pytest.raises(DeliveryError, match="remove files") as caught:
        sink.delete("out/file.json")
    assert caught.value.code == "EXPORT-2001-403"
    sink.close()


def test_where_replacing_means_removing_that_right_is_needed(ssh: SshServer, tmp_path: Path) -> None:
    sink = opened(ssh.within(tmp_path.name, "-P posix-rename,remove").params())
    sink.put("out/file.json", [b"x"])
    with pytest.raises(DeliveryError, match="remove files") as caught:
        sink.put("out/file.json", [b"y"])
    assert caught.value.code == "EXPORT-2001-403"
    assert b"".join(sink.read("out/file.json")) == b"x"
    sink.close()


def test_a_folder_of_many_files_is_listed_whole(server: SshServer) -> None:
    (server.root / "out").mkdir()
    for number in range(500):
        (server.root / "out" / f"{number:04}.json").write_bytes(b"x" * number)
    sink = opened(server.params())
    assert [one.size for one in sink.list("out")] == list(range(500))
    sink.close()


def test_a_folder_that_may_not_be_written_is_terminal(server: SshServer) -> None:
    (server.root / "out").mkdir(mode=0o555)
    error = refused(opened(server.params()))
    assert (error.code, error.transient) == ("EXPORT-2001-403", False)
    assert "write files" in error.message


def test_a_folder_that_cannot_be_made_is_terminal(server: SshServer) -> None:
    (server.root / "out").write_text("a file where the folder should be")
    error = refused(opened(server.params()))
    assert (error.code, error.transient) == ("EXPORT-2002-404", False)
    assert "/~/out" in error.message


def test_a_file_that_is_not_there_cannot_be_read(server: SshServer) -> None:
    sink = opened(server.params())
    with pytest.raises(DeliveryError) as caught:
        b"".join(sink.read("out/none.json"))
    assert caught.value.code == "EXPORT-2002-404"
    sink.close()


def test_a_full_disk_is_transient_and_leaves_nothing(server: SshServer) -> None:
    sink = opened(server.params(), SMALL)
    with pytest.raises(DeliveryError) as caught:
        sink.put(f"{SMALL[1:]}/file.json", [os.urandom(MIB)] * 8)
    assert (caught.value.code, caught.value.transient) == ("EXPORT-2003-504", True)
    assert files(Path(f"/proc/{server.pid}/root/srv{SMALL}")) == []
    sink.put(f"{SMALL[1:]}/file.json", [b"x"])
    sink.delete(f"{SMALL[1:]}/file.json")
    sink.close()


def test_a_session_that_is_killed_leaves_nothing_and_the_sink_can_be_used_again(tmp_path: Path) -> None:
    with sshd(tmp_path / "server") as server:
        sink = opened(server.params())

        def chunks() -> Iterator[bytes]:
            for number in range(16):
                if number == 8:
                    (temporary,) = files(server.root)
                    assert re.fullmatch(r"out/\.file\.json\.[0-9a-f]{8}\.tmp", temporary)
                    for session in server.sessions():
                        session.kill()
                yield os.urandom(MIB)

        with pytest.raises(DeliveryError) as caught:
            sink.put("out/file.json", chunks())
        assert (caught.value.code, caught.value.transient) == ("EXPORT-2003-504", True)
        assert "connection was lost" in caught.value.message
        assert files(server.root) == []
        assert sink.put("out/file.json", [b"whole"]) == 5
        sink.close()


def test_a_server_that_stops_answering_is_transient_and_never_waited_for(tmp_path: Path) -> None:
    with sshd(tmp_path / "server") as server:
        sink = opened(server.params(), sandbox_location=IMPATIENT)

        def chunks() -> Iterator[bytes]:
            yield os.urandom(MIB)
            for session in server.sessions():
                session.suspend()
            while True:
                yield os.urandom(MIB)

        started = time.monotonic()
        with pytest.raises(DeliveryError) as caught:
            sink.put("out/file.json", chunks())
        assert (caught.value.code, caught.value.transient) == ("EXPORT-2003-504", True)
        assert "stopped answering" in caught.value.message
        assert time.monotonic() - started < 10
        assert files(server.root) == []
        sink.close()


def test_a_producers_error_after_a_broken_connection_is_reported(tmp_path: Path) -> None:
    wrong = ValueError("the encoder broke")
    with sshd(tmp_path / "server") as server:
        sink = opened(server.params())

        def chunks() -> Iterator[bytes]:
            yield os.urandom(2 * MIB)
            for session in server.sessions():
                session.kill()
            raise wrong

        with pytest.raises(ValueError, match="encoder") as caught:
            sink.put("out/file.json", chunks())
        assert caught.value is wrong
        assert files(server.root) == []
        sink.close()


def test_a_server_that_never_greets_is_transient() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        error = refused(
            opened(
                {"domain": "127.0.0.1", "port": port, "username": "u", "password": SECRET}, sandbox_location=IMPATIENT
            )
        )
    assert (error.code, error.transient) == ("EXPORT-2003-504", True)


@pytest.mark.parametrize("domain", ["127.0.0.1", "no-such-host.invalid"])
def test_a_server_that_is_not_there_is_transient_and_named(domain: str) -> None:
    error = refused(opened({"domain": domain, "port": free_port(), "username": "u", "password": SECRET}))
    assert (error.code, error.transient) == ("EXPORT-2003-504", True)
    assert domain in error.message


def test_a_server_that_offers_no_sftp_is_terminal(tmp_path: Path) -> None:
    with sshd(tmp_path / "server", f"Match User {LOGIN}\n  MaxSessions 0") as server:
        error = refused(opened(server.params()))
    assert (error.code, error.transient) == ("EXPORT-2001-403", False)


def test_a_network_that_may_not_be_reached_is_not(server: SshServer) -> None:
    sandbox_location = SandboxLocation(
        "prod", FolderZones(Path("/")), network=Network(deny=(ip_network("127.0.0.0/8"),))
    )
    error = refused(opened(server.params(), sandbox_location=sandbox_location))
    assert (error.code, error.transient) == ("EXPORT-2001-403", False)
    with pytest.raises(DeliveryError, match="OFFTAKE_EGRESS_ALLOW"):
        sftp.pin(credentials(server.params()), None, sandbox_location)


def test_a_flow_delivers_and_keeps_the_servers_key(deployed: Deployment, server: SshServer) -> None:
    dataset = deployed.import_rows("events", rows(0, 3))
    auth = {"specName": "SFTP with SSH Key", "params": server.params()}
    target = connect(deployed, "SFTP", auth, remotePath="in coming", compression="GZIP")
    schedule = {"timeUnit": "hour", "interval": 6, "startTime": 1_772_344_800}
    source = source_of(deployed, dataset)
    flow = deployed.post("/flows", flow_body("SFTP", source, target, schedule))["id"]
    deployed.clock.advance(seconds=660)
    deployed.run_due()
    (run,) = deployed.runs(flow)
    assert run["metrics"]["statusSummary"]["status"] == "success"
    (part,) = files(server.root)
    assert part.startswith("in coming/")
    assert part.endswith(".json.gz")
    assert len(gzip.decompress((server.root / part).read_bytes()).splitlines()) == 3
    base = deployed.get(f"/targetConnections/{target}")["items"][0]["baseConnectionId"]
    shown = deployed.get(f"/connections/{base}")["items"][0]["auth"]["params"]
    assert shown["hostKeyFingerprint"] == server.fingerprint
    assert deployed.get(f"/connections/{base}/test")["result"] is True
    assert sorted(files(server.root)) == [part]


def test_a_server_that_shows_another_key_than_the_one_kept_gets_nothing(
    deployed: Deployment, server: SshServer, tmp_path: Path
) -> None:
    dataset = deployed.import_rows("events", rows(0, 3))
    with middlebox(server.host, server.port) as box, sshd(tmp_path / "impostor") as impostor:
        params = server.params() | {"port": box.port}
        target = connect(deployed, "SFTP", {"specName": "SFTP with SSH Key", "params": params}, remotePath="out")
        schedule = {"timeUnit": "hour", "interval": 3, "startTime": 1_772_344_800}
        flow = deployed.post("/flows", flow_body("SFTP", source_of(deployed, dataset), target, schedule))["id"]
        deployed.clock.advance(seconds=660)
        deployed.run_due()
        base = deployed.get(f"/targetConnections/{target}")["items"][0]["baseConnectionId"]
        event = deployed.http.get("/data/foundation/audit/events").json()["_embedded"]["events"][0]
        assert (event["action"], event["assetId"]) == ("Update", base)
        deployed.import_rows("events", rows(3, 2))
        box.upstream = (impostor.host, impostor.port)
        deployed.clock.advance(hours=3)
        deployed.run_due()
        failed, _ = deployed.runs(flow)
        (error,) = failed["metrics"]["statusSummary"]["errors"]
        assert error["code"] == "EXPORT-2001-401"
        assert server.fingerprint in error["message"]
        assert impostor.fingerprint in error["message"]
        assert files(impostor.root) == []
        box.upstream = (server.host, server.port)
        deployed.clock.advance(hours=3)
        deployed.run_due()
        assert deployed.runs(flow)[0]["metrics"]["recordSummary"]["outputRecordCount"] == 2


def test_only_who_delivers_by_sftp_imports_its_library() -> None:
    program = "import sys, offtake.__main__, offtake.cli.main; sys.exit('asyncssh' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
