"""Connections and flows: what people asked for."""

from sqlalchemy import ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from offtake.store.tables.base import Base, Entity, Json

FAILING = text("failures > 0")


class Connection(Entity, Base):
    """A base connection. `auth_public` holds the params with secrets masked, `auth_sealed` all of them.

    `address`: the server that its credentials name, as `host:port`; None where they name none, and in connections that
    a version before revision 0008 stored.
    """

    __tablename__ = "connections"
    __table_args__ = (Index(None, "sandbox_id", "updated_at", "id"),)

    connection_spec_id: Mapped[str]
    auth_spec_name: Mapped[str | None]
    auth_public: Mapped[Json | None]
    auth_sealed: Mapped[bytes | None]
    encryption: Mapped[Json | None]
    address: Mapped[str | None]


class SourceConnection(Entity, Base):
    """Which datasets go out."""

    __tablename__ = "source_connections"
    __table_args__ = (Index(None, "sandbox_id", "updated_at", "id"),)

    connection_spec_id: Mapped[str]
    base_connection_id: Mapped[str]
    dataset_ids: Mapped[list[str]]
    data: Mapped[Json | None]


class TargetConnection(Entity, Base):
    """Where, and in which file format, they go.

    `manifest_by_target`: manifest files are named by this connection's id instead of the flow's, as versions before
    revision 0006 named them.
    """

    __tablename__ = "target_connections"
    __table_args__ = (Index(None, "sandbox_id", "updated_at", "id"),)

    connection_spec_id: Mapped[str]
    base_connection_id: Mapped[str] = mapped_column(ForeignKey("connections.id"), index=True)
    params: Mapped[Json]
    manifest_by_target: Mapped[bool] = mapped_column(default=False)


class Flow(Entity, Base):
    """A source, a target and a schedule. Run bookkeeping does not change its version (contract, section 5.6).

    `failures`: runs that failed one after another until now; `failing_since` is set when that has been told.
    `ends_logged`: days before the end that the log has named it at; None again when the end changes.
    """

    __tablename__ = "flows"
    __table_args__ = (
        Index(None, "sandbox_id", "updated_at", "id"),
        Index("ix_flows_due", "next_run_s", sqlite_where=text("next_run_s IS NOT NULL")),
        Index("ix_flows_failing", "failures", sqlite_where=FAILING, postgresql_where=FAILING),
    )

    flow_spec_id: Mapped[str]
    source_connection_id: Mapped[str] = mapped_column(ForeignKey("source_connections.id"), index=True)
    target_connection_id: Mapped[str] = mapped_column(ForeignKey("target_connections.id"), index=True)
    schedule: Mapped[Json]
    next_run_s: Mapped[int | None]
    policy: Mapped[Json | None]
    last_operation: Mapped[Json]
    last_run_id: Mapped[str | None]
    last_run_state: Mapped[str | None]
    last_run_started_at: Mapped[int | None]
    last_run_completed_at: Mapped[int | None]
    failures: Mapped[int] = mapped_column(default=0)
    failing_since: Mapped[int | None]
    ends_logged: Mapped[list[int] | None]
