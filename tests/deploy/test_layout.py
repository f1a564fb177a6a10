"""The processes of deploy/ as they run in production: units' commands, PostgreSQL, two workers, nginx with TLS."""

import os
import re
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import psycopg
import pytest
import trustme
import yaml

from tests.attacks.server import Server, make_flow
from tests.postgres import new_database
from tests.servers import await_port, free_port

DEPLOY = Path(__file__).parents[2] / "deploy"
STATE = "/var/lib/offtake"
PROGRAM = "/opt/offtake/bin/offtake"
READ_ONLY = """mount --make-rprivate / && mount --bind "$0" "$0" && mount -o remount,bind,ro / &&
exec setpriv --bounding-set=-all --inh-caps=-all --no-new-privs "$@" """
"""Only one folder can be written, and root has no capabilities: as in the container and in the units."""
NO_NEW_CODE = """import ctypes, os, sys
assert ctypes.CDLL(None).prctl(65, 1, 0, 0, 0) == 0  # PR_SET_MDWE, from Linux 6.3 on
os.execv(sys.argv[1], sys.argv[1:])"""


class Unit:
    """A unit's commands and environment, with the paths of a test."""

    def __init__(self, name: str, folder: Path, instance: str = "") -> None:
        text = (DEPLOY / "systemd" / name).read_text().replace("%i", instance)
        service = text.partition("[Service]\n")[2].partition("\n[")[0]
        lines = [line.partition("=") for line in service.splitlines() if "=" in line and not line.startswith("#")]
        self.folder = folder
        self.values = [(key, value.replace(STATE, str(folder))) for key, _, value in lines]

    def command(self, key: str = "ExecStart") -> list[str]:
        (value,) = [value for name, value in self.values if name == key]
        program, *words = value.split()
        assert program == PROGRAM
        executable = [sys.executable, "-c", NO_NEW_CODE, sys.executable, "-m", "offtake", *words]
        return ["unshare", "--mount", "sh", "-c", READ_ONLY, str(self.folder), *executable]

    def environment(self, file: dict[str, str]) -> dict[str, str]:
        given = [pair.split("=", 1) for key, value in self.values if key == "Environment" for pair in value.split()]
        kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
        return {**kept, **dict(given), **file, "TMPDIR": str(self.folder)}


@dataclass
class Site(Server):
    """The deployment behind the proxy; requests come from another address than the proxy's."""

    https: int = 0
    authority: Path = Path()

    @property
    def origin(self) -> str:
        return f"https://localhost:{self.https}"

    def sign_in(self, secret: str, client_id: str | None = None, headers: Any = None) -> Any:
        form = {"grant_type": "client_credentials", "client_id": client_id or self.admin["client_id"]}
        return self._send("POST", "/ims/token/v3", data={**form, "client_secret": secret}, headers=headers)

    def call(self, method: str, path: str, timeout: float = 60, **options: Any) -> Any:
        return self._send(method, path, timeout, headers={**self.headers, **options.pop("headers", {})}, **options)

    def _send(self, method: str, path: str, timeout: float = 60, **options: Any) -> Any:
        trusted = ssl.create_default_context(cafile=str(self.authority))
        transport = httpx2.HTTPTransport(verify=trusted, local_address="127.0.0.2")
        with httpx2.Client(transport=transport, timeout=timeout) as client:
            return client.request(method, self.origin + path, **options)


@contextmanager
def nginx(folder: Path, server_port: int, authority: trustme.CA) -> Iterator[tuple[int, int]]:
    """nginx with the file of deploy/; its ports for https and http."""
    https, http = free_port(), free_port()
    certificate = authority.issue_cert("localhost")
    certificate.private_key_pem.write_to_path(str(folder / "privkey.pem"))
    (folder / "fullchain.pem").write_bytes(b"".join(one.bytes() for one in certificate.cert_chain_pems))
    text = re.sub(r"listen \[::\].*\n", "", (DEPLOY / "nginx" / "offtake.conf").read_text())
    for old, new in (
        ("listen 443 ", f"listen 127.0.0.1:{https} "),
        ("listen 80;", f"listen 127.0.0.1:{http};"),
        ("127.0.0.1:8080", f"127.0.0.1:{server_port}"),
        ("/etc/offtake/tls", str(folder)),
    ):
        assert old in text
        text = text.replace(old, new)
    (folder / "offtake.conf").write_text(text)
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(
        f"{user} daemon off; pid {folder}/pid; events {{}} http {{ access_log off; include {folder}/offtake.conf; }}"
    )
    command = ["/usr/sbin/nginx", "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")]
    process = subprocess.Popen(command)
    try:
        await_port(https, process)
        yield https, http
    finally:
        process.terminate()
        process.wait(20)


@contextmanager
def running(unit: Unit, file: dict[str, str], *options: str) -> Iterator["subprocess.Popen[bytes]"]:
    with (unit.folder / "log").open("ab") as log:
        command = [*unit.command(), *options]
        process = subprocess.Popen(command, env=unit.environment(file), cwd=unit.folder, stdout=log, stderr=log)
        try:
            yield process
        finally:
            process.kill()
            process.wait(20)


@pytest.fixture
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="offtake-layout-"))
    yield made
    print((made / "data" / "log").read_text() if (made / "data" / "log").exists() else "")
    shutil.rmtree(made)


