"""Options of all commands. Imports nothing of a server."""

from pathlib import Path
from typing import Annotated

import typer

from offtake.cli.completing import names_of

DataDir = Annotated[
    Path | None,
    typer.Option("--data-dir", help="The data directory (or OFFTAKE_DATA_DIR; default ./offtake-data)."),
]
ToServer = Annotated[
    str | None,
    typer.Option(
        "--server",
        help="URL of a server, or the name of a profile (or OFFTAKE_SERVER; default: the data directory).",
    ),
]
InSandbox = Annotated[
    str | None,
    typer.Option(
        "--sandbox", help="A sandbox's name; default: the default sandbox.", autocompletion=names_of("sandboxes")
    ),
]
FlowName = Annotated[
    str,
    typer.Argument(help="The flow's name or id, or the beginning of its id.", autocompletion=names_of("flows")),
]
RunId = Annotated[str, typer.Argument(help="The run's id, or its beginning.", autocompletion=names_of("runs"))]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Wait = Annotated[
    bool, typer.Option("--wait", help="Wait until the run ends; without a running server, execute it here.")
]
