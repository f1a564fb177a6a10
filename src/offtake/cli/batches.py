"""The commands `offtake batch …`."""

from typing import Annotated, Any

import typer

from offtake.catalog import batch_documents, batch_reverts, datasets
from offtake.cli import output
from offtake.cli.options import AsJson, DataDir, InSandbox, operating
from offtake.errors import OfftakeError


def list_(
    dataset: Annotated[str | None, typer.Argument(help="A dataset's name or id; default: all datasets.")] = None,
    most: Annotated[int, typer.Option("--most", min=1, max=1000, help="Maximum number of batches.")] = 20,
    sandbox: InSandbox = None,
    data_dir: DataDir = None,
    json: AsJson = False,
) -> None:
    """List batches, the latest first."""
    with operating(data_dir, sandbox) as (backend, caller), backend.database.reading() as session:
        row = None if dataset is None else datasets.find(session, caller, dataset)
        if dataset is not None and row is None:
            raise OfftakeError(f"Dataset {dataset} does not exist in sandbox {caller.sandbox_name}.")
        found = batch_documents.latest(session, caller, row, most)
        documents = [{"id": one.id, **batch_documents.document(one)} for one in found]
    if json:
        output.as_json(documents)
        return
    columns = ("ID", "DATASET", "STATUS", "ROWS")
    output.table(columns, [_line(one) for one in documents], "No batches yet: offtake dataset import NAME FILE…")


def show_(
    batch: Annotated[str, typer.Argument(help="The batch's id.")],
    sandbox: InSandbox = None,
    data_dir: DataDir = None,
) -> None:
    """Show a batch as JSON, in the format of the Catalog API."""
    with operating(data_dir, sandbox) as (backend, caller), backend.database.reading() as session:
        output.as_json({"id": batch, **batch_documents.document(batch_documents.find(session, caller, batch))})


def revert(
    batch: Annotated[str, typer.Argument(help="The batch's id.")],
    sandbox: InSandbox = None,
    data_dir: DataDir = None,
    json: AsJson = False,
) -> None:
    """Revert a batch: remove its rows from its dataset; refused if they have been rewritten since."""
    with operating(data_dir, sandbox) as (backend, caller):
        done = batch_reverts.revert(backend.database, backend.lake, caller, batch, backend.clock)
    if json:
        output.as_json({"id": done.batch.id, "status": done.batch.status, "dataset": done.dataset.id})
        return
    if done.was_reverted:
        output.console.print(f"batch {done.batch.id} was already reverted in dataset {done.dataset.name}", markup=False)
    else:
        rows = f"{done.batch.rows:,} rows of batch {done.batch.id}"
        output.console.print(f"{rows} are removed from dataset {done.dataset.name}", markup=False)


def _line(one: dict[str, Any]) -> tuple[object, ...]:
    """A row of the table, narrow enough for whole ids in a terminal."""
    return one["id"], one["relatedObjects"][0]["id"], one["status"], one["metrics"].get("outputRecordCount")
