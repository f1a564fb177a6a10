"""`offtake copy`: from files, datasets and catalogs to folders, connections, SFTP and S3, and after a kill."""

import gzip
import json
import os
import re
import signal
import sqlite3
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.catalog.sql import SqlCatalog

from offtake.cli import copy_folder
from offtake.cli.copy_folder import base_folder, private_folder
from offtake.cli.executing import Progress
from offtake.cli.main import main
from offtake.cli.progress_bar import ProgressBar
from offtake.client import destination_urls
from offtake.client.destination_urls import place_of
from offtake.errors import OfftakeError
from tests import commands
from tests.deployment import Deployment, rows
from tests.servers import S3Server, free_port, rclone_s3
from tests.sftp_server import Rules, ruled_server

Run = Any


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def towns(tmp_path: Path) -> Path:
    file = tmp_path / "towns.csv"
    file.write_text("id,city\n1,Bern\n2,Graz\n")
    return file


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def command(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(["copy", *map(str, arguments)])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return command


def json_rows(folder: Path) -> list[dict[str, Any]]:
    files = sorted(folder.rglob("*.json.gz"))
    return [json.loads(line) for file in files for line in gzip.decompress(file.read_bytes()).splitlines()]


def left() -> list[Path]:
    """The private folders of copies."""
    return list(base_folder().iterdir()) if base_folder().exists() else []


# Sources


def test_a_file_is_delivered_into_a_folder_and_nothing_else_is_left(towns: Path, tmp_path: Path, run: Run) -> None:
    code, out, err = run(towns, "./out", "--format", "json")
    assert (code, err) == (0, f"delivered to ./out: 2 rows in 1 file, {len(json_files(tmp_path / 'out'))} B\n")
    assert json_rows(tmp_path / "out") == [{"id": 1, "city": "Bern"}, {"id": 2, "city": "Graz"}]
    (line,) = out.splitlines()
    name, count, size, digest = line.split("\t")
    assert (tmp_path / "out" / name).stat().st_size == int(size)
    assert (count, len(digest)) == ("2", 64)
    assert left() == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "out", "towns.csv"]


def json_files(folder: Path) -> bytes:
    (file,) = folder.rglob("*.json.gz")
    return file.read_bytes()


def test_options_of_files_formats_folders_and_manifests(tmp_path: Path, run: Run) -> None:
    (tmp_path / "a.csv").write_text("1;x\n")
    (tmp_path / "b.csv").write_text("2;y\n")
    code, out, err = run(
        "a.csv", "b.csv", "./out", "--format", "parquet", "--compression", "none", "--delimiter", ";", "--no-header",
        "--manifest", "--folder", "%DATASET_NAME%/day", "--json",
    )  # fmt: skip
    assert code == 0, err
    found = json.loads(out)
    assert found["destination"] == "./out"
    table = pq.read_table([tmp_path / "out" / one["path"] for one in found["files"]])
    assert table.num_rows == 2
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a"]
    assert len(list((tmp_path / "out").rglob("manifest-*.json"))) == 1


