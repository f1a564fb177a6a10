"""Text that no database holds is refused at the edge, on both databases alike."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest

from offtake.engines.local import LocalEngine
from tests.deployment import FLOW_SERVICE, ZONE, Deployment, deployment
from tests.fake_clock import FakeClock
from tests.postgres import migrated_database

JSON = {"Content-Type": "application/json"}


@pytest.fixture
def deployed(tmp_path: Path, clock: FakeClock, engine: LocalEngine, postgres: str) -> Iterator[Deployment]:
    """On PostgreSQL: SQLite holds such text, so that only there it would go wrong."""
    with deployment(tmp_path / "data", clock, engine, database_url=migrated_database(postgres)) as opened:
        yield opened


@pytest.mark.parametrize(
    "text",
    [
        r'{"name": "a\u0000b", "connectionSpec": SPEC}',
        r'{"name": "\ud800", "connectionSpec": SPEC}',
        r'{"name": "a", "connectionSpec": SPEC, "other": ["deep", {"key\u0000": 1}]}',
        '{"name": "a", "connectionSpec": SPEC, "other": 1e999}',
        '{"name": "a", "connectionSpec": SPEC, "other": NaN}',
        '{"name": "a", "connectionSpec": SPEC, "other": ' + "[" * 100 + "]" * 100 + "}",
        '{"name": "a", "connectionSpec": SPEC, "other": ' + "[" * 100_000 + "]" * 100_000 + "}",
        '{"name": "a", "connectionSpec": SPEC, "other": ' + "9" * 5000 + "}",
    ],
    ids=["NUL", "half a character", "NUL in a key, deep", "infinite", "NaN", "deep", "deeper", "many digits"],
)
def test_a_body_that_no_database_holds_is_refused(deployed: Deployment, text: str) -> None:
    body = text.replace("SPEC", f'{{"id": "{ZONE}", "version": "1.0"}}')
    answer = deployed.http.post(f"{FLOW_SERVICE}/connections", content=body, headers=JSON)
    assert answer.status_code == 400, answer.text
    assert answer.json()["report"]["detailed-message"]
    assert deployed.get("/connections")["items"] == []


def test_emoji_and_other_scripts_are_kept_as_they_are(deployed: Deployment) -> None:
    name = "\U0001f469\u200d\U0001f469\u200d\U0001f467 \u05e9\u05dc\u05d5\u05dd e\u0301 é"
    deployed.post("/connections", {"name": name, "connectionSpec": {"id": ZONE, "version": "1.0"}})
    assert [one["name"] for one in deployed.get("/connections")["items"]] == [name]


@pytest.mark.parametrize("path", ["/flows/a%00b", "/flows?property=name==a%00b", "/flows?a%00b=1"])
def test_an_address_with_a_nul_character_is_refused(deployed: Deployment, path: str) -> None:
    assert deployed.http.get(FLOW_SERVICE + path).status_code == 400


def test_a_token_call_with_a_nul_character_is_refused(deployed: Deployment) -> None:
    form = {"grant_type": "client_credentials", "client_id": "a\x00b", "client_secret": "c"}
    answer = deployed.http.post("/ims/token/v3", data=form)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_client")


def test_a_token_with_a_nul_character_in_its_key_id_is_refused(deployed: Deployment) -> None:
    key = "x" * 32
    claims: dict[str, Any] = {"client_id": "a"}
    token = jwt.encode(claims, key, "HS256", headers={"kid": "a\x00b"})
    answer = deployed.http.get(f"{FLOW_SERVICE}/flows", headers={"Authorization": f"Bearer {token}"})
    assert answer.json()["error_code"] == "401013"
