"""Tags of resources that are declared in files."""

from sqlalchemy import Index
from sqlalchemy.orm import Mapped, mapped_column

from offtake.store.tables.base import Base


class ManagedResource(Base):
    """A resource that `offtake apply` created or adopted, and the set of files that it belongs to.

    `kind`: of documents (`flow`, `role`). `sandbox_id`: empty for roles and clients, which belong to the organisation.
    A tag whose resource is gone has no effect.
    """

    __tablename__ = "managed_resources"
    __table_args__ = (Index(None, "org_id", "set_name"), Index(None, "sandbox_id"))

    kind: Mapped[str] = mapped_column(primary_key=True)
    resource_id: Mapped[str] = mapped_column(primary_key=True)
    org_id: Mapped[str]
    sandbox_id: Mapped[str]
    set_name: Mapped[str]
    tagged_at: Mapped[int]
    tagged_by: Mapped[str]
