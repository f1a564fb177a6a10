"""Credentials of the landing zone, at a server in a process of its own, end with the client that has them."""

from pathlib import Path

import httpx2

from tests.attacks.server import serving
from tests.commands import run

ZONE = "/data/foundation/connectors/landingzone/credentials?type=dlz_destination"


def test_credentials_end_at_once_when_another_process_gives_the_client_a_new_secret(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        folder = server.data_dir / "landing-zone" / "prod"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "a.txt").write_text("hello")
        address, _, token = server.call("GET", ZONE).json()["SASUri"].partition("?")
        assert httpx2.get(f"{address}/a.txt?{token}").text == "hello"
        client = server.admin["client_id"]
        run(["client", "rotate", client, "--data-dir", server.data_dir]).check_returncode()
        assert httpx2.get(f"{address}/a.txt?{token}").status_code == 403
        assert httpx2.delete(f"{address}/a.txt?{token}").status_code == 403
        address, _, token = server.call("GET", ZONE).json()["SASUri"].partition("?")
        assert httpx2.delete(f"{address}/a.txt?{token}").status_code == 202
