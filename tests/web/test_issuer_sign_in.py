"""Signing in to the pages through an OpenID Connect issuer, which is a real server that each test runs."""

import base64
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import httpx2
import pytest
from sqlalchemy import select

from offtake.access import clients, people, role_patches, roles
from offtake.access.clients import ADMINISTRATORS
from offtake.engines.local import LocalEngine
from offtake.errors import OfftakeError
from offtake.store.tables import AuditEvent, Client
from tests.deployment import FLOW_SERVICE, Deployment, deployment
from tests.fake_clock import FakeClock
from tests.issuer import AUDIENCE, WEB_CLIENT, WEB_SECRET, Issuer, issuing
from tests.web.browsing import ORIGIN, Visitor, visitor, words

SECURE = "https://offtake.example"
START, RETURN = "/ui/sign-in/issuer", "/ui/sign-in/issuer/return"
WEB: dict[str, Any] = {"oidc_web_client_id": WEB_CLIENT, "oidc_web_client_secret": WEB_SECRET}


@dataclass
class Meeting:
    """A deployment whose pages let people of the issuer in."""

    deployed: Deployment
    issuer: Issuer

    def begin(self, person: Visitor, origin: str = ORIGIN, back: str = "") -> str:
        """Press the button; where the browser is sent."""
        path = f"{START}?next={quote(back, safe='')}" if back else START
        answer = person.http.get(origin + path, headers=person.headers, follow_redirects=False)
        assert answer.status_code == 303, words(answer.text)
        return str(answer.headers["location"])

    def come_back(self, person: Visitor, query: str, origin: str = ORIGIN) -> httpx2.Response:
        headers = person.headers | {"sec-fetch-site": "cross-site"}
        return person.http.get(f"{origin}{RETURN}?{query}", headers=headers, follow_redirects=False)

    def sign_in(self, person: Visitor | None = None, **claims: Any) -> tuple[Visitor, httpx2.Response]:
        """The whole way; the person, and the answer to the return."""
        one = person or visitor(self.deployed)
        query = self.issuer.authorize(self.begin(one), self.deployed.clock, **claims)
        return one, self.come_back(one, query)

    def refused(self, status: int, sentence: str, **claims: Any) -> None:
        """Signing in fails with that sentence, and leaves no session."""
        person, answer = self.sign_in(**claims)
        assert_refused(person, answer, status, sentence)

    def client(self, subject: str = "person-7") -> Client | None:
        with self.deployed.backend.database.reading() as session:
            return session.scalar(select(Client).filter_by(issuer=self.issuer.origin, subject=subject))

    def roles(self) -> list[str]:
        with self.deployed.backend.database.reading() as session:
            found = session.scalar(select(Client).filter_by(subject="person-7"))
            assert found is not None
            return clients.role_names(session, found)

    def role(self, name: str, *permissions: str) -> None:
        body = {"name": name, "permissionSets": list(permissions), "sandboxes": ["*"]}
        with self.deployed.backend.database.writing() as session:
            roles.create(session, self.deployed.caller, body, self.deployed.clock.now_ms())

    def change_role(self, name: str, change: Any, client_id: str | None = None) -> None:
        """Grant the person the role, or revoke it."""
        with self.deployed.backend.database.writing() as session:
            role = roles.find_by_name(session, self.deployed.caller, name)
            found = clients.find(
                session, self.deployed.caller, client_id or people.id_of(self.issuer.origin, "person-7")
            )
            assert found is not None
            change(session, self.deployed.caller, role, found, self.deployed.clock.now_ms())

    def events(self, action: str) -> list[AuditEvent]:
        with self.deployed.backend.database.reading() as session:
            found = select(AuditEvent).filter_by(action=action).order_by(AuditEvent.id)
            return [one for one in session.scalars(found) if one.client_id.startswith("person-")]


