"""The commands of docs/incident.md, as written, against a server whose destination is down and comes back."""

import json
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import commands
from tests.servers import await_port, free_port, rclone_s3

PAGE = Path(__file__).parents[2] / "docs" / "incident.md"


def commands_of(number: int) -> list[list[str]]:
    """The commands of a section, without the program's name."""
    section = PAGE.read_text(encoding="utf-8").partition(f"\n## {number}. ")[2].partition("\n## ")[0]
    found = [shlex.split(line) for line in re.findall(r"^    offtake (.*)$", section, re.MULTILINE)]
    assert found
    return found


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Of commands of a deployment that is served; port STORE is where its destination would be."""
    store = free_port()
    variables = {
        **os.environ,
        "OFFTAKE_DATA_DIR": str(tmp_path / "data"),
        "OFFTAKE_RETRY_INITIAL_DELAY_SECONDS": "0.2",
        "OFFTAKE_EXPORT_PROCESSES": "1",
        "SECRET": "testsecret",
        "STORE": str(store),
    }
    port = free_port()
    server = commands.Command(["serve", "--port", str(port)], variables)
    try:
        await_port(port, server)
        yield variables
    finally:
        server.terminate()
        assert server.wait(30) == 0


def test_the_walk_through_ends_with_the_proof(environment: dict[str, str], tmp_path: Path) -> None:
    def run(words: list[str], code: int = 0) -> str:
        done: subprocess.CompletedProcess[str] = commands.run(words, environment)
        assert done.returncode == code, (words, done.stdout, done.stderr)
        return done.stdout

    (tmp_path / "events.csv").write_text("id\n1\n2\n")
    run(["dataset", "import", "events", str(tmp_path / "events.csv")])
    endpoint = f"http://127.0.0.1:{environment['STORE']}"
    account = ["--s3-access-key", "TESTKEY", "--s3-secret-key", "env:SECRET", "--endpoint-url", endpoint]
    run(["connection", "create", "s3", "partner", *account])
    place = ["--bucket-name", "bucket", "--path", "events", "--format", "ndjson", "--every", "3h"]
    run(["flow", "create", "events-out", "--dataset", "events", "--to", "partner", *place])
    found = json.loads(run(["run", "list", "--json"]))
    while not found:
        found = json.loads(run(["run", "list", "--json"]))
    run_id = found[0]["id"]

    def follow(number: int, failing: str = "") -> str:
        printed = ""
        for words in commands_of(number):
            given = [run_id if word == "RUN" else word for word in words]
            printed += run(given, 1 if words[:2] == failing.split() else 0)
        return printed

    assert "events-out" in follow(1)
    follow(2, failing="connection test")
    with rclone_s3(tmp_path / "s3", port=int(environment["STORE"])) as store:
        store.make_bucket("bucket")
        follow(3)
        proof = follow(4)
    assert "as delivered" in proof
    assert "no gap, no overlap; nothing is pending" in proof
