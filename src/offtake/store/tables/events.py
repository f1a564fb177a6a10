"""What happened to runs, flows, batches and connections: for the notifier and for pages."""

from sqlalchemy import Index, text
from sqlalchemy.orm import Mapped, mapped_column

from offtake.documents import Json
from offtake.store.tables.base import Base

UNHANDLED = text("handled_at IS NULL")


class EventRow(Base):
    """An event (`store.events`), stored in the transaction of the change that it reports. Ids sort by time.

    `sandbox_id`: empty for events of the whole deployment. `fields`: those of its kind. `handled_at`: when the notifier
    handled it; None until then.
    """

    __tablename__ = "events"
    __table_args__ = (
        Index("ix_events_unhandled", "id", sqlite_where=UNHANDLED, postgresql_where=UNHANDLED),
        Index(None, "sandbox_id", "id"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str]
    at: Mapped[int]
    sandbox_id: Mapped[str]
    flow_id: Mapped[str | None]
    flow_name: Mapped[str | None]
    run_id: Mapped[str | None]
    batch_id: Mapped[str | None]
    connection_id: Mapped[str | None]
    connection_name: Mapped[str | None]
    connection_spec_id: Mapped[str | None]
    datasets: Mapped[list[str]]
    request_id: Mapped[str | None]
    fields: Mapped[Json]
    handled_at: Mapped[int | None]


class DeploymentState(Base):
    """A state of the whole deployment that every scheduler must know, such as that workers are missing.

    `since`: when it began. There is no row while the state does not apply.
    """

    __tablename__ = "deployment_states"

    name: Mapped[str] = mapped_column(primary_key=True)
    since: Mapped[int]