def assert_refused(person: Visitor, answer: httpx2.Response, status: int, sentence: str) -> None:
    assert (answer.status_code, sentence in words(answer.text)) == (status, True), words(answer.text)
    assert "Sign in with" in words(answer.text)
    assert "offtake=" not in answer.headers.get("set-cookie", "")
    assert "Sign in to Offtake" in person.get("/ui/prod")


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with issuing() as opened:
        yield opened


@pytest.fixture
def settings() -> dict[str, Any]:
    return {}


@pytest.fixture
def meeting(
    tmp_path: Path, clock: FakeClock, engine: LocalEngine, issuer: Issuer, settings: dict[str, Any]
) -> Iterator[Meeting]:
    with deployment(tmp_path / "data", clock, engine, oidc_issuer=issuer.origin, **(WEB | settings)) as deployed:
        yield Meeting(deployed, issuer)


with_groups = pytest.mark.parametrize("settings", [{"oidc_groups_claim": "groups"}])


def test_a_person_signs_in_and_is_the_actor(meeting: Meeting) -> None:
    person = visitor(meeting.deployed)
    start = person.get("/ui/sign-in?next=/ui/prod/flows%3Fq%3Da")
    host = urlsplit(meeting.issuer.origin).netloc
    assert f"Sign in with {host}" in words(start)
    assert f'href="{START}?next=%2Fui%2Fprod%2Fflows%3Fq%3Da"' in start
    url = meeting.begin(person, back="/ui/prod/flows?q=a")
    asked = parse_qs(urlsplit(url).query)
    assert url.startswith(f"{meeting.issuer.origin}/authorize?")
    assert asked["redirect_uri"] == [ORIGIN + RETURN]
    assert (asked["scope"], asked["response_type"]) == (["openid profile email"], ["code"])
    answer = meeting.come_back(person, meeting.issuer.authorize(url, meeting.deployed.clock, name="Zoë Müller"))
    assert (answer.status_code, answer.headers["location"]) == (303, "/ui/prod/flows?q=a")
    assert "offtake-sign-in=" in answer.headers.get_list("set-cookie")[1]
    assert "offtake-sign-in" not in person.http.cookies
    found = meeting.client()
    assert found is not None
    assert (found.name, found.kind, found.secret_hash, found.org_id) == (
        "Zoë Müller",
        "user",
        None,
        meeting.deployed.admin.org_id,
    )
    (event,) = meeting.events("create")
    assert (event.client_id, event.account_id, event.remote) == (found.id, found.account_id, "127.0.0.1")
    assert event.after is not None
    assert event.after["subject"] == "person-7"


def test_a_person_without_a_role_sees_who_that_is_and_gets_in_once_one_is_assigned(meeting: Meeting) -> None:
    subject = "<i>né|e\N{GRINNING FACE}"
    person, answer = meeting.sign_in(sub=subject, name="\u202e<script>alert(1)</script>\x00" + "W" * 600)
    assert answer.headers["location"] == "/ui"
    client_id = people.id_of(meeting.issuer.origin, subject)
    for path in ("/ui", "/ui/prod/flows"):
        text = person.get(path, status=403)
        assert "You have no role yet" in words(text)
        assert f"offtake role grant ROLE {client_id}" in words(text)
        assert meeting.issuer.origin in words(text)
        assert "&lt;i&gt;né|e\N{GRINNING FACE}" in text
        assert "<script>alert" not in text
        assert "\u202e" not in text
    meeting.change_role(ADMINISTRATORS, role_patches.grant, client_id)
    assert "Deliveries" in words(person.get("/ui/prod"))
    found = meeting.client(subject)
    assert found is not None
    assert len(found.name) == 200


def test_a_person_without_a_role_can_sign_out(meeting: Meeting) -> None:
    person, _ = meeting.sign_in()
    person.get("/ui", status=403)
    person.post("/ui/sign-out")
    assert "Sign in to Offtake" in person.get("/ui")


