"""The command `offtake dataset maintain`."""

from dataclasses import asdict
from typing import Annotated

import typer

from offtake.catalog import datasets
from offtake.cli import output
from offtake.cli.local import operating
from offtake.cli.options import AsJson, DataDir, InSandbox
from offtake.errors import OfftakeError
from offtake.scheduling import table_upkeep


def maintain(
    dataset: Annotated[str | None, typer.Argument(help="A dataset's name or id; default: all datasets.")] = None,
    sandbox: InSandbox = None,
    data_dir: DataDir = None,
    json: AsJson = False,
) -> None:
    """Merge small files, and remove old snapshots and files that nothing refers to, as servers do each day."""
    with operating(data_dir, sandbox) as (backend, caller):
        chosen = table_upkeep.own_datasets(backend)
        if dataset is not None:
            with backend.database.reading() as session:
                row = datasets.find(session, caller, dataset)
            if row is None:
                raise OfftakeError(f"Dataset {dataset} does not exist in sandbox {caller.sandbox_name}.")
            chosen = [one for one in chosen if one.id == row.id]
            if not chosen:
                raise OfftakeError(f"Dataset {row.name} is a table of another catalog, which Offtake does not change.")
        done = [table_upkeep.maintain(backend, one, sweeps=True) for one in chosen]
    if json:
        output.as_json([asdict(one) for one in done])
        return
    lines = [(one.dataset, str(one.merged), str(one.into), str(one.expired), str(one.removed)) for one in done]
    output.table(("DATASET", "MERGED", "INTO", "SNAPSHOTS REMOVED", "FILES REMOVED"), lines, "No datasets yet.")
