"""The commands about connections."""

import json
from pathlib import Path
from typing import Any

import pytest

from offtake.cli.main import main
from offtake.engines.local import LocalEngine
from tests.deployment import Deployment, deployment, target_body
from tests.fake_clock import FakeClock


@pytest.fixture
def served(tmp_path: Path, clock: FakeClock, engine: LocalEngine) -> Any:
    with deployment(tmp_path / "data", clock, engine) as opened:
        yield opened


def run(served: Deployment, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(["connection", *arguments, "--data-dir", str(served.backend.settings.data_dir)])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_a_connection_is_listed_and_tested_by_name_and_id(
    served: Deployment, capsys: pytest.CaptureFixture[str]
) -> None:
    base = served.post("/connections", {"name": "the zone"})["id"]
    served.post("/targetConnections", target_body(base, path="somewhere"))
    code, out, _ = run(served, capsys, "list")
    assert code == 0
    assert base in out
    assert "Data Landing Zone" in out
    for named in (base, "the zone"):
        assert run(served, capsys, "test", named) == (0, "Success: Offtake can deliver to Data Landing Zone.\n", "")
    code, out, _ = run(served, capsys, "test", base, "--json")
    assert (code, json.loads(out)) == (0, {"result": True})
    assert not [path for path in served.zone.rglob("*") if path.is_file()]


def test_a_connection_that_does_not_work_says_why_and_fails(
    served: Deployment, capsys: pytest.CaptureFixture[str]
) -> None:
    served.zone.parent.mkdir(parents=True)
    served.zone.write_text("in the way")
    base = served.post("/connections", {"name": "the zone"})["id"]
    code, out, _ = run(served, capsys, "test", base)
    assert code == 1
    assert out.startswith("EXPORT-2002-404 ")
    code, out, _ = run(served, capsys, "test", base, "--json")
    assert (code, json.loads(out)["result"]) == (1, False)


def test_a_connection_that_is_not_there(served: Deployment, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(served, capsys, "test", "unknown")
    assert (code, out) == (1, "")
    assert err == "offtake: No connection has the id or the name unknown. See: offtake connection list\n"
