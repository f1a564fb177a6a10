"""The command `offtake migrate`."""

from typing import Annotated

import typer

from offtake.backup.database_move import move_database
from offtake.cli import output
from offtake.cli.local import check_deployment, settings_at
from offtake.cli.options import AsJson, DataDir
from offtake.setting_types.reading import with_driver


def migrate(
    to: Annotated[
        str,
        typer.Option(
            "--to",
            help="The URL of an empty PostgreSQL database, without its password: give that in PGPASSWORD or ~/.pgpass.",
        ),
    ],
    data_dir: DataDir = None,
    json: AsJson = False,
) -> None:
    """Move the deployment from SQLite to PostgreSQL, with all positions; no server or worker may be running.

    The datasets' files and all other folders stay where they are. To migrate the tables to a new version of Offtake:
    offtake init.
    """
    settings = settings_at(data_dir)
    check_deployment(settings)
    moved = move_database(settings, str(with_driver(to)))
    if json:
        counts = {"rows": moved.rows, "positions": moved.positions, "liveRuns": moved.live_runs}
        output.as_json({"from": str(moved.source), "to": moved.target, **counts, "catalogTables": moved.catalog_tables})
        return
    catalog = "the catalog stays at OFFTAKE_CATALOG_URL"
    if moved.catalog_tables is not None:
        catalog = f"{output.count_of(moved.catalog_tables, 'table')} of the catalog"
    rows, positions = output.count_of(moved.rows, "row"), output.count_of(moved.positions, "position")
    output.line(f"moved {rows}, {positions} of flows, {catalog}; each row was read back and compared")
    output.line(f"{output.count_of(moved.live_runs, 'run')} will continue when a server starts")
    output.line(f"for every server, worker and command, set OFFTAKE_DATABASE_URL={moved.target}")
    output.line(f"nothing uses {moved.source} any more: remove it when the deployment works")
