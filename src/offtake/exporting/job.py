"""What a run is asked to deliver, with everything it refers to already looked up."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from offtake.destinations import registry
from offtake.destinations.base import Limits, SandboxLocation, Sink
from offtake.destinations.parameters import Params, TargetParams
from offtake.errors import EXPORT_FAILED, DeliveryError
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
class DeliveryTarget:
    """A destination with the key to its door. It crosses process boundaries and is never stored."""

    connection_spec_id: str
    credentials: Params | None
    params: TargetParams
    site: SandboxLocation
    auth_name: str | None = None
    encrypt_to: bytes | None = None
    """The armored OpenPGP public key that data files are encrypted with; the manifest never is."""

    def answers(self) -> bool:
        """Whether the destination answers; False when that cannot be told.

        Raises `DeliveryError` when it does not, within seconds unless its name service hangs.
        """
        destination = registry.by_connection_spec_id(self.connection_spec_id)
        if destination is None or destination.answers is None or destination.missing_driver(self.auth_name) is not None:
            return False
        return destination.answers(self.credentials, self.site)

    @property
    def longest_key(self) -> int | None:
        """Bytes of the longest key that the destination takes; None for an unknown destination."""
        destination = registry.by_connection_spec_id(self.connection_spec_id)
        return None if destination is None else destination.longest_key

    def limits(self) -> Limits:
        """What does not hold there."""
        destination = registry.by_connection_spec_id(self.connection_spec_id)
        return Limits() if destination is None else destination.limits(self.credentials)

    def open(self) -> Sink:
        """The sink, ready to write; raises `DeliveryError` when it cannot be had."""
        destination = registry.by_connection_spec_id(self.connection_spec_id)
        if destination is None:
            raise DeliveryError(EXPORT_FAILED, f"There is no destination {self.connection_spec_id}.", "Choose one.")
        lacking = destination.missing_driver(self.auth_name)
        if lacking is not None:
            raise DeliveryError(EXPORT_FAILED, f"{destination.name} is not installed.", lacking.install_hint)
        return destination.open(self.credentials, self.params, self.site)


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