def test_the_layout_delivers_and_stops_gracefully(folder: Path, postgres: str) -> None:
    database = new_database(postgres)
    state, front = folder / "data", folder / "nginx"
    state.mkdir(mode=0o700)
    front.mkdir()
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(front / "ca.pem"))
    key = "UHJvZHVjdGlvbiBrZXlzIGFyZSBtYWRlIHJhbmRvbWw="
    names = set(re.findall(r"^(?:# )?(OFFTAKE_\w+)=", (DEPLOY / "env.example").read_text(), re.MULTILINE))
    file = {"OFFTAKE_DATABASE_URL": database, "OFFTAKE_VAULT_KEY": key, "OFFTAKE_TRUSTED_PROXIES": "127.0.0.1"}
    assert set(file) < names
    unit = Unit("offtake.service", state)
    subprocess.run(unit.command("ExecStartPre"), env=unit.environment(file), cwd=state, check=True, timeout=120)
    port, first, second = free_port(), free_port(), free_port()
    with (
        running(unit, file, "--port", str(port)) as process,
        nginx(front, port, authority) as (https, http),
    ):
        await_port(port, process)
        site = Site(process, port, state, state / "log", https, front / "ca.pem")  # type: ignore[arg-type] # as a Command
        redirect = httpx2.get(f"http://127.0.0.1:{http}/ui", headers={"Host": "offtake.example"})
        assert (redirect.status_code, redirect.headers["location"]) == (308, "https://offtake.example/ui")
        flow = make_flow(site, b'{"id": 1}\n', int(time.time()) + 3600)
        assert queue_length(database) >= 1
        with (
            running(Unit("offtake-worker@.service", state, str(first)), file) as one,
            running(Unit("offtake-worker@.service", state, str(second)), file) as other,
        ):
            for worker, its_port in ((one, first), (other, second)):
                await_port(its_port, worker)
                assert httpx2.get(f"http://127.0.0.1:{its_port}/readyz", timeout=10).status_code == 200
            await_empty_queue(database)
            started = site.call("POST", f"/data/foundation/flowservice/flows/{flow}/run", json={"fullExport": True})
            assert started.status_code == 201, started.text
            await_success(site, flow)
            assert list((state / "landing-zone" / "prod" / "exports").rglob("*.json.gz"))
            assert queue_length(database) == 0
            for worker in (one, other):
                worker.terminate()
                assert worker.wait(30) == 0
        check_headers(site)
        # The API is ready without workers; the endpoint is closed to the outside.
        assert httpx2.get(f"http://127.0.0.1:{port}/readyz", timeout=10).status_code == 200
        assert site.call("GET", "/readyz").status_code == 403
        assert site.call("GET", "/healthz").status_code == 200
        process.terminate()
        assert process.wait(30) == 0
        assert site.call("GET", "/healthz").status_code == 502


def check_headers(site: Site) -> None:
    """The server knows the caller's address and scheme from the proxy, whatever headers the caller sends."""
    claims = {"X-Forwarded-For": "203.0.113.9", "Forwarded": "for=203.0.113.9", "X-Forwarded-Proto": "http"}
    site.call("POST", "/data/foundation/flowservice/connections", headers=claims, json=CONNECTION).raise_for_status()
    events = site.call("GET", "/data/foundation/audit/events?limit=100")
    assert events.status_code == 200, events.text
    assert "127.0.0.2" in events.text
    assert "203.0.113.9" not in events.text
    page = site.call("GET", "/ui/sign-in")
    assert (page.status_code, page.headers["strict-transport-security"]) == (200, "max-age=31536000")


CONNECTION = {"name": "c", "connectionSpec": {"id": "10440537-2a7b-4583-ac39-ed38d4b848e8", "version": "1.0"}}


def await_success(site: Site, flow: str) -> None:
    until = time.monotonic() + 120
    while True:
        found = site.call("GET", f"/data/foundation/flowservice/runs?property=flowId=={flow}").json()["items"]
        if found and found[0]["metrics"]["statusSummary"]["status"] == "success":
            return
        assert time.monotonic() < until, found
        time.sleep(0.3)


def await_empty_queue(url: str) -> None:
    until = time.monotonic() + 120
    while queue_length(url):
        assert time.monotonic() < until
        time.sleep(0.2)


def queue_length(url: str) -> int:
    """The number by which Kubernetes' workers are scaled."""
    text = (DEPLOY / "kubernetes" / "worker-scaling.yaml").read_text()
    _, scaled = yaml.safe_load_all(text)
    (trigger,) = scaled["spec"]["triggers"]
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        row = connection.execute(trigger["metadata"]["query"].encode()).fetchone()
    assert row is not None
    return int(row[0])


def test_the_probes_and_the_grace_of_kubernetes_fit_the_settings() -> None:
    documents = list(yaml.safe_load_all((DEPLOY / "kubernetes" / "api.yaml").read_text()))
    pod = documents[0]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    drain = {one["name"]: one["value"] for one in container["env"]}["OFFTAKE_DRAIN_SECONDS"]
    probe = container["readinessProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] + probe["timeoutSeconds"] <= float(drain)
    assert float(drain) + 5 < pod["terminationGracePeriodSeconds"]
    assert probe["timeoutSeconds"] > 2
