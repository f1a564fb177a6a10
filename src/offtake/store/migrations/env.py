"""Alembic's entry: migrations always run on the connection that `Database.migrate` hands over."""

from typing import Any

from alembic import context

from offtake.failpoints import failpoint
from offtake.store.tables import Base


def _applied(*_what: Any, **_more: Any) -> None:  # noqa: ANN401 - what alembic tells of the step
    failpoint("migrated")


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,
    compare_type=True,
    on_version_apply=_applied,
)
with context.begin_transaction():
    context.run_migrations()
