"""What runs are carried out with."""

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
    """What a run is carried out with."""

    database: Database
    lake: Lake
    engine: Engine
    clock: Clock
    part_size: PartSize
    patience: RetryPolicy
    gzip: Mapping[str, GzipOptions]
    """By file type."""
    acquaint: Callable[[ExportJob], ExportJob] = lambda job: job
    """Meets the destination before the first file goes there; raises `DeliveryError`."""
    find_kept: Callable[[str], Mapping[str, Kept]] = lambda _run_id: {}
    """What a run continues from, by dataset; raises `DeliveryError` while the destination cannot be asked."""
