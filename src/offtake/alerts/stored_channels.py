"""Channels: created, changed, tested and deleted (permission `manage-destinations`)."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import uuid4

from pydantic import Field, SecretStr, ValidationError
from sqlalchemy import ColumnElement, delete, func, select
from sqlalchemy.orm import Session

from offtake.access import audit, labels
from offtake.alerts import channel_tests, messages, rules
from offtake.alerts.channels.base import ChannelKind, ChannelSettings, SendContext
from offtake.alerts.channels.registry import KINDS
from offtake.alerts.notices import Notice
from offtake.contract import bodies, bound_secrets, entities, listing, partial_updates, problems, resource_names
from offtake.contract.bodies import Body, Sent
from offtake.contract.caller import MANAGE_DESTINATIONS, VIEW_DESTINATIONS, Caller
from offtake.contract.filters import Field as ListField
from offtake.contract.listing import ListQuery, Page
from offtake.contract.problems import Problem
from offtake.documents import Json
from offtake.errors import DeliveryError, FieldProblem, InvalidInputError
from offtake.invalid_values import problem_of
from offtake.network.egress import Network
from offtake.store.tables import AlertChannel, AlertMessage, AlertRule
from offtake.store.vault import Vault

RESOURCE: Final = "alertChannels"
_PATH: Final = "/settings"
_MOST: Final = 200
_NAMED: Final = 3
_SECRET_BYTES: Final = 32
_SHOWN_AGAIN_MS: Final = 600_000


class NewChannel(Body):
    """`POST /alertChannels`."""

    name: str
    kind: str
    settings: Json = Field(max_length=20)


class ChangedChannel(Body):
    """A channel after a patch. The kind stays."""

    name: str
    kind: str | None = None
    settings: Json = Field(max_length=20)


@dataclass(frozen=True)
class ChannelView:
    """A channel for people. `settings`: with secrets masked. `waiting`, `dead`: numbers of its messages."""

    id: str
    name: str
    kind: str
    title: str
    settings: Json
    failures: int
    retry_ms: int | None
    waiting: int
    dead: int


@dataclass(frozen=True)
class TestResult:
    """The result of a test: whether the receiver accepted the message, and what it answered."""

    result: bool
    answer: str


@dataclass(frozen=True)
class Created:
    """A new channel, and the secrets that were generated for it, which are shown once."""

    row: AlertChannel
    generated: Mapping[str, str] = field(default_factory=dict)


def create(
    session: Session,
    caller: Caller,
    vault: Vault,
    network: Network,
    sent: Sent,
    now_ms: int,
    row_id: str | None = None,
) -> Created:
    """Store a channel with encrypted secrets; nothing is sent to it. `row_id`: its id; a random one by default.

    Raises 1452 and 1455 for settings that do not fit its kind, and 3409 when the name is taken.
    """
    caller.require(MANAGE_DESTINATIONS)
    new = bodies.parse_body(NewChannel, sent)
    kind = _find_kind(new.kind)
    _check_name(session, caller, new.name)
    if (session.scalar(select(func.count()).where(AlertChannel.sandbox_id == caller.sandbox_id)) or 0) >= _MOST:
        raise Problem(problems.CONFLICT, f"The sandbox has {_MOST} alert channels already; delete one first.")
    bound_secrets.check_sent(new.settings, kind.model.secrets(), _PATH)
    generated = {
        key: secrets.token_urlsafe(_SECRET_BYTES) for key in kind.model.generated if new.settings.get(key) is None
    }
    settings = parse_settings(kind, new.settings | generated, network)
    stamp = entities.creation_columns(caller, now_ms, row_id)
    row = AlertChannel(**stamp, name=new.name, kind=kind.name, failures=0)
    _set_settings(row, settings, vault)
    session.add(row)
    session.flush()
    audit.record(session, caller, now_ms, "create", (RESOURCE, row.id), name=row.name, after=render(row))
    return Created(row, generated)


def find_created(
    session: Session, caller: Caller, vault: Vault, row_id: str, sent: Json, now_ms: int
) -> Created | None:
    """The channel that the same request created under that id, if it was sent twice; None before the first time.

    Its generated secrets are returned once more to the client that created it, for ten minutes and until it is changed:
    the first answer may be lost, as that of a button that is clicked twice.
    """
    caller.require(MANAGE_DESTINATIONS)
    row = session.get(AlertChannel, row_id)
    if row is None or row.sandbox_id != caller.sandbox_id:
        return None
    is_own = (row.created_client, row.updated_client) == (caller.client_id, caller.client_id)
    is_new = row.updated_at == row.created_at and now_ms - row.created_at < _SHOWN_AGAIN_MS
    missing = [key for key in KINDS[row.kind].model.generated if sent["settings"].get(key) is None]
    if not (missing and is_own and is_new):
        return Created(row)
    values = settings_of(row, vault).model_dump(by_alias=True)
    return Created(row, {key: values[key].get_secret_value() for key in missing})


def merge(
    session: Session, caller: Caller, vault: Vault, network: Network, row: AlertChannel, sent: Sent, now_ms: int
) -> None:
    """Update the channel: an object is a merge patch, a list a JSON Patch.

    A secret that is not sent, or sent as the mask, keeps its value, if the server that receives it does not change.
    Messages that wait are sent with the new settings, and rules that use the channel report to them, as far as the
    caller may see what they report. Raises as `create` does, and 1420 for another kind.
    """
    caller.require(MANAGE_DESTINATIONS)
    before: Json = {"name": row.name, "kind": row.kind, "settings": row.settings}
    new = bodies.parse_document(ChangedChannel, partial_updates.update(before, sent, "/settings/url"))
    if new.kind not in (None, row.kind):
        message = f"The kind of a channel cannot be changed from {row.kind}; create another channel."
        raise Problem(problems.NOT_UPDATABLE, message, RESOURCE, row.id)
    if new.name != row.name:
        _check_name(session, caller, new.name)
    kind = KINDS[row.kind]
    replaced = sorted(bound_secrets.replaced(new.settings, kind.model.secrets()))
    settings = parse_settings(kind, _with_stored(kind, row, vault, new.settings, network), network)
    if new.settings != row.settings:
        rules.limit(session, caller, row.id)
        messages.withdraw_hidden(session, caller, row.id, now_ms)
    shown = render(row)
    row.name = new.name
    _set_settings(row, settings, vault)
    row.failures, row.not_before = 0, None
    entities.set_updated(row, caller, now_ms)
    session.flush()
    change = (shown, render(row))
    audit.record_update(session, caller, now_ms, (RESOURCE, row.id), row.name, change, replaced)


def remove(session: Session, caller: Caller, row: AlertChannel, now_ms: int) -> None:
    """Delete the channel with its messages. Raises 3409 while rules use it."""
    caller.require(MANAGE_DESTINATIONS)
    names = [name for _, name in _rules_with(session, caller, row.id)]
    if names:
        more = " and others" if len(names) > _NAMED else ""
        message = f"Alert rules use channel {row.name}: {', '.join(names[:_NAMED])}{more}. Change or delete them first."
        raise Problem(problems.CONFLICT, message, RESOURCE, row.id)
    session.execute(delete(AlertMessage).where(AlertMessage.channel_id == row.id))
    audit.record(session, caller, now_ms, "delete", (RESOURCE, row.id), name=row.name, before=render(row))
    session.delete(row)


def rules_using(session: Session, caller: Caller, channel_id: str) -> list[tuple[str, str]]:
    """Ids and names of the rules that send to the channel and that the caller may see, by name."""
    caller.require(VIEW_DESTINATIONS)
    return _rules_with(session, caller, channel_id, labels.visible(AlertRule.flow_id, caller))


def page(session: Session, caller: Caller, query: ListQuery) -> Page[AlertChannel]:
    """A page of the channels, for the API."""
    caller.require(VIEW_DESTINATIONS)
    fields = {
        "id": ListField(AlertChannel.id, "id", sortable=True),
        "name": ListField(AlertChannel.name, sortable=True),
        "kind": ListField(AlertChannel.kind, sortable=True),
        "createdAt": ListField(AlertChannel.created_at, "number", sortable=True),
        "updatedAt": ListField(AlertChannel.updated_at, "number", sortable=True),
    }
    return listing.page(session, caller, AlertChannel, fields, query)


def get(session: Session, caller: Caller, row_id: str, *, lock: bool = False) -> AlertChannel:
    """The channel with that id; raises 1439."""
    caller.require(VIEW_DESTINATIONS)
    return entities.find(session, caller, AlertChannel, RESOURCE, row_id, lock=lock)


def views(session: Session, caller: Caller, text: str = "") -> list[ChannelView]:
    """The channels of the sandbox whose name contains `text`, by name; at most 200. For pages."""
    caller.require(VIEW_DESTINATIONS)
    query = select(AlertChannel).filter_by(sandbox_id=caller.sandbox_id)
    if text:
        query = query.where(AlertChannel.name.icontains(text, autoescape=True))
    rows = session.scalars(query.order_by(func.lower(AlertChannel.name), AlertChannel.id).limit(_MOST)).all()
    counted = select(AlertMessage.channel_id, AlertMessage.state, func.count()).where(
        AlertMessage.sandbox_id == caller.sandbox_id, AlertMessage.state.in_(("waiting", "dead"))
    )
    found = session.execute(counted.group_by(AlertMessage.channel_id, AlertMessage.state))
    counts = {(one[0], one[1]): one[2] for one in found}
    return [
        ChannelView(
            row.id,
            row.name,
            row.kind,
            KINDS[row.kind].title,
            row.settings,
            row.failures,
            row.not_before,
            counts.get((row.id, "waiting"), 0),
            counts.get((row.id, "dead"), 0),
        )
        for row in rows
    ]


def render(row: AlertChannel) -> Json:
    """The channel's own fields; secrets are masked."""
    return {"id": row.id, "name": row.name, "kind": row.kind, "settings": row.settings}


