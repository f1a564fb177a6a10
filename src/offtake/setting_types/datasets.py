"""Datasets: imports, catalogs that are kept in step, and earlier states."""

from typing import Annotated

from pydantic import Field

ImportMemoryBytes = Annotated[
    int,
    Field(
        ge=256 * 1024 * 1024,
        description="Largest resident memory, in bytes, of the process that reads the files of a batch; a batch that "
        "needs more fails.",
    ),
]
ImportSeconds = Annotated[
    float,
    Field(gt=0, description="Seconds within which the files of a batch must be read, plus one second per 100 kB."),
]
CatalogSyncMinutes = Annotated[
    int,
    Field(
        ge=1,
        le=10_080,
        description="Minutes after which a namespace that is kept in step is compared with its catalog again.",
    ),
]
SnapshotDays = Annotated[
    int | None,
    Field(
        ge=1,
        description="Days for which earlier states of datasets stay, for backfills by date and for restoring backups "
        "of a warehouse in an object store. Snapshots that a flow or a run still needs stay longer. Empty: for ever.",
    ),
]
SnapshotCount = Annotated[
    int,
    Field(
        ge=10,
        description="Largest number of earlier states of a dataset within `snapshot_days`, apart from those that a "
        "flow or a run still needs.",
    ),
]
CompactionDays = Annotated[
    int | None,
    Field(
        ge=0,
        description="Days after which small data files of a dataset are merged. A batch whose rows were merged can no "
        "longer be reverted or replaced. Empty: never.",
    ),
]
