"""What a run delivers, with everything that it refers to already looked up."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from offtake.exporting.target import DeliveryTarget
from offtake.lake.column_choice import ColumnChoice
from offtake.lake.table_names import TableName


@dataclass(frozen=True)
class SnapshotRange:
    """The snapshots that an earlier run planned to export: `to_snapshot` in full, or what was added since.

    `warning`: why that run exported in full although the flow had delivered before.
    """

    full: bool
    from_snapshot: int | None
    to_snapshot: int
    warning: str | None = None


@dataclass(frozen=True)
class DatasetExport:
    """One dataset of a run. `table` is None when the dataset was deleted; `position` is its last delivered snapshot.

    Without a `pin`, the current snapshot is exported: of the branch or tag `ref`, by default of main. `owner_may_read`:
    whether the flow's last editor may still read the dataset. `has_table`: a batch was imported, so the table must
    exist. `columns`: those that are delivered; None for all. `rewrites`: how often its data files had been rewritten
    when the job was loaded; None when it was deleted.
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
    ref: str | None = None
    columns: ColumnChoice | None = None
    rewrites: int | None = None


@dataclass(frozen=True)
class ExportJob:
    """Everything a run delivers, and where to. `export_time_ms`: the time in its folder names.

    `folder`: a folder of this run alone, below the target's folder; None to write into the target's folder.
    `manifest_owner_id`: the id before the run's id in the manifest file's name. `manifest_key`: the key stored with the
    plan, see `Run.manifest_key`. `window`: returns the deadline of a wait for the destination or source that starts at
    the given time (both epoch milliseconds); None for no deadline. `waiting_since_ms`: when the run's current wait
    started; None when it does not wait.
    """

    run_id: str
    base_connection_id: str
    manifest_owner_id: str
    export_time_ms: int
    datasets: tuple[DatasetExport, ...]
    target: DeliveryTarget
    folder: str | None = None
    manifest_key: str | None = None
    window: Callable[[int], int] | None = None
    waiting_since_ms: int | None = None

    @property
    def rewrites(self) -> dict[str, int]:
        """How often the data files of each dataset had been rewritten when the job was loaded, by dataset id."""
        return {one.dataset_id: one.rewrites for one in self.datasets if one.rewrites is not None}

    @property
    def root(self) -> str:
        """The folder of all files of the run."""
        return join_key(self.target.params.folder(), self.folder or "")


def join_key(*segments: str) -> str:
    """Join segments into one object key: a single `/` between them, none at either end."""
    return "/".join(part for segment in segments if (part := segment.strip("/")))
