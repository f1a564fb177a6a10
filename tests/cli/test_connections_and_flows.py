"""Connections and flows from the terminal, in the same process and over the network."""

import gzip
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncssh
import pytest
import typer

from offtake.cli import output
from offtake.cli.flow_options import parse_columns
from offtake.client.destinations import destinations
from tests.cli.test_both_ways import Way, json_of, says, way
from tests.deployment import Deployment, rows
from tests.servers import rclone_s3
from tests.sftp_server import PASSWORD, Rules, ruled_server

pytestmark = pytest.mark.matrix(one_in=2)

__all__ = ["way"]
Json = dict[str, Any]
NEW = ("flow", "create", "nightly", "--dataset", "events", "--to", "zone", "--path", "out", "--format", "ndjson")


@pytest.fixture(autouse=True)
def _the_time_of_the_server(deployed: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("offtake.client.remote.Remote.now", lambda _: deployed.clock.now_seconds())


@pytest.fixture
def zone(way: Way) -> str:
    return str(json_of(way, "connection", "create", "landing-zone", "zone")["id"])


@pytest.fixture
def dataset(deployed: Deployment) -> str:
    return deployed.import_rows("events", rows(0, 5))


@pytest.fixture
def working(deployed: Deployment) -> Iterator[None]:
    """A server's worker, which commands over the network wait for."""
    stop = threading.Event()

    def work() -> None:
        while not stop.wait(0.1):
            deployed.run_due()

    thread = threading.Thread(target=work)
    thread.start()
    yield
    stop.set()
    thread.join()


def counts(deployed: Deployment) -> dict[str, int]:
    """How many things of each kind there are."""
    kinds = ("connections", "sourceConnections", "targetConnections", "flows")
    return {kind: len(deployed.get(f"/{kind}?limit=100")["items"]) for kind in kinds}


def wrong(way: Way, *arguments: str) -> str:
    """The line of a command that is used wrongly."""
    code, out, err = way(*arguments)
    assert (code, out, err.count("\n")) == (2, "", 1), (code, out, err)
    return err


def failed(way: Way, *arguments: str) -> str:
    code, out, err = way(*arguments)
    assert (code, out, err.count("\n")) == (1, "", 1), (code, out, err)
    return err


# A whole session


@pytest.mark.usefixtures("dataset", "working")
def test_a_session_over_sftp(way: Way, deployed: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARTNER_PASSWORD", PASSWORD)
    printed = []

    def run(*arguments: str) -> str:
        code, out, err = way(*arguments)
        assert code == 0, err
        printed.extend([out, err])
        return out

    with ruled_server(tmp_path / "sftp", Rules()) as server:
        login = ["--domain", "127.0.0.1", "--port", str(server["port"]), "--username", "u"]
        made = run("connection", "create", "sftp", "partner", *login, "--password", "env:PARTNER_PASSWORD")
        assert "connection partner (" in made
        assert "tested: Offtake can deliver to SFTP" in made
        flow = ("--dataset", "events", "--to", "partner", "--path", "in", "--format", "ndjson", "--every", "3h")
        start = ("--start", "2030-01-01", "--end", "2031-01-01")
        assert "events to partner" in run("flow", "create", "nightly", *flow, *start, "--folder", "%DATASET_NAME%")
        assert "5/5 rows" in run("flow", "run", "nightly", "--wait")
        assert [one.parent.relative_to(tmp_path) for one in tmp_path.rglob("*.json.gz")] == [Path("sftp/in/events")]
        assert "is paused" in run("flow", "pause", "nightly")
        shown = run("flow", "show", "nightly")
        assert "is disabled" in shown
        assert (
            "\ndatasets: events\nto: partner, path in, format JSON\nschedule: every 3 h\nfolder: %DATASET_NAME%\n"
            in shown
        )
        assert "is resumed; next run: 2030-01-01" in run("flow", "resume", "nightly")
        run("flow", "edit", "nightly", "--name", "daily", "--daily", "05:30", "--path", "in2", "--manifest")
        (changed,) = deployed.get("/flows")["items"]
        assert changed["scheduleParams"]["timeUnit"] == "day"
        target = deployed.get(f"/targetConnections/{changed['targetConnectionIds'][0]}")["items"][0]
        assert (target["params"]["remotePath"], target["params"]["includeFileManifest"]) == ("in2", True)
        assert "5/5 rows" in run("flow", "run", "daily", "--full", "--wait")
        assert len(list((tmp_path / "sftp" / "in2").rglob("manifest-*.json"))) == 1
        assert "********" in run("connection", "show", "partner")
        assert f"flows: daily ({changed['id']})" in run("connection", "show", "partner")
        assert "flows deliver there: daily" in failed(way, "connection", "delete", "partner", "--yes")
        assert "is deleted" in run("flow", "delete", "daily", "--yes")
        assert "is deleted" in run("connection", "delete", "partner", "--yes")
    assert counts(deployed) == {"connections": 1, "sourceConnections": 0, "targetConnections": 0, "flows": 0}
    assert PASSWORD not in "".join(printed)


# Connections


def test_a_connection_to_a_bucket_is_tested_before_it_is_made(way: Way, deployed: Deployment, tmp_path: Path) -> None:
    with rclone_s3(tmp_path / "s3") as server:
        server.make_bucket("exports")
        secret = tmp_path / "secret"
        secret.write_text(server.secret_key + "\n")
        given = ["--s3-access-key", server.access_key, "--endpoint-url", server.endpoint, "--secret-file", str(secret)]
        create = ("connection", "create", "s3", "store", *given)
        assert "does not exist" in failed(way, *create, "--test-at", "missing/crm")
        secret.write_text("wrong")
        assert "Nothing was created" in failed(way, *create, "--test-at", "exports/crm")
        assert counts(deployed)["connections"] == 0
        secret.write_text(server.secret_key)
        assert "tested: Offtake can deliver" in says(way, *create, "--test-at", "exports/crm")
        assert "exists already" in failed(way, *create)
        untested = says(way, "connection", "create", "s3", "other", *given)
        assert "a test needs a place, --test-at BUCKET/FOLDER" in untested
        code, out, _ = way("connection", "test", "other")
        assert (code, "no bucket or folder to test" in out) == (1, True)
        assert json_of(way, "connection", "create", "s3", "third", *given, "--no-test")["tested"] is None
        secret.write_text("another secret")
        assert "is changed" in says(way, "connection", "edit", "store", "--s3-secret-key-file", str(secret))
        shown = json_of(way, "connection", "show", "store")["auth"]["params"]
        assert (shown["s3AccessKey"], shown["s3SecretKey"]) == (server.access_key, "********")


def test_a_server_that_cannot_test_drafts_tests_what_it_made(
    way: Way, deployed: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("offtake.cli.connection_create._test_draft", lambda *_: None)
    monkeypatch.setenv("SECRET", "secret")
    code, out, _ = way(
        "connection", "create", "sftp", "x", "--domain", "127.0.0.1", "--port", "9", "--username", "u",
        "--password", "env:SECRET",
    )  # fmt: skip
    assert code == 1
    assert "connection x (" in out
    assert "the test failed: EXPORT-2003-504" in out
    assert "offtake connection edit x" in out
    assert counts(deployed)["connections"] == 1


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["sftp", "x"], "--domain, --username: required for --auth password"),
        (["sftp", "x", "--domain", "h", "--username", "u"], "--password is missing: give --password env:VARIABLE or"),
        (["sftp", "x", "--domain", "h", "--username", "u", "--password", "s3cr3t"], "must not be the secret itself"),
        (["sftp", "x", "--domain", "h", "--username", "u", "--password", "env:NOPE"], "variable NOPE is not set"),
        (["sftp", "x", "--domain", "h", "--username", "u", "--ssh-key", "s3cr3t"], "must not be the secret itself"),
        (["sftp", "x", "--domain", "h", "--username", "u", "--password-file", "/nope"], "/nope cannot be read"),
        (["sftp", "x", "--domain", "h", "--username", "u", "--ssh-key-file", "/dev/null"], "/dev/null is empty"),
        (["sftp", "x", "--auth", "kerberos"], "--auth kerberos: must be one of password, ssh-key"),
        (["sftp", "x", "--auth", "password", "--passphrase", "env:P"], "not an option of --auth password"),
        (["sftp", "x", "--domain", "h", "--username", "u", "--temporary-name", "foo", "--password", "env:P"],
         "--temporary-name foo: must be one of DOT, SUFFIX, FOLDER, NONE"),
        (["sftp", "x", "--domain", "h", "--username", "u", "--host-key-fingerprint", "x", "--password", "env:P"],
         "--host-key-fingerprint: "),
        (["sftp", "x", "--domain", "h", "--username", "u", "--ssh-key", "env:P"], "--ssh-key: "),
        (["sftp", "x", "--password", "env:P", "--password-file", "/f", "--domain", "h", "--username", "u"],
         "Give --password or --password-file, not both"),
        (["s3", "x", "--s3-role", "arn", "--s3-access-key", "k"], "cannot be combined: choose one authentication"),
        (["s3", "x", "--s3-role", "not an arn"], "--s3-role: must be the ARN of a role"),
        (["s3", "x", "--s3-role", "arn", "--test-at", "/"], "--test-at: must be BUCKET/FOLDER"),
        (["gcs", "x", "--access-key-id", "k", "--secret-access-key", "env:P", "--test-at", "UPPER/x"], "--test-at: "),
        (["azure-blob", "x", "--connection-string", "AccountKey=s3cr3t"], "must not be the secret itself"),
        (["landing-zone", "x", "--public-key-file", "/nope"], "/nope cannot be read"),
        (["landing-zone", " "], "NAME: must not be empty"),
        (["landing-zone", "x", "--test-at", "a", "--no-test"], "contradict each other"),
        (["landing-zone"], "Missing argument"),
        (["landing-zone", "x", "--port", "22"], "No such option: --port"),
        (["ftp", "x"], "No such command 'ftp'"),
    ],
)  # fmt: skip
def test_wrong_options_of_a_connection_are_named(
    way: Way, deployed: Deployment, monkeypatch: pytest.MonkeyPatch, arguments: list[str], why: str
) -> None:
    monkeypatch.setenv("P", "a password")
    if arguments == ["ftp", "x"]:
        assert "ftp" in way("connection", "create", "ftp")[2]
        return
    message = wrong(way, "connection", "create", *arguments)
    assert why in message
    assert "s3cr3t" not in message
    assert "a password" not in message
    assert counts(deployed)["connections"] == 0


