"""What commands refuse before they write anything, and what they warn of."""

import json
import os
import socket
from pathlib import Path

import pytest

from offtake.cli import variables
from offtake.cli.commands import Command, entries
from offtake.cli.local_work import is_served
from offtake.cli.main import main
from offtake.deployment.backend import sole_server
from offtake.settings import Settings
from tests import commands
from tests.cli.test_serve import serving
from tests.deployment import Deployment, rows
from tests.servers import free_port

MAKE_ONE = {"init", "serve", "demo", "restore"}
OF_CLIENTS = {"profile"}
NEEDED = {
    "dataset import": ["towns", "FILE"], "dataset show": ["x"], "dataset preview": ["x"], "dataset create": ["x"],
    "dataset update": ["x", "--evolve"], "dataset delete": ["x"], "dataset label": ["x", "a"], "batch show": ["x"],
    "batch revert": ["x"], "connection test": ["x"],
    "connection create sftp": ["x", "--domain", "h", "--username", "u", "--password-file", "FILE"],
    "connection create s3": ["x", "--s3-access-key", "k", "--secret-file", "FILE"],
    "connection create azure-blob": ["x", "--connection-string-file", "FILE"],
    "connection create adls": [
        "x", "--url", "u", "--tenant", "t", "--service-principal-id", "i", "--secret-file", "FILE",
    ],
    "connection create gcs": ["x", "--access-key-id", "k", "--secret-file", "FILE"],
    "connection create landing-zone": ["x"], "connection show": ["x"], "connection edit": ["x", "--name", "y"],
    "connection delete": ["x", "--yes"],
    "flow create": ["x", "--dataset", "y", "--to", "z", "--path", "/", "--format", "ndjson", "--every", "3h"],
    "flow edit": ["x", "--every", "3h"], "flow preview": ["x"], "flow pause": ["x"], "flow resume": ["x"],
    "flow delete": ["x", "--yes"], "flow show": ["x"], "flow run": ["x"],
    "flow backfill": ["x", "--run", "y"], "flow verify": ["x"], "run show": ["x"], "run watch": ["x"],
    "run manifest": ["x"], "run verify": ["x"], "run cancel": ["x"], "run retry": ["x"], "sandbox create": ["x"],
    "sandbox reset": ["x", "--yes"], "sandbox delete": ["x", "--yes"], "client create": ["x"], "client rotate": ["x"],
    "client revoke": ["x"], "role create": ["x", "--permission", "*"], "role show": ["x"],
    "role update": ["x", "--add", "view-datasets"], "role grant": ["x", "y"], "role revoke": ["x", "y"],
    "role delete": ["x"], "alert channel create": ["x", "--kind", "webhook", "--url", "https://example.org"],
    "alert channel show": ["x"], "alert channel edit": ["x", "--name", "y"], "alert channel test": ["x"],
    "alert channel delete": ["x"], "alert rule create": ["x", "--channel", "y"],
    "alert rule edit": ["x", "--name", "y"], "alert rule delete": ["x"], "alert retry": ["x"],
    "quota set": ["rows", "5"], "quota remove": ["rows"], "migrate": ["--to", "postgresql://127.0.0.1/x"],
    "backup": ["FILE"], "apply": ["-f", "DOCUMENT"],
    "diff": ["-f", "DOCUMENT"],
}  # fmt: skip
WORDS = [
    words
    for words, entry in entries()
    if isinstance(entry, Command) and words.split()[0] not in MAKE_ONE | OF_CLIENTS | {"worker", "catalog", "copy"}
]


