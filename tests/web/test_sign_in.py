from pathlib import Path

import pytest

from offtake.access import clients, web_sessions
from offtake.store.tables import WebSession
from tests.deployment import Deployment
from tests.web.browsing import ORIGIN, signed_in, visitor, words

SECURE = "https://offtake.example"


def test_a_person_signs_in_and_out(deployed: Deployment) -> None:
    person = signed_in(deployed)
    assert "Deliveries" in words(person.get("/ui/prod"))
    cookie = next(iter(person.http.cookies.jar))
    assert (cookie.name, cookie.secure, cookie.has_nonstandard_attr("HttpOnly")) == ("offtake", False, True)
    person.post("/ui/sign-out")
    assert "Sign in to Offtake" in person.get("/ui/prod")


def test_the_cookie_is_for_https_only_where_the_page_is(deployed: Deployment) -> None:
    admin = deployed.admin
    form = {"client_id": admin.client_id, "client_secret": admin.client_secret}
    person = visitor(deployed)
    answer = person.http.post(f"{SECURE}/ui/sign-in", data=form, follow_redirects=False)
    assert answer.status_code == 303
    (cookie,) = answer.headers.get_list("set-cookie")
    assert cookie.startswith("__Host-offtake=")
    assert {"Secure", "HttpOnly", "Path=/", "SameSite=lax"} <= set(cookie.split("; "))
    assert "Deliveries" in person.http.get(f"{SECURE}/ui/prod").text


def test_signing_in_over_plain_http_is_refused_with_the_reason(deployed: Deployment) -> None:
    person, admin = visitor(deployed), deployed.admin
    form = {"client_id": admin.client_id, "client_secret": admin.client_secret}
    answer = person.http.post("http://offtake.example/ui/sign-in", data=form)
    assert answer.status_code == 403
    assert "needs HTTPS" in words(answer.text)
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("wrong", ["client_id", "client_secret"])
def test_a_wrong_secret_is_refused_on_the_form(deployed: Deployment, wrong: str) -> None:
    admin = deployed.admin
    form = {"client_id": admin.client_id, "client_secret": admin.client_secret} | {wrong: "<b>wrong"}
    answer = visitor(deployed).post("/ui/sign-in", form, status=401)
    assert "The client id or the secret is wrong." in words(answer.text)
    assert admin.client_secret not in answer.text
    assert "<b>wrong" not in answer.text


def test_a_client_has_few_sessions_and_its_oldest_ones_end(deployed: Deployment) -> None:
    first = signed_in(deployed)
    for _ in range(49):
        deployed.clock.advance(seconds=1)
        last = signed_in(deployed)
    first.get("/ui/prod/flows")
    deployed.clock.advance(seconds=1)
    signed_in(deployed)
    assert "Sign in to Offtake" in words(first.get("/ui/prod/flows"))
    last.get("/ui/prod/flows")


def test_a_session_ends_when_its_client_is_revoked_or_rotated(deployed: Deployment) -> None:
    for end in ("revoke", "rotate"):
        client = deployed.new_client("view-destinations")
        person = signed_in(deployed, client)
        deployed.clock.advance(seconds=1)
        with deployed.backend.database.writing() as session:
            act = clients.revoke if end == "revoke" else clients.rotate
            act(session, deployed.caller, client.client_id, deployed.clock.now_ms())
        assert "Sign in to Offtake" in person.get("/ui/prod")


@pytest.mark.parametrize(("idle_minutes", "times", "ended"), [(29, 3, False), (31, 1, True), (29, 26, True)])
def test_a_session_ends_after_half_an_hour_without_a_request_and_after_twelve_hours(
    deployed: Deployment, idle_minutes: int, times: int, ended: bool
) -> None:
    person = signed_in(deployed)
    for _ in range(times):
        deployed.clock.advance(seconds=60 * idle_minutes)
        text = person.get("/ui/prod")
    assert ("Sign in to Offtake" in text) == ended


