"""The availability of destinations, by address."""

from sqlalchemy.orm import Mapped, mapped_column

from offtake.documents import InfoItem
from offtake.store.tables.base import Base


class DestinationHealth(Base):
    """Whether a destination is available.

    `unavailable_since` and `reason` are set while it does not answer; runs then wait until `next_at`. `noted_at`: when
    the row was last written. Until `probing_until`, the run `probe_run_id` probes it and the others wait.

    `reported_at`: when the last event about an outage was recorded. `reported_since`: since when that outage lasts;
    None when its end was reported.
    """

    __tablename__ = "destination_health"

    address: Mapped[str] = mapped_column(primary_key=True)
    answered_at: Mapped[int | None]
    unavailable_since: Mapped[int | None] = mapped_column("away_since")
    failures: Mapped[int] = mapped_column(default=0)
    reason: Mapped[InfoItem | None]
    noted_at: Mapped[int | None]
    next_at: Mapped[int | None]
    probing_until: Mapped[int | None]
    probe_run_id: Mapped[str | None]
    reported_at: Mapped[int | None]
    reported_since: Mapped[int | None]
