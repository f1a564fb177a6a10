"""What a run is asked to deliver, with everything it refers to already looked up."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from offtake.exporting.target import DeliveryTarget
from offtake.lake.catalog import TableName


@dataclass(frozen=True)
class SnapshotRange:
    """The snapshots that an earlier run had planned to export: all of `to_snapshot`, or what came after `from`.

    `warning`: why that run was to deliver everything, though something had been delivered before.
    """

    full: bool
    from_snapshot: int | None
    to_snapshot: int
    warning: str | None = None


@dataclass(frozen=True)
class DatasetExport:
    """One dataset of a run. `table` is None when the dataset is gone; `position` is its last delivered snapshot.

    Without a `pin`, the snapshot of today is exported. `owner_may_read` says whether the flow's last editor still may.
    `has_table`: rows have come in, so there must be a table.
    """

    dataset_id: str
    name: str
    table: TableName | None
    folder: str
    position: int | None
    export: Literal["full", "incremental"]
    pin: SnapshotRange | None = None
    owner_may_read: bool = True
    has_table: bool = True


@dataclass(frozen=True)
class ExportJob:
    """Everything a run delivers, and where. `export_time_ms` is the instant that names its folders.

    `folder`: below the target's own, what keeps the run apart from all others; None for the target's own.
    `manifest_owner_id`: the id in the manifest file's name next to the run's. `manifest_key`: as it was stored with the
    plan, see `Run.manifest_key`.
    `window`: gives until when a wait for the destination or the source may last that begins at an instant, in epoch
    milliseconds; None for as long as it takes. `waiting_since_ms`: when the run's present wait began, None when it
    does not wait.
    """

    run_id: str
    base_connection_id: str
    manifest_owner_id: str
    export_time_ms: int
    datasets: tuple[DatasetExport, ...]
    place: DeliveryTarget
    folder: str | None = None
    manifest_key: str | None = None
    window: Callable[[int], int] | None = None
    waiting_since_ms: int | None = None

    @property
    def root(self) -> str:
        """The folder that holds everything of the run."""
        return join_key(self.place.params.folder(), self.folder or "")


def join_key(*segments: str) -> str:
    """Segments as one object key: a single `/` between them, none at the ends."""
    return "/".join(part for segment in segments if (part := segment.strip("/")))
