"""The commands `offtake backup` and `offtake restore`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from offtake.backup.backup import BackupHeader, take_backup
from offtake.backup.restore import restore as restore_backup
from offtake.cli import output
from offtake.cli.local import check_deployment, settings_at
from offtake.cli.options import AsJson, DataDir
from offtake.clock import Clock
from offtake.deployment.backend import open_backend


def backup(
    file: Annotated[
        Path, typer.Argument(help="The archive to write; an existing file is replaced when the new one is complete.")
    ],
    without_rows: Annotated[
        bool, typer.Option("--without-rows", help="Leave out the tables' files, if they are backed up in another way.")
    ] = False,
    data_dir: DataDir = None,
    json: AsJson = False,
) -> None:
    """Back up the deployment to an archive; the server may be running.

    The archive contains the key of the stored credentials: protect it as you protect the credentials. Tables of an
    earlier version of Offtake stay as they are, also in the archive, which that version can restore.
    """
    settings = settings_at(data_dir)
    check_deployment(settings)
    backend = open_backend(settings, Clock(), upgrade=False)
    try:
        header = take_backup(backend, file.absolute(), rows=not without_rows)
    finally:
        backend.close()
    if json:
        output.as_json({"file": str(file), **_summary(header)})
        return
    tables, files = output.count_of(header.tables, "table"), output.count_of(header.files, "file")
    files = f"with {files}" if header.rows else "without their files"
    output.console.print(
        f"{file} contains the state of {output.instant(header.taken_at)}: {tables} {files}, "
        f"{output.size(header.bytes)}. It does not contain delivered files.",
        markup=False,
    )


def restore(
    file: Annotated[Path, typer.Argument(help="An archive written by `offtake backup`.")],
    disable_flows: Annotated[
        bool, typer.Option("--disable-flows", help="Disable all flows: nothing runs until you enable them.")
    ] = False,
    data_dir: DataDir = None,
    json: AsJson = False,
) -> None:
    """Restore a backup into an empty data directory and database; no server may be running."""
    settings = settings_at(data_dir)
    restored = restore_backup(settings, Clock(), file.absolute(), disable_flows=disable_flows)
    header = restored.about
    if json:
        counts = {"flows": restored.flows, "disabled": restored.disabled, "liveRuns": restored.live_runs}
        output.as_json({"backup": _summary(header), **counts})
        return
    at = output.instant(header.taken_at)
    disabled = f", {restored.disabled} of them disabled now" if disable_flows else ""
    output.console.print(
        f"Restored the state of {at}: {output.count_of(header.tables, 'table')}, "
        f"{output.count_of(restored.flows, 'flow')}{disabled}. "
        f"{output.count_of(restored.live_runs, 'run')} will continue when a server starts.",
        markup=False,
    )
    output.console.print(
        f"Deliveries after {at} are not in the backup: their rows will be delivered again. Inform the consumers.",
        markup=False,
    )
    zone = settings.landing_zone_root
    if settings.has_zone_folders and not (zone.is_dir() and any(zone.iterdir())):
        output.console.print(
            "A backup does not contain the landing zone's files: before a server starts, copy those that are still to "
            f"be collected to {zone}",
            markup=False,
        )


def _summary(header: BackupHeader) -> dict[str, Any]:
    return {"takenAt" if key == "taken_at" else key: value for key, value in header.to_json().items()}
