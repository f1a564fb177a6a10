"""Tokens of an external OpenID Connect issuer, which is a real server that each test runs."""

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from offtake.access import access, clients, role_patches, roles
from offtake.access.clients import Registration
from offtake.contract.caller import VIEW_DESTINATIONS
from offtake.engines.local import LocalEngine
from offtake.errors import OfftakeError
from tests.deployment import FLOW_SERVICE, Deployment, deployment, headers
from tests.fake_clock import FakeClock
from tests.issuer import AUDIENCE, CLIENT, Issuer, issuing


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with issuing() as opened:
        yield opened


@pytest.fixture
def trusting(tmp_path: Path, clock: FakeClock, engine: LocalEngine, issuer: Issuer) -> Iterator[Deployment]:
    """A deployment that trusts the issuer, with one client that signs in there and may look at destinations."""
    with deployment(tmp_path, clock, engine, oidc_issuer=issuer.origin, oidc_audience=AUDIENCE) as deployed:
        caller = access.organisation_operator(deployed.backend.database)
        with deployed.backend.database.writing() as session:
            body = {"name": "partner", "permissionSets": [VIEW_DESTINATIONS], "sandboxes": ["prod"]}
            roles.create(session, caller, body, clock.now_ms())
            new = Registration("partner", roles=("partner",), client_id=CLIENT, external=True)
            assert clients.register(session, caller, new, clock.now_ms())[1] is None
        yield deployed


def call(deployed: Deployment, token: str, client: str = CLIENT, path: str = "flows") -> int:
    sent = {"Authorization": f"Bearer {token}", "x-api-key": client, "x-gw-ims-org-id": deployed.admin.org_id}
    answer = deployed.http.get(f"{FLOW_SERVICE}/{path}", headers=sent)
    if answer.status_code == 401:
        assert answer.json() == {"error_code": "401013", "message": "Oauth token is not valid"}
    return answer.status_code


@pytest.mark.parametrize(("key_id", "algorithm"), [("rsa", "RS256"), ("ec", "ES256")])
def test_the_issuers_tokens_work_with_their_clients_roles(
    trusting: Deployment, issuer: Issuer, key_id: str, algorithm: str
) -> None:
    token = issuer.sign(trusting.clock, key_id, algorithm)
    assert call(trusting, token) == 200
    assert call(trusting, token, path="connectionSpecs/x/configs") == 403  # needs view-datasets
    assert call(trusting, token, client=trusting.admin.client_id) == 403  # not the token's client
    asked = issuer.asked
    assert call(trusting, token) == 200
    assert issuer.asked == asked


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": "somebody-else"},
        {"aud": None},
        {"aud": ["a", "b"]},
        {"iss": "https://issuer.example"},
        {"iss": None},
        {"exp": -1},
        {"exp": None},
        {"exp": "tomorrow"},
        {"exp": float("nan")},
        {"nbf": 2**40},
        {"nbf": "tomorrow"},
        {"nbf": {}},
        {"azp": "unknown"},
        {"azp": None},
        {"azp": 7},
        {"azp": ["partner@clients"]},
        {"azp": "a\x00b"},
    ],
)
def test_a_wrong_claim_is_refused(trusting: Deployment, issuer: Issuer, claims: dict[str, Any]) -> None:
    assert call(trusting, issuer.sign(trusting.clock, **claims)) == 401
    assert call(trusting, issuer.sign(trusting.clock)) == 200


def test_a_token_ends_and_begins_by_our_clock(trusting: Deployment, issuer: Issuer) -> None:
    now = trusting.clock.now_seconds()
    assert call(trusting, issuer.sign(trusting.clock, nbf=now + 30)) == 200
    assert call(trusting, issuer.sign(trusting.clock, nbf=now + 90)) == 401
    token = issuer.sign(trusting.clock, exp=now + 10)
    trusting.clock.advance(seconds=9)
    assert call(trusting, token) == 200
    trusting.clock.advance(seconds=1)
    assert call(trusting, token) == 401


def forged(header: dict[str, Any], claims: bytes, signature: bytes = b"") -> str:
    parts = (json.dumps(header).encode(), claims, signature)
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)


def confusion(issuer: Issuer, clock: FakeClock) -> str:
    """Signed by HS256 with what everybody knows: the public key."""
    public = issuer.private["rsa"].public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    _, claims, _ = issuer.sign(clock).split(".")
    head = base64.urlsafe_b64encode(json.dumps({"alg": "HS256", "kid": "rsa"}).encode()).decode().rstrip("=")
    signature = hmac.digest(public, f"{head}.{claims}".encode(), hashlib.sha256)
    return f"{head}.{claims}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"


def unsigned(issuer: Issuer, clock: FakeClock) -> str:
    claims = base64.urlsafe_b64decode(issuer.sign(clock).split(".")[1] + "==")
    return forged({"alg": "none", "kid": "rsa"}, claims)


def other_kind(issuer: Issuer, clock: FakeClock) -> str:
    _, claims, _ = issuer.sign(clock, "ec", "ES256").split(".")
    return forged({"alg": "ES256", "kid": "rsa"}, base64.urlsafe_b64decode(claims + "=="), b"x" * 64)


