"""The commands `offtake backup` and `offtake restore`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from offtake.backup.backup import BackupHeader, take_backup
from offtake.backup.restore import restore as bring_back
from offtake.cli import output
from offtake.cli.options import AsJson, DataDir, settings_at
from offtake.clock import Clock
from offtake.deployment.backend import open_backend


def backup(
    file: Annotated[Path, typer.Argument(help="The archive to write; one of that name is replaced once it is whole.")],
    without_rows: Annotated[
        bool, typer.Option("--without-rows", help="Leave out the tables' files: they are backed up in another way.")
    ] = False,
    data_dir: DataDir = None,
    json: AsJson = False,
) -> None:
    """Write an archive of everything this deployment knows, beside a running server.

    It holds the key of the stored credentials: keep it as you would keep those.
    """
    backend = open_backend(settings_at(data_dir), Clock())
    try:
        about = take_backup(backend, file.absolute(), rows=not without_rows)
    finally:
        backend.close()
    if json:
        output.as_json({"file": str(file), **_summary(about)})
        return
    kept = f"{about.files} files" if about.rows else "no files: rows are not in it"
    output.console.print(
        f"{file} holds the state of {output.instant(about.taken_at)}: {about.tables} tables with {kept}, "
        f"{output.size(about.bytes)}. Delivered files are not part of it.",
        markup=False,
    )


def restore(
    file: Annotated[Path, typer.Argument(help="An archive that `offtake backup` wrote.")],
    disable_flows: Annotated[
        bool, typer.Option("--disable-flows", help="Disable every flow, so that nothing is scheduled until you say so.")
    ] = False,
    data_dir: DataDir = None,
    json: AsJson = False,
) -> None:
    """Bring a backup back into an empty data directory and database, with no server running."""
    settings = settings_at(data_dir)
    restored = bring_back(settings, Clock(), file.absolute(), disable_flows=disable_flows)
    about = restored.about
    if json:
        counts = {"flows": restored.flows, "disabled": restored.disabled, "liveRuns": restored.live_runs}
        output.as_json({"backup": _summary(about), **counts})
        return
    at = output.instant(about.taken_at)
    disabled = f", {restored.disabled} of them disabled just now" if disable_flows else ""
    output.console.print(
        f"The state of {at} is back: {about.tables} tables, {restored.flows} flows{disabled}. "
        f"{restored.live_runs} runs go on when a server starts.",
        markup=False,
    )
    output.console.print(
        f"Deliveries made after {at} are not known to it: their rows will be delivered again. Tell whoever collects "
        "them.",
        markup=False,
    )
    zone = settings.landing_zone_root
    if settings.has_zone_folders and not (zone.is_dir() and any(zone.iterdir())):
        output.console.print(
            "The landing zone's files are not in a backup: before a server starts, bring those that are still to be "
            f"collected to {zone}",
            markup=False,
        )


def _summary(about: BackupHeader) -> dict[str, Any]:
    return {"takenAt" if key == "taken_at" else key: value for key, value in about.to_json().items()}
