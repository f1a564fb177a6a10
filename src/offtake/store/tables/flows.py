"""Connections and flows."""

from sqlalchemy import ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from offtake.documents import Json
from offtake.store.tables.base import Base, Entity

FAILING = text("failures > 0")
LATE = text("late_since IS NOT NULL")
FAILED = text("last_run_state = 'failed'")


class Connection(Entity, Base):
    """A base connection. `auth_public`: the params with secrets masked; `auth_sealed`: all params, encrypted.

    `encryption`: in the form that `flows.encryption` stores.

    `address`: the server of the credentials, as `host:port`; None when they have no server, or when the connection was
    stored by a version before revision 0008.
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
    """The datasets that a flow exports. `refs`: by dataset id, the branch or tag of those not exported from main.

    `columns`: by dataset id, the columns of those not exported with all, as `documents.ColumnChoiceDocument`. Plans of
    runs update the paths of renamed ones, which does not change the version.
    """

    __tablename__ = "source_connections"
    __table_args__ = (Index(None, "sandbox_id", "updated_at", "id"),)

    connection_spec_id: Mapped[str]
    base_connection_id: Mapped[str]
    dataset_ids: Mapped[list[str]]
    refs: Mapped[Json | None]
    columns: Mapped[Json | None]
    data: Mapped[Json | None]


class TargetConnection(Entity, Base):
    """The destination and the file format of an export. `params`: by the destination's model (`TargetParams`).

    `manifest_by_target`: names of manifest files contain this connection's id instead of the flow's, as in versions
    before revision 0006.
    """

    __tablename__ = "target_connections"
    __table_args__ = (Index(None, "sandbox_id", "updated_at", "id"),)

    connection_spec_id: Mapped[str]
    base_connection_id: Mapped[str] = mapped_column(ForeignKey("connections.id"), index=True)
    params: Mapped[Json]
    manifest_by_target: Mapped[bool] = mapped_column(default=False)


class Flow(Entity, Base):
    """A source, a target and a schedule. The `last_run` columns do not change its version (contract, section 5.6).

    `schedule`: the fields of `flows.schedule.Schedule`. `policy` and `last_operation`: as the API shows them.
    `failures`: consecutive failed runs until now; `failing_since` is set when the alert about them was logged.
    `ends_logged`: the days before its end at which a warning was logged; None again when the end changes.
    `freshness_seconds`: its target, "delivered up to at most so long ago"; None for the rule by its schedule.
    `delivered_up_to`: until when the dataset's rows are delivered: the time of the plan of the last run that succeeded.
    `judged_from`: from when on deliveries are expected, because it was enabled, or its schedule or target changed; None
    for its creation. `late_since`: since when it is late, as the event about it reports; None while it is not.
    """

    __tablename__ = "flows"
    __table_args__ = (
        Index(None, "sandbox_id", "updated_at", "id"),
        Index("ix_flows_due", "next_run_s", sqlite_where=text("next_run_s IS NOT NULL")),
        Index("ix_flows_failing", "failures", sqlite_where=FAILING, postgresql_where=FAILING),
        Index("ix_flows_failed", "sandbox_id", "last_run_completed_at", sqlite_where=FAILED, postgresql_where=FAILED),
        Index(None, "sandbox_id", "last_run_completed_at"),
        Index(None, "sandbox_id", "next_run_s"),
        Index("ix_flows_late", "sandbox_id", "late_since", sqlite_where=LATE, postgresql_where=LATE),
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
    freshness_seconds: Mapped[int | None]
    delivered_up_to: Mapped[int | None]
    judged_from: Mapped[int | None]
    late_since: Mapped[int | None]