@pytest.mark.parametrize(
    ("claims", "name"),
    [
        ({"name": " ", "preferred_username": "zoe", "email": "z@example.com"}, "zoe"),
        ({"name": 7, "preferred_username": ["x"], "email": "z@example.com"}, "z@example.com"),
        ({"name": "\ud800\n"}, "person-7"),
        ({"name": "a\r\n\tb"}, "a b"),
    ],
)
def test_the_name_is_text_on_one_line(meeting: Meeting, claims: dict[str, Any], name: str) -> None:
    meeting.sign_in(**claims)
    found = meeting.client()
    assert found is not None
    assert found.name == name


def test_a_later_sign_in_is_the_same_client_with_the_new_name(meeting: Meeting) -> None:
    meeting.sign_in(name="Old")
    meeting.sign_in(name="New")
    meeting.sign_in(name="New")
    found = meeting.client()
    assert found is not None
    assert found.name == "New"
    (event,) = meeting.events("update")
    assert (event.before, event.after) == ({"name": "Old"}, {"name": "New"})
    assert len(meeting.events("create")) == 1


def test_over_https_the_cookie_is_strict_and_the_address_is_the_browsers(meeting: Meeting) -> None:
    person = visitor(meeting.deployed)
    answer = person.http.get(SECURE + START, follow_redirects=False)
    (cookie,) = answer.headers.get_list("set-cookie")
    assert cookie.startswith("__Host-offtake-sign-in=")
    assert {"Secure", "HttpOnly", "Path=/", "SameSite=lax", "Max-Age=600"} <= set(cookie.split("; "))
    asked = parse_qs(urlsplit(answer.headers["location"]).query)
    assert asked["redirect_uri"] == [SECURE + RETURN]
    query = meeting.issuer.authorize(answer.headers["location"], meeting.deployed.clock)
    done = meeting.come_back(person, query, SECURE)
    assert [one.split("=")[0] for one in done.headers.get_list("set-cookie")] == [
        "__Host-offtake",
        "__Host-offtake-sign-in",
    ]


def test_over_plain_http_it_is_neither_offered_nor_possible(meeting: Meeting) -> None:
    for path in ("/ui/sign-in", START, f"{RETURN}?code=x&state=y"):
        answer = visitor(meeting.deployed).http.get(f"http://offtake.example{path}", follow_redirects=False)
        assert "needs HTTPS" in words(answer.text)
        assert "Sign in with" not in words(answer.text)
        assert "set-cookie" not in answer.headers


def test_without_the_setting_it_is_not_offered(deployed: Deployment) -> None:
    person = visitor(deployed)
    assert "Sign in with" not in words(person.get("/ui/sign-in"))
    assert "no OpenID Connect issuer" in words(person.get(START, status=404))
    assert "no OpenID Connect issuer" in words(person.get(RETURN, status=404))


@pytest.mark.parametrize(
    ("claims", "status", "sentence"),
    [
        ({"nonce": "another"}, 401, "is not valid here"),
        ({"nonce": None}, 401, "is not valid here"),
        ({"nonce": 7}, 401, "is not valid here"),
        ({"nonce": "\ud800"}, 401, "is not valid here"),
        ({"aud": "another"}, 401, "is not valid here"),
        ({"aud": [WEB_CLIENT, "another"]}, 401, "is not valid here"),
        ({"aud": [WEB_CLIENT, "another"], "azp": "another"}, 401, "is not valid here"),
        ({"azp": "another"}, 401, "is not valid here"),
        ({"iss": "https://issuer.example"}, 401, "is not valid here"),
        ({"exp": 1}, 401, "is not valid here"),
        ({"exp": None}, 401, "is not valid here"),
        ({"nbf": 2**40}, 401, "is not valid here"),
        ({"sub": None}, 502, "the server's log has the reason"),
        ({"sub": ""}, 502, "the server's log has the reason"),
        ({"sub": 7}, 401, "is not valid here"),
        ({"sub": "a\x00b"}, 502, "the server's log has the reason"),
        ({"sub": "x" * 256}, 502, "the server's log has the reason"),
    ],
)
def test_a_wrong_claim_is_refused(meeting: Meeting, claims: dict[str, Any], status: int, sentence: str) -> None:
    meeting.refused(status, sentence, **claims)
    assert meeting.client() is None


