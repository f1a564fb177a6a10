"""SFTP servers with rules of their own: how they let users in, and how they take files."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from offtake.cli.main import main
from offtake.destinations import schema, sftp
from offtake.destinations.base import Pending
from offtake.destinations.drivers import sftp_login
from offtake.destinations.drivers.sftp_sink import SftpSink
from offtake.destinations.parameters import Params
from offtake.destinations.probe import probe
from offtake.errors import DeliveryError
from tests.api.tutorial import connect, flow_body, source_of
from tests.deployment import Deployment, rows
from tests.destinations.test_sftp import SANDBOX_LOCATION, credentials, files
from tests.servers import free_port
from tests.sftp_server import PASSWORD, Rules, listening, ruled_server
from tests.ssh_server import SshServer, sshd

WRITE_ONLY = ("stat", "fstat", "list", "read")
RENAMES = ("rename", "posix_rename")
DEFAULT_PLACING = {"temporaryName": "DOT", "exclusiveCreate": True, "readBack": True}


def place(remote: str = "in") -> Any:
    location = {"datasetFileType": "JSON", "compression": "GZIP", "remotePath": remote}
    return schema.parse_target_params(sftp.DESTINATION, location)


def learn(params: dict[str, object], remote: str = "in") -> Params:
    return sftp.pin(credentials(params), place(remote), SANDBOX_LOCATION)


def placing_of(learned: Params) -> dict[str, object]:
    return {name: value for name, value in schema.redact(learned).items() if name in DEFAULT_PLACING}


@contextlib.contextmanager
def sink_of(learned: Params) -> Iterator[SftpSink]:
    sink = sftp.open_sink(learned, place(), SANDBOX_LOCATION)
    assert isinstance(sink, SftpSink)
    try:
        yield sink
    finally:
        sink.close()


def refusal(params: dict[str, object]) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        sftp.pin(credentials(params), None, SANDBOX_LOCATION)
    assert PASSWORD not in str(caught.value)
    return caught.value


# Logging in


@pytest.mark.parametrize("prompt", ["Password: ", "Passwort für u: ", "Mot de passe : ", "パスワード: ", ""])
def test_the_password_answers_the_prompt_that_is_not_echoed_in_any_language(tmp_path: Path, prompt: str) -> None:
    rules = Rules(prompts=[[(prompt, False)], []])
    with ruled_server(tmp_path, rules) as params:
        assert placing_of(learn(params)) == DEFAULT_PLACING
    assert rules.answers == [[PASSWORD], []]


@pytest.mark.parametrize(
    ("prompts", "asked"),
    [
        ([[("Password: ", False)], [("Verification code: ", False)]], "Verification code:"),
        ([[("Login: ", True)]], "Login:"),
        ([[("Password: ", False), ("Code: ", False)]], "Password:"),
    ],
)
def test_a_prompt_for_more_than_a_password_is_reported_and_gets_no_answer(
    tmp_path: Path, prompts: list[list[tuple[str, bool]]], asked: str
) -> None:
    rules = Rules(prompts=prompts)
    with ruled_server(tmp_path, rules) as params:
        error = refusal(params)
    assert (error.code, error.transient) == ("EXPORT-2001-401", False)
    assert asked in error.message
    assert rules.answers in ([], [[PASSWORD]])


def test_a_wrong_password_is_given_once_and_is_not_taken_for_a_question(tmp_path: Path) -> None:
    rules = Rules(prompts=[[("Password: ", False)]])
    with ruled_server(tmp_path, rules) as params:
        error = refusal(params | {"password": "wrong"})
    assert "refused to log u in with the password" in error.message
    assert rules.answers == [["wrong"]]


def test_a_key_and_a_password_where_the_server_demands_both(tmp_path: Path) -> None:
    with sshd(tmp_path, "AuthenticationMethods publickey,password") as server:
        both = server.params() | {"password": server.password}
        assert placing_of(learn(both)) == DEFAULT_PLACING
        for given in (server.params(), server.login() | {"password": server.password}):
            error = refusal(given)
            assert error.code == "EXPORT-2001-401"
            assert "send both" in error.remedy


OLD = [
    ("encryption", "Ciphers aes256-cbc", "aes256-cbc"),
    ("key exchange", "KexAlgorithms diffie-hellman-group1-sha1", "diffie-hellman-group1-sha1"),
    ("MAC", "MACs hmac-md5\nCiphers aes256-ctr", "hmac-md5"),
    ("host key", "HostKeyAlgorithms ssh-dss\nHostKey {folder}/dsa", "ssh-dss"),
]


# The library's own library for cryptography warns of what is asked of it here.
@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
@pytest.mark.parametrize(("kind", "config", "theirs"), OLD, ids=[kind for kind, _, _ in OLD])
def test_a_server_with_old_algorithms_is_reported_at_once_and_used_on_demand(
    tmp_path: Path, kind: str, config: str, theirs: str
) -> None:
    folder = tmp_path / "server"
    folder.mkdir()
    subprocess.run(["ssh-keygen", "-q", "-t", "dsa", "-N", "", "-f", folder / "dsa"], check=True)
    with sshd(folder, config.format(folder=folder)) as server:
        error = refusal(server.params())
        assert (error.code, error.transient) == ("EXPORT-2001-403", False)
        assert f"no {kind} algorithm in common" in error.message
        assert theirs in error.message.partition("Offtake supports")[0]
        assert error.message.partition("Offtake supports")[2].count(",") >= 2
        assert "allowOldAlgorithms" in error.remedy
        assert placing_of(learn(server.params() | {"allowOldAlgorithms": True})) == DEFAULT_PLACING


@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
@pytest.mark.parametrize(("cipher", "skips"), [("aes256-cbc", False), ("aes256-ctr", True)])
def test_ignored_packets_are_left_out_only_without_a_cbc_cipher(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cipher: str, skips: bool
) -> None:
    """They defend CBC ciphers against predictable initialisation vectors."""
    skipping: list[object] = []
    monkeypatch.setattr(sftp_login, "skip_ignore_packets", skipping.append)
    with sshd(tmp_path, f"Ciphers {cipher}") as server:
        learn(server.params() | {"allowOldAlgorithms": True})
    assert bool(skipping) is skips


def test_old_algorithms_are_used_only_where_there_is_no_other(server: SshServer) -> None:
    learned = learn(server.params() | {"allowOldAlgorithms": True})
    assert schema.redact(learned)["hostKeyFingerprint"] == server.fingerprint


def test_asyncssh_without_an_accepted_host_key_is_reported_with_both_lists() -> None:
    port = free_port()
    with listening(port, asyncssh.SFTPServer, keys=[asyncssh.generate_private_key("ssh-ed448")]):
        error = refusal({"domain": "127.0.0.1", "port": port, "username": "u", "password": PASSWORD})
    assert error.code == "EXPORT-2001-403"
    assert "The server supports ssh-ed448; Offtake supports ssh-ed25519, " in error.message


# How files are put in place


@pytest.mark.parametrize(
    ("rules", "given", "hint"),
    [
        (Rules(refused=RENAMES), {"exclusiveCreate": False}, "remove exclusiveCreate false"),
        (Rules(refused=RENAMES), {"temporaryName": "SUFFIX"}, "Only temporaryName SUFFIX was tried"),
        (Rules(refused=RENAMES, exclusive=False), {}, "nor creating under the final name (NONE) worked"),
    ],
)
def test_a_server_that_refuses_every_way_of_writing_is_reported_with_the_relevant_option(
    tmp_path: Path, rules: Rules, given: dict[str, object], hint: str
) -> None:
    with ruled_server(tmp_path, rules) as params, pytest.raises(DeliveryError) as caught:
        learn(params | given)
    assert (caught.value.code, caught.value.transient) == ("EXPORT-2001-403", False)
    assert "write and rename files at sftp://127.0.0.1:" in caught.value.message
    assert hint in caught.value.remedy


@pytest.mark.parametrize("refused", [(), ("stat", "fstat", "list", "read")])
def test_removing_what_is_missing_is_no_error_whatever_the_server_says_of_it(
    tmp_path: Path, refused: tuple[str, ...]
) -> None:
    rules = Rules(refused=refused, vague=True)
    with ruled_server(tmp_path, rules) as params, sink_of(learn(params)) as sink:
        sink.put("in/a.json", [b"1"])
        sink.delete("in/a.json")
        sink.delete("in/a.json")
        assert not (tmp_path / "in" / "a.json").exists()


def test_a_file_that_cannot_be_removed_is_not_reported_as_missing(tmp_path: Path) -> None:
    rules = Rules()
    with ruled_server(tmp_path, rules) as params, sink_of(learn(params)) as sink:
        sink.put("in/a.json", [b"1"])
        rules.refused = ("remove",)
        sink.delete("in/b.json")
        with pytest.raises(DeliveryError, match="denied permission to remove files"):
            sink.delete("in/a.json")


@pytest.mark.parametrize(
    ("rules", "found"),
    [
        (Rules(), {}),
        (Rules(dots=False), {"temporaryName": "SUFFIX"}),
        (Rules(exclusive=False), {"exclusiveCreate": False}),
        (Rules(dots=False, exclusive=False), {"temporaryName": "SUFFIX", "exclusiveCreate": False}),
        (Rules(refused=WRITE_ONLY), {"readBack": False}),
        (Rules(refused=("stat", "list")), {"readBack": False}),
        (Rules(refused=("read",)), {"readBack": False}),
        (Rules(refused=("posix_rename",)), {}),
        (Rules(refused=(*WRITE_ONLY, "mkdir", "remove"), dots=False), {"temporaryName": "SUFFIX", "readBack": False}),
        (Rules(refused=RENAMES), {"temporaryName": "NONE"}),
        (Rules(refused=(*RENAMES, *WRITE_ONLY)), {"temporaryName": "NONE", "readBack": False}),
    ],
    ids=[
        *("usual", "no dots", "no EXCL", "neither", "write only", "no STAT", "no reading", "no replacing", "a bank's"),
        *("no renaming", "write only, no renaming"),
    ],
)
def test_how_files_are_put_in_place_is_found_and_then_holds(
    tmp_path: Path, rules: Rules, found: dict[str, object]
) -> None:
    (tmp_path / "in").mkdir()
    with ruled_server(tmp_path, rules) as params:
        learned = learn(params)
        assert placing_of(learned) == DEFAULT_PLACING | found
        assert [one for one in files(tmp_path) if "remove" not in rules.refused] == []
        left = files(tmp_path)
        with sink_of(learned) as sink:
            sink.clear(["in/a.json"], upto=1)
            assert sink.put("in/a.json", [b"one"], writer=1) == 3
            assert probe(sink, "in", reads_back=sftp.limits(learned).reads_back) == []
        assert not [name for name in rules.log if name.endswith(".txt")]
        assert sorted(set(files(tmp_path)) - set(left)) == ["in/a.json"] or "remove" in rules.refused
        assert (tmp_path / "in" / "a.json").read_bytes() == b"one"


@pytest.mark.parametrize("style", ["DOT", "SUFFIX", "FOLDER"])
@pytest.mark.parametrize("refused", [(), WRITE_ONLY], ids=["shows", "write only"])
def test_an_announced_file_is_settled_and_recalled_in_every_way(
    tmp_path: Path, style: str, refused: tuple[str, ...]
) -> None:
    rules = Rules(refused=refused)
    with ruled_server(tmp_path, rules) as params:
        learned = learn(params | {"temporaryName": style})
        assert placing_of(learned)["temporaryName"] == style
        with sink_of(learned) as sink:
            pending: list[Pending] = []

            def stop(found: Pending) -> None:
                pending.append(found)
                raise KeyboardInterrupt

            for key in ("in/x/a.json", "in/x/b.json"):
                with pytest.raises(KeyboardInterrupt):
                    sink.put(key, [b"content"], stop)
            assert len(files(tmp_path)) == 2
            assert not [name for name in files(tmp_path) if name in ("in/x/a.json", "in/x/b.json")]
            assert [one.key for one in sink.list("in")] == [] if not refused else True
            assert sink.settle("in/x/a.json", pending[0])
            assert sink.settle("in/x/a.json", pending[0])  # it is there, or was collected since
            assert (tmp_path / "in/x/a.json").read_bytes() == b"content"
            assert sink.recall("in/x/b.json", pending[1])
            assert sink.recall("in/x/b.json", pending[1])
            sink.delete("in/x/b.json")
            assert not sink.recall("in/x/b.json", pending[1])
            assert files(tmp_path) == ["in/x/a.json"]


@pytest.mark.parametrize("style", ["DOT", "SUFFIX", "FOLDER"])
def test_what_a_killed_writer_left_is_cleared_whatever_its_name(tmp_path: Path, style: str) -> None:
    with ruled_server(tmp_path, Rules()) as params, sink_of(learn(params | {"temporaryName": style})) as sink:

        def stop(_: Pending) -> None:
            raise KeyboardInterrupt

        for writer in (1, 2):
            with pytest.raises(KeyboardInterrupt):
                sink.put("in/a.json", [b"content"], stop, writer)
        assert sink.clear(["in/a.json"], upto=1) == 1
        assert sink.clear(["in/a.json"]) == 1
        assert files(tmp_path) == []


@pytest.mark.parametrize("given", [{"temporaryName": "SUFFIX"}, {"exclusiveCreate": False}])
def test_a_server_that_allows_no_way_is_reported_in_its_own_words(tmp_path: Path, given: dict[str, object]) -> None:
    rules = Rules(refused=RENAMES, reason="Renaming is for administrators")
    with ruled_server(tmp_path, rules) as params, pytest.raises(DeliveryError) as caught:
        learn(params | given)
    assert (caught.value.code, caught.value.transient) == ("EXPORT-2001-403", False)
    assert "Renaming is for administrators" in caught.value.message
    assert "free space" not in str(caught.value)
    assert files(tmp_path) == []


def test_a_rename_that_fails_for_now_does_not_teach_that_files_cannot_be_renamed(tmp_path: Path) -> None:
    rules = Rules(refused=RENAMES, reason="The file is in use", refusal=asyncssh.SFTPFailure)
    with ruled_server(tmp_path, rules) as params:
        with pytest.raises(DeliveryError) as caught:
            learn(params)
        assert caught.value.transient
        assert "The file is in use" in caught.value.message
        assert "set temporaryName to NONE" in caught.value.remedy
        assert placing_of(learn(params | {"temporaryName": "NONE"})) == DEFAULT_PLACING | {"temporaryName": "NONE"}
    assert files(tmp_path) == []


def test_writing_under_the_final_name_needs_a_server_that_refuses_names_that_are_taken(deployed: Deployment) -> None:
    params: dict[str, object] = {"domain": "sftp.example", "username": "u", "password": "secret"}
    params |= {"temporaryName": "NONE", "exclusiveCreate": False}
    spec = {"id": sftp.DESTINATION.connection_spec_id, "version": "1.0"}
    body = {"name": "b", "connectionSpec": spec, "auth": {"specName": "SFTP with Password", "params": params}}
    answer = deployed.http.post("/data/foundation/flowservice/connections", json=body)
    assert answer.status_code == 400
    assert "temporaryName NONE cannot be combined with exclusiveCreate false" in answer.text
    assert "secret" not in answer.text


def test_changed_server_rules_are_reported(tmp_path: Path) -> None:
    rules = Rules()
    with ruled_server(tmp_path, rules) as params:
        learned = learn(params)
        rules.dots = False
        with sink_of(learned) as sink, pytest.raises(DeliveryError) as caught:
            sink.put("in/a.json", [b"one"])
    assert "Prohibited file name" in caught.value.message
    assert "temporaryName=DOT" in caught.value.remedy
    assert not caught.value.transient


def test_what_is_given_is_not_looked_for(tmp_path: Path) -> None:
    rules = Rules(dots=False)
    with ruled_server(tmp_path, rules) as params:
        with pytest.raises(DeliveryError, match="Prohibited file name"):
            learn(params | {"temporaryName": "DOT"})
        found = placing_of(learn(params | {"temporaryName": "FOLDER", "readBack": False}))
        assert found == {"temporaryName": "FOLDER", "exclusiveCreate": True, "readBack": False}
        rules.log.clear()
        whole = params | found | {"hostKeyFingerprint": "SHA256:" + "A" * 43}
        assert not credentials(whole).needs_pinning


def test_a_place_is_as_it_was_after_a_trial(tmp_path: Path) -> None:
    with ruled_server(tmp_path, Rules()) as params:
        learn(params | {"temporaryName": "FOLDER"}, "a/b/c")
        assert list(tmp_path.iterdir()) == []


# Through the API


@pytest.mark.parametrize("rules", [Rules(dots=False), Rules(exclusive=False), Rules(refused=WRITE_ONLY)])
def test_a_flow_delivers_under_rules_that_are_not_configured(
    deployed: Deployment, tmp_path: Path, rules: Rules, capsys: pytest.CaptureFixture[str]
) -> None:
    with ruled_server(tmp_path / "server", rules) as params:
        auth = {"specName": "SFTP with Password", "params": params}
        target = connect(deployed, "SFTP", auth, remotePath="in", compression="GZIP")
        schedule = {"timeUnit": "hour", "interval": 6, "startTime": 1_772_344_800}
        source = source_of(deployed, deployed.import_rows("events", rows(0, 3)))
        flow = deployed.post("/flows", flow_body("SFTP", source, target, schedule))["id"]
        deployed.clock.advance(seconds=660)
        deployed.run_due()
        (run,) = deployed.runs(flow)
        assert run["metrics"]["statusSummary"]["status"] == "success"
        base = deployed.get(f"/targetConnections/{target}")["items"][0]["baseConnectionId"]
        shown = deployed.get(f"/connections/{base}")["items"][0]["auth"]["params"]
        assert {"temporaryName", "exclusiveCreate", "readBack"} <= shown.keys()
        tested = deployed.get(f"/connections/{base}/test")
        assert tested["result"] is True
        assert ("limits" in tested) == bool(rules.refused)
        assert main(["flow", "show", flow, "--data-dir", str(deployed.backend.settings.data_dir)]) == 0
        assert ("readBack=false" in capsys.readouterr().out) == bool(rules.refused)


def test_a_value_that_is_not_allowed_is_refused_with_those_that_are(deployed: Deployment) -> None:
    params = {"domain": "sftp.example", "username": "u", "password": "secret", "temporaryName": "SPACE"}
    spec = {"id": sftp.DESTINATION.connection_spec_id, "version": "1.0"}
    body = {"name": "b", "connectionSpec": spec, "auth": {"specName": "SFTP with Password", "params": params}}
    answer = deployed.http.post("/data/foundation/flowservice/connections", json=body)
    assert answer.status_code == 400
    assert "/auth/params/temporaryName" in answer.text
    assert "SUFFIX" in answer.text


@pytest.fixture
def server(ssh: SshServer, tmp_path: Path) -> SshServer:
    return ssh.within(tmp_path.name)
