"""Access control: roles grant permissions and labels in the sandboxes that they list."""

from dataclasses import replace

from sqlalchemy import select
from sqlalchemy.orm import Session

from offtake.contract import problems
from offtake.contract.caller import ALL, ENGINE, OPERATOR, Caller, Grants
from offtake.contract.problems import Problem
from offtake.errors import OfftakeError
from offtake.store.database import Database
from offtake.store.tables import Client, Organisation, Role, RoleSubject, Sandbox


def grants_of(session: Session, client_id: str, sandbox_name: str | None) -> Grants:
    """The grants of the client's roles in that sandbox; without a sandbox, the grants in every sandbox."""
    names = {ALL, sandbox_name}
    roles = [role for role in _roles(session, client_id) if names.intersection(role.sandboxes)]
    return Grants(
        permissions=frozenset(one for role in roles for one in role.permissions),
        everywhere=frozenset(one for role in roles if ALL in role.sandboxes for one in role.permissions),
        labels=frozenset(one for role in roles for one in role.labels),
    )


def sandboxes_of(session: Session, caller: Caller) -> frozenset[str]:
    """The names of the sandboxes in which the caller has a role; `*` means all."""
    if caller.client_id == OPERATOR:
        return frozenset((ALL,))
    return frozenset(name for role in _roles(session, caller.client_id) for name in role.sandboxes)


def find_sandbox(
    session: Session, org_id: str, name: str | None, client_id: str | None = None, sandbox_id: str | None = None
) -> Sandbox:
    """The organisation's sandbox with that name, else that id, else the default one; raises 2100 and 2106.

    A sandbox in which the client `client_id` has no role counts as missing.
    """
    named = name or sandbox_id
    by_id = Sandbox.id == sandbox_id if sandbox_id else Sandbox.is_default
    condition = Sandbox.name == name if name else by_id
    sandbox = session.scalar(select(Sandbox).where(Sandbox.org_id == org_id, condition))
    if sandbox is not None and client_id is not None and not _may_enter(session, client_id, sandbox):
        sandbox = None
    if sandbox is None and named is None:
        raise Problem(
            problems.NO_DEFAULT_SANDBOX,
            "The organisation has no default sandbox, or you have no role in it; send x-sandbox-name.",
        )
    if sandbox is None:
        raise sandbox_not_found(str(named))
    if sandbox.state != "active":
        raise Problem(problems.SANDBOX_NOT_FOUND, f"Sandbox {sandbox.name} is {sandbox.state}, not active.")
    return sandbox


def sandbox_not_found(name: str) -> Problem:
    """The error 2100: the sandbox does not exist, or the caller has no role in it."""
    return Problem(problems.SANDBOX_NOT_FOUND, f"Sandbox {name[:100]} is not found, or you have no role in it.")


def caller_of(session: Session, client: Client, sandbox: Sandbox | None, *, remote: str, request_id: str) -> Caller:
    """The caller for a client in one sandbox; without a sandbox, for requests about its organisation."""
    return Caller(
        org_id=client.org_id,
        sandbox_id=sandbox.id if sandbox else "",
        sandbox_name=sandbox.name if sandbox else "",
        client_id=client.id,
        account_id=client.account_id,
        kind="service" if client.kind == "service" else "user",
        grants=grants_of(session, client.id, sandbox.name if sandbox else None),
        remote=remote,
        request_id=request_id,
    )


def in_sandbox(session: Session, caller: Caller, sandbox: Sandbox) -> Caller:
    """The same caller in another sandbox of its organisation, in any state."""
    is_operator = caller.client_id == OPERATOR
    grants = caller.grants if is_operator else grants_of(session, caller.client_id, sandbox.name)
    return replace(caller, sandbox_id=sandbox.id, sandbox_name=sandbox.name, grants=grants)


def current(session: Session, caller: Caller) -> Caller:
    """The caller with the grants of now; for a request that lasts long."""
    return replace(caller, grants=grants_of(session, caller.client_id, caller.sandbox_name))


def operator_caller(database: Database, sandbox_name: str | None = None) -> Caller:
    """The caller of the command line on this data directory, with every permission."""
    caller = organisation_operator(database)
    with database.reading() as session:
        return in_sandbox(session, caller, find_sandbox(session, caller.org_id, sandbox_name))


def organisation_name(session: Session, caller: Caller) -> str:
    """The name of the caller's organisation."""
    return session.get_one(Organisation, caller.org_id).name


def operator_in(session: Session, sandbox: Sandbox) -> Caller:
    """The operator in that sandbox."""
    return in_sandbox(session, _operator(session.get_one(Organisation, sandbox.org_id)), sandbox)


def engine_caller(session: Session, sandbox: Sandbox) -> Caller:
    """The caller for changes that Offtake itself makes, such as disabling a failing flow."""
    return replace(operator_in(session, sandbox), client_id=ENGINE, account_id=f"{ENGINE}@AdobeID")


def organisation_operator(database: Database) -> Caller:
    """The operator without a sandbox, for requests about the organisation."""
    with database.reading() as session:
        org = session.scalar(select(Organisation).order_by(Organisation.created_at, Organisation.id))
    if org is None:
        raise OfftakeError("This data directory has no organisation yet. Run offtake serve once to create it.")
    return _operator(org)


def _operator(org: Organisation) -> Caller:
    everything = frozenset((ALL,))
    return Caller(
        org_id=org.id,
        sandbox_id="",
        sandbox_name="",
        client_id=OPERATOR,
        account_id="operator@AdobeID",
        kind="user",
        grants=Grants(everything, everything, everything),
        remote="local",
    )


def _roles(session: Session, client_id: str) -> list[Role]:
    query = select(Role).join(RoleSubject, RoleSubject.role_id == Role.id).where(RoleSubject.client_id == client_id)
    return list(session.scalars(query))


def _may_enter(session: Session, client_id: str, sandbox: Sandbox) -> bool:
    return any({ALL, sandbox.name}.intersection(role.sandboxes) for role in _roles(session, client_id))