def test_a_token_for_several_audiences_names_its_party(meeting: Meeting) -> None:
    _, answer = meeting.sign_in(aud=[WEB_CLIENT, "another"], azp=WEB_CLIENT)
    assert answer.status_code == 303


def test_a_token_by_an_unknown_key_is_refused(meeting: Meeting) -> None:
    meeting.issuer.private["made-up"] = meeting.issuer.private["rsa"]
    meeting.refused(401, "is not valid here", key_id="made-up")


def test_a_code_and_a_state_work_once(meeting: Meeting) -> None:
    person = visitor(meeting.deployed)
    query = meeting.issuer.authorize(meeting.begin(person), meeting.deployed.clock)
    kept = person.http.cookies["offtake-sign-in"]
    assert meeting.come_back(person, query).status_code == 303
    other = visitor(meeting.deployed)
    assert_refused(other, meeting.come_back(other, query), 400, "not started in this browser")
    other.http.cookies.set("offtake-sign-in", kept)
    assert_refused(other, meeting.come_back(other, query), 401, "was used already")


def test_the_answer_to_another_attempt_is_refused_and_does_not_end_this_one(meeting: Meeting) -> None:
    person = visitor(meeting.deployed)
    first = meeting.issuer.authorize(meeting.begin(person), meeting.deployed.clock)
    second = meeting.issuer.authorize(meeting.begin(person), meeting.deployed.clock)
    for query in (first, "code=x", "code=x&state=%F0%9F%98%80", "code=x&state=%ED%A0%80"):
        assert_refused(person, meeting.come_back(person, query), 400, "another sign-in")
    assert len(meeting.issuer.sent) == 0
    assert meeting.come_back(person, second).status_code == 303


def test_an_attempt_ends_after_ten_minutes_also_if_the_browser_kept_it(meeting: Meeting) -> None:
    person = visitor(meeting.deployed)
    query = meeting.issuer.authorize(meeting.begin(person), meeting.deployed.clock, exp=2**40)
    meeting.deployed.clock.advance(seconds=600)
    assert_refused(person, meeting.come_back(person, query), 400, "longer than ten minutes")


@pytest.mark.parametrize(
    "value",
    ["", "x", "e30=", "W10=", "bnVsbA==", "é", "A" * 5000, base64.b64encode(b"[" * 3000).decode()]
    + [
        base64.urlsafe_b64encode(json.dumps(one).encode()).decode()
        for one in (
            {"state": "s", "nonce": "n", "verifier": "v", "back": "", "began_ms": True},
            {"state": None, "nonce": "n", "verifier": "v", "back": "", "began_ms": 1},
            {"state": "s", "nonce": "n", "verifier": "v", "back": "", "began_ms": 1, "more": 1},
        )
    ],
)
def test_a_malformed_cookie_counts_as_none(meeting: Meeting, value: str) -> None:
    person = visitor(meeting.deployed)
    headers = {b"cookie": f"offtake-sign-in={value}".encode("latin-1")}
    answer = person.http.get(f"{ORIGIN}{RETURN}?code=x&state=s", headers=headers)
    assert answer.status_code == 400
    assert "not started in this browser" in words(answer.text)


@pytest.mark.parametrize(
    ("query", "status", "sentence"),
    [
        ("error=access_denied&error_description=Call+555", 403, "did not let you in, or you cancelled"),
        ("error=server_error&code=x", 401, "could not sign you in (server_error)"),
        ("error=%3Cb%3EX", 401, "could not sign you in (unknown error)"),
        ("", 401, "could not sign you in (unknown error)"),
        ("code=x&iss=https%3A%2F%2Fevil.example", 401, "The answer is not from"),
        ("code=made-up", 401, "was used already"),
    ],
)
def test_an_error_of_the_issuer_is_a_sentence(meeting: Meeting, query: str, status: int, sentence: str) -> None:
    person = visitor(meeting.deployed)
    state = parse_qs(urlsplit(meeting.begin(person, back="/ui/prod/flows")).query)["state"][0]
    answer = meeting.come_back(person, f"{query}&state={state}")
    assert "Call 555" not in answer.text
    assert "<b>X" not in answer.text
    assert "next=%2Fui%2Fprod%2Fflows" in answer.text
    assert_refused(person, answer, status, sentence)