def test_datasets_and_catalogs_are_read_where_they_are(
    deployed: Deployment, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("offtake.cli.local.Clock", lambda: deployed.clock)
    deployed.import_rows("events", rows(0, 5))
    deployed.import_rows("others", rows(7, 2))
    where = ("--data-dir", deployed.backend.settings.data_dir)
    code, _, err = run("dataset:events", "./one", "--format", "json", *where)
    assert code == 0, err
    assert [one["id"] for one in json_rows(tmp_path / "one")] == list(range(5))
    code, _, err = run("dataset:events", "dataset:others", "./two", "--format", "json", *where)
    assert code == 0, err
    assert sorted(path.name for path in (tmp_path / "two").iterdir()) == ["events", "others"]
    warehouse = tmp_path / "warehouse"
    warehouse.mkdir()
    url = f"sqlite:///{tmp_path / 'foreign.db'}"
    writer = SqlCatalog("foreign", uri=url, warehouse=str(warehouse))
    writer.create_namespace("sales")
    writer.create_table("sales.orders", pa.schema([("id", pa.int64())])).append(pa.table({"id": [7, 8]}))
    properties = (f"uri={url}", "catalog-name=foreign", f"warehouse={warehouse}")
    added = [word for one in properties for word in ("--property", one)]
    assert main(["catalog", "add", "here", "--type", "sql", *added, *map(str, where)]) == 0
    code, _, err = run("catalog:here/sales.orders", "./three", "--format", "json", *where)
    assert code == 0, err
    assert [one["id"] for one in json_rows(tmp_path / "three")] == [7, 8]
    for source, problem in (
        ("dataset:nope", "No dataset has the id or the name nope"),
        ("catalog:nope/a.b", "No catalog has the id or the name nope"),
        ("catalog:here", "give catalog:NAME/TABLE"),
        ("events", "events is not a file. A dataset: dataset:events."),
    ):
        code, out, err = run(source, "./four", *where)
        assert (code, out, problem in err, err.count("\n")) == (1, "", True, 1), err
    assert left() == []


# Destinations


def test_a_connection_of_the_deployment_is_a_destination(
    deployed: Deployment, towns: Path, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("asyncssh")
    monkeypatch.setattr("offtake.cli.local.Clock", lambda: deployed.clock)
    where = ("--data-dir", deployed.backend.settings.data_dir)
    deployed.post("/connections", {"name": "the zone"})
    code, _, err = run(towns, "the zone:daily", "--format", "json", *where)
    assert code == 0, err
    assert len(json_rows(deployed.zone / "daily")) == 2
    with ruled_server(tmp_path / "server", Rules()) as login:
        spec = {"id": "36965a81-b1c6-401b-99f8-22508f1e6a26", "version": "1.0"}
        auth = {"specName": "SFTP with Password", "params": login}
        deployed.post("/connections", {"name": "partner", "connectionSpec": spec, "auth": auth})
        code, _, err = run(towns, "partner:inbox", "--format", "json", *where)
        assert code == 0, err
    assert len(json_rows(tmp_path / "server" / "inbox")) == 2
    assert "No connection has the id or the name nope" in run(towns, "nope:x", *where)[2]
    assert (
        "--set and --identity are for destinations that are URLs" in run(towns, "partner:x", "--set", "a=b", *where)[2]
    )


def test_sftp_by_url(towns: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with ruled_server(tmp_path / "server", Rules()) as login:
        url = f"sftp://{login['username']}@127.0.0.1:{login['port']}/~/in"
        code, out, err = run(towns, url, "--format", "json")
        assert (code, out) == (1, "")
        assert "SFTP: password is missing; set SFTP_PASSWORD, or give --set password=env:VARIABLE or file:PATH." in err
        monkeypatch.setenv("SFTP_PASSWORD", "wrong")
        code, out, err = run(towns, url, "--format", "json")
        assert (code, out, "wrong" in err.replace("wrong user", "")) == (1, "", False), err
        assert left() == []
        (tmp_path / "secret").write_text(str(login["password"]))
        code, _, err = run(towns, url, "--format", "json", "--set", "password=file:secret")
        assert code == 0, err
        assert "the host key of the SFTP server is not checked" in err
    assert len(json_rows(tmp_path / "server" / "in")) == 2


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with rclone_s3(tmp_path_factory.mktemp("s3")) as server:
        yield server


def test_s3_by_url_with_the_usual_variables(
    towns: Path, run: Run, s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = f"b{uuid4().hex}"
    s3.make_bucket(bucket)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3.secret_key)
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3.endpoint)
    code, out, err = run(towns, f"s3://{bucket}/daily/towns", "--format", "json", "--json")
    assert code == 0, err
    (file,) = json.loads(out)["files"]
    stored = s3.client().list_objects_v2(Bucket=bucket)["Contents"]
    assert [one["Key"] for one in stored] == [file["path"]]
    assert file["path"].startswith("daily/towns/part-")
    code, out, err = run(towns, "s3://not-there/daily")
    assert (code, out, "not-there" in err, err.count("\n")) == (1, "", True, 1), err
    assert left() == []


@pytest.mark.parametrize(
    ("destination", "options", "problem"),
    [
        ("s3://key:secret@bucket/x", (), "contains a password"),
        ("sftp://me:pw@host/x", (), "contains a password"),
        ("s3://bucket/x?sig=secret", (), "must not have ? or #"),
        ("ftp://host/x", (), "ftp:// is not a destination: use s3://, gs://"),
        ("s3://", (), "is not a valid URL"),
        ("s3://bucket:x/y", (), "is not a valid URL"),
        ("abfss://account.dfs.core.windows.net/x", (), "Use abfss://CONTAINER@ACCOUNT"),
        ("s3://user@bucket/x", (), "without a user or port"),
        ("s3://bucket/x", (), "s3AccessKey is missing; set AWS_ACCESS_KEY_ID, or give --set s3AccessKey="),
        ("s3://bucket/x", ("--set", "s3SecretKey=hunter2"), "other users of this machine can see secrets"),
        ("s3://bucket/x", ("--set", "s3SecretKey=env:NOT_SET"), "The environment variable NOT_SET"),
        ("s3://bucket/x", ("--set", "s3Acceskey=x"), "no such parameter; did you mean s3AccessKey?"),
        ("s3://bucket/x", ("--set", "s3AccessKey"), "give NAME=VALUE"),
        ("s3://bucket/x", ("--set", "externalId=x"), "this is not a parameter of Access Key"),
        ("gs://bucket/x", (), "accessKeyId is missing; set GS_ACCESS_KEY_ID"),
        ("az://container/x", (), "connectionString is missing; set AZURE_STORAGE_CONNECTION_STRING"),
        ("abfss://c@account.dfs.core.windows.net/x", (), "servicePrincipalId is missing; set AZURE_CLIENT_ID"),
        ("sftp://host/x", (), "username is missing"),
        ("sftp://me@host/x", ("--identity", "nowhere"), "--identity nowhere cannot be read"),
        ("out", (), "out is not a URL, a folder, or CONNECTION:PATH. For a folder that does not exist yet: ./out"),
        ("./towns.csv", (), "./towns.csv is a file"),
        ("./out", ("--format", "xml"), "datasetFileType"),
        ("./out", ("--folder", "%NOPE%"), "NOPE"),
        ("./out", ("--set", "a=b"), "--set and --identity are for destinations that are URLs"),
    ],
)
def test_what_cannot_be_a_destination_is_one_line_without_secrets(
    towns: Path, run: Run, destination: str, options: tuple[str, ...], problem: str
) -> None:
    code, out, err = run(towns, destination, *options)
    assert (code, out, err.count("\n")) == (1, "", 1), err
    assert problem in err
    assert not any(secret in err for secret in ("secret@", ":pw", "sig=", "hunter2"))
    assert left() == []


def test_a_session_token_of_aws_is_refused(towns: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN"):
        monkeypatch.setenv(f"AWS_{name}", "x")
    assert "AWS_SESSION_TOKEN is set" in run(towns, "s3://bucket/x")[2]


@pytest.mark.parametrize(
    ("url", "params", "target"),
    [
        ("sftp://me@host:2222/a/b", {"domain": "host", "username": "me", "port": "2222"}, {"remotePath": "/a/b"}),
        ("sftp://host/~/a%20b", {"domain": "host"}, {"remotePath": "a b"}),
        ("sftp://host", {"domain": "host"}, {"remotePath": "/"}),
        ("gs://b/p/", {}, {"bucketName": "b", "path": "p"}),
        ("az://c", {}, {"container": "c", "path": "/"}),
        (
            "abfss://c@a.dfs.core.windows.net/p",
            {"url": "abfss://c@a.dfs.core.windows.net"},
            {"path": "p"},
        ),
    ],
)
def test_urls(url: str, params: dict[str, str], target: dict[str, str]) -> None:
    place = place_of(url)
    assert (place.params, place.target) == (params, target)


def test_secrets_are_asked_for_on_a_terminal(
    towns: Path, run: Run, s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = f"b{uuid4().hex}"
    s3.make_bucket(bucket)
    asked = []

    def prompt(name: str, **how: Any) -> str:
        asked.append((name, how["hide_input"]))
        return s3.secret_key

    monkeypatch.setattr("offtake.cli.copy_destination.typer.prompt", prompt)
    monkeypatch.setattr("offtake.cli.copy_destination.sys.stdin.isatty", lambda: True, raising=False)
    sets = ("--set", f"s3AccessKey={s3.access_key}", "--set", f"endpointUrl={s3.endpoint}")
    code, _, err = run(towns, f"s3://{bucket}/x", *sets)
    assert (code, asked) == (0, [("s3SecretKey", True)]), err


def test_a_progress_bar_is_for_terminals_only(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    half = Progress("x", "processing", 2, 1, 50, 100, 2_000_000, 1_000_000, None)
    for is_terminal in (False, True):
        monkeypatch.setattr("offtake.cli.progress_bar.sys.stderr.isatty", lambda given=is_terminal: given)
        with ProgressBar() as bar:
            bar.show(half)
            bar.show(half)
            bar.note("it waits")
        printed = capsys.readouterr().err
        assert printed.count("50/100 rows, 2.0 MB, 1.0 MB/s") == is_terminal
        assert "it waits\n" in printed


# Kills


@pytest.mark.matrix(one_in=3)
@pytest.mark.parametrize(
    "point", ["import_committed", "copy_prepared", "plan_stored", "part_recorded", "before_commit"]
)
def test_a_copy_that_was_killed_continues_and_delivers_every_row_once(tmp_path: Path, point: str) -> None:
    files = [tmp_path / f"{first}.csv" for first in range(0, 400, 100)]
    for number, file in enumerate(files):
        file.write_text("id\n" + "".join(f"{one}\n" for one in range(number * 100, number * 100 + 100)))
    environment = os.environ | {"OFFTAKE_PART_ROWS": "100", "OFFTAKE_EXPORT_PROCESSES": "1"}
    words: list[str | Path] = ["copy", *files, tmp_path / "out", "--format", "json"]
    killed = commands.run(words, environment | {"OFFTAKE_FAILPOINTS": point})
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    (folder,) = left()
    assert {stat.S_IMODE(one.stat().st_mode) for one in (folder, folder / "deployment")} == {0o700}
    again = commands.run(words, environment)
    assert again.returncode == 0, again.stderr
    # Before the flow exists, nothing was written to the destination: the copy starts again.
    assert ("the copy that was interrupted continues" in again.stderr) == (point != "import_committed")
    assert sorted(one["id"] for one in json_rows(tmp_path / "out")) == list(range(400))
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file() and "part-" not in path.name] == []
    assert left() == []


def test_another_copy_to_the_same_place_is_named_and_old_ones_are_removed(
    towns: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        private_folder("a" * 32, "./out"),
        pytest.raises(OfftakeError, match="running already"),
        private_folder("a" * 32, "./out"),
    ):
        pass
    code, _, err = run(towns, "./out")
    assert (code, "another copy to ./out was interrupted" in err, "rm -r" in err) == (0, True, True)
    monkeypatch.setattr(copy_folder, "_KEPT_SECONDS", -1)
    assert "interrupted" not in run(towns, "./out")[2]
    assert left() == []


def test_an_interrupt_keeps_the_copy(towns: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("offtake.cli.copying._follow", interrupted)
        code, _, err = run(towns, "./out", "--format", "json")
    assert (code, "Repeat the command to continue" in err) == (130, True)
    assert len(left()) == 1
    code, _, err = run(towns, "./out", "--format", "json")
    assert (code, "interrupted continues" in err) == (0, True)


def test_settings_of_a_deployment_do_not_touch_a_copy(towns: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OFFTAKE_DATABASE_URL", "postgresql+psycopg://127.0.0.1:1/offtake")
    monkeypatch.setenv("OFFTAKE_LANDING_ZONE", "/nowhere")
    assert run(towns, "./out")[0] == 0


def test_a_copy_waits_for_its_destination_as_long_as_is_said(
    towns: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SFTP_PASSWORD", "a-secret")
    url = f"sftp://me@127.0.0.1:{free_port()}/in"
    code, out, err = run(towns, url, "--wait-for", "0s")
    assert (code, out, "Connection refused" in err.splitlines()[-1], "a-secret" in err) == (1, "", True, False)
    assert left() == []
    code, _, err = run(towns, url, "--wait-for", "2s")
    assert (code, "--wait-for sets how long it waits" in err) == (1, True)


def test_a_copy_that_continues_waits_again(towns: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SFTP_PASSWORD", "a-secret")
    url = f"sftp://me@127.0.0.1:{free_port()}/in"

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("offtake.cli.copying.wait_sentence", interrupted)
        assert run(towns, url, "--wait-for", "1d")[0] == 130
    (folder,) = left()
    with sqlite3.connect(next(folder.rglob("offtake.db"))) as store:
        store.execute("UPDATE runs SET waiting_since = waiting_since - 3600000, wait_until = waiting_since")
    monkeypatch.setattr("offtake.cli.copying.wait_sentence", lambda wait: f"from {wait['sinceUTC']}")
    before = time.time() * 1000
    code, _, err = run(towns, url, "--wait-for", "1s")
    since = int(re.findall(r"from (\d+)", err)[0])
    assert (code, since >= before - 2000) == (1, True)


@pytest.mark.parametrize("text", ["", "5", "-1s", "8d", "999999w", "1h30m", "٣s"])
def test_durations(towns: Path, run: Run, text: str) -> None:
    code, _, err = run(towns, "./out", "--wait-for", text)
    assert (code, f"--wait-for {text!r} is not a duration: give 0s to 7d" in err) == (1, True)


def test_a_relative_cache_folder_is_ignored(
    towns: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert run(towns, "./out")[0] == 0
    assert base_folder() == tmp_path / "home" / ".cache" / "offtake" / "copies"
    assert not (tmp_path / "relative").exists()


def test_a_copy_needs_a_source_and_a_destination(towns: Path, run: Run) -> None:
    assert "at least one source and the destination" in run(towns)[2]
    assert destination_urls.parse_settings(["a=b=c"]) == {"a": "b=c"}