def document(row: AlertChannel, caller: Caller) -> Json:
    """The channel as the API shows it. `failures`: consecutive failed attempts; `retryAt`: when the next one is."""
    state: Json = {"failures": row.failures, "retryAt": row.not_before if row.failures else None}
    return entities.audit_fields(row, caller) | render(row) | state | entities.versions(row)


def settings_of(row: AlertChannel, vault: Vault) -> ChannelSettings:
    """The settings with their secrets. Raises `VaultError`."""
    secret = vault.decrypt(row.id, row.sealed) if row.sealed is not None else {}
    return KINDS[row.kind].model.model_validate({**row.settings, **secret})


def run_test(caller: Caller, kind: ChannelKind, settings: ChannelSettings, context: SendContext) -> TestResult:
    """Send a test message now, without a database session. Raises 3503 while too many tests are running."""
    caller.require(MANAGE_DESTINATIONS)
    now_ms = context.now_s * 1000
    title = f"Test of an alert channel in sandbox {caller.sandbox_name}"
    text = "If you can read this, the channel works."
    notice = Notice(
        id=str(uuid4()),
        type="test",
        severity="information",
        title=title,
        sandbox=caller.sandbox_name,
        organisation=caller.org_id,
        rule="test",
        cause="test",
        at_ms=now_ms,
        first_ms=now_ms,
        last_ms=now_ms,
        count=1,
        flows=0,
        events=[{"kind": "test", "at": now_ms, "text": text}],
    )
    with channel_tests.place(caller.client_id):
        try:
            return TestResult(True, kind.send(settings, notice, context))
        except DeliveryError as error:
            return TestResult(False, str(error))


