"""Base classes of the tables."""

from sqlalchemy import JSON, BigInteger, LargeBinary, MetaData, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from offtake.documents import InfoItem, Json, Retries, SliceDocument, TableSchemaDocument
from offtake.formats.losses import LossDocument
from offtake.store.tables.documents import BatchError, ManifestRecord, Pins, ReportedWait, UploadedObjects

_JSON = JSON(none_as_null=True)
_DOCUMENTS = (
    Json,
    list[Json],
    list[str],
    list[int],
    list[list[int]],
    dict[str, list[str]],
    InfoItem,
    list[InfoItem],
    list[BatchError],
    TableSchemaDocument,
    list[SliceDocument],
    list[LossDocument],
    ManifestRecord,
    Pins,
    ReportedWait,
    Retries,
    UploadedObjects,
)
"""The types of JSON columns."""


class Base(DeclarativeBase):
    """Declarative base; names every constraint, so that migrations can refer to them on both databases."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy reads this plain class attribute
        int: BigInteger,
        bytes: LargeBinary,
        str: String,
        **dict.fromkeys(_DOCUMENTS, _JSON),
    }


class Stamp:
    """Sandbox, creation and last update of a row, by account and client; `version` changes with every write."""

    id: Mapped[str] = mapped_column(primary_key=True)
    org_id: Mapped[str]
    sandbox_id: Mapped[str]
    created_at: Mapped[int]
    updated_at: Mapped[int]
    created_by: Mapped[str]
    updated_by: Mapped[str]
    created_client: Mapped[str]
    updated_client: Mapped[str]
    version: Mapped[str]


class Entity(Stamp):
    """Common columns of connections and flows (contract, section 6.1)."""

    name: Mapped[str]
    description: Mapped[str | None]
    state: Mapped[str]