@pytest.mark.parametrize(
    ("refusal", "status", "sentence"),
    [
        ((503, b"<html>"), 503, "does not answer"),
        ((500, b"{}"), 503, "does not answer"),
        ((429, b"{}"), 503, "does not answer"),
        ((200, b"[" * 100_000), 503, "does not answer"),
        ((200, b'{"a": "' + b"x" * 300_000 + b'"}'), 503, "does not answer"),
        ((302, b"{}"), 502, "the server's log has the reason"),
        ((401, b'{"error": "invalid_client"}'), 502, "the server's log has the reason"),
        ((400, b'{"error": ["\xc3\xa9"]}'), 502, "the server's log has the reason"),
        ((200, b"{}"), 502, "the server's log has the reason"),
        ((200, b"null"), 502, "the server's log has the reason"),
        ((200, b'{"id_token": 7}'), 502, "the server's log has the reason"),
        ((200, b'{"id_token": "a.b.c"}'), 401, "is not valid here"),
        ((200, b'{"id_token": "\\ud800"}'), 401, "is not valid here"),
    ],
)
def test_a_token_endpoint_that_fails_is_a_sentence(
    meeting: Meeting, refusal: tuple[int, bytes], status: int, sentence: str
) -> None:
    meeting.issuer.refusal = refusal
    meeting.refused(status, sentence)


@pytest.mark.parametrize(
    ("configuration", "status", "sentence"),
    [
        ({"issuer": "https://issuer.example"}, 502, "the server's log has the reason"),
        ({"authorization_endpoint": None}, 502, "the server's log has the reason"),
        ({"authorization_endpoint": "javascript:alert(1)"}, 502, "the server's log has the reason"),
        ({"authorization_endpoint": "http://issuer.example/authorize"}, 502, "the server's log has the reason"),
        ({"authorization_endpoint": "https://[/authorize"}, 502, "the server's log has the reason"),
        ({"authorization_endpoint": "https://x/\r\nset-cookie: a=b"}, 502, "the server's log has the reason"),
    ],
)
def test_a_configuration_that_does_not_fit_is_a_sentence(
    meeting: Meeting, configuration: dict[str, Any], status: int, sentence: str
) -> None:
    meeting.issuer.configuration = configuration
    person = visitor(meeting.deployed)
    answer = person.http.get(ORIGIN + START, headers=person.headers, follow_redirects=False)
    assert_refused(person, answer, status, sentence)


@pytest.mark.parametrize("endpoint", ["http://issuer.example/token", "http://0.0.0.0:9/token", 7])
def test_a_token_endpoint_elsewhere_over_plain_http_is_not_asked(meeting: Meeting, endpoint: object) -> None:
    meeting.issuer.configuration = {"token_endpoint": endpoint}
    meeting.refused(502, "the server's log has the reason")
    assert meeting.issuer.sent == []


def test_an_issuer_that_is_away_is_a_sentence_and_is_tried_later(meeting: Meeting) -> None:
    configuration = "/.well-known/openid-configuration"
    meeting.issuer.answers[configuration] = b"away"
    for _ in range(2):
        answer = visitor(meeting.deployed).http.get(ORIGIN + START, follow_redirects=False)
        assert answer.status_code == 503
        assert "Try again in a minute" in words(answer.text)
    assert meeting.issuer.asked == 1
    meeting.issuer.answers.clear()
    meeting.deployed.clock.advance(seconds=30)
    person, answer = meeting.sign_in()
    assert answer.status_code == 303
    meeting.issuer.answers[configuration] = b"away"
    meeting.deployed.clock.advance(hours=2)
    assert meeting.begin(person).startswith(meeting.issuer.origin)