def parse_settings(kind: ChannelKind, sent: Json, network: Network) -> ChannelSettings:
    """Parse settings by their kind's model. Raises 1452 and 1455 with every problem."""
    given = {key: value for key, value in sent.items() if value is not None}
    try:
        found = kind.model.model_validate(given)
    except ValidationError as error:
        located = [problem_of(one) for one in error.errors()]
        raise problems.of_fields(
            InvalidInputError([FieldProblem(f"/settings{one.path}", one.message, one.missing) for one in located])
        ) from None
    host = found.origin.partition("://")[2].rpartition(":")[0] if found.origin else ""
    if network.is_host_denied(host):
        raise problems.of_field("/settings/url", f"is denied: the network's rules do not allow {host}")
    return found


def _with_stored(kind: ChannelKind, row: AlertChannel, vault: Vault, sent: Json, network: Network) -> Json:
    """The settings as sent, with stored secrets in place of masks. Raises `SecretNeededError`."""
    kept = sorted(bound_secrets.masked(sent, kind.model.secrets()))
    stored = row.settings | bound_secrets.decrypt(row.id, row.sealed, vault, kept, _PATH)

    def changed(filled: Json) -> list[str]:
        origin = kind.model.model_validate(stored).origin
        return [] if parse_settings(kind, filled, network).origin == origin else ["url"]

    return bound_secrets.fill_in(sent, stored, kept, _PATH, changed)


def _set_settings(row: AlertChannel, settings: ChannelSettings, vault: Vault) -> None:
    values = {key: _revealed(value) for key, value in settings.model_dump(by_alias=True, exclude_none=True).items()}
    row.settings, row.sealed = bound_secrets.encrypt(row.id, values, settings.secrets(), vault)


def _revealed(value: Any) -> object:  # noqa: ANN401 - a value of a model
    return value.get_secret_value() if isinstance(value, SecretStr) else value


def _rules_with(
    session: Session, caller: Caller, channel_id: str, *conditions: ColumnElement[bool]
) -> list[tuple[str, str]]:
    query = select(AlertRule).where(AlertRule.sandbox_id == caller.sandbox_id, *conditions)
    return [
        (one.id, one.name) for one in session.scalars(query.order_by(AlertRule.name)) if channel_id in one.channel_ids
    ]


def _find_kind(name: str) -> ChannelKind:
    if name not in KINDS:
        raise problems.of_field("/kind", f"must be one of {', '.join(KINDS)}")
    return KINDS[name]


def _check_name(session: Session, caller: Caller, name: str) -> None:
    if found := resource_names.find_problems(name):
        raise problems.of_fields(InvalidInputError(found))
    resource_names.check_free(session, caller, AlertChannel, name, "An alert channel")
