"""Tests a base connection's credentials at the targets of its target connections (contract, section 11)."""

import contextvars
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from offtake.contract import entities, problems
from offtake.contract.bodies import Body
from offtake.contract.caller import EXPORT_DATASETS, MANAGE_DESTINATIONS, VIEW_DESTINATIONS, Caller
from offtake.contract.problems import Problem
from offtake.destinations import schema
from offtake.destinations.base import Destination, SandboxLocation
from offtake.destinations.parameters import Params, TargetParams
from offtake.destinations.probe import probe
from offtake.documents import Json
from offtake.errors import (
    DESTINATION_UNAVAILABLE,
    EXPORT_FAILED,
    KEY_UNUSABLE,
    PLACE_NOT_FOUND,
    BusyError,
    DeliveryError,
    InvalidInputError,
    split_remedy,
)
from offtake.flows import encryption, host_key_pinning, specs
from offtake.flows.connections import KIND
from offtake.flows.credentials import open_credentials
from offtake.flows.host_key_pinning import PinStore
from offtake.formats import pgp
from offtake.store import events
from offtake.store.events import Event
from offtake.store.tables import Connection, TargetConnection
from offtake.store.vault import Vault

_MOST_TARGETS: Final = 5
_MOST_TESTS: Final = 8
_MOST_OF_ONE: Final = 3
_SECONDS: Final = 45
_ANY_FILES: Final[Json] = {"datasetFileType": "JSON", "compression": "GZIP"}


class ChecksBusyError(BusyError):
    """Too many connection tests are running; retry later."""


class ConnectionDraft(Body):
    """`POST /connections/test`: the body of `POST /connections`, and params of a target connection to test at.

    `params` needs the location only; without it, the test is as for a connection without target connections.
    """

    connection: dict[str, Any]
    params: dict[str, Any] | None = None


@dataclass(frozen=True)
class ConnectionCheck:
    """A connection test, ready to run without the database. `owner`: the id of the client that asks for it."""

    destination: Destination
    connection_id: str
    auth_name: str | None
    credentials: Params | None
    encrypt_to: bytes | None
    targets: tuple[TargetParams, ...]
    sandbox_location: SandboxLocation
    owner: str
    request_id: str = ""


def prepare(
    session: Session, caller: Caller, vault: Vault, row_id: str, sandbox_location: SandboxLocation
) -> ConnectionCheck:
    """Load a base connection and the targets of its latest target connections; raises 1439 and 1452.

    The test writes and removes a small file, so viewing destinations alone does not permit it.
    """
    caller.require(VIEW_DESTINATIONS)
    caller.require(MANAGE_DESTINATIONS, EXPORT_DATASETS)
    row = entities.find(session, caller, Connection, KIND, row_id)
    if row.connection_spec_id == specs.DATA_LAKE:
        raise Problem(problems.WRONG_ACTION, "The connection to the data lake is internal; there is nothing to test.")
    destination = specs.destination_of_connection(row.connection_spec_id)
    latest = select(TargetConnection).filter_by(base_connection_id=row.id)
    rows = session.scalars(latest.order_by(TargetConnection.updated_at.desc()).limit(_MOST_TARGETS))
    targets = {str(one.params): schema.parse_target_params(destination, one.params) for one in rows}
    return ConnectionCheck(
        destination=destination,
        connection_id=row.id,
        auth_name=row.auth_spec_name,
        credentials=open_credentials(vault, destination, row),
        encrypt_to=encryption.public_key(row.encryption) if row.encryption else None,
        targets=tuple(targets.values()) or _whole_target(destination),
        sandbox_location=sandbox_location,
        owner=caller.client_id,
        request_id=caller.request_id,
    )


def prepare_at(
    session: Session, caller: Caller, vault: Vault, row_id: str, place: Json, sandbox_location: SandboxLocation
) -> ConnectionCheck:
    """Like `prepare`, at a place that no target connection has yet, such as `{"bucketName": …, "path": …}`.

    Raises 1452 and 1455 with paths below `/params`, too.
    """
    prepared = prepare(session, caller, vault, row_id, sandbox_location)
    try:
        target = schema.parse_target_params(prepared.destination, _ANY_FILES | place)
    except InvalidInputError as error:
        raise problems.of_fields(error) from None
    return replace(prepared, targets=(target,))


def prepare_for(
    session: Session, caller: Caller, vault: Vault, target: TargetConnection, sandbox_location: SandboxLocation
) -> ConnectionCheck:
    """Like `prepare`, for one target connection."""
    prepared = prepare(session, caller, vault, target.base_connection_id, sandbox_location)
    return replace(prepared, targets=(schema.parse_target_params(prepared.destination, target.params),))


def run_check(prepared: ConnectionCheck, pins: PinStore) -> Json:
    """Run the test: `{"result": true}`, or false with the errors of each target.

    Writes, reads, lists and removes a small object. What is found at the first connection is stored. `limits`, an
    extension, lists the guarantees that the server cannot give. A test that lasts longer than 45 seconds counts as
    failed. Raises `ChecksBusyError` when other tests take all slots: they would block the threads of requests.
    """
    answer = _slots.run(prepared.owner, lambda: _check(prepared, pins))
    _record_test(prepared, pins, answer)
    return answer


