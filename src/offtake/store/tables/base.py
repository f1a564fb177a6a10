"""Base classes of the tables."""

from sqlalchemy import JSON, BigInteger, LargeBinary, MetaData, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from offtake.documents import Json

_JSON = JSON(none_as_null=True)


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
        Json: _JSON,
        list[str]: _JSON,
        list[int]: _JSON,
        list[Json]: _JSON,
        list[list[int]]: _JSON,
        bytes: LargeBinary,
        str: String,
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