@pytest.mark.parametrize("words", [one for one in WORDS if one != "dataset register"])
def test_no_command_makes_a_deployment(words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "towns.csv"
    file.write_text("id\n1\n")
    data_dir = tmp_path / "mistyped"
    (document := tmp_path / "document.yaml").write_text("{kind: connection, name: x, destination: landing-zone}")
    files = {"FILE": str(file), "DOCUMENT": str(document)}
    given = [files.get(one, one) for one in NEEDED.get(words, [])]
    code = main([*words.split(), *given, "--data-dir", str(data_dir)])
    printed = capsys.readouterr()
    assert (code, printed.out, printed.err.count("\n")) == (2, "", 1), printed
    assert f"{data_dir} has no deployment of Offtake. Create one: offtake init" in printed.err
    assert not data_dir.exists()


def test_a_copy_needs_a_deployment_for_its_datasets_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    data_dir = tmp_path / "mistyped"
    assert main(["copy", "dataset:events", str(tmp_path), "--data-dir", str(data_dir)]) == 2
    assert f"{data_dir} has no deployment of Offtake" in capsys.readouterr().err
    assert not data_dir.exists()


def test_init_makes_one_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = ("--data-dir", str(tmp_path / "data"))
    assert main(["init", *where, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"dataDir": where[1], "created": True}
    assert main(["sandbox", "list", *where]) == 0
    assert "prod" in capsys.readouterr().out
    assert main(["init", *where]) == 0
    assert "exists already" in capsys.readouterr().out


def test_a_database_that_is_named_needs_no_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OFFTAKE_DATABASE_URL", f"sqlite:///{tmp_path / 'store.db'}")
    assert main(["flow", "list", "--data-dir", str(tmp_path / "data")]) == 2
    assert "OFFTAKE_DATABASE_URL names a database without the tables of Offtake" in capsys.readouterr().err
    assert not (tmp_path / "store.db").exists()
    assert main(["init", "--data-dir", str(tmp_path / "data")]) == 0
    assert main(["flow", "list", "--data-dir", str(tmp_path / "other")]) == 0


@pytest.mark.parametrize(
    ("setting", "problem"),
    [
        ("postgresql+psycopg://127.0.0.1:1/offtake", "The database 127.0.0.1/offtake cannot be reached."),
        ("oracle://127.0.0.1/offtake", "OFFTAKE_DATABASE_URL must begin with"),
        ("nonsense", "OFFTAKE_DATABASE_URL must begin with"),
    ],
)
def test_a_database_that_cannot_be_used_is_named(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    setting: str,
    problem: str,
) -> None:
    monkeypatch.setenv("OFFTAKE_DATABASE_URL", setting)
    assert main(["flow", "list", "--data-dir", str(tmp_path / "data")]) == 1
    err = capsys.readouterr().err
    assert (problem in err, err.count("\n")) == (True, 1), err


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"part_byte = 3\n", "part_byte is not a setting; did you mean part_bytes?"),
        (b"zzz = 3\n", "zzz is not a setting; see docs/settings.md"),
        (b"part_bytes = [\n", "offtake.toml is not valid TOML: "),
        (b"part_bytes = '\xff'\n", "offtake.toml is not UTF-8 text"),
        (b"part_bytes = 'many'\n", "part_bytes: "),
    ],
)
def test_a_broken_file_of_settings_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, text: bytes, problem: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("offtake.toml").write_bytes(text)
    assert main(["flow", "list"]) == 1
    err = capsys.readouterr().err
    assert (problem in err, err.count("\n")) == (True, 1), err


def test_variables_that_are_no_settings_are_warned_of() -> None:
    kubernetes = {
        f"OFFTAKE_{name}": "tcp://10.0.0.1:8080"
        for name in (
            "PORT", "SERVICE_HOST", "SERVICE_PORT", "SERVICE_PORT_HTTP", "PORT_8080_TCP", "PORT_8080_TCP_PROTO",
            "PORT_8080_TCP_PORT", "PORT_8080_TCP_ADDR", "POSTGRES_SERVICE_HOST", "POSTGRES_PORT_5432_TCP",
        )
    }  # fmt: skip
    of_clients = dict.fromkeys(("OFFTAKE_SERVER", "OFFTAKE_CLIENT_ID", "OFFTAKE_SANDBOX"), "x")
    known = {"OFFTAKE_PART_BYTES": "1", "OFFTAKE_PROCESSES": "2", "HOME": "/root"}
    assert list(variables.unknown(kubernetes | of_clients | known, Settings.model_fields)) == []
    found = list(variables.unknown({"OFFTAKE_PART_BYTE": "1", "OFFTAKE_XYZZY_QQ": "1"}, Settings.model_fields))
    assert found == [
        "OFFTAKE_PART_BYTE is not a setting and is ignored; did you mean OFFTAKE_PART_BYTES?",
        "OFFTAKE_XYZZY_QQ is not a setting and is ignored.",
    ]


