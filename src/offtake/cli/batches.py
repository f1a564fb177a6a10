"""The commands `offtake batch …`."""

from typing import Annotated, Any

import typer

from offtake.cli import instants, output
from offtake.cli.completing import names_of
from offtake.cli.connecting import connected, local_backend
from offtake.cli.ingesting import revert_remotely
from offtake.cli.options import AsJson, DataDir, InSandbox, ToServer
from offtake.cli.output import Id, Instant
from offtake.client import names
from offtake.client.server import CATALOG

Batch = Annotated[str, typer.Argument(help="The batch's id, or its beginning.", autocompletion=names_of("batches"))]


def list_(
    dataset: Annotated[str | None, typer.Argument(help="A dataset's name or id; default: all datasets.")] = None,
    since: Annotated[
        str | None, typer.Option("--since", help=f"Only batches created since then: {instants.HELP}.")
    ] = None,
    status: Annotated[
        str | None, typer.Option("--status", help="Only batches with this status, such as success or failed.")
    ] = None,
    most: Annotated[int, typer.Option("--most", min=1, max=1000, help="Maximum number of batches.")] = 20,
    server: ToServer = None,
    sandbox: InSandbox = None,
    data_dir: DataDir = None,
    json: AsJson = False,
) -> None:
    """List batches, the latest first."""
    with connected(server, data_dir, sandbox) as to:
        query = [("orderBy", "desc:created,desc:id")]
        if dataset is not None:
            query.append(("dataSet", names.find_dataset(to, dataset)["id"]))
        if since is not None:
            start = instants.start("--since", since, to.transport.now())
            query.append(("createdAfter", str(max(0, start - 1))))
        if status is not None:
            query.append(("status", status))
        found = list(to.get_by_start(f"{CATALOG}/batches", None, query, most))
    if json:
        output.as_json(found)
        return
    columns = ("ID", "DATASET", "STATUS", "ROWS", "CREATED", "COMPLETED")
    empty = "No batch matches." if since or status else "No batches yet: offtake dataset import NAME FILE…"
    output.table(columns, [_row(one) for one in found], empty)


def show_(
    batch: Batch, server: ToServer = None, sandbox: InSandbox = None, data_dir: DataDir = None, json: AsJson = False
) -> None:
    """Show a batch as JSON, in the format of the Catalog API."""
    del json
    with connected(server, data_dir, sandbox) as to:
        output.as_json(names.find_batch(to, batch))


def revert(
    batch: Batch, server: ToServer = None, sandbox: InSandbox = None, data_dir: DataDir = None, json: AsJson = False
) -> None:
    """Revert a batch: remove its rows from its dataset; refused if they have been rewritten since."""
    with connected(server, data_dir, sandbox) as to:
        found = names.find_batch(to, batch)
        was_reverted = found["status"] == "inactive"
        backend = local_backend(to)
        if backend is None:
            done = revert_remotely(to, found["id"])
        else:
            from offtake.cli.local_work import revert_locally  # noqa: PLC0415 - only for a local deployment

            revert_locally(backend, found["id"], sandbox)
            done = names.find_batch(to, found["id"])
        dataset = names.find_dataset(to, done["relatedObjects"][0]["id"])
    if json:
        output.as_json({"id": done["id"], "status": done["status"], "dataset": dataset["id"]})
    elif was_reverted:
        output.line(f"batch {done['id']} was already reverted in dataset {dataset['name']}")
    else:
        rows = done["metrics"].get("outputRecordCount", 0)
        output.line(f"removed from dataset {dataset['name']}: {output.count_of(rows, 'row')} of batch {done['id']}")


def _row(one: dict[str, Any]) -> tuple[object, ...]:
    related = one.get("relatedObjects") or [{}]
    rows = one.get("metrics", {}).get("outputRecordCount")
    times = Instant(one.get("created")), Instant(one.get("completed"))
    return Id(one["id"]), Id(related[0].get("id")), one.get("status"), rows, *times
