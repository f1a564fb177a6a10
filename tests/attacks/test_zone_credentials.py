"""Credentials of the landing zone, at a server in a process of its own, end with the client that has them."""

import subprocess
import sys
from pathlib import Path

import httpx2

from tests.attacks.server import serving

ZONE = "/data/foundation/connectors/landingzone/credentials?type=dlz_destination"


def test_credentials_end_at_once_when_another_process_gives_the_client_a_new_secret(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        folder = server.data_dir / "landing-zone" / "prod"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "a.txt").write_text("hello")
        address, _, token = server.call("GET", ZONE).json()["SASUri"].partition("?")
        assert httpx2.get(f"{address}/a.txt?{token}").text == "hello"
        client = server.admin["client_id"]
        command = [sys.executable, "-m", "offtake", "client", "rotate", client, "--data-dir", str(server.data_dir)]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        assert httpx2.get(f"{address}/a.txt?{token}").status_code == 403
        assert httpx2.delete(f"{address}/a.txt?{token}").status_code == 403
        address, _, token = server.call("GET", ZONE).json()["SASUri"].partition("?")
        assert httpx2.delete(f"{address}/a.txt?{token}").status_code == 202