@pytest.mark.parametrize(
    ("arguments", "spec_name"),
    [
        (["sftp", "--domain", "h", "--username", "u", "--password", "env:P"], "SFTP with Password"),
        (["sftp", "--domain", "h", "--username", "u", "--ssh-key-file", "KEY", "--passphrase", "env:P"],
         "SFTP with SSH Key"),
        (["s3", "--s3-access-key", "k", "--s3-secret-key", "env:P", "--region", "eu-central-1"], "Access Key"),
        (["s3", "--s3-role", "arn:aws:iam::123456789012:role/exports", "--external-id", "x1"], "Assumed Role"),
        (["azure-blob", "--connection-string", "env:C"], "ConnectionString"),
        (["azure-blob", "--url", "https://account.blob.core.windows.net", "--tenant", "example.org",
          "--service-principal-id", "i", "--service-principal-key", "env:P"], "Azure Service Principal Auth"),
        (["adls", "--url", "abfss://exports@account.dfs.core.windows.net", "--tenant", "example.org",
          "--service-principal-id", "i", "--service-principal-key", "env:P"], "Azure Service Principal Auth"),
        (["gcs", "--access-key-id", "k", "--secret-access-key", "env:P", "--auth", "hmac-key"],
         "Google Cloud Storage authentication credentials"),
        (["landing-zone"], None),
    ],
)  # fmt: skip
def test_every_destination_and_authentication(
    way: Way, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: list[str], spec_name: str | None
) -> None:
    monkeypatch.setenv("P", "s3cr3t")
    monkeypatch.setenv(
        "C", "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=czNjcjN0;EndpointSuffix=core.windows.net"
    )
    key = tmp_path / "key"
    key.write_bytes(asyncssh.generate_private_key("ssh-ed25519").export_private_key(passphrase="s3cr3t"))
    given = [str(key) if one == "KEY" else one for one in arguments]
    json_of(way, "connection", "create", given[0], "partner", *given[1:], "--no-test")
    shown = json_of(way, "connection", "show", "partner")
    assert shown.get("auth", {}).get("specName") == spec_name
    assert "s3cr3t" not in json.dumps(shown)
    assert "s3cr3t" not in says(way, "connection", "show", "partner")


