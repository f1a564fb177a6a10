"""What each kind of channel sends, and what it does about receivers that do not answer as they should."""

import hashlib
import hmac
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_network
from typing import Any

import pytest
import trustme

from offtake.alerts.channels import email
from offtake.alerts.channels.base import MailServer, SendContext
from offtake.alerts.channels.registry import KINDS
from offtake.alerts.notices import Notice
from offtake.errors import DeliveryError
from offtake.network import http
from offtake.network.egress import Network
from offtake.network.smtp import SmtpServer, parse_url
from tests.alerts.receivers import Receiver, mailbox
from tests.conftest import NOON

SECRET = "a-secret-of-a-webhook"
HOSTILE = "nightly\r\nBcc: evil@example.org\n<!channel> <https://evil.example|x> [a](https://evil.example) \u202e"
NOTICE = Notice(
    id="01KJM8QF0G3V9",
    type="alert",
    severity="problem",
    title=f"Flow {HOSTILE} failed",
    sandbox="prod",
    organisation="1@AdobeOrg",
    rule="trouble",
    cause="destination sftp.partner.example:22",
    at_ms=NOON,
    first_ms=NOON - 1000,
    last_ms=NOON,
    count=7,
    flows=7,
    events=[{"kind": "run.failed", "at": NOON, "flowName": HOSTILE, "text": "refused", "remedy": "Grant it."}],
)
CONTEXT = SendContext(Network(), None, NOON // 1000)


def send(kind: str, context: SendContext = CONTEXT, notice: Notice = NOTICE, **settings: Any) -> str:
    found = KINDS[kind]
    return found.send(found.model.model_validate(settings), notice, context)


def hook(server: Receiver, **more: Any) -> dict[str, Any]:
    return {"url": server.url, "secret": SECRET, **more}


def test_a_webhook_gets_a_signed_cloud_event(server: Receiver) -> None:
    assert send("webhook", **hook(server, authorization="Bearer x")) == "200 OK"
    (request,) = server.received
    assert request.headers["content-type"] == "application/cloudevents+json; charset=utf-8"
    assert request.headers["authorization"] == "Bearer x"
    at, _, digest = request.headers["offtake-signature"].partition(",")
    signed = f"{NOON // 1000}.".encode() + request.body
    assert (at, digest) == (f"t={NOON // 1000}", f"v1={hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest()}")
    event = request.document
    required = {key: event[key] for key in ("specversion", "id", "source", "type", "time")}
    assert required == {
        "specversion": "1.0",
        "id": NOTICE.id,
        "source": "/offtake/1%40AdobeOrg/prod",
        "type": "offtake.alert",
        "time": "2026-03-01T12:00:00.000Z",
    }
    assert event["data"]["count"] == 7
    assert event["data"]["events"][0]["at"] == "2026-03-01T12:00:00.000Z"


@pytest.mark.parametrize("kind", ["slack", "teams", "google-chat"])
def test_chats_get_short_messages_in_which_names_are_only_text(server: Receiver, kind: str) -> None:
    assert send(kind, url=server.url) == "200 OK"
    text = str(server.documents[0])
    assert "evil.example" in text
    assert "\\n<" not in text
    assert "\u202e" not in text
    if kind == "slack":
        assert "<" not in server.documents[0]["text"]
        assert {block["text"]["type"] for block in server.documents[0]["blocks"]} == {"plain_text"}
    elif kind == "teams":
        assert "'type': 'TextBlock'" not in text
    else:
        assert "<" not in text


def test_an_email_has_one_subject_line_and_a_stable_id() -> None:
    with mailbox() as box:
        mail = MailServer(SmtpServer("127.0.0.1", box.port, "off"), "offtake@example.org")
        context = replace(CONTEXT, mail=mail)
        box.refused["gone@example.org"] = "550 no such user"
        assert send("email", context, to=["a@example.org", "b@example.org"]) == "accepted"
        answer = send("email", context, to=["a@example.org", "gone@example.org"])
        assert answer == "accepted; refused: gone@example.org: 550 no such user"
        with pytest.raises(DeliveryError, match="550 no such user") as refused:
            send("email", context, to=["gone@example.org"])
        assert not refused.value.transient
        box.reply = "451 try later"
        with pytest.raises(DeliveryError, match="451 try later") as later:
            send("email", context, to=["a@example.org"])
        assert later.value.transient
    first, second = box.mails
    assert box.envelopes[0].rcpt_tos == ["a@example.org", "b@example.org"]
    assert first["Message-ID"] == second["Message-ID"] == f"<{NOTICE.id}@example.org>"
    assert first["Subject"].startswith("[Offtake] Flow nightly Bcc: evil@example.org")
    assert "Bcc" not in first
    assert "→ Grant it." in first.get_content()


@pytest.mark.parametrize(
    "name", ["=?utf-8?q?x=0D=0ABcc:_evil@example.org?=", "=?utf-8?b?DQpCY2M6IGV2aWxAZXhhbXBsZS5vcmc=?=", "=?=?=?x?="]
)
def test_encoded_words_in_names_do_not_become_headers(name: str) -> None:
    """`EmailMessage` decodes them when a header is set, and writes the line breaks that they contain."""
    mail = email.compose(email.EmailSettings(to=["a@example.org"]), replace(NOTICE, title=name), "o@example.org")
    head = mail.as_bytes().partition(b"\r\n\r\n")[0]
    assert [line.partition(b":")[0] for line in head.split(b"\r\n") if not line.startswith(b" ")] == [
        *(b"From", b"To", b"Subject", b"Date", b"Message-ID", b"Auto-Submitted"),
        *(b"Content-Type", b"Content-Transfer-Encoding", b"MIME-Version"),
    ]
    assert b"\n" not in head.replace(b"\r\n", b"")
    with pytest.raises(ValueError, match="must be e-mail addresses"):
        email.EmailSettings(to=[f"{name.replace(':', '')}@example.org"])


def test_emails_go_over_checked_tls_with_a_login() -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with mailbox(context, "right") as box:
        server = parse_url(f"smtp://user:right@127.0.0.1:{box.port}")
        trusting = Network(certificates=authority.cert_pem.bytes())
        found = SendContext(trusting, MailServer(server, "offtake@example.org"), 0)
        assert send("email", found, to=["a@example.org"]) == "accepted"
        assert box.users == ["user"]
        wrong = MailServer(replace(server, password="wrong-password"), "offtake@example.org")
        with pytest.raises(DeliveryError, match="refuses the user or the password") as error:
            send("email", replace(found, mail=wrong), to=["a@example.org"])
        assert "wrong-password" not in str(error.value)
        with pytest.raises(DeliveryError, match="has a certificate that is not trusted"):
            send("email", replace(found, network=Network()), to=["a@example.org"])
        plain = MailServer(replace(server, tls="off", user=None), "offtake@example.org")
        with pytest.raises(DeliveryError, match="530"):
            send("email", replace(found, mail=plain), to=["a@example.org"])


def test_a_server_without_starttls_gets_nothing() -> None:
    with mailbox() as box:
        server = parse_url(f"smtp://127.0.0.1:{box.port}")
        with pytest.raises(DeliveryError, match="STARTTLS"):
            send("email", replace(CONTEXT, mail=MailServer(server, "o@example.org")), to=["a@example.org"])
        assert box.envelopes == []


def test_emails_go_to_allowed_domains_only() -> None:
    with pytest.raises(DeliveryError, match="has no SMTP server"):
        send("email", to=["a@example.org"])
    mail = MailServer(SmtpServer("127.0.0.1", 1, "off"), "o@example.org", frozenset({"example.org"}))
    with pytest.raises(DeliveryError, match=r"does not send e-mails to a@example\.com"):
        send("email", replace(CONTEXT, mail=mail), to=["b@EXAMPLE.org", "a@example.com"])
    for routed in ("a%example.com@example.org", "example.com!a@example.org", "a@sub.example.org", "a@example.org.evil"):
        with pytest.raises(DeliveryError, match="does not send e-mails to"):
            send("email", replace(CONTEXT, mail=mail), to=[routed])


@pytest.mark.parametrize("url", ["http://x", "smtp:///h", "smtps://h?tls=off", "smtp://u:p@h?tls=off", "smtp://h/x#"])
def test_an_smtp_url_that_is_not_valid_is_refused_without_its_content(url: str) -> None:
    with pytest.raises(Exception, match="OFFTAKE_SMTP_URL is not valid") as error:
        parse_url(url)
    assert url not in str(error.value)


@pytest.mark.parametrize(
    ("status", "permanent"),
    [(400, True), (410, True), (413, True), (401, False), (404, False), (408, False), (429, False), (500, False)],
)
def test_refusals_of_the_message_are_permanent_and_others_are_not(
    server: Receiver, status: int, permanent: bool
) -> None:
    server.status, server.headers = status, {"Retry-After": "90"}
    server.text = "bad /hooks/a-long-secret-token\n"
    with pytest.raises(DeliveryError, match=f"127.0.0.1 answers {status}") as error:
        send("webhook", **hook(server))
    assert error.value.transient is not permanent
    assert error.value.retry_after == 90
    assert "a-long-secret-token" not in str(error.value)
    assert "\n" not in str(error.value)


def test_answers_that_repeat_secrets_are_shown_without_them(server: Receiver) -> None:
    server.status = 401
    server.text = "key=the-key-123456 is wrong; nor is the-token%3D123456 the-token=123456, Bearer a-token-123456"
    url = f"http://127.0.0.1:{server.port}/v1/messages?key=the-key-123456&token=the-token%3D123456"
    with pytest.raises(DeliveryError) as error:
        send("google-chat", url=url)
    shown = str(error.value)
    with pytest.raises(DeliveryError) as error:
        send("webhook", **hook(server, authorization="Bearer a-token-123456"))
    assert "the-key" not in shown
    assert "the-token" not in shown
    assert "a-token" not in str(error.value)


def test_redirects_are_not_followed(server: Receiver) -> None:
    server.status, server.headers = 302, {"Location": f"http://localhost:{server.port}/elsewhere"}
    with pytest.raises(DeliveryError, match="answers with a redirect"):
        send("slack", url=server.url)
    assert len(server.received) == 1


@pytest.mark.parametrize("url", ["http://0.0.0.0:{port}/x", "http://169.254.169.254/x", "http://[::ffff:0.0.0.0]/x"])
def test_inward_addresses_are_refused_with_the_reason(server: Receiver, url: str) -> None:
    with pytest.raises(DeliveryError, match="network rules deny") as error:
        send("webhook", url=url.format(port=server.port), secret=SECRET)
    assert not error.value.transient
    denied = replace(CONTEXT, network=Network(deny=(ip_network("127.0.0.0/8"),)))
    with pytest.raises(DeliveryError, match="network rules deny"):
        send("slack", denied, url=server.url)
    assert server.received == []


def _trickle(connection: socket.socket) -> None:
    for one in b"HTTP/1.1 200 OK\r\nX-Slow: ":
        connection.sendall(bytes([one]))
    while True:
        time.sleep(0.05)
        connection.sendall(b"x")


def _hang(connection: socket.socket) -> None:
    connection.recv(1)


def _flood(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 500 Oops\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        connection.sendall(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")


def _garbage(connection: socket.socket) -> None:
    connection.sendall(b"SSH-2.0-OpenSSH\r\n")


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (_trickle, "did not answer within 0.4 seconds"),
        (_hang, "did not answer within 0.4 seconds"),
        (_flood, "answers 500 Internal Server Error: x{197,}…"),
        (_garbage, "did not answer as HTTP requires"),
    ],
)
def test_bad_receivers_take_little_time_and_memory(
    server: Receiver, monkeypatch: pytest.MonkeyPatch, reply: Callable[[socket.socket], None], message: str
) -> None:
    monkeypatch.setattr("offtake.alerts.channels.base.SECONDS", 0.4)
    server.reply = reply
    begun = time.monotonic()
    with pytest.raises(DeliveryError, match=message) as error:
        send("webhook", **hook(server))
    assert time.monotonic() - begun < 1.5
    assert error.value.transient


def test_an_smtp_server_that_never_ends_its_reply_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        monkeypatch.setattr("offtake.alerts.channels.email._SESSION_SECONDS", 0.3)
        mail = MailServer(SmtpServer("127.0.0.1", port, "off"), "o@example.org")
        with pytest.raises(DeliveryError, match=rf"127.0.0.1:{port} did not answer within 0.3 seconds"):
            send("email", replace(CONTEXT, mail=mail), to=["a@example.org"])


def test_the_answer_of_a_closed_port_names_the_host_only() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(DeliveryError, match=rf"127.0.0.1:{port} could not be reached") as error:
        http.post(f"http://127.0.0.1:{port}/secret?x=y", Network(), b"", {}, largest=10, seconds=1)
    assert "secret" not in str(error.value)