def altered(issuer: Issuer, clock: FakeClock) -> str:
    head, _, signature = issuer.sign(clock).split(".")
    return ".".join((head, issuer.sign(clock, azp="administrator").split(".")[1], signature))


def nested(issuer: Issuer, _clock: FakeClock) -> str:
    claims = json.dumps({"iss": issuer.origin}).encode()[:-1] + b', "a": ' + b"[" * 20_000 + b"]" * 20_000 + b"}"
    return forged({"alg": "RS256", "kid": "rsa"}, claims, b"x")


def nested_head(_issuer: Issuer, _clock: FakeClock) -> str:
    head = b'{"alg": "HS256", "kid": ' + b"[" * 20_000 + b"]" * 20_000 + b"}"
    return base64.urlsafe_b64encode(head).decode().rstrip("=") + ".e30.eA"


def no_key(issuer: Issuer, clock: FakeClock) -> str:
    token = issuer.sign(clock)
    return forged({"alg": "RS256"}, base64.urlsafe_b64decode(token.split(".")[1] + "=="), b"x")


@pytest.mark.parametrize(
    "forge",
    [confusion, unsigned, other_kind, altered, nested, nested_head, no_key, lambda *_: "a.b.c", lambda *_: "ü"],
    ids=["confusion", "unsigned", "other kind", "altered", "nested", "nested head", "no key", "noise", "no ascii"],
)
def test_a_forged_token_is_refused(
    trusting: Deployment, issuer: Issuer, forge: Callable[[Issuer, FakeClock], str]
) -> None:
    token = forge(issuer, trusting.clock)
    sent = {"x-api-key": CLIENT, "x-gw-ims-org-id": trusting.admin.org_id}
    authorization = b"Bearer " + token.encode("latin-1")
    answer = trusting.http.get(
        f"{FLOW_SERVICE}/flows",
        headers=[(b"authorization", authorization), *((k.encode(), v.encode()) for k, v in sent.items())],
    )
    assert answer.status_code == 401


def test_the_issuer_speaks_for_external_clients_only(trusting: Deployment, issuer: Issuer) -> None:
    token = issuer.sign(trusting.clock, azp=trusting.admin.client_id)
    assert call(trusting, token, client=trusting.admin.client_id) == 401


def test_a_revoked_client_is_refused_at_once(trusting: Deployment, issuer: Issuer) -> None:
    token = issuer.sign(trusting.clock)
    assert call(trusting, token) == 200
    caller = access.organisation_operator(trusting.backend.database)
    with trusting.backend.database.writing() as session:
        clients.revoke(session, caller, CLIENT, trusting.clock.now_ms())
    assert call(trusting, token) == 401


def test_a_role_taken_away_is_gone_at_once(trusting: Deployment, issuer: Issuer) -> None:
    token = issuer.sign(trusting.clock)
    caller = access.organisation_operator(trusting.backend.database)
    with trusting.backend.database.writing() as session:
        client = clients.find(session, caller, CLIENT)
        assert client is not None
        role_patches.revoke(session, caller, roles.find_by_name(session, caller, "partner"), client, 0)
    assert call(trusting, token) == 404


def test_a_new_key_is_picked_up_and_an_old_one_forgotten(trusting: Deployment, issuer: Issuer) -> None:
    old = issuer.sign(trusting.clock, exp=2**40)
    assert call(trusting, old) == 200
    issuer.published.clear()
    issuer.make_rsa("next")
    new = issuer.sign(trusting.clock, "next", exp=2**40)
    assert call(trusting, new) == 401  # asked a moment ago
    trusting.clock.advance(seconds=30)
    assert call(trusting, new) == 200
    assert call(trusting, old) == 401


def test_a_withdrawn_key_is_forgotten_within_an_hour(trusting: Deployment, issuer: Issuer) -> None:
    token = issuer.sign(trusting.clock, exp=2**40)
    assert call(trusting, token) == 200
    issuer.published = [one for one in issuer.published if one["kid"] != "rsa"]
    trusting.clock.advance(hours=1)
    assert call(trusting, token) == 401


def test_unknown_keys_do_not_have_the_issuer_asked_each_time(trusting: Deployment, issuer: Issuer) -> None:
    issuer.private["made-up"] = issuer.private["rsa"]
    for _ in range(20):
        assert call(trusting, issuer.sign(trusting.clock, "made-up")) == 401
    assert issuer.asked == 2  # its configuration, and its keys


def test_an_issuer_that_cannot_be_reached_is_a_clean_refusal(
    tmp_path: Path, clock: FakeClock, engine: LocalEngine, issuer: Issuer
) -> None:
    dead = Issuer(origin="http://127.0.0.1:9")
    dead.make_rsa("rsa")
    with deployment(tmp_path, clock, engine, oidc_issuer=dead.origin, oidc_audience=AUDIENCE) as deployed:
        assert call(deployed, dead.sign(clock)) == 401
        assert deployed.get("/flows")["items"] == []
        assert call(deployed, issuer.sign(clock)) == 401  # nor does it trust another


