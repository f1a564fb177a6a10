"""The command `offtake dataset maintain`."""

from dataclasses import asdict
from typing import Annotated

import typer

from offtake.cli import output
from offtake.cli.completing import names_of
from offtake.cli.connecting import chosen_server, connected, local_backend
from offtake.cli.options import AsJson, DataDir, InSandbox, ToServer
from offtake.client import names
from offtake.errors import OfftakeError


def maintain(
    dataset: Annotated[
        str | None,
        typer.Argument(
            help="A dataset's name or id, or the beginning of its id; default: all datasets.",
            autocompletion=names_of("datasets"),
        ),
    ] = None,
    server: ToServer = None,
    sandbox: InSandbox = None,
    data_dir: DataDir = None,
    json: AsJson = False,
) -> None:
    """Merge small files, and remove old snapshots and files that nothing refers to, as servers do each day."""
    if chosen_server(server, data_dir) is not None:
        raise OfftakeError(
            "offtake dataset maintain is for the operator on the server's machine: name the data directory with "
            "--data-dir. Servers maintain their datasets themselves each day."
        )
    with connected(None, data_dir, sandbox) as to:
        from offtake.scheduling import table_upkeep  # noqa: PLC0415 - the help of the command does without

        backend = local_backend(to)
        assert backend is not None  # noqa: S101 - it is a data directory
        chosen = table_upkeep.own_datasets(backend)
        if dataset is not None:
            found = names.find_dataset(to, dataset)
            chosen = [one for one in chosen if one.id == found["id"]]
            if not chosen:
                name = found["name"]
                raise OfftakeError(f"Dataset {name} is a table of another catalog, which Offtake does not change.")
        done = [table_upkeep.maintain(backend, one, sweeps=True) for one in chosen]
    if json:
        output.as_json([asdict(one) for one in done])
        return
    lines = [(one.dataset, one.merged, one.into, one.expired, one.removed) for one in done]
    output.table(("DATASET", "MERGED", "INTO", "SNAPSHOTS REMOVED", "FILES REMOVED"), lines, "No datasets yet.")