def test_a_secret_is_typed_without_echo(way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def prompt(text: str, **options: object) -> str:
        asked.append((text, options["hide_input"], options["err"]))
        return "typed"

    monkeypatch.setattr(typer, "prompt", prompt)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    create = ("connection", "create", "sftp", "partner", "--domain", "h", "--username", "u", "--no-test")
    assert "typed" not in says(way, *create)
    assert "is changed" in says(way, "connection", "edit", "partner", "--ask")
    assert asked == [("Password", True, True)] * 2


def test_a_connection_is_changed_as_its_api_allows(
    way: Way, deployed: Deployment, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("P", "a password")
    login = ("--domain", "h", "--username", "u", "--password", "env:P", "--no-test")
    made = json_of(way, "connection", "create", "sftp", "partner", *login, "--description", "first")
    json_of(way, "connection", "create", "sftp", "other", *login)
    assert json_of(way, "connection", "edit", "partner", "--name", "friend", "--description", "")["name"] == "friend"
    assert "description" not in json_of(way, "connection", "show", "friend")
    assert "is changed" in says(way, "connection", "edit", "friend", "--port", "2222", "--password", "env:P")
    assert json_of(way, "connection", "show", made["id"])["auth"]["params"]["port"] == 2222
    assert "--password: must be sent again" in wrong(way, "connection", "edit", "friend", "--domain", "elsewhere")
    assert "--bucket" in wrong(way, "connection", "edit", "friend", "--bucket", "x")
    assert "--s3-access-key: not of this connection" in wrong(
        way, "connection", "edit", "friend", "--s3-access-key", "k"
    )
    assert "Nothing to change" in wrong(way, "connection", "edit", "friend")
    assert "exists already" in failed(way, "connection", "edit", "friend", "--name", "other")
    assert "Did you mean friend?" in failed(way, "connection", "show", "freind")
    key = tmp_path / "key"
    key.write_text("no key")
    assert "--public-key-file: " in wrong(way, "connection", "edit", "friend", "--public-key-file", str(key))
    both = ("--public-key-file", str(key), "--no-encryption")
    assert "contradict each other" in wrong(way, "connection", "edit", "friend", *both)
    assert counts(deployed)["connections"] == 2


# Flows


@pytest.mark.usefixtures("dataset", "zone")
def test_a_flow_is_previewed_before_and_after_it_is_made(way: Way, deployed: Deployment) -> None:
    before = counts(deployed)
    planned = json_of(way, *NEW, "--every", "6h", "--folder", "%DATASET_NAME%", "--dry-run", "--rows", "2")
    assert (planned["id"], len(planned["runs"])) == (None, 5)
    assert planned["runs"][1] - planned["runs"][0] == 6 * 3_600_000
    (one,) = planned["datasets"]
    assert (one["path"], len(one["rows"])) == ("out/events/part-00000-….json.gz", 2)
    assert counts(deployed) == before
    later = json_of(way, *NEW, "--daily", "06:00", "--start", "2031-01-01", "--end", "never", "--dry-run")
    assert (later["endsAt"], later["runs"][0]) == (None, 1925013600000)
    made = json_of(way, *NEW, "--every", "6h", "--folder", "%DATASET_NAME%", "--end", "never")
    assert "endTime" not in made["scheduleParams"]
    shown = says(way, "flow", "preview", "nightly", "--rows", "1")
    assert shown.count("run: ") == 5
    assert "dataset events: out/events/part-00000-….json.gz\n" in shown
    assert json.loads(shown.splitlines()[-1])["id"] == 0


@pytest.mark.usefixtures("zone")
def test_a_flow_of_several_datasets_is_changed(way: Way, deployed: Deployment, dataset: str) -> None:
    other = deployed.import_rows("others", rows(0, 2))
    made = json_of(way, *NEW, "--dataset", "others", "--once", "--start", "2030-01-01T06:00")
    assert made["scheduleParams"] == {
        "exportMode": "DAILY_FULL_EXPORT", "timeUnit": "day", "interval": 0, "startTime": 1893477600,
    }  # fmt: skip
    changed = says(way, "flow", "edit", "nightly", "--dataset", "others", "--every", "12h", "--format", "parquet")
    assert "its position is lost" in changed
    for line in ("datasets: events, others → others", "format: JSON → PARQUET", "schedule: once → every 12h"):
        assert f"\n  {line}\n" in changed
    again = says(way, "flow", "edit", "nightly", "--dataset", "others", "--every", "12h", "--format", "parquet")
    assert again == changed.partition("\n")[0].replace("is changed", "is unchanged") + "\n"
    (flow,) = deployed.get("/flows")["items"]
    assert (flow["id"], flow["scheduleParams"]["interval"]) == (made["id"], 12)
    (source,) = deployed.get("/sourceConnections")["items"]
    assert [one["dataSetId"] for one in source["params"]["datasets"]] == [other]
    assert "new datasets" in says(way, "flow", "edit", "nightly", "--dataset", "others", "--dataset", dataset)
    json_of(way, "connection", "create", "landing-zone", "second")
    changed = says(way, "flow", "edit", "nightly", "--to", "second", "--folder", "x", "--end", "2040-01-01")
    assert "\n  to: zone → second\n" in changed
    assert "\n  folder: the default → x\n" in changed
    assert " → 2040-01-01 00:00:00Z\n" in changed
    changed = says(way, "flow", "edit", "nightly", "--folder", "", "--end", "never", "--fresh-within", "4h")
    assert "\n  end: 2040-01-01 00:00:00Z → never\n  folder: x → the default\n" in changed
    assert changed.endswith("\n  late when older than: the default → 4h\n")
    assert counts(deployed) == {"connections": 3, "sourceConnections": 1, "targetConnections": 1, "flows": 1}


@pytest.mark.usefixtures("dataset", "zone")
def test_a_target_that_flows_share_is_not_changed(way: Way, deployed: Deployment) -> None:
    made = json_of(way, *NEW, "--every", "3h")
    body = {key: made[key] for key in ("flowSpec", "sourceConnectionIds", "targetConnectionIds", "scheduleParams")}
    deployed.post("/flows", body | {"name": "twin"})
    says(way, "flow", "edit", "nightly", "--path", "elsewhere")
    paths = {one["params"]["path"] for one in deployed.get("/targetConnections")["items"]}
    assert paths == {"out", "elsewhere"}
    assert "is deleted" in says(way, "flow", "delete", "nightly", "--yes")
    assert counts(deployed) == {"connections": 2, "sourceConnections": 1, "targetConnections": 1, "flows": 1}


@pytest.mark.usefixtures("dataset", "zone")
def test_nothing_is_left_when_a_later_step_is_refused(
    way: Way, deployed: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("offtake.cli.flow_create._rehearse", lambda *_, **__: None)
    before = counts(deployed) | {"connections": 2}
    assert "--every: must be one of" in wrong(way, *NEW, "--every", "5h")
    assert "--folder: " in wrong(way, *NEW, "--every", "3h", "--folder", "%NOPE%")
    assert "--columns: " in wrong(way, *NEW, "--every", "3h", "--columns", "idd")
    assert counts(deployed) == before
    json_of(way, *NEW, "--every", "3h")
    (target,) = deployed.get("/targetConnections")["items"]
    assert "--every: " in wrong(way, "flow", "edit", "nightly", "--path", "other", "--manifest", "--every", "5h")
    (after,) = deployed.get("/targetConnections")["items"]
    assert after["params"] == target["params"]
    unknown = ("flow", "edit", "nightly", "--dataset", "others", "--every", "3h")
    deployed.import_rows("others", rows(0, 1))
    assert "--every: " in wrong(way, *unknown[:-1], "5h")
    assert counts(deployed)["sourceConnections"] == 1


@pytest.mark.usefixtures("dataset", "zone")
def test_what_an_earlier_flow_left_is_reused(way: Way, deployed: Deployment) -> None:
    made = json_of(way, *NEW, "--every", "3h")
    deployed.delete(f"/flows/{made['id']}")
    again = json_of(way, *NEW, "--every", "3h")
    for key in ("sourceConnectionIds", "targetConnectionIds"):
        assert again[key] == made[key]


BAD: list[tuple[list[str], str]] = [
    ([], "--every, --daily or --once: one of them is required"),
    (["--every", "7q"], "--every 7q: must be hours such as 3h, or 1d"),
    (["--every", "0h"], "--every 0h: "),
    (["--every", "5h"], "--every: must be one of 1, 3, 6, 8, 9, 12, 24"),
    (["--every", "3h", "--once"], "--every and --once contradict each other"),
    (["--every", "3h", "--daily", "05:00"], "--every and --daily contradict each other"),
    (["--daily", "25:00"], "--daily 25:00: must be a time from 00:00 to 23:59"),
    (["--daily", "5"], "--daily 5: "),
    (["--daily", "05:00", "--time-zone", "Europe/Zuric"], "did you mean Europe/Zurich"),
    (["--every", "3h", "--time-zone", "UTC"], "--time-zone: has no effect"),
    (["--daily", "05:00", "--start", "2030-01-01T06:00"], "--start: must be a date with --daily"),
    (["--every", "3h", "--start", "tomorrow"], "--start tomorrow: must be a date such as"),
    (["--every", "3h", "--start", "9999-01-01"], "--start 9999-01-01: must be between 1970-01-01 and 5138-11-16"),
    (["--every", "3h", "--end", "0001-01-01"], "--end 0001-01-01: must be between 1970-01-01"),
    (["--every", "3h", "--start", "2030-02-30"], "--start 2030-02-30: "),
    (["--every", "3h", "--end", "2030-13-01"], "--end 2030-13-01: "),
    (["--every", "3h", "--start", "2031-01-01", "--end", "2030-01-01"], "--end: must be later than the start"),
    (["--every", "3h", "--start", "2031-01-01"], "--end: it would never run: it ends 2026-09-01"),
    (["--once", "--end", "2030-01-01"], "--once and --end contradict each other"),
    (["--every", "3h", "--folder", "%NOPE%"], "--folder: has the unknown macro"),
    (["--every", "3h", "--folder", ""], "--folder: must not be empty"),
    (["--every", "3h", "--path", "../x"], "--path: must not contain the segments"),
    (["--every", "3h", "--format", "csv"], "--format csv: must be ndjson or parquet"),
    (["--every", "3h", "--compression", "zip"], "--compression zip: must be gzip or none"),
    (["--every", "3h", "--bucket-name", "b"], "--bucket-name: not of Data Landing Zone"),
    (["--every", "3h", "--invalid-text", "keep"], "--invalid-text keep: must be one of FAIL, REPLACE"),
    (["--every", "3h", "--columns", "x:a"], "--columns x:a: must be DATASET:a,b.c"),
    (["--every", "3h", "--columns", "events:a,,b"], "must name each column once"),
    (["--every", "3h", "--columns", "events:a", "--columns", "events:b"], "the dataset occurs twice"),
    (["--every", "3h", "--dataset", "events"], "--dataset events: occurs twice"),
    (["--every", "3h", "--rows", "-1"], "--rows"),
]


@pytest.mark.usefixtures("dataset", "zone")
def test_wrong_options_of_a_flow_are_named(way: Way, deployed: Deployment) -> None:
    before = counts(deployed)
    for options, why in BAD:
        assert why in wrong(way, *NEW, *options), options
    for left_out in ("--dataset", "--to", "--path", "--format"):
        at = NEW.index(left_out)
        assert f"{left_out}: required" in wrong(way, *NEW[:at], *NEW[at + 2 :], "--every", "3h")
    for old, new, why in (
        ("events", "event", "No dataset has the id or the name event. Did you mean events?"),
        ("zone", "zoen", "No connection has the id or the name zoen. Did you mean zone?"),
    ):
        assert why in failed(way, *(new if one == old else one for one in NEW), "--every", "3h")
    assert counts(deployed) | {"connections": 1} == before
    json_of(way, *NEW, "--every", "3h")
    assert "A flow with the name nightly exists already" in failed(way, *NEW, "--every", "3h")
    assert "Nothing to change" in wrong(way, "flow", "edit", "nightly")
    assert "--name: must not be empty" in wrong(way, "flow", "edit", "nightly", "--name", " ")
    assert "already enabled" in failed(way, "flow", "resume", "nightly")
    assert "Confirm it with --yes" in wrong(way, "flow", "delete", "nightly")
    for command in ("preview", "pause", "resume", "delete", "edit"):
        extra = {"delete": ["--yes"], "edit": ["--every", "3h"]}.get(command, [])
        assert "Did you mean nightly?" in failed(way, "flow", command, "nihgtly", *extra)


@pytest.mark.usefixtures("dataset", "zone")
def test_a_deletion_says_what_stops_and_asks(way: Way, deployed: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    answers = iter([typer.Abort(), None])

    def confirm(_question: str, **_options: object) -> None:
        answer = next(answers)
        if answer is not None:
            raise answer

    json_of(way, *NEW, "--every", "3h", "--start", "2030-01-01", "--end", "never")
    made = json_of(way, "flow", "run", "nightly")
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr(typer, "confirm", confirm)
    monkeypatch.setattr(output, "note", said.append)
    assert way("flow", "delete", "nightly")[0] == 130
    assert [one.split(":")[0] for one in said[:1]] == ["Its schedule ends"]
    assert f"Run {made['id']} is cancelled" in said[1]
    assert len(deployed.get("/flows")["items"]) == 1
    assert "is deleted" in says(way, "flow", "delete", "nightly")
    assert deployed.get("/flows")["items"] == []


@pytest.mark.usefixtures("zone", "working")
def test_only_the_chosen_columns_are_previewed_and_delivered(way: Way, deployed: Deployment) -> None:
    values = [{"id": 1, "name": "x", "at": {"town": "Bern", "zip": 3000}, "it": [{"price": 1, "cost": 2}]}]
    deployed.import_rows("events", values)
    create = (*NEW, "--every", "3h", "--start", "2026-03-02", "--columns")
    assert "--columns: " in wrong(way, *create, "id,nmae")
    expected = [{"id": 1, "at": {"town": "Bern"}, "it": [{"price": 1}]}]
    planned = json_of(way, *create, "id,at.town,it.element.price", "--dry-run")
    assert planned["datasets"][0]["rows"] == expected
    assert planned["datasets"][0]["columns"] == ["id", "at.town", "it.element.price"]
    json_of(way, *create, "id,at.town,it.element.price")
    assert json_of(way, "flow", "preview", "nightly")["datasets"][0]["rows"] == expected
    assert "  datasets: events (id, " in says(way, "flow", "edit", "nightly", "--columns", "events:id")
    assert "columns: id\n" in says(way, "flow", "preview", "nightly")
    assert "is changed" in says(way, "flow", "edit", "nightly", "--columns", "events:")
    assert json_of(way, "flow", "preview", "nightly")["datasets"][0]["rows"] == values
    assert "is changed" in says(way, "flow", "edit", "nightly", "--columns", "id")
    assert "1/1 rows" in says(way, "flow", "run", "nightly", "--wait")
    (file,) = deployed.zone.rglob("part-*.json.gz")
    assert gzip.decompress(file.read_bytes()) == b'{"id":1}\n'


@pytest.mark.usefixtures("dataset")
def test_names_that_are_ids_or_no_plain_text(way: Way) -> None:
    first = str(json_of(way, "connection", "create", "landing-zone", "it's 😀 one")["id"])
    line = f"The name {first} is the id of another connection. Choose another name."
    assert line in failed(way, "connection", "create", "landing-zone", first)
    json_of(way, "connection", "create", "landing-zone", first[:8])
    assert line in failed(way, "connection", "edit", first[:8], "--name", first)
    code, out, err = way("connection", "create", "landing-zone", "--no-test", "a\nb\x1b[31m\u202ec")
    assert (code, err, out.count("\n"), "\x1b" in out, "\u202e" in out) == (0, "", 2, False, False)
    made = out.partition("(")[2].partition(")")[0]
    assert f"offtake connection test {made}" in out
    out = says(way, "connection", "create", "landing-zone", "--no-test", "it's")
    assert """offtake connection test 'it'"'"'s'""" in out
    assert "offtake: The argument" in wrong(way, "flow", "show", "b\udcf6b")


def test_columns_are_sent_by_dataset() -> None:
    chosen = {"events": "1", "a:b": "2", "1": "1"}
    assert parse_columns(["events:id,a.b", "a:b:x"], chosen) == {"1": ["id", "a.b"], "2": ["x"]}
    assert parse_columns(["events:`a,b.c`.d,id"], chosen) == {"1": ["`a,b.c`.d", "id"]}
    assert parse_columns(["id,a.b"], {"events": "1", "1": "1"}) == {"1": ["id", "a.b"]}


def test_secrets_are_not_arguments_of_processes(deployed: Deployment) -> None:
    """The command that refuses a typed secret does not repeat it; one with a reference never holds the secret."""
    data_dir = str(deployed.backend.settings.data_dir)
    command = [sys.executable, "-m", "offtake", "connection", "create", "sftp", "x", "--domain", "h", "--username", "u"]
    environment = os.environ | {"P": "s3cr3t"}
    ends = ["--password", "env:P", "--no-test", "--data-dir", data_dir]
    done = subprocess.run([*command, *ends], env=environment, capture_output=True, text=True, check=True, timeout=120)
    assert "s3cr3t" not in done.stdout + done.stderr
    assert "is created" in done.stdout
    assert all(b"s3cr3t" not in one.read_bytes() for one in Path(data_dir).rglob("*") if one.is_file())


def test_the_declarations_have_every_destination() -> None:
    words = {one.word for one in destinations()}
    assert words == {"s3", "azure-blob", "adls", "landing-zone", "gcs", "sftp"}
    assert all(field.help for one in destinations() for method in one.auth_methods for field in method.fields)
