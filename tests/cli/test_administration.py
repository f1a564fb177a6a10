"""The commands about clients, roles, sandboxes and the audit log, and what they mean for the API."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from offtake.access.clients import NewClient
from offtake.cli.main import main
from offtake.engines.local import LocalEngine
from tests.deployment import Deployment, deployment, rows
from tests.fake_clock import FakeClock
from tests.sqlite import put_migrated_store

SFTP = "36965a81-b1c6-401b-99f8-22508f1e6a26"
README = Path(__file__).parents[2] / "README.md"


class Terminal:
    """Commands on one data directory."""

    def __init__(self, data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.data_dir, self.capsys = data_dir, capsys

    def run(self, *arguments: str) -> tuple[int, str, str]:
        code = main([*arguments, "--data-dir", str(self.data_dir)])
        printed = self.capsys.readouterr()
        return code, printed.out, printed.err

    def json(self, *arguments: str) -> Any:
        code, out, err = self.run(*arguments, "--json")
        assert code == 0, err
        return json.loads(out)

    def says(self, *arguments: str) -> str:
        code, out, err = self.run(*arguments)
        assert code == 0, err
        return out

    def refused(self, *arguments: str) -> str:
        code, out, err = self.run(*arguments)
        assert (code, out) == (1, "")
        assert err.startswith("offtake: ")
        assert err.count("\n") == 1
        return err


@pytest.fixture
def terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Terminal:
    put_migrated_store(tmp_path / "data" / "offtake.db")
    return Terminal(tmp_path / "data", capsys)


def client_of(shown: dict[str, str]) -> NewClient:
    return NewClient(shown["org_id"], shown["client_id"], shown["client_secret"], "prod")


@pytest.fixture
def served(terminal: Terminal, clock: FakeClock, engine: LocalEngine) -> Any:
    with deployment(terminal.data_dir, clock, engine) as opened:
        yield opened


EXPORTERS = (
    "role", "create", "exporters", "--permission", "view-destinations", "--permission", "view-datasets",
    "--permission", "manage-and-activate-dataset-destinations", "--sandbox", "prod", "--label", "core/C1",
)  # fmt: skip


def test_a_client_with_a_role_can_call_until_it_is_revoked(terminal: Terminal, served: Deployment) -> None:
    assert "exporters" in terminal.says(*EXPORTERS)
    client = client_of(terminal.json("client", "create", "partner", "--role", "exporters"))
    with served.acting(client):
        assert served.get("/flows")["items"] == []
        rotated = terminal.json("client", "rotate", client.client_id)["client_secret"]
        assert rotated != client.client_secret
        terminal.says("role", "revoke", "exporters", client.client_id)
        served.get("/flows", 404)
        terminal.says("role", "grant", "exporters", client.client_id)
        assert served.get("/flows")["items"] == []
        terminal.says("client", "revoke", client.client_id)
        assert served.http.get("/data/foundation/flowservice/flows").status_code == 401


def test_a_secret_is_shown_once_and_nowhere_else(terminal: Terminal) -> None:
    shown = terminal.says("client", "create", "partner", "--service")
    (secret,) = [line.split(": ")[1] for line in shown.splitlines() if line.startswith("client_secret")]
    client = terminal.json("client", "list")[0]
    again = terminal.says("client", "rotate", client["id"])
    (rotated,) = [line.split(": ")[1] for line in again.splitlines() if line.startswith("client_secret")]
    everything = terminal.says("client", "list") + terminal.says("audit", "list")
    everything += json.dumps([terminal.json("client", "list"), terminal.json("audit", "list")])
    stored = b"".join(path.read_bytes() for path in terminal.data_dir.glob("offtake.db*"))
    for one in (secret, rotated):
        assert one.startswith("p8e-")
        assert one not in everything
        assert one.encode() not in stored
    assert (client["kind"], client["external"], client["roles"]) == ("service", False, [])


def test_an_external_client_has_no_secret(terminal: Terminal) -> None:
    assert "--id" in terminal.refused("client", "create", "partner", "--external")
    made = terminal.json("client", "create", "partner", "--external", "--id", "partner@clients")
    assert (made["client_id"], "client_secret" in made) == ("partner@clients", False)
    assert "external" in terminal.refused("client", "rotate", "partner@clients")
    assert "external" in terminal.says("client", "list")


def test_a_client_keeps_the_id_it_had_elsewhere(terminal: Terminal, served: Deployment) -> None:
    terminal.says(*EXPORTERS)
    made = terminal.json("client", "create", "partner", "--id", "acme-key-1", "--role", "exporters")
    assert made["client_id"] == "acme-key-1"
    with served.acting(client_of(made)):
        assert served.get("/flows")["items"] == []
    assert "already" in terminal.refused("client", "create", "partner", "--id", "acme-key-1")
    assert "id" in terminal.refused("client", "create", "partner", "--id", "a b")


def test_roles_are_made_listed_shown_and_deleted(terminal: Terminal) -> None:
    made = terminal.json(*EXPORTERS)
    assert made["permissionSets"][2] == "manage-and-activate-dataset-destinations"
    assert (made["sandboxes"], made["subjectAttributes"]) == (["prod"], {"labels": ["core/C1"]})
    everywhere = terminal.json("role", "create", "viewers", "--permission", "view-destinations")
    assert everywhere["sandboxes"] == ["*"]
    assert [one["name"] for one in terminal.json("role", "list")] == ["viewers", "exporters", "Administrators"]
    assert "exporters" in terminal.says("role", "list")
    client = terminal.json("client", "create", "partner", "--role", made["id"])["client_id"]
    assert terminal.json("role", "show", "exporters")["subjects"][0]["clientId"] == client
    assert client in terminal.says("role", "show", "exporters")
    assert terminal.json("role", "delete", "exporters") == {"role": "exporters", "deleted": True}
    assert [one["roles"] for one in terminal.json("client", "list")] == [[]]


def test_roles_that_the_upgrade_affects_are_listed_and_fixed(terminal: Terminal, served: Deployment) -> None:
    assert served.admin.client_id
    exports = "manage-and-activate-dataset-destinations"
    terminal.says("role", "create", "hit", "--permission", exports, "--permission", "view-datasets")
    terminal.says("role", "create", "viewers", "--permission", "view-destinations")
    terminal.says(*EXPORTERS)
    found = ("role", "list", "--permission", exports, "--without", "view-destinations")
    assert [one["name"] for one in terminal.json(*found)] == ["hit"]
    assert len(terminal.json("role", "list", "--permission", "view-destinations")) == 3
    changed = terminal.json("role", "update", "hit", "--add", "view-destinations", "--remove", "view-datasets")
    assert changed["permissionSets"] == [exports, "view-destinations"]
    assert terminal.json(*found) == []
    assert "manage access" in terminal.refused("role", "update", "Administrators", "--remove", "*")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("role list --without burn", "burn"),
        ("role update Administrators --add burn", "burn"),
        ("role update nope --add view-datasets", "nope"),
        ("client create x --role nope", "nope"),
        ("client rotate nope", "No client has the id or the name nope"),
        ("client revoke nope", "No client has the id or the name nope"),
        ("role create x --permission burn", "burn"),
        ("role create x --permission * --sandbox nope", "nope"),
        ("role create Administrators --permission *", "already"),
        ("role show nope", "nope"),
        ("role grant nope unknown", "nope"),
        ("role grant Administrators unknown", "No client has the id or the name unknown"),
        ("role revoke Administrators unknown", "No client has the id or the name unknown"),
        ("role delete nope", "nope"),
        ("sandbox create prod", "already"),
        ("sandbox create No", "/name"),
        ("sandbox create dev --type staging", "/type"),
        ("sandbox reset nope --yes", "nope"),
        ("sandbox delete prod --yes", "default"),
        ("audit list --since yesterday", "--since"),
        ("flow list --sandbox nope", "nope"),
    ],
)
def test_a_mistake_is_one_line(terminal: Terminal, arguments: str, said: str) -> None:
    assert said in terminal.refused(*arguments.split())


def test_the_last_administrator_stays(terminal: Terminal, served: Deployment) -> None:
    admin = served.admin.client_id
    for arguments in (
        ("client", "revoke", admin),
        ("role", "revoke", "Administrators", admin),
        ("role", "delete", "Administrators"),
    ):
        assert "manage access" in terminal.refused(*arguments)
    terminal.says("client", "create", "second", "--role", "Administrators")
    terminal.says("client", "revoke", admin)


def test_sandboxes_are_made_listed_reset_and_deleted(terminal: Terminal) -> None:
    assert terminal.json("sandbox", "create", "dev", "--title", "Development")["state"] == "active"
    assert [one["name"] for one in terminal.json("sandbox", "list")] == ["prod", "dev"]
    assert "Development" in terminal.says("sandbox", "list")
    file = terminal.data_dir / "towns.csv"
    file.write_text("id,city\n1,Bern\n")
    terminal.says("dataset", "import", "towns", str(file), "--sandbox", "dev")
    assert [one["name"] for one in terminal.json("dataset", "list", "--sandbox", "dev")] == ["towns"]
    assert terminal.json("dataset", "list") == []
    assert "active" in terminal.says("sandbox", "reset", "dev", "--yes")
    assert terminal.json("dataset", "list", "--sandbox", "dev") == []
    assert terminal.json("sandbox", "delete", "dev", "--yes")["state"] == "deleted"
    assert [one["name"] for one in terminal.json("sandbox", "list")] == ["prod"]


def test_emptying_a_sandbox_is_asked_about(terminal: Terminal) -> None:
    terminal.says("sandbox", "create", "dev")
    command = [sys.executable, "-m", "offtake", "sandbox", "delete", "dev", "--data-dir", str(terminal.data_dir)]
    answered = subprocess.run(command, input=b"n\n", capture_output=True, check=False)
    assert answered.returncode != 0
    assert [one["state"] for one in terminal.json("sandbox", "list")] == ["active", "active"]


def test_the_commands_of_the_readme_run_as_they_are_written(terminal: Terminal) -> None:
    section = README.read_text(encoding="utf-8").partition("## Who may do what")[2].partition("\n## ")[0]
    commands = re.findall(r"^    \.venv/bin/offtake (.*)$", section, re.MULTILINE)
    assert len(commands) == 5
    outputs = [terminal.says(*command.split()) for command in commands]
    assert "client_secret: p8e-" in outputs[1]


def test_flows_and_runs_of_a_sandbox(terminal: Terminal, served: Deployment) -> None:
    served.flow(served.import_rows("events", rows(0, 3)))
    served.run_due()
    terminal.says("sandbox", "create", "dev")
    assert len(terminal.json("flow", "list", "--sandbox", "prod")) == len(terminal.json("run", "list")) == 1
    assert terminal.json("flow", "list", "--sandbox", "dev") == terminal.json("run", "list", "--sandbox", "dev") == []


def test_the_list_of_the_audit_log_names_what_was_changed(terminal: Terminal, served: Deployment) -> None:
    params = {"domain": "sftp.example.org", "username": "u", "password": "p"}
    body = {"name": "p", "connectionSpec": {"id": SFTP, "version": "1.0"}}
    auth = {"specName": "SFTP with Password", "params": params | {"hostKeyFingerprint": "SHA256:" + 43 * "A"}}
    base = served.post("/connections", body | {"auth": auth})["id"]
    patch = {"op": "replace", "path": "/auth/params", "value": params | {"hostKeyFingerprint": None}}
    served.patch(f"/connections/{base}", [patch])
    listed = terminal.says("audit", "list", "--resource", base, "--action", "update").splitlines()
    assert listed[1].rstrip().endswith(f"\tauth.params.hostKeyFingerprint: SHA256:{43 * 'A'} → none")
    terminal.says("role", "create", "lookers", "--permission", "view-destinations")
    terminal.says("client", "create", "partner", "--role", "lookers")
    client = terminal.json("client", "list")[0]["id"]
    terminal.says("role", "revoke", "lookers", client)
    assert f"subject: {client} → none" in terminal.says("audit", "list", "--action", "revoke")


def test_the_audit_log_is_listed_and_filtered(terminal: Terminal) -> None:
    terminal.says(*EXPORTERS)
    client = terminal.json("client", "create", "partner", "--role", "exporters")["client_id"]
    terminal.says("client", "rotate", client)
    terminal.says("role", "revoke", "exporters", client)
    terminal.says("client", "revoke", client)
    terminal.says("sandbox", "create", "dev")
    found = terminal.json("audit", "list")
    assert [(one["assetType"], one["action"]) for one in found] == [
        ("Sandbox", "Create"),
        ("Client", "Revoke"),
        ("Role", "Revoke"),
        ("Client", "Rotate"),
        ("Client", "Create"),
        ("Role", "Create"),
    ]
    assert found[4]["after"]["roles"] == ["exporters"]
    assert {(one["clientId"], *one["userIpAddresses"]) for one in found} == {("offtake-cli", "local")}
    assert len(terminal.json("audit", "list", "--resource", client)) == 3
    for kind in ("roles", "Role"):
        assert len(terminal.json("audit", "list", "--resource", kind, "--action", "create")) == 1
    assert len(terminal.json("audit", "list", "--limit", "2")) == 2
    assert terminal.json("audit", "list", "--client", "unknown") == []
    assert terminal.json("audit", "list", "--since", "2999-01-01") == []
    assert [one["assetName"] for one in terminal.json("audit", "list", "--sandbox", "dev")] == ["dev"]
    assert "exporters" in terminal.says("audit", "list")
