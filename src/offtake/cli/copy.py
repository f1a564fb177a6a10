"""The command `offtake copy`."""

from pathlib import Path
from typing import Annotated

import typer

from offtake.cli import file_options as options
from offtake.cli import instants, output
from offtake.cli.options import AsJson, DataDir, InSandbox
from offtake.client.destination_urls import parse_settings, ssh_key
from offtake.documents import Json
from offtake.errors import OfftakeError

_TWO = 2
_LONGEST_WAIT = 7 * 86_400
"""In seconds: as long as an interrupted copy is kept."""
_FORMATS = {"ndjson": "JSON"}


def copy(  # noqa: PLR0913, PLR0917 - one parameter an option
    arguments: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE… DESTINATION",
            help="Sources: files, dataset:NAME, catalog:NAME/TABLE. Destination: a URL (s3://, gs://, az://, abfss://, "
            "sftp://), a folder, or CONNECTION:PATH.",
        ),
    ],
    file_format: Annotated[
        str, typer.Option("--format", help="Format of the files: parquet or json (or ndjson, the same).")
    ] = "parquet",
    compression: Annotated[str, typer.Option("--compression", help="Compression of Parquet: gzip or none.")] = "gzip",
    folder: Annotated[
        str | None,
        typer.Option("--folder", help="Template of the folder below the path; default: / (or %DATASET_NAME%)."),
    ] = None,
    manifest: Annotated[bool, typer.Option("--manifest", help="Write a manifest as the last file.")] = False,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="NAME=VALUE: a parameter of the destination; a secret as NAME=env:VARIABLE or NAME=file:PATH.",
        ),
    ] = None,
    identity: Annotated[Path | None, typer.Option("--identity", help="SFTP: the file of the private SSH key.")] = None,
    wait_for: Annotated[
        str,
        typer.Option(
            "--wait-for",
            metavar="5m",
            help="How long to wait for a destination or source that is unreachable or busy; 0s: one attempt.",
        ),
    ] = "5m",
    delimiter: options.Delimiter = None,
    quote: options.Quote = None,
    escape: options.Escape = None,
    null: options.Null = None,
    encoding: options.Encoding = None,
    no_header: options.NoHeader = False,
    types: options.Types = None,
    nanoseconds: options.Nanoseconds = None,
    sandbox: InSandbox = None,
    data_dir: DataDir = None,
    json: AsJson = False,
) -> None:
    """Deliver files, datasets or tables of catalogs once, without a server and without a flow.

    The exit code is 0 only if everything was delivered and checked. A copy that was killed or interrupted continues
    when the same command is repeated. Datasets, catalogs and connections are those of --data-dir.
    """
    if len(arguments) < _TWO:
        raise OfftakeError("Give at least one source and the destination: offtake copy SOURCE… DESTINATION.")
    wait_seconds = instants.seconds("--wait-for", wait_for, _LONGEST_WAIT)
    from offtake.cli import copying  # noqa: PLC0415 - it loads what a server loads
    from offtake.cli.copy_request import CopyRequest, Files  # noqa: PLC0415 - as above
    from offtake.cli.local_import import parse  # noqa: PLC0415 - as above

    *sources, destination = arguments
    given = {
        "delimiter": delimiter,
        "quote": quote,
        "escape": escape,
        "nullMarker": null,
        "charset": encoding,
        "header": False if no_header else None,
        "columnTypes": options.types_by_name(types or []),
        "nanoseconds": nanoseconds,
    }
    files = options.check(given, [Path(one) for one in sources])
    request = CopyRequest(
        sources=tuple(sources),
        destination=destination,
        files=Files(files, parse(files)),
        target={
            "datasetFileType": _FORMATS.get(file_format.lower(), file_format.upper()),
            "compression": compression.upper(),
            "includeFileManifest": manifest,
        },
        folder=folder,
        options=parse_settings(set_ or []),
        ssh_key=None if identity is None else ssh_key(identity),
        data_dir=data_dir,
        sandbox=sandbox,
        wait_seconds=wait_seconds,
    )
    found = copying.copy(request)
    if json:
        output.as_json(found)
    else:
        _report(found, destination)


def _report(found: Json, destination: str) -> None:
    rows = sum(one["rows"] or 0 for one in found["files"])
    size = sum(one["bytes"] for one in found["files"])
    for one in found["files"]:
        output.line(f"{one['path']}\t{one['rows'] or ''}\t{one['bytes']}\t{one['sha256']}")
    files = output.count_of(len(found["files"]), "file")
    output.note(f"delivered to {destination}: {output.count_of(rows, 'row')} in {files}, {output.size(size)}")
