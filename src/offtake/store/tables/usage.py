"""Usage by month, and the monthly quotas of sandboxes."""

from sqlalchemy.orm import Mapped, mapped_column

from offtake.store.tables.base import Base


class Usage(Base):
    """What one flow used in one month (UTC, such as `2026-11`) for one dataset and one base connection.

    Names are those of the last run that used it. Rows outlive their flow, dataset and connection. `files`: without
    manifest files; `cpu_ms`: CPU milliseconds of writing files, also of failed runs. `connection_id`: empty when the
    target connection was deleted before the usage was recorded.
    """

    __tablename__ = "usage"

    sandbox_id: Mapped[str] = mapped_column(primary_key=True)
    month: Mapped[str] = mapped_column(primary_key=True)
    flow_id: Mapped[str] = mapped_column(primary_key=True)
    dataset_id: Mapped[str] = mapped_column(primary_key=True)
    connection_id: Mapped[str] = mapped_column(primary_key=True)
    flow_name: Mapped[str]
    dataset_name: Mapped[str]
    connection_name: Mapped[str]
    rows: Mapped[int]
    bytes: Mapped[int]
    files: Mapped[int]
    cpu_ms: Mapped[int]


class Quota(Base):
    """A sandbox's monthly limit of one measure (`store.quotas.MEASURES`).

    `reached_month`: the month in which it was found to be reached; None while it is not. `noted_used`: the usage that
    the reasons of held runs name.
    """

    __tablename__ = "quotas"

    sandbox_id: Mapped[str] = mapped_column(primary_key=True)
    measure: Mapped[str] = mapped_column(primary_key=True)
    most: Mapped[int]
    reached_month: Mapped[str | None]
    noted_used: Mapped[int | None]
    updated_at: Mapped[int]
    updated_by: Mapped[str]