@pytest.mark.parametrize(
    ("methods", "status"),
    [(None, 303), (["client_secret_post", "client_secret_basic"], 303), (["client_secret_post"], 303), (["none"], 502)],
)
def test_the_client_signs_in_as_the_issuer_supports_it(
    meeting: Meeting, methods: list[str] | None, status: int
) -> None:
    meeting.issuer.configuration = {} if methods is None else {"token_endpoint_auth_methods_supported": methods}
    _, answer = meeting.sign_in()
    assert answer.status_code == status
    for form in meeting.issuer.sent:
        assert ("client_secret" in form) == (methods == ["client_secret_post"])
        assert bool(form["authorization"]) != ("client_secret" in form)


@pytest.mark.parametrize("settings", [{"oidc_web_client_secret": None}])
def test_a_public_client_sends_its_id_only(meeting: Meeting) -> None:
    meeting.refused(502, "the server's log has the reason")
    (form,) = meeting.issuer.sent
    assert (form["client_id"], form["authorization"], "client_secret" in form) == (WEB_CLIENT, "", False)


def test_no_code_state_or_token_is_logged(meeting: Meeting, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    person = visitor(meeting.deployed)
    url = meeting.begin(person)
    query = meeting.issuer.authorize(url, meeting.deployed.clock, nonce="wrong")
    code = parse_qs(query)["code"][0]
    token = meeting.issuer.codes[code]["id_token"]
    meeting.come_back(person, query)
    meeting.sign_in()
    assert "the nonce differs" in caplog.text
    asked, form = parse_qs(urlsplit(url).query), meeting.issuer.sent[0]
    for secret in (code, token, asked["state"][0], asked["nonce"][0], form["code_verifier"], form["authorization"]):
        assert secret not in caplog.text
    assert WEB_SECRET not in caplog.text


@pytest.mark.parametrize("settings", [{"sign_ins_per_minute": 2}])
def test_failures_of_one_address_are_limited(meeting: Meeting) -> None:
    person = visitor(meeting.deployed, "192.0.2.1")
    statuses = []
    for _ in range(3):
        query = meeting.issuer.authorize(meeting.begin(person), meeting.deployed.clock, nonce="wrong")
        statuses.append(meeting.come_back(person, query).status_code)
    assert statuses == [401, 401, 429]
    assert len(meeting.issuer.sent) == 2
    for _ in range(4):
        assert meeting.sign_in()[1].status_code == 303


@pytest.mark.parametrize(
    "back", ["https://evil.example/ui", "//evil.example/ui/x", "/\\evil.example", "http://[", "/data"]
)
def test_it_leads_back_to_pages_only(meeting: Meeting, back: str) -> None:
    person = visitor(meeting.deployed)
    query = meeting.issuer.authorize(meeting.begin(person, back=back), meeting.deployed.clock)
    assert meeting.come_back(person, query).headers["location"] == "/ui"


def test_a_cookie_that_another_program_wrote_leads_to_pages_only(meeting: Meeting) -> None:
    person = visitor(meeting.deployed)
    query = meeting.issuer.authorize(meeting.begin(person), meeting.deployed.clock)
    attempt = json.loads(base64.urlsafe_b64decode(person.http.cookies["offtake-sign-in"]))
    written = json.dumps(attempt | {"back": "https://evil.example"}).encode()
    person.http.cookies.clear()
    person.http.cookies.set("offtake-sign-in", base64.urlsafe_b64encode(written).decode())
    assert meeting.come_back(person, query).headers["location"] == "/ui"


def test_a_page_too_long_for_a_cookie_is_forgotten(meeting: Meeting) -> None:
    person = visitor(meeting.deployed)
    query = meeting.issuer.authorize(meeting.begin(person, back="/ui/" + "x" * 4000), meeting.deployed.clock)
    assert meeting.come_back(person, query).headers["location"] == "/ui"


def test_a_revoked_person_is_refused_and_its_sessions_end(meeting: Meeting) -> None:
    person, _ = meeting.sign_in()
    meeting.change_role(ADMINISTRATORS, role_patches.grant)
    assert "Deliveries" in words(person.get("/ui/prod"))
    with meeting.deployed.backend.database.writing() as session:
        client_id = people.id_of(meeting.issuer.origin, "person-7")
        clients.revoke(session, meeting.deployed.caller, client_id, meeting.deployed.clock.now_ms())
    assert "Sign in to Offtake" in person.get("/ui/prod")
    meeting.refused(403, "An administrator revoked your access")


def test_a_session_ends_after_half_an_hour_without_a_request(meeting: Meeting) -> None:
    person, _ = meeting.sign_in()
    meeting.change_role(ADMINISTRATORS, role_patches.grant)
    assert "Deliveries" in words(person.get("/ui/prod"))
    meeting.deployed.clock.advance(seconds=31 * 60)
    assert "Sign in to Offtake" in person.get("/ui/prod")


def test_signing_in_ends_the_browsers_earlier_session(meeting: Meeting) -> None:
    person, _ = meeting.sign_in()
    earlier = person.http.cookies["offtake"]
    meeting.sign_in(person)
    other = visitor(meeting.deployed)
    other.http.cookies.set("offtake", earlier)
    assert "Sign in to Offtake" in other.get("/ui")


@with_groups
def test_groups_give_and_take_the_roles_with_their_names(meeting: Meeting) -> None:
    meeting.role("viewers", "view-destinations")
    meeting.role("editors", "manage-destinations")
    meeting.role("auditors", "view-audit-log")
    meeting.sign_in(groups=["viewers", "editors", "unknown", 7, None])
    assert meeting.roles() == ["editors", "viewers"]
    meeting.change_role("auditors", role_patches.grant)
    meeting.change_role("editors", role_patches.grant)
    meeting.sign_in(groups="viewers")
    assert meeting.roles() == ["auditors", "editors", "viewers"]  # assigned here: they stay
    assert meeting.events("revoke") == []
    meeting.sign_in(groups=["auditors"])
    assert meeting.roles() == ["auditors", "editors"]
    (event,) = meeting.events("revoke")
    assert (event.resource_name, event.before) == (
        "viewers",
        {"subject": event.client_id, "subjectName": "person-7", "fromGroups": True},
    )
    assert sorted(str(one.resource_name) for one in meeting.events("grant")) == ["editors", "viewers"]
    meeting.sign_in()
    assert meeting.roles() == ["auditors", "editors"]


@with_groups
def test_a_role_of_a_group_that_an_administrator_revokes_comes_back_with_the_group(meeting: Meeting) -> None:
    meeting.role("viewers", "view-destinations")
    person, _ = meeting.sign_in(groups=["viewers"])
    assert "Deliveries" in words(person.get("/ui/prod"))
    meeting.change_role("viewers", role_patches.revoke)
    person.get("/ui/prod", status=403)
    meeting.sign_in(groups=["viewers"])
    assert meeting.roles() == ["viewers"]


@with_groups
def test_groups_do_not_take_the_last_administrator(meeting: Meeting, caplog: pytest.LogCaptureFixture) -> None:
    meeting.role("viewers", "view-destinations")
    meeting.sign_in(groups=[ADMINISTRATORS, "viewers"])
    with meeting.deployed.backend.database.writing() as session:
        clients.revoke(session, meeting.deployed.caller, meeting.deployed.admin.client_id, 1)
    _, answer = meeting.sign_in(groups=[])
    assert answer.status_code == 303
    assert meeting.roles() == [ADMINISTRATORS]
    assert "no other client can manage access" in caplog.text
    meeting.sign_in(sub="another", groups=[ADMINISTRATORS])
    meeting.sign_in(groups=[])
    assert meeting.roles() == []


@with_groups
def test_groups_that_the_issuer_left_out_do_not_take_roles(meeting: Meeting) -> None:
    meeting.role("viewers", "view-destinations")
    meeting.sign_in(groups=["viewers"])
    meeting.refused(401, "more groups than", _claim_names={"groups": "src1"})
    assert meeting.roles() == ["viewers"]


def test_without_the_groups_claim_the_groups_give_nothing(meeting: Meeting) -> None:
    meeting.sign_in(groups=[ADMINISTRATORS], roles=[ADMINISTRATORS])
    assert meeting.roles() == []


@pytest.mark.parametrize("settings", [{"oidc_person_claim": "email"}])
def test_a_person_may_be_known_by_another_claim(meeting: Meeting) -> None:
    meeting.refused(403, "has not verified your email address", email="z@example.com", email_verified=False)
    meeting.sign_in(email="z@example.com", sub="a")
    meeting.sign_in(email="z@example.com", sub="b")
    assert meeting.client("z@example.com") is not None
    assert len(meeting.events("create")) == 1


def test_another_client_with_the_persons_id_is_not_taken_over(meeting: Meeting) -> None:
    client_id = people.id_of(meeting.issuer.origin, "person-7")
    with meeting.deployed.backend.database.writing() as session:
        new = clients.Registration("other", client_id=client_id, external=True)
        clients.register(session, meeting.deployed.caller, new, 1)
    meeting.refused(403, "Another client has the id that belongs to you")


@pytest.mark.parametrize("settings", [{"oidc_audience": AUDIENCE, "oidc_client_claim": "preferred_username"}])
def test_a_token_for_the_api_does_not_stand_for_a_person(meeting: Meeting) -> None:
    """The issuer may let people choose the claim that names clients of the API."""
    meeting.sign_in()
    meeting.change_role(ADMINISTRATORS, role_patches.grant)
    client_id = people.id_of(meeting.issuer.origin, "person-7")
    token = meeting.issuer.sign(meeting.deployed.clock, preferred_username=client_id)
    assert call(meeting.deployed, token, client_id) == 401


def test_without_an_audience_the_api_accepts_no_token_of_the_issuer(meeting: Meeting) -> None:
    with meeting.deployed.backend.database.writing() as session:
        new = clients.Registration("other", "user", (ADMINISTRATORS,), "partner", external=True)
        clients.register(session, meeting.deployed.caller, new, 1)
    token = meeting.issuer.sign(meeting.deployed.clock, aud=WEB_CLIENT, azp="partner")
    assert call(meeting.deployed, token, "partner") == 401


def call(deployed: Deployment, token: str, client_id: str) -> int:
    sent = {"Authorization": f"Bearer {token}", "x-api-key": client_id, "x-gw-ims-org-id": deployed.admin.org_id}
    return deployed.http.get(f"{FLOW_SERVICE}/flows", headers=sent).status_code


@pytest.mark.parametrize(
    ("settings_of", "variable"),
    [
        ({}, "OFFTAKE_OIDC_ISSUER is not set"),
        ({"oidc_issuer": "http://issuer.example"}, "OFFTAKE_OIDC_ISSUER must be an https URL"),
        ({"oidc_issuer": "http://169.254.169.254"}, "OFFTAKE_OIDC_ISSUER"),
        (
            {"oidc_issuer": "https://issuer.example", "oidc_scopes": "profile"},
            "OFFTAKE_OIDC_SCOPES must contain openid",
        ),
    ],
)
def test_settings_that_are_not_safe_are_refused_at_start(
    tmp_path: Path, clock: FakeClock, engine: LocalEngine, settings_of: dict[str, Any], variable: str
) -> None:
    with (
        pytest.raises(OfftakeError, match=variable),
        deployment(tmp_path / "data", clock, engine, **(WEB | settings_of)),
    ):
        pass