def test_a_warning_does_not_stop_the_command(
    deployed: Deployment, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OFFTAKE_PART_BYTE", "1")
    assert main(["flow", "list", "--json", "--data-dir", str(deployed.backend.settings.data_dir)]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out) == []
    assert printed.err.startswith("offtake: warning: OFFTAKE_PART_BYTE")


def test_a_server_without_a_port_makes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert main(["serve", "--data-dir", str(tmp_path / "data"), "--port", port]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert f"Cannot listen on 127.0.0.1:{port}: Address already in use" in printed.err
    assert not (tmp_path / "data").exists()


def test_a_library_that_is_missing_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> object:
        raise ModuleNotFoundError("No module named 'psycopg'", name="psycopg")

    monkeypatch.setattr("offtake.cli.main.command_line", missing)
    assert main(["flow", "list"]) == 1
    assert capsys.readouterr().err == "offtake: psycopg is not installed. Install it: pip install 'offtake[postgres]'\n"


# Work without a server


def test_a_command_executes_its_run_while_no_server_is_running(
    deployed: Deployment, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("offtake.cli.local.Clock", lambda: deployed.clock)
    where = ("--data-dir", str(deployed.backend.settings.data_dir))
    far = {"startTime": deployed.clock.now_seconds() + 86_400}
    flow, other = (deployed.flow(deployed.import_rows(name, rows(0, 5)), schedule=far) for name in ("a", "b"))
    assert main(["flow", "run", other, *where]) == 0
    capsys.readouterr()
    assert main(["flow", "run", flow, "--wait", *where]) == 0
    assert "5/5 rows" in capsys.readouterr().out
    states = {one["flowId"]: one["metrics"]["statusSummary"]["status"] for one in deployed.get("/runs")["items"]}
    assert states == {flow: "success", other: "waiting"}, "it executes only its own run"
    assert main(["flow", "backfill", flow, "--from", "start", "--to", "now", "--wait", *where, "--json"]) == 0


def test_whether_a_server_is_running_is_found_without_disturbing_it(deployed: Deployment) -> None:
    assert not is_served(deployed.backend)
    with sole_server(deployed.backend.settings):
        assert is_served(deployed.backend)
    assert not is_served(deployed.backend)


def test_the_credentials_of_the_first_client_follow_a_rotation(tmp_path: Path) -> None:
    data_dir, file = tmp_path / "data", tmp_path / "towns.csv"
    file.write_text("id\n1\n")
    with serving(data_dir, free_port()):
        commands.run(["dataset", "import", "towns", file, "--data-dir", data_dir]).check_returncode()
        admin = json.loads((data_dir / "admin.json").read_text())
        rotated = commands.run(["client", "rotate", admin["client_id"], "--json", "--data-dir", data_dir])
        after = json.loads((data_dir / "admin.json").read_text())
        listed = commands.run(
            ["dataset", "list", "--json", "--server", admin["origin"]],
            {**os.environ, "OFFTAKE_DATA_DIR": str(data_dir), "XDG_CACHE_HOME": str(tmp_path)},
        )
    assert after == admin | {"client_secret": json.loads(rotated.stdout)["client_secret"]}
    assert [one["name"] for one in json.loads(listed.stdout)] == ["towns"], listed.stderr
