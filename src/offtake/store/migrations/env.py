"""Alembic's entry point: migrations run on the connection that `Database.migrate` passes in."""

from typing import Any

from alembic import context

from offtake.failpoints import failpoint
from offtake.store.tables import Base


def _on_version_apply(*_args: Any, **_kwargs: Any) -> None:  # noqa: ANN401 - Alembic's details of the step
    failpoint("migrated")


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,
    compare_type=True,
    on_version_apply=_on_version_apply,
)
with context.begin_transaction():
    context.run_migrations()