def _record_test(prepared: ConnectionCheck, pins: PinStore, answer: Json) -> None:
    """Record the event of the test; nothing for a connection that is not stored."""
    with pins.database.writing() as session:
        row = session.get(Connection, prepared.connection_id)
        if row is None:
            return
        errors: list[Json] = answer.get("errors", [])
        message, remedy = split_remedy(errors[0]["code"], errors[0]["message"]) if errors else (None, None)
        happened = Event(
            "connection.tested",
            row.sandbox_id,
            pins.clock.now_ms(),
            connection_id=row.id,
            connection_name=row.name,
            connection_spec_id=row.connection_spec_id,
            request_id=prepared.request_id or None,
            fields={
                "client": prepared.owner,
                "result": bool(answer["result"]),
                "code": errors[0]["code"] if errors else None,
                "message": message,
                "remedy": remedy,
            },
        )
        events.record(session, happened)


def _check(prepared: ConnectionCheck, pins: PinStore) -> Json:
    credentials, found = _try(prepared, pins)
    if prepared.encrypt_to is not None and (problem := pgp.check_key(prepared.encrypt_to)):
        remedy = "Enter another one in the base connection."
        found.append(DeliveryError(KEY_UNUSABLE, f"The public key {problem}.", remedy))
    if not found:
        missing = prepared.destination.limits(credentials).missing_guarantees
        return {"result": True} | ({"limits": list(missing)} if missing else {})
    return {"result": False, "errors": [{"code": error.code, "message": str(error)} for error in found]}


class _Slots:
    """Runs few tests at once: a destination that does not answer must not take the threads that serve requests."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: Counter[str] = Counter()

    def run(self, owner: str, test: Callable[[], Json]) -> Json:
        """The answer of the test, which has a thread of its own: it may last longer than a request waits for it."""
        with self._lock:
            if self._running.total() >= _MOST_TESTS or self._running[owner] >= _MOST_OF_ONE:
                raise ChecksBusyError("Too many connection tests are running. Try again when one of them has ended.")
            self._running[owner] += 1
        answer: Future[Json] = Future()
        context = contextvars.copy_context()
        threading.Thread(target=context.run, args=(self._run, owner, test, answer), daemon=True).start()
        try:
            return answer.result(_SECONDS)
        except TimeoutError:
            late = DeliveryError(
                DESTINATION_UNAVAILABLE,
                f"The destination did not complete the test within {_SECONDS} seconds.",
                "Check the host, the port and the network.",
            )
            return {"result": False, "errors": [{"code": late.code, "message": str(late)}]}

    def _run(self, owner: str, test: Callable[[], Json], answer: Future[Json]) -> None:
        try:
            answer.set_result(test())
        except Exception as error:  # noqa: BLE001 - raised by `run`
            answer.set_exception(error)
        finally:
            with self._lock:
                self._running[owner] -= 1


_slots = _Slots()


def check(prepared: ConnectionCheck, pins: PinStore, path: str) -> None:
    """Raise 1452 with `path` when the test fails; without a target yet, test only where a login can be tested."""
    if not prepared.targets and not prepared.destination.pins_login:
        return
    answer = run_check(prepared, pins)
    if not answer["result"]:
        raise problems.of_field(path, f"failed the connection test: {answer['errors'][0]['message']}")


def _try(prepared: ConnectionCheck, pins: PinStore) -> tuple[Params | None, list[DeliveryError]]:
    """The credentials with what was found, and the errors."""
    destination = prepared.destination
    lacking = destination.missing_driver(prepared.auth_name)
    if lacking is not None:
        return None, [DeliveryError(EXPORT_FAILED, f"{destination.name} is not installed.", lacking.install_hint)]
    try:
        row_id, sandbox_location = prepared.connection_id, prepared.sandbox_location
        first = prepared.targets[0] if prepared.targets else None
        credentials = host_key_pinning.pin(pins, destination, row_id, prepared.credentials, first, sandbox_location)
        if not prepared.targets and destination.pins_login and destination.pin is not None and credentials is not None:
            destination.pin(credentials, None, sandbox_location)
            return credentials, []
    except DeliveryError as error:
        return None, [error]
    if not prepared.targets:
        remedy = "Create a target connection with it, then test again."
        return None, [DeliveryError(PLACE_NOT_FOUND, "The connection has no bucket or folder to test.", remedy)]
    refused = [
        error
        for target in prepared.targets
        for error in _probe(destination, credentials, target, prepared.sandbox_location)
    ]
    return credentials, refused


def _probe(
    destination: Destination, credentials: Params | None, target: TargetParams, sandbox_location: SandboxLocation
) -> list[DeliveryError]:
    try:
        sink = destination.open(credentials, target, sandbox_location)
    except DeliveryError as error:
        return [error]
    try:
        return probe(sink, target.folder(), reads_back=destination.limits(credentials).reads_back)
    finally:
        sink.close()


def _whole_target(destination: Destination) -> tuple[TargetParams, ...]:
    """The root of the destination, if target params need no more than a path."""
    try:
        return (schema.parse_target_params(destination, _ANY_FILES | {"path": "/"}),)
    except InvalidInputError:
        return ()
