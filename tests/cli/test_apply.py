"""`offtake apply`, `diff`, `export` and `schema`, in the same process and over the network."""

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from offtake.cli.main import main
from offtake.deployment.backend import open_backend
from tests.cli.ways import isolate, listening, sign_in
from tests.deployment import Deployment, rows
from tests.local_parsers import LocalParsers

Way = Callable[..., tuple[int, str, str]]

DOCUMENTS = """
kind: connection
name: zone
destination: landing-zone
---
kind: flow
name: events-to-zone
dataset: events
to: zone
path: out
format: parquet
every: 3h
---
kind: flow
name: daily
datasets: [events]
to: zone
path: daily
format: json
daily: "06:00"
end: never
state: disabled
labels: []
"""


@pytest.fixture(params=["in the same process", "over the network"])
def way(
    request: pytest.FixtureRequest,
    deployed: Deployment,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Way]:
    isolate(monkeypatch, tmp_path)
    monkeypatch.setattr("offtake.cli.local.Clock", lambda: deployed.clock)
    monkeypatch.setattr("offtake.cli.local.open_backend", partial(open_backend, parsers_of=LocalParsers.of))
    if request.param == "over the network":
        monkeypatch.setattr("offtake.client.remote.Remote.now", lambda _: deployed.clock.now_ms() / 1000)

    def run(option: tuple[str, str], *arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([*arguments, *option])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    if request.param == "in the same process":
        yield partial(run, ("--data-dir", str(deployed.backend.settings.data_dir)))
        return
    with listening(deployed.http.app) as url:
        sign_in(deployed, url, monkeypatch)
        yield partial(run, ("--server", url))


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], str]:
    def write_file(text: str) -> str:
        file = tmp_path / "documents.yaml"
        file.write_text(text)
        return str(file)

    return write_file


Write = Callable[[str], str]


@pytest.fixture
def events(deployed: Deployment) -> str:
    return deployed.import_rows("events", rows(0, 5))


def applied(way: Way, file: str, *options: str) -> str:
    code, out, err = way("apply", "-f", file, "--yes", *options)
    assert code == 0, out + err
    return out


def actions(way: Way, file: str, *options: str) -> dict[str, str]:
    code, out, err = way("diff", "-f", file, "--json", *options)
    assert code in (0, 1), err
    found = json.loads(out)
    assert found["differs"] == (code == 1)
    return {f"{one['kind']} {one['name']}": one["action"] for one in found["changes"]}


@pytest.mark.usefixtures("events")
def test_what_is_applied_differs_no_more(way: Way, write: Write, deployed: Deployment) -> None:
    file = write(DOCUMENTS)
    assert set(actions(way, file).values()) == {"create"}
    out = applied(way, file)
    assert "+ flow events-to-zone" in out
    assert "3 to create" in out
    assert set(actions(way, file).values()) == {"nothing"}
    assert "0 unchanged" not in applied(way, file)
    flows = {one["name"]: one for one in deployed.get("/flows")["items"]}
    assert flows["daily"]["state"] == "disabled"
    assert "endTime" not in flows["daily"]["scheduleParams"]
    assert flows["daily"]["scheduleParams"]["startTime"] % 86_400 == 6 * 3600
    assert len(deployed.get("/sourceConnections")["items"]) == 1
    assert len(deployed.get("/targetConnections")["items"]) == 2
