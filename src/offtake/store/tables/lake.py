"""Datasets, batches, uploaded files, and keys of the landing zone."""

from sqlalchemy import ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from offtake.documents import Json
from offtake.store.tables.base import Base, Stamp
from offtake.store.tables.documents import BatchError, UploadedObjects


class Dataset(Stamp, Base):
    """A dataset: an id of 24 hexadecimal digits, and the Iceberg table with its rows.

    `table_name`: by `lake.table_names`. `catalog_id`: of a registered table; `gone_at`: when it was found that its
    catalog has it no more. `schema_ref`, `file_description` and `classification`: by the models of
    `catalog.datasets`. `evolves`: batches may
    add columns to its table. `declared`: the columns given at its creation, from which the table is created, in the
    form of `catalog.column_types`. `rewrites`: counts starts and ends of batches that rewrite the table's data files.
    """

    __tablename__ = "datasets"
    __table_args__ = (Index(None, "sandbox_id", "name"), Index(None, "catalog_id", "table_name"))

    name: Mapped[str]
    description: Mapped[str | None]
    table_name: Mapped[str]
    schema_ref: Mapped[Json | None]
    tags: Mapped[dict[str, list[str]]]
    file_description: Mapped[Json | None]
    classification: Mapped[Json | None]
    error_diagnostics: Mapped[bool]
    evolves: Mapped[bool] = mapped_column(default=False)
    declared: Mapped[list[Json] | None]
    rewrites: Mapped[int] = mapped_column(default=0)
    catalog_id: Mapped[str | None]
    gone_at: Mapped[int | None]


class LakeCatalog(Stamp, Base):
    """A catalog of others. `properties`: with secrets masked; `sealed`: the secret ones, encrypted.

    `operators`: the operator added it on the machine: its hosts may be in the machine's own network.
    """

    __tablename__ = "lake_catalogs"
    __table_args__ = (Index("uq_lake_catalogs_name", "sandbox_id", "name", unique=True),)

    name: Mapped[str]
    type: Mapped[str]
    properties: Mapped[Json]
    sealed: Mapped[bytes | None]
    operators: Mapped[bool]


class LakeNamespace(Stamp, Base):
    """A namespace of a catalog whose tables are kept registered as datasets. `name`: `steps` as people write them.

    `excluded`: names of tables whose datasets were deleted. `refused`: why a table is not registered, by its name.
    `cursor`: the last table that was compared with its dataset. `tables`: how many the catalog listed. `problem`: why
    the last attempt failed. `due_at`: when it is compared with the catalog again.
    """

    __tablename__ = "lake_namespaces"
    __table_args__ = (Index("uq_lake_namespaces_name", "catalog_id", "name", unique=True), Index(None, "due_at"))

    catalog_id: Mapped[str] = mapped_column(ForeignKey("lake_catalogs.id"))
    name: Mapped[str]
    steps: Mapped[list[str]]
    excluded: Mapped[list[str]]
    refused: Mapped[Json]
    cursor: Mapped[str]
    tables: Mapped[int]
    problem: Mapped[str | None]
    synced_at: Mapped[int | None]
    due_at: Mapped[int]


QUEUED = text("status IN ('staged', 'processing')")
LOADING = text("status = 'loading'")


class Batch(Stamp, Base):
    """An import of rows that becomes visible as one snapshot, atomically. The statuses are the contract's (23.3).

    While it is `processing`, an ingestor holds it with a lease, as workers hold runs. `lease_until`: when the lease
    expires without a heartbeat; of a released batch, from when it may be claimed. `evolve`: it may add columns even if
    its dataset does not evolve. `input_format`: by the model of `catalog.batches`. `content_hash`: hash of its files
    and options, set before it commits. `rewrites`: it rewrites, or has rewritten, the table's data files.
    """

    __tablename__ = "batches"
    __table_args__ = (
        Index(None, "dataset_id", "created_at", "id"),
        Index(None, "sandbox_id", "created_at", "id"),
        Index(None, "dataset_id", "content_hash"),
        Index(None, "dataset_id", "status", "rows", "bytes"),
        Index("ix_batches_queue", "status", "updated_at", sqlite_where=QUEUED, postgresql_where=QUEUED),
        Index("ix_batches_loading", "updated_at", sqlite_where=LOADING, postgresql_where=LOADING),
    )

    dataset_id: Mapped[str]
    status: Mapped[str]
    input_format: Mapped[Json]
    external_id: Mapped[str | None]
    tags: Mapped[dict[str, list[str]]]
    replaces: Mapped[list[str]]
    error_diagnostics: Mapped[bool]
    failed_percentage: Mapped[float]
    snapshot_id: Mapped[int | None]
    input_rows: Mapped[int]
    input_bytes: Mapped[int]
    failed_rows: Mapped[int]
    rows: Mapped[int]
    bytes: Mapped[int]
    errors: Mapped[list[BatchError]]
    started_at: Mapped[int | None]
    completed_at: Mapped[int | None]
    fence: Mapped[int]
    heartbeat_counter: Mapped[int] = mapped_column("beat", default=0)
    lease_owner: Mapped[str | None]
    lease_until: Mapped[int | None]
    evolve: Mapped[bool] = mapped_column(default=False)
    content_hash: Mapped[str | None]
    notes: Mapped[list[str]] = mapped_column(default=list)
    rewrites: Mapped[bool] = mapped_column(default=False)


class BatchFile(Base):
    """An uploaded file of a batch. In a multi-part upload, `total`: full size; `received`: ranges [first, last].

    `objects`: where uploads are in an object store; None for a file in the upload folder.
    """

    __tablename__ = "batch_files"

    batch_id: Mapped[str] = mapped_column(ForeignKey("batches.id"), primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    complete: Mapped[bool]
    size: Mapped[int]
    total: Mapped[int | None]
    received: Mapped[list[list[int]]]
    updated_at: Mapped[int]
    objects: Mapped[UploadedObjects | None] = mapped_column(default=None)


class LandingZoneKey(Base):
    """A key of a sandbox's landing zone, encrypted by the vault: of one client, or a stored access policy of the zone.

    `client_id`: None for a policy; its `deletes` is whether it permits deletion. `expires_at`: None when the signatures
    themselves contain the expiry.
    """

    __tablename__ = "landing_zone_keys"
    __table_args__ = (Index(None, "sandbox_id", "type", "created_at"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    sandbox_id: Mapped[str] = mapped_column(ForeignKey("sandboxes.id"))
    type: Mapped[str]
    sealed: Mapped[bytes]
    created_at: Mapped[int]
    expires_at: Mapped[int | None]
    revoked_at: Mapped[int | None]
    client_id: Mapped[str | None]
    deletes: Mapped[bool | None]
