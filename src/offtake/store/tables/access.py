"""Organisations, sandboxes, clients, roles, access labels, signing keys and the audit log."""

from typing import Final

from sqlalchemy import ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from offtake.documents import Json
from offtake.store.tables.base import Base


class Organisation(Base):
    """An organisation; its id ends in `@AdobeOrg`."""

    __tablename__ = "organisations"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    created_at: Mapped[int]


class Sandbox(Base):
    """An isolated namespace of an organisation; no query crosses sandboxes. `revision` counts its changes."""

    __tablename__ = "sandboxes"
    __table_args__ = (UniqueConstraint("org_id", "name"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    org_id: Mapped[str] = mapped_column(ForeignKey("organisations.id"))
    name: Mapped[str]
    title: Mapped[str]
    type: Mapped[str]
    state: Mapped[str]
    is_default: Mapped[bool]
    revision: Mapped[int]
    created_at: Mapped[int]
    updated_at: Mapped[int]
    created_by: Mapped[str]
    updated_by: Mapped[str]


class Client(Base):
    """An API client: a `user` (technical account) or a `service`.

    The secret is stored as a salted hash only; a client without a secret gets its tokens from the external issuer.
    `issuer` and `subject` identify a person who signs in to the pages through the issuer; None for other clients.
    """

    __tablename__ = "clients"
    __table_args__ = (Index("uq_clients_subject", "issuer", "subject", unique=True),)

    id: Mapped[str] = mapped_column(primary_key=True)
    org_id: Mapped[str] = mapped_column(ForeignKey("organisations.id"))
    name: Mapped[str]
    kind: Mapped[str]
    account_id: Mapped[str]
    secret_hash: Mapped[str | None]
    created_at: Mapped[int]
    rotated_at: Mapped[int | None]
    revoked_at: Mapped[int | None]
    issuer: Mapped[str | None]
    subject: Mapped[str | None]


class Role(Base):
    """Permissions and labels that its subjects have in the listed sandboxes; `*` means every sandbox."""

    __tablename__ = "roles"
    __table_args__ = (UniqueConstraint("org_id", "name"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    org_id: Mapped[str] = mapped_column(ForeignKey("organisations.id"))
    name: Mapped[str]
    description: Mapped[str]
    permissions: Mapped[list[str]]
    sandboxes: Mapped[list[str]]
    labels: Mapped[list[str]]
    created_at: Mapped[int]
    updated_at: Mapped[int]
    created_by: Mapped[str]
    updated_by: Mapped[str]


class RoleSubject(Base):
    """A client that has a role. `from_groups`: by the issuer's groups; each sign-in of the person updates these."""

    __tablename__ = "role_subjects"

    role_id: Mapped[str] = mapped_column(ForeignKey("roles.id"), primary_key=True)
    client_id: Mapped[str] = mapped_column(ForeignKey("clients.id"), primary_key=True, index=True)
    from_groups: Mapped[bool] = mapped_column(default=False)


class WebSession(Base):
    """A session of the pages. `id`: the SHA-256 of the cookie's value, so that the database cannot be used to sign in.

    `seen_at`: when the last request was made, to the minute.
    """

    __tablename__ = "web_sessions"

    id: Mapped[str] = mapped_column(primary_key=True)
    client_id: Mapped[str] = mapped_column(ForeignKey("clients.id"), index=True)
    created_at: Mapped[int]
    seen_at: Mapped[int] = mapped_column(index=True)


class Label(Base):
    """An access label on a flow or a dataset; only clients with the label can see the resource."""

    __tablename__ = "labels"

    entity_id: Mapped[str] = mapped_column(primary_key=True)
    label: Mapped[str] = mapped_column(primary_key=True)


class SigningKey(Base):
    """A key that signs access tokens, encrypted by the vault."""

    __tablename__ = "signing_keys"

    id: Mapped[str] = mapped_column(primary_key=True)
    sealed: Mapped[bytes]
    created_at: Mapped[int]
    retired_at: Mapped[int | None]


_DELETED_FLOW: Final = text("resource_type = 'flows' AND action = 'delete'")


class AuditEvent(Base):
    """An entry of the audit log: actor, time, remote address, and the change without secrets. Ids sort by time."""

    __tablename__ = "audit_events"
    __table_args__ = (
        Index(None, "org_id", "id"),
        Index(None, "org_id", "sandbox_name", "id"),
        Index(None, "resource_id", "id"),
        Index(
            "ix_audit_events_deleted_flows",
            "org_id",
            "sandbox_name",
            "id",
            sqlite_where=_DELETED_FLOW,
            postgresql_where=_DELETED_FLOW,
        ),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    org_id: Mapped[str]
    sandbox_name: Mapped[str | None]
    at: Mapped[int]
    account_id: Mapped[str]
    client_id: Mapped[str]
    remote: Mapped[str]
    request_id: Mapped[str]
    action: Mapped[str]
    resource_type: Mapped[str]
    resource_id: Mapped[str]
    resource_name: Mapped[str | None]
    before: Mapped[Json | None]
    after: Mapped[Json | None]
