"""The services and settings that a run needs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from offtake.clock import Clock
from offtake.exporting.engine import Engine
from offtake.exporting.job import ExportJob
from offtake.exporting.kept import Kept
from offtake.exporting.plan import PartSize
from offtake.exporting.retry import RetryPolicy
from offtake.formats.gzip_stream import GzipOptions
from offtake.lake.catalog import Lake
from offtake.store.database import Database


@dataclass(frozen=True)
class RunContext:
    """The services and settings that a run needs."""

    database: Database
    lake: Lake
    engine: Engine
    clock: Clock
    part_size: PartSize
    retry_policy: RetryPolicy
    gzip: Mapping[str, GzipOptions]
    """By file type."""
    pin_host_key: Callable[[ExportJob], ExportJob] = lambda job: job
    """Fetches and pins the SFTP host key before the first file is written. Raises `DeliveryError`."""
    find_kept: Callable[[str], Mapping[str, Kept]] = lambda _run_id: {}
    """The files of failed runs that a run continues from, by dataset. Raises `DeliveryError` while that is unknown."""