def test_known_keys_stay_good_while_the_issuer_is_away(trusting: Deployment, issuer: Issuer) -> None:
    token = issuer.sign(trusting.clock, exp=2**40)
    assert call(trusting, token) == 200
    issuer.answers["/keys"] = b"the gateway is away"
    trusting.clock.advance(hours=2)
    assert call(trusting, token) == 200


@pytest.mark.parametrize("path", ["/.well-known/openid-configuration", "/keys"])
@pytest.mark.parametrize(
    "answer",
    [
        b"", b"<html>", b"[]", b"null", b'{"keys": 1}', b'{"keys": []}', b'{"keys": [{"kty": "XYZ", "kid": "rsa"}]}',
        b'{"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": "rsa"}]}', b'{"jwks_uri": "file:///etc/passwd"}',
        b'{"jwks_uri": 7}', b'{"a": "' + b"x" * 300_000 + b'"}', b"[" * 100_000, b"\xff",
    ],
)  # fmt: skip
def test_an_answer_that_is_no_set_of_keys_is_a_clean_refusal(
    trusting: Deployment, issuer: Issuer, path: str, answer: bytes
) -> None:
    issuer.answers[path] = answer
    assert call(trusting, issuer.sign(trusting.clock)) == 401
    issuer.answers.clear()
    trusting.clock.advance(seconds=30)
    assert call(trusting, issuer.sign(trusting.clock)) == 200


def test_a_redirect_is_not_followed(trusting: Deployment, issuer: Issuer) -> None:
    with issuing() as other:
        issuer.answers["/keys"] = f"{other.origin}/keys".encode()
        assert call(trusting, issuer.sign(trusting.clock)) == 401
        assert other.asked == 0


def test_a_redirect_to_a_metadata_service_is_not_followed(trusting: Deployment, issuer: Issuer) -> None:
    with issuing() as inside:
        for path in ("/.well-known/openid-configuration", "/keys"):
            issuer.answers = {path: f"http://0.0.0.0:{urlsplit(inside.origin).port}/keys".encode()}
            trusting.clock.advance(seconds=30)
            assert call(trusting, issuer.sign(trusting.clock)) == 401
        assert inside.asked == 0


def test_keys_at_a_metadata_service_are_not_asked_for(trusting: Deployment, issuer: Issuer) -> None:
    """0.0.0.0 stands for one: it is refused like them, and this machine answers there."""
    keys = f"http://0.0.0.0:{urlsplit(issuer.origin).port}/keys"
    issuer.answers["/.well-known/openid-configuration"] = json.dumps({"jwks_uri": keys}).encode()
    assert call(trusting, issuer.sign(trusting.clock)) == 401
    assert issuer.asked == 1


@pytest.mark.parametrize("origin", ["http://169.254.169.254", "https://[fd00:ec2::254]/x", "ftp://issuer.example"])
def test_an_issuer_at_a_metadata_service_is_refused_at_start(
    tmp_path: Path, clock: FakeClock, engine: LocalEngine, origin: str
) -> None:
    with (
        pytest.raises(OfftakeError, match="OFFTAKE_OIDC_ISSUER"),
        deployment(tmp_path, clock, engine, oidc_issuer=origin, oidc_audience=AUDIENCE),
    ):
        pass


def test_an_issuer_in_the_operators_own_network_is_asked_where_there_are_many_users(
    tmp_path: Path, clock: FakeClock, engine: LocalEngine, issuer: Issuer
) -> None:
    with deployment(
        tmp_path, clock, engine, oidc_issuer=issuer.origin, oidc_audience=AUDIENCE, multi_user=True
    ) as deployed:
        call(deployed, issuer.sign(deployed.clock))
        assert issuer.asked == 2


def test_made_up_tokens_hold_few_threads_while_the_issuer_is_slow(trusting: Deployment, issuer: Issuer) -> None:
    issuer.wait = 2
    token = issuer.sign(trusting.clock)
    callers = [threading.Thread(target=call, args=(trusting, token)) for _ in range(30)]
    for caller in callers:
        caller.start()
    time.sleep(1.5)
    waiting = sum(caller.is_alive() for caller in callers)
    for caller in callers:
        caller.join()
    assert waiting <= 8
    assert issuer.asked == 2  # its configuration, and its keys
    assert call(trusting, token) == 200


def test_while_the_issuer_is_slow_our_own_tokens_are_read(trusting: Deployment, issuer: Issuer) -> None:
    issuer.wait = 0.5
    waiting = threading.Thread(target=call, args=(trusting, issuer.sign(trusting.clock)))
    own = headers(trusting.http, trusting.admin)
    waiting.start()
    time.sleep(0.1)
    before = time.monotonic()
    assert trusting.http.get(f"{FLOW_SERVICE}/flows", headers=own).status_code == 200
    assert time.monotonic() - before < 0.8
    assert waiting.is_alive()
    waiting.join()