def test_the_store_has_no_cookie_and_forgets_sessions_that_are_over(deployed: Deployment) -> None:
    person = signed_in(deployed)
    value = person.http.cookies["offtake"]
    for path in Path(deployed.backend.settings.data_dir).rglob("*.db*"):
        assert value.encode() not in path.read_bytes()
    deployed.clock.advance(seconds=13 * 3600)
    with deployed.backend.database.writing() as session:
        web_sessions.remove_expired(session, deployed.clock.now_ms())
        assert session.query(WebSession).count() == 0


@pytest.mark.parametrize(
    "headers",
    [{"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"}, {"origin": "https://evil.example"}],
)
def test_forms_of_other_sites_are_refused(deployed: Deployment, headers: dict[str, str]) -> None:
    person = signed_in(deployed)
    answer = person.http.post(f"{ORIGIN}/ui/sign-out", data={"csrf": person.csrf}, headers=headers)
    assert answer.status_code == 403
    assert "Deliveries" in person.get("/ui/prod")


@pytest.mark.parametrize("token", [None, "", "0" * 64, "é\udcff"])
def test_forms_without_the_sessions_token_are_refused(deployed: Deployment, token: str | None) -> None:
    person = signed_in(deployed)
    data = b"" if token is None else b"csrf=" + token.encode(errors="surrogateescape")
    headers = person.headers | {"content-type": "application/x-www-form-urlencoded"}
    answer = person.http.post(f"{ORIGIN}/ui/sign-out", content=data, headers=headers)
    assert answer.status_code == 403
    assert "Deliveries" in person.get("/ui/prod")


@pytest.mark.parametrize(
    ("sent", "lands"),
    [
        ("/ui/prod/flows?state=failed", "/ui/prod/flows?state=failed"),
        ("https://evil.example/ui", "/ui"),
        ("//evil.example/ui/x", "/ui"),
        ("/\\evil.example", "/ui"),
        ("/data/foundation", "/ui"),
        ("/ui/\r\nx: y", "/ui"),
    ],
)
def test_signing_in_leads_back_to_pages_only(deployed: Deployment, sent: str, lands: str) -> None:
    admin = deployed.admin
    form = {"client_id": admin.client_id, "client_secret": admin.client_secret, "next": sent}
    assert visitor(deployed).post("/ui/sign-in", form).headers["location"] == lands


def test_every_page_has_a_strict_policy_and_is_not_stored(deployed: Deployment) -> None:
    person = signed_in(deployed)
    for path in ("/ui/prod", "/ui/sign-in", "/ui/nowhere/flows", "/ui/prod/nothing"):
        answer = person.http.get(ORIGIN + path, headers=person.headers)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_sandbox_without_a_role_is_reported_as_missing(deployed: Deployment) -> None:
    person = signed_in(deployed)
    text = person.get("/ui/nowhere", status=404)
    assert "Sandbox nowhere is not found" in words(text)


def test_a_link_of_the_terminal_signs_in_once_for_ten_minutes_on_this_machine_only(deployed: Deployment) -> None:
    links = deployed.http.app.state.sign_in_links
    first, second = links.create(deployed.admin.client_id), links.create(deployed.admin.client_id)
    assert "cannot be used here" in words(visitor(deployed, "192.0.2.7").get(f"/ui/sign-in/link?key={first}"))
    visitor(deployed, "192.0.2.7").post("/ui/sign-in/link", {"key": first}, status=403)
    person = visitor(deployed)
    assert "once" in words(person.get(f"/ui/sign-in/link?key={first}"))
    person.post("/ui/sign-in/link", {"key": first})
    assert "Deliveries" in person.get("/ui/prod")
    assert "used already" in words(visitor(deployed).post("/ui/sign-in/link", {"key": first}, status=403).text)
    deployed.clock.advance(seconds=601)
    assert "older than ten minutes" in words(
        visitor(deployed).post("/ui/sign-in/link", {"key": second}, status=403).text
    )


def test_unknown_addresses_are_pages_for_browsers_and_json_for_clients(deployed: Deployment) -> None:
    person = signed_in(deployed)
    assert "There is no page at /nothing" in words(person.get("/nothing", status=404))
    answer = deployed.http.get("/nothing")
    assert (answer.status_code, answer.json()["status"]) == (404, 404)
    browser = {"accept": "text/html"}
    assert deployed.http.get("/data/foundation/nothing", headers=browser).headers["content-type"] == "application/json"
